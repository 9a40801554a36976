//! Tries everything, and measures: what `cargo xtask demo --headless` reports.

use std::time::Duration;

use deltawire::prelude::*;
use deltawire::signalling::{ClientOptions, Signaller, SignallingClient, SignallingError, Token};
use deltawire::{ConnectError, Route, TransportErrorKind};
use futures_util::future::{Either, select};

use super::message::{Report, Server, ToPage};
use super::worker::{counters, measure, node, now, show, sleep};
use super::{copies, explain, unordered};
use crate::exercise::{self, Check, RoundTrips};
use crate::service::Error;
use crate::unordered::WAYS;

pub(super) const SIZES: [usize; 22] = [
    1, 2, 15, 16, 17, 1_000, 1_024, 4_096, 16_303, 16_304, 16_305, 16_320, 16_368, 16_384, 65_535,
    65_536, 100_000, 262_144, 1_000_000, 1_048_576, 3_000_001, 4_194_304,
];

/// How long one check may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// With `quick` less is measured.
pub(super) async fn run(server: &Server, quick: bool) -> Report {
    let mut report = Report { kind: server.kind.clone(), ..Report::default() };
    if let Err(error) = over_a_link(server, quick, &mut report).await {
        add(&mut report, Check::new("the link stays", Err(error)));
    }
    if quick {
        return report;
    }
    // Over WebSocket everything has an order.
    if matches!(server.kind.as_str(), "webrtc" | "webtransport") {
        for (name, reliability, all) in WAYS {
            let result = patient(unordered::check(server, name, reliability, all)).await;
            add(
                &mut report,
                Check::new(&format!("deltas that may overtake each other, {name}"), result),
            );
        }
    }
    let mut refusals = vec![
        ("a wrong token is refused", refused(server, Some("wrong")).await),
        ("a missing token is refused", refused(server, None).await),
        ("the right token is taken", guarded(server).await),
        ("no server: unreachable", unreachable(server).await),
        ("another service: not an answer", another_service(server).await),
    ];
    if server.kind == "websocket" {
        let origin = server.origin.replacen("http", "ws", 1);
        refusals.extend([
            (
                "no ticket: not reached",
                not_reached(server, &format!("{origin}/guarded/webrtc")).await,
            ),
            ("no server: not reached", not_reached(server, "ws://127.0.0.1:9/webrtc").await),
            ("another service: not reached", not_reached(server, &origin).await),
            ("unencrypted links stay on this machine", unencrypted(server).await),
        ]);
    }
    if server.kind == "webtransport" {
        add(
            &mut report,
            Check::new(
                "addresses where nobody lets in, and what is taken by itself",
                addresses(server).await,
            ),
        );
    }
    for (name, result) in refusals {
        add(&mut report, Check::new(name, result));
    }
    report
}

async fn over_a_link(server: &Server, quick: bool, report: &mut Report) -> Result<(), Error> {
    let node = node(server, ClientOptions::default())?;
    let connected = node.connect(&format!("{}/webrtc", server.origin)).await;
    let (mut peer, link) = connected.map_err(explain)?;
    let is_it = link.kind() == server.kind;
    let kind = if is_it { Ok(String::new()) } else { Err(link.kind().into()) };
    add(report, Check::new("the link is of the kind that was asked for", kind));
    show(&ToPage::Channels("open".to_owned()));
    let peer = &mut peer;
    let result = patient(exercise::shout(peer, "Smørrebrød, read in place")).await;
    add(report, Check::new("a text goes there and back", result));
    let result = patient(exercise::sizes(peer, &SIZES)).await;
    add(report, Check::new("sizes from 1 B to 4 MiB", result));
    let result = patient(exercise::mixed(peer, 10_000)).await;
    add(report, Check::new("10,000 messages on all channels", result));
    let (rounds, total) = if quick { (500, 16 << 20) } else { (5_000, 64 << 20) };
    report.round_trips = exercise::round_trips(peer, 1 << 10, rounds, now).await?;
    for _ in 0..150 {
        let times = exercise::round_trips(peer, 1 << 10, 5, now).await?;
        show(&ToPage::RoundTrip(times.p50));
    }
    let commands = patient(exercise::commands_beside_bulk(peer, 300, now)).await?;
    add(report, commands_check(commands));
    let held = || link.stats().session.data_received.queued_bytes;
    let stall = sleep(Duration::from_secs(2));
    let result = patient(exercise::stalled_reader(peer, stall, held)).await;
    add(report, Check::new("who does not read holds the server back", result));
    // What is relayed is copied once more, into a buffer that changes hands.
    if link.stats().route != Route::Relayed {
        let result = patient(copies::check(peer)).await;
        add(report, Check::new("copies and allocations", result));
    }
    report.rates = measure(peer, total).await?;
    report.counters = counters(&link);
    let sizes = report.rates.len();
    add(report, Check::new("bulk both ways, counted", Ok(format!("{sizes} sizes"))));
    link.close(CloseCode::NORMAL, "done");
    let ended = patient(async { Ok::<_, Error>(link.closed().await) }).await?;
    show(&ToPage::Channels("closed".to_owned()));
    let in_order = match &ended {
        LinkEnded::Session(deltawire::channels::session::Closed::ByUs {
            complete: true, ..
        }) => Ok(ended.to_string()),
        _ => Err(ended.to_string().into()),
    };
    add(report, Check::new("the link closes in order", in_order));
    let told = patient(async {
        let (up, down) = (node.event().await, node.event().await);
        match (&up, &down) {
            (NodeEvent::Up { .. }, NodeEvent::Down { .. }) if node.peers().is_empty() => {
                Ok("up, then down; no link is left".to_owned())
            }
            _ => Err(format!("{up:?}, {down:?}").into()),
        }
    })
    .await;
    add(report, Check::new("the node tells of both", told));
    let shut =
        node.shut_down(Duration::from_secs(5)).await.is_complete() && node.accept().await.is_none();
    let shut = if shut { Ok(String::new()) } else { Err("links were left".into()) };
    add(report, Check::new("the node shuts down", shut));
    Ok(())
}

