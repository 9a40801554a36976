//! Asks the window for a connection.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::time::Duration;

use deltawire_channels::{Delivery, Order, Reliability};
use deltawire_framing::control::Role;
use deltawire_link::{Fault, Route, TransportError, TransportErrorKind};
use futures_channel::oneshot;
use js_sys::Array;
use wasm_bindgen::prelude::*;
use web_sys::{DedicatedWorkerGlobalScope, MessageEvent, RtcDataChannelInit};

use super::channels::{Channels, Inbox};
use super::clock;
use super::envelope::{Envelope, Kind};

/// How long the window may take for an offer.
const WINDOW_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpeningError {
    /// The window did not answer.
    #[error("the window made no connection within {after:?}: does it have a browser::Port?")]
    WindowSilent {
        /// How long was waited.
        after: Duration,
    },
    /// The window could not make a connection.
    #[error("the window made no connection: {reason}")]
    Window {
        /// What the browser says.
        reason: String,
    },
}

/// What an offer says of where this browser is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Candidates {
    /// What is known at once, which may be nothing: enough for a node that is reached at addresses of its own.
    AtOnce,
    /// All that the browser finds within a second: for another browser, which is no more reached than this one.
    Gathered,
}

/// A connection of the window's. Dropped, it is closed.
pub struct Opening {
    id: u32,
}

/// What the window gave.
pub struct Offered {
    /// The connection.
    pub opening: Opening,
    /// Its data channels.
    pub channels: Channels,
    /// Which way their messages go.
    pub route: Route,
    /// The offer, or the answer.
    pub sdp: String,
}

/// Channels, their route, and the description; or why there are none.
type Made = Result<(Channels, Route, String), String>;

/// What is waited for from the window.
struct Waiting {
    role: Role,
    channels: Option<(Channels, Route)>,
    offered: Option<oneshot::Sender<Made>>,
    inbox: Weak<Inbox>,
}

/// Requests to the window, and who waits for answers.
struct Requests {
    scope: DedicatedWorkerGlobalScope,
    next: u32,
    waiting: HashMap<u32, Waiting>,
    /// Heard for as long as the worker is there.
    _listener: Closure<dyn FnMut(MessageEvent)>,
}

thread_local! {
    static REQUESTS: RefCell<Option<Requests>> = const { RefCell::new(None) };
}

/// Listens to the window, from the first node on. Says whether this is a dedicated worker.
pub fn listen() -> bool {
    REQUESTS.with_borrow_mut(|requests| {
        if requests.is_some() {
            return true;
        }
        let Ok(scope) = js_sys::global().dyn_into::<DedicatedWorkerGlobalScope>() else {
            return false;
        };
        let listener = Closure::new(|event: MessageEvent| {
            if let Some((envelope, id, kind)) = Envelope::read(event.data()) {
                handle(&envelope, id, kind);
            }
        });
        let callback = listener.as_ref().unchecked_ref();
        if scope.add_event_listener_with_callback("message", callback).is_err() {
            return false;
        }
        let waiting = HashMap::new();
        *requests = Some(Requests { scope, next: 1, waiting, _listener: listener });
        true
    })
}

/// Makes a connection with these deliveries, by stream, and its offer.
///
/// # Errors
///
/// [`OpeningError`] when the window cannot, or does not answer within 5 s.
pub async fn open(
    deliveries: [Delivery; 3],
    candidates: Candidates,
) -> Result<Offered, OpeningError> {
    make(deliveries, Role::Initiator, candidates, JsValue::UNDEFINED).await
}

/// Makes a connection with these deliveries, by stream, to who made an offer, and its answer.
///
/// # Errors
///
/// As of [`open`]; and when the browser cannot take the offer.
pub async fn answer(deliveries: [Delivery; 3], offer: &str) -> Result<Offered, OpeningError> {
    make(deliveries, Role::Acceptor, Candidates::Gathered, offer.into()).await
}

