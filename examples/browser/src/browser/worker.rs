//! The worker: has the peer, and does what the page wants.

use std::cell::RefCell;
use std::pin::pin;
use std::time::Duration;

use deltawire::prelude::*;
use deltawire::signalling::ClientOptions;
use deltawire::{ConnectError, LinkChange, ReconnectEvent, Reconnecting, TransportErrorKind};
use futures_channel::mpsc;
use futures_util::StreamExt;
use futures_util::future::{Either, select};
use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{DedicatedWorkerGlobalScope, MessageEvent, Performance};

use super::message::{self, Counters, Server, ToPage, ToWorker};
use super::{board, checks, explain, rooms};
use crate::board::{ToWindow, Wish};
use crate::exercise::{self, Rate};
use crate::service::{self, Error};
use crate::yardstick::{self, Measured};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(callback: &js_sys::Function, milliseconds: f64);
}

thread_local! {
    static SCOPE: DedicatedWorkerGlobalScope = js_sys::global().unchecked_into();
    static PERFORMANCE: RefCell<Option<Performance>> = RefCell::new(SCOPE.with(|it| it.performance()));
}

/// Payloads that are measured, bytes.
pub(super) const SIZES: [u32; 4] = [1 << 10, 16 << 10, 64 << 10, 1 << 20];

/// How often the page's chart gets a point while nothing else happens.
const QUIET: Duration = Duration::from_millis(200);

pub(super) fn start() -> Result<(), JsValue> {
    let (wishes, mut wanted) = mpsc::unbounded();
    let (to_board, mut of_board) = mpsc::unbounded();
    let listener = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
        if let Some(bytes) = event.data().dyn_ref::<Uint8Array>() {
            if let Ok(wish) = Wish::read(&bytes.to_vec()) {
                let _ = to_board.unbounded_send(wish);
            }
            return;
        }
        // What is something else is said between the window's port and this node.
        if let Some(wish) = message::read(event.data()) {
            let _ = wishes.unbounded_send(wish);
        }
    });
    SCOPE.with(|scope| {
        scope.add_event_listener_with_callback("message", listener.as_ref().unchecked_ref())
    })?;
    listener.forget();
    show(&ToPage::Ready);
    board::worker::tell(&ToWindow::Ready);
    spawn_local(async move {
        while let Some(wish) = of_board.next().await {
            if let Wish::Join { origin, kind } = wish {
                board::worker::join(&origin, &kind, &mut of_board).await;
            }
        }
    });
    spawn_local(async move {
        while let Some(wish) = wanted.next().await {
            match wish {
                ToWorker::Run { server, quick } => {
                    let report = checks::run(&server, quick).await;
                    show(&ToPage::Report(report));
                }
                ToWorker::Measure { server, job, quick } => {
                    let measured = measured(&server, &job, quick).await;
                    show(&ToPage::Measured(measured.unwrap_or_else(Measured::failed)));
                }
                ToWorker::Accept { room } => rooms::accept(&room, &mut wanted).await,
                ToWorker::Meet { room } => rooms::meet(&room, &mut wanted).await,
                ToWorker::Connect(server) => stay_connected(&server, &mut wanted).await,
                ToWorker::Say(_) | ToWorker::Bulk => {}
            }
        }
    });
    Ok(())
}

/// A node that has links of the server's kind, or of several.
pub(super) fn node(server: &Server, options: ClientOptions) -> Result<Node, deltawire::BuildError> {
    let builder = Node::builder().limits(service::limits()).signalling(options);
    builder.prefer_links(server.kind.split(',')).build()
}

/// Connects, does what is wanted, and connects anew when the link ends.
async fn stay_connected(server: &Server, wanted: &mut mpsc::UnboundedReceiver<ToWorker>) {
    let node = match node(server, ClientOptions::default()) {
        Ok(node) => node,
        Err(error) => return state(&explain(error), false),
    };
    show(&ToPage::Channels("connecting".to_owned()));
    let mut connection: Reconnecting = node.keep_connected(&format!("{}/webrtc", server.origin));
    state("connecting…", false);
    while let Some(change) = connection.next().await {
        match change {
            ReconnectEvent::Up(mut peer, link) => {
                let watched = watch(&link);
                let attended = attend(&mut peer, &link, wanted);
                let attended = match select(pin!(attended), pin!(watched)).await {
                    Either::Left((attended, _)) => attended,
                    // Whoever attends it hears of that too.
                    Either::Right(((), attended)) => attended.await,
                };
                if let Err(error) = attended {
                    let ended = link.ended().map(|ended: LinkEnded| ended.to_string());
                    state(&ended.unwrap_or_else(|| error.to_string()), false);
                }
            }
            ReconnectEvent::Down { ended, retry_after, .. } => {
                show(&ToPage::Channels("closed".to_owned()));
                state(&format!("{ended}; {}", next_try(retry_after)), false);
            }
            ReconnectEvent::Failed { error, retry_after } => {
                let hint = hint(server, &error).unwrap_or_default();
                state(&format!("{}; {}{hint}", explain(error), next_try(retry_after)), false);
            }
            _ => {}
        }
    }
}

