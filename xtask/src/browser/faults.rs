//! What people do with a page, and what happens to it: how both ends take it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::ensure;

use super::FIGURES;
use super::build::Site;
use super::relay::Relay;
use super::report::print_results;
use super::session::Session;
use crate::processes::{Server, host_and_port};

/// A page that is gone is noticed at once: the browser hangs up for it. Unless it keeps the page, frozen, for who goes
/// back; and but for WebTransport in Firefox, which says nothing.
const AT_ONCE: Duration = Duration::from_secs(4);

/// A server that is gone, or a page that is frozen, is noticed when it was silent for 5 s; then the page tries again.
const AFTER_SILENCE: Duration = Duration::from_secs(30);

/// Where links come to that go by a relay.
const RELAYED: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// For how long a relay leads nowhere: longer than silence may last.
const OUTAGE: Duration = Duration::from_secs(8);

/// How long 128 MiB may take between a page and a server that is built for tests.
const TRANSFER: Duration = Duration::from_secs(90);

/// Tries all of them over a kind of link, which the page takes from its `query`, and prints how it went.
pub(super) fn run(
    session: &mut Session,
    site: &Site,
    kind: &str,
    query: &str,
) -> anyhow::Result<bool> {
    let server = site.start(0)?;
    let address = server.address()?;
    let url = &format!("{address}{FIGURES}{query}");
    let hangs_up = if kind == "WebTransport" { AFTER_SILENCE } else { AT_ONCE };
    Ok(print_results(
        &format!("people and faults, {kind}"),
        &[
            ("a text that is typed", say(session, url)),
            ("a page reloaded in mid-transfer", reload(session, &server, url, hangs_up)),
            ("a page left in mid-transfer", leave(session, &server, url)),
            ("a way that goes dead and comes back", go_on(session, site, query)),
            ("a server that restarts", restart(session, server, &address, url, site)),
        ],
    ))
}

/// Has the page take what opens, WebTransport or WebSocket, where UDP leads to the server and where it leads nowhere, and
/// prints how it went.
pub(super) fn fall_back(session: &mut Session, site: &Site) -> anyhow::Result<bool> {
    Ok(print_results(
        "UDP, and what is taken without",
        &[
            ("UDP leads to the server", taken(session, site, false, "webtransport")),
            ("UDP leads nowhere", taken(session, site, true, "websocket")),
        ],
    ))
}

fn taken(session: &mut Session, site: &Site, dead: bool, kind: &str) -> anyhow::Result<String> {
    let way = Way::start(site)?;
    way.datagrams.set_dead(dead);
    let started = Instant::now();
    let query = "?webtransport,websocket";
    session.open(&format!("http://{}/{FIGURES}{query}", way.streams.address))?;
    let state = wait_for_state(session, &format!("connected over {kind}"), AT_ONCE)?;
    Ok(format!("{state}, {:.1?} after the page was opened", started.elapsed()))
}

/// A server that is reached by relays only.
struct Way {
    server: Server,
    datagrams: Relay,
    streams: Relay,
}

impl Way {
    fn start(site: &Site) -> anyhow::Result<Self> {
        let mut command = site.server();
        let server =
            Server::start(command.args(["--port", "0", "--advertise", &RELAYED.to_string()]))?;
        let page = host_and_port(&server.address()?)?;
        let line = server.wait_for(AT_ONCE, |line| line.starts_with("links over WebRTC"))?;
        let relayed: SocketAddr = line.rsplit(' ').next().unwrap_or_default().parse()?;
        let listening = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), relayed.port());
        let datagrams = Relay::of_datagrams(relayed, listening)?;
        // The page connects over WebTransport to the host that it comes from.
        let streams = Relay::of_streams(RELAYED, page)?;
        Ok(Self { server, datagrams, streams })
    }
}

/// Opens the page, and has it send.
fn transfer(session: &mut Session, url: &str) -> anyhow::Result<()> {
    session.open(url)?;
    wait_for_state(session, "connected", AFTER_SILENCE)?;
    session.click("bulk")?;
    // Into the middle of it.
    std::thread::sleep(Duration::from_millis(500));
    Ok(())
}