/// The offer that is answered, or `undefined`.
async fn make(
    deliveries: [Delivery; 3],
    role: Role,
    candidates: Candidates,
    answered: JsValue,
) -> Result<Offered, OpeningError> {
    let (offered, offer) = oneshot::channel();
    let options: Array = (0..).zip(deliveries).map(|(id, it)| options(id, it)).collect();
    let opening = REQUESTS.with_borrow_mut(|requests| {
        let requests = requests.as_mut()?;
        let id = requests.next;
        requests.next += 1;
        let waiting = Waiting { role, channels: None, offered: Some(offered), inbox: Weak::new() };
        requests.waiting.insert(id, waiting);
        let envelope = Envelope::new(id, Kind::Open).with("channels", options.into());
        let gather = candidates == Candidates::Gathered;
        let envelope = envelope.with("sdp", answered).with("gather", gather.into());
        // Plain objects can always be cloned.
        let _ = requests.scope.post_message(envelope.as_message());
        Some(Opening { id })
    });
    let silent = || OpeningError::WindowSilent { after: WINDOW_TIMEOUT };
    let opening = opening.ok_or_else(silent)?;
    match clock::timeout(WINDOW_TIMEOUT, offer).await {
        Some(Ok(Ok((channels, route, sdp)))) => Ok(Offered { opening, channels, route, sdp }),
        Some(Ok(Err(reason))) => Err(OpeningError::Window { reason }),
        Some(Err(_)) | None => Err(silent()),
    }
}

impl Opening {
    /// Lets the window take in the answer to an offer.
    pub fn answer(&self, sdp: &str) {
        post(&Envelope::new(self.id, Kind::Answer).with("sdp", sdp.into()));
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        let waiting = REQUESTS.with_borrow_mut(|requests| {
            requests.as_mut().and_then(|requests| requests.waiting.remove(&self.id))
        });
        drop(waiting);
        post(&Envelope::new(self.id, Kind::Close));
    }
}

fn post(envelope: &Envelope) {
    REQUESTS.with_borrow(|requests| {
        if let Some(requests) = requests {
            let _ = requests.scope.post_message(envelope.as_message());
        }
    });
}

fn handle(envelope: &Envelope, id: u32, kind: Kind) {
    REQUESTS.with_borrow_mut(|requests| {
        let Some(waiting) = requests.as_mut().and_then(|it| it.waiting.get_mut(&id)) else {
            return;
        };
        match kind {
            Kind::Channels => {
                let inbox = Rc::<Inbox>::default();
                waiting.inbox = Rc::downgrade(&inbox);
                let relayed = envelope.text("route") == "relayed";
                let route = if relayed { Route::Relayed } else { Route::Transferred };
                let channels =
                    Channels::new(waiting.role, relayed, &envelope.list("channels"), inbox);
                waiting.channels = channels.map(|channels| (channels, route));
            }
            Kind::Offer => {
                if let Some(((channels, route), offered)) =
                    waiting.channels.take().zip(waiting.offered.take())
                {
                    // Who asked may have gone.
                    let _ = offered.send(Ok((channels, route, envelope.text("sdp"))));
                }
            }
            Kind::Failed => {
                let reason = envelope.text("reason");
                match waiting.offered.take() {
                    Some(offered) => drop(offered.send(Err(reason))),
                    None => {
                        if let Some(inbox) = waiting.inbox.upgrade() {
                            inbox.fail(TransportError::new(
                                TransportErrorKind::Failed,
                                Fault::Unknown,
                                reason,
                            ));
                        }
                    }
                }
            }
            Kind::Lost => {
                if let Some(inbox) = waiting.inbox.upgrade() {
                    inbox.hang_up();
                }
            }
            Kind::Open | Kind::Answer | Kind::Close => {}
        }
    });
}

/// A channel that both sides know without being told.
fn options(stream: u16, delivery: Delivery) -> JsValue {
    let options = RtcDataChannelInit::new();
    options.set_negotiated(true);
    options.set_id(stream);
    options.set_ordered(delivery.order == Order::Ordered);
    match delivery.reliability {
        Reliability::Reliable => {}
        Reliability::MaxRetransmits(count) => options.set_max_retransmits(count),
        Reliability::MaxLifetime(time) => {
            let milliseconds = u16::try_from(time.as_millis()).unwrap_or(u16::MAX);
            options.set_max_packet_life_time(milliseconds);
        }
    }
    options.into()
}