/// Shows how a link is until it is over.
async fn watch(link: &Link) {
    let mut changes = link.changes();
    let open = |text: &str| {
        state(text, true);
        show(&ToPage::Channels("open".to_owned()));
    };
    open(&format!("connected over {}", link.kind()));
    loop {
        match changes.next().await {
            LinkChange::Down { why } => {
                state(&format!("{why}; goes on as soon as there is another way"), false);
                show(&ToPage::Channels("closed".to_owned()));
            }
            LinkChange::Resumed(resumed) => {
                open(&format!(
                    "connected; went on over {} after {:.1?}, {} bytes again",
                    resumed.kind, resumed.after, resumed.repeated_bytes
                ));
            }
            LinkChange::Over(_) => return,
            _ => {}
        }
    }
}

/// What people can do about it.
fn hint(server: &Server, error: &ConnectError) -> Option<&'static str> {
    if server.kind != "webrtc" {
        return None;
    }
    let firefox = SCOPE.with(|scope| scope.navigator().user_agent().ok())?.contains("Firefox/");
    let no_way = matches!(error, ConnectError::Ended(LinkEnded::NotReached(_)))
        || matches!(
            error,
            ConnectError::Ended(LinkEnded::Transport(error))
                if error.kind() == TransportErrorKind::NotReached
        );
    (firefox && no_way).then_some(
        ". Firefox does not talk to a server on its own machine unless about:config has \
         media.peerconnection.ice.loopback = true and permissions.default.microphone = 1; \
         or start the demo with --lan, and open the address that it prints for the network",
    )
}

fn next_try(after: Option<Duration>) -> String {
    after.map_or_else(|| "given up".to_owned(), |after| format!("next try in {after:.1?}"))
}

/// Does what the page wants, and measures the round trip in between.
async fn attend(
    peer: &mut Peer,
    link: &Link,
    wanted: &mut mpsc::UnboundedReceiver<ToWorker>,
) -> Result<(), Error> {
    loop {
        let wish = match select(wanted.next(), pin!(sleep(QUIET))).await {
            Either::Left((wish, _)) => wish,
            Either::Right(_) => None,
        };
        match wish {
            Some(ToWorker::Say(text)) if !text.is_empty() => {
                show(&ToPage::Answer(exercise::shout(peer, &text).await?));
            }
            Some(ToWorker::Bulk) => {
                measure(peer, 64 << 20).await?;
            }
            _ => {
                let times = exercise::round_trips(peer, 1 << 10, 1, now).await?;
                show(&ToPage::RoundTrip(times.p50));
            }
        }
        show(&ToPage::Counters(counters(link)));
    }
}

/// One of the yardstick's jobs, over a link of its own.
async fn measured(server: &Server, job: &str, quick: bool) -> Result<Measured, Error> {
    let node = node(server, ClientOptions::default())?;
    let connected = node.connect(&format!("{}/webrtc", server.origin)).await;
    let (mut peer, link) = connected.map_err(explain)?;
    let measured = yardstick::measure(&mut peer, job, quick, now).await;
    link.close(CloseCode::NORMAL, "measured");
    measured
}

/// Throughput by size.
pub(super) async fn measure(peer: &mut Peer, total: u64) -> Result<Vec<Rate>, Error> {
    let mut rates = Vec::new();
    for (size, step) in SIZES.into_iter().zip(0_u32..) {
        let progress = |done: f64| {
            show(&ToPage::Progress((f64::from(step) + done) / SIZES.len() as f64));
        };
        let rate = exercise::throughput(peer, size, total, now, progress).await?;
        show(&ToPage::Rate(rate));
        rates.push(rate);
    }
    show(&ToPage::Progress(1.0));
    Ok(rates)
}

pub(super) fn counters(link: &Link) -> Counters {
    let stats = link.stats();
    let session = stats.session;
    let commands = [session.commands_sent, session.commands_received];
    let received = session.data_received;
    let sum = |each: fn(&deltawire::channels::session::ChannelStats) -> u64| {
        [commands.iter().map(each).sum(), each(&session.data_sent), each(&received)]
    };
    Counters {
        route: format!("{:?}", stats.route).to_ascii_lowercase(),
        messages: sum(|channel| channel.messages),
        bytes: sum(|channel| channel.bytes),
        reassembled: received.copied_bytes + session.commands_received.copied_bytes,
        queued: session.data_sent.queued_bytes + session.commands_sent.queued_bytes,
        buffered: stats.in_flight,
        waits: stats.waits,
    }
}

pub(super) fn now() -> Duration {
    let milliseconds = PERFORMANCE.with_borrow(|it| it.as_ref().map_or(0.0, Performance::now));
    Duration::from_secs_f64(milliseconds / 1e3)
}

pub(super) fn show(message: &ToPage) {
    post(&message::written(message));
}

pub(super) fn post(message: &JsValue) {
    let _ = SCOPE.with(|scope| scope.post_message(message));
}

pub(super) fn state(text: &str, up: bool) {
    show(&ToPage::State { text: text.to_owned(), up });
}

pub(super) async fn sleep(duration: Duration) {
    let promise = js_sys::Promise::new(&mut |resolve, _| {
        set_timeout(&resolve, duration.as_secs_f64() * 1e3);
    });
    let _ = JsFuture::from(promise).await;
}