/// That they get through at all: how soon, the table says, as machines that test are busy.
fn commands_check(times: RoundTrips) -> Check {
    const MOST: f64 = 1_000.0;
    let RoundTrips { p50, p95, .. } = times;
    let detail = format!("round trip p50 {:.1} ms, p95 {:.1} ms", p50 / 1e3, p95 / 1e3);
    let result = if p95 / 1e3 <= MOST { Ok(detail) } else { Err(detail.into()) };
    Check::new("commands get through beside bulk", result)
}

fn options(token: Option<&str>) -> Result<ClientOptions, Error> {
    let token = token.map(Token::new).transpose()?;
    Ok(ClientOptions { token, ..ClientOptions::default() })
}

async fn refused(server: &Server, token: Option<&str>) -> Result<String, Error> {
    let node = node(server, options(token)?)?;
    match node.connect(&format!("{}/guarded/webrtc", server.origin)).await {
        Err(ConnectError::Signalling(error @ SignallingError::Refused { status: 401, .. })) => {
            Ok(error.to_string())
        }
        other => Err(unexpected(other)),
    }
}

async fn guarded(server: &Server) -> Result<String, Error> {
    let node = node(server, options(Some("only-for-the-demo"))?)?;
    let connected = node.connect(&format!("{}/guarded/webrtc", server.origin)).await;
    let (mut peer, _link) = connected.map_err(explain)?;
    patient(exercise::shout(&mut peer, "let in")).await
}

/// The port is the one for discarding, which browsers do not even ask.
async fn unreachable(server: &Server) -> Result<String, Error> {
    let node = node(server, ClientOptions::default())?;
    match node.connect("http://127.0.0.1:9/webrtc").await {
        Err(ConnectError::Signalling(error @ SignallingError::Unreachable { .. })) => {
            Ok(explain(error))
        }
        other => Err(unexpected(other)),
    }
}

async fn another_service(server: &Server) -> Result<String, Error> {
    let node = node(server, ClientOptions::default())?;
    match node.connect(&format!("{}/index.html", server.origin)).await {
        Err(ConnectError::Signalling(error @ SignallingError::NotAnAnswer { .. })) => {
            Ok(explain(error))
        }
        other => Err(unexpected(other)),
    }
}

/// A browser does not say why there is no WebSocket, or no WebTransport.
async fn not_reached(server: &Server, url: &str) -> Result<String, Error> {
    match node(server, ClientOptions::default())?.connect(url).await {
        Err(ConnectError::Ended(LinkEnded::Transport(error)))
            if error.kind() == TransportErrorKind::NotReached =>
        {
            Ok(String::new())
        }
        other => Err(unexpected(other)),
    }
}

/// The address of the server's links over WebTransport, as it says; and others, where nobody is or lets in.
async fn addresses(server: &Server) -> Result<String, Error> {
    let asked = format!("{}/webrtc", server.origin);
    let offered = SignallingClient::new(ClientOptions::default())?.links(&asked).await?;
    let link = offered.links.into_iter().find(|link| link.kind == server.kind);
    let url = link.and_then(|link| link.url).ok_or("the server does not offer it")?;
    let host = server.origin.get(7..).and_then(|host| host.split(':').next()).unwrap_or_default();
    let (here, hashes) = url.split_once('#').ok_or("there are no hashes")?;
    let here = here.replacen("//", &format!("//{host}"), 1);
    for (what, url) in [
        ("a wrong ticket", format!("{here}?ticket=0#{hashes}")),
        ("a wrong path", format!("{here}/#{hashes}")),
        ("a wrong hash", format!("{here}#{}", "0".repeat(64))),
        ("no hash", here.clone()),
        ("no server", format!("wt://{host}:9/#{hashes}")),
    ] {
        not_reached(server, &url).await.map_err(|error| format!("{what}: {error}"))?;
    }
    // And what is taken where nothing is preferred.
    let connected = Node::builder().build()?.connect(&asked).await;
    let (_peer, link) = connected.map_err(explain)?;
    if link.kind() == server.kind { Ok(asked) } else { Err(link.kind().into()) }
}

/// Nothing is sent.
async fn unencrypted(server: &Server) -> Result<String, Error> {
    let node = node(server, ClientOptions::default())?;
    match node.connect("ws://192.0.2.1/webrtc").await {
        Err(error @ ConnectError::Unencrypted { .. }) => Ok(explain(error)),
        other => Err(unexpected(other)),
    }
}

fn unexpected<T>(connected: Result<T, ConnectError>) -> Error {
    connected.err().map_or_else(|| "it connected".to_owned(), explain).into()
}

/// Whatever hangs has failed.
pub(super) async fn patient<T>(future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match select(std::pin::pin!(future), std::pin::pin!(sleep(PATIENCE))).await {
        Either::Left((result, _)) => result,
        Either::Right(_) => Err(format!("it took more than {PATIENCE:?}").into()),
    }
}

pub(super) fn add(report: &mut Report, check: Check) {
    show(&ToPage::Check(check.clone()));
    report.checks.push(check);
}