fn say(session: &mut Session, url: &str) -> anyhow::Result<String> {
    session.open(url)?;
    wait_for_state(session, "connected", AFTER_SILENCE)?;
    session.write("text", "is anybody there?")?;
    session.wait_for_text("answer", AT_ONCE, |answer| answer == "IS ANYBODY THERE?")?;
    let time = session.wait_for_text("round-trip", AT_ONCE, |time| time != "–")?;
    let route = session.text("route")?;
    Ok(format!("it came back louder; the page shows {time}, and {route} as its route"))
}

fn reload(
    session: &mut Session,
    server: &Server,
    url: &str,
    patience: Duration,
) -> anyhow::Result<String> {
    transfer(session, url)?;
    // What the page before had opened.
    while server.wait_for(Duration::ZERO, |_| true).is_ok() {}
    let started = Instant::now();
    session.open(url)?;
    let ended = server.wait_for(patience, is_gone)?;
    let noticed = started.elapsed();
    wait_for_state(session, "connected", AT_ONCE)?;
    Ok(format!("the server noticed after {noticed:.1?} ({ended}), and has the new page"))
}

fn leave(session: &mut Session, server: &Server, url: &str) -> anyhow::Result<String> {
    transfer(session, url)?;
    while server.wait_for(Duration::ZERO, |_| true).is_ok() {}
    let started = Instant::now();
    session.open("about:blank")?;
    let ended = server.wait_for(AFTER_SILENCE, is_gone)?;
    Ok(format!("the server noticed after {:.1?} ({ended})", started.elapsed()))
}

/// The whole way there leads nowhere for a while, in the middle of a transfer: the page's bytes are counted and in
/// order, or it says so.
fn go_on(session: &mut Session, site: &Site, query: &str) -> anyhow::Result<String> {
    let Way { server, datagrams, streams } = Way::start(site)?;
    let set_dead = |dead| [&datagrams, &streams].map(|relay| relay.set_dead(dead));
    transfer(session, &format!("http://{}/{FIGURES}{query}", streams.address))?;
    set_dead(true);
    std::thread::sleep(OUTAGE);
    let before = measured(session)?;
    ensure!(before < 4, "the transfer was over before the way was dead");
    let down = session.text("state")?;
    ensure!(down.contains("goes on as soon"), "after {OUTAGE:?} the page said: {down}");
    set_dead(false);
    let went_on = wait_for_state(session, "went on", AFTER_SILENCE)?;
    server.wait_for(AT_ONCE, |line| line.contains("went on"))?;
    // What was under way is counted and in order before the page says how fast it was.
    let resumed = Instant::now();
    while measured(session)? <= before {
        let (state, progress) = (session.text("state")?, session.text("progress")?);
        ensure!(state == went_on, "the page says: {state}");
        ensure!(resumed.elapsed() < TRANSFER, "{progress} are there {TRANSFER:?} after it went on");
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(format!("{went_on}; the transfer was whole"))
}

/// How many lengths of messages the page has measured, each with 64 MiB there and back.
fn measured(session: &mut Session) -> anyhow::Result<usize> {
    let mut count = 0;
    for size in [1 << 10, 16 << 10, 64 << 10, 1 << 20] {
        let rate = session.text(&format!("rate-{size}-down"))?;
        count += usize::from(rate.contains("MB/s"));
    }
    Ok(count)
}

fn restart(
    session: &mut Session,
    server: Server,
    address: &str,
    url: &str,
    site: &Site,
) -> anyhow::Result<String> {
    session.open(url)?;
    wait_for_state(session, "connected", AT_ONCE)?;
    // Without a word, as when it crashes.
    drop(server);
    let gone = Instant::now();
    let noticed = wait_for_state(session, "goes on as soon", AFTER_SILENCE)?;
    let after = gone.elapsed();
    let _server = site.start(host_and_port(address)?.port())?;
    wait_for_state(session, "connected", AFTER_SILENCE)?;
    Ok(format!("the page noticed after {after:.1?} ({noticed}), and connected anew"))
}

/// Whether the server says that a page is gone: its session is kept for a while, as it might come back.
fn is_gone(line: &str) -> bool {
    line.starts_with("link ") && line.contains(": down, ")
}

/// Waits until the page says this of its link.
fn wait_for_state(
    session: &mut Session,
    wanted: &str,
    patience: Duration,
) -> anyhow::Result<String> {
    session.wait_for_text("state", patience, |state| state.contains(wanted))
}
