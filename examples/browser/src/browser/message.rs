//! What the page and its worker say to each other, as plain objects.

use js_sys::JSON;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_wasm_bindgen::Serializer;
use wasm_bindgen::JsValue;

use crate::exercise::{Check, Rate, RoundTrips};
use crate::yardstick::Measured;

/// A message as an object that can be posted.
pub(super) fn written(message: &impl Serialize) -> JsValue {
    message.serialize(&Serializer::json_compatible()).unwrap_or_default()
}

/// The message that an object is, if it is one.
pub(super) fn read<T: DeserializeOwned>(object: JsValue) -> Option<T> {
    serde_wasm_bindgen::from_value(object).ok()
}

/// The same as text.
pub(super) fn json(message: &impl Serialize) -> String {
    JSON::stringify(&written(message)).map(String::from).unwrap_or_default()
}

/// The server, and by which kind of link it is reached.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Server {
    pub(super) origin: String,
    /// As `NodeBuilder::prefer_links` takes it.
    pub(super) kind: String,
}

/// What the page wants.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToWorker {
    /// Connect, and stay connected.
    Connect(Server),
    /// Send this text, and show what comes back.
    Say(String),
    /// Measure.
    Bulk,
    /// Try everything, measure, and report.
    Run { server: Server, quick: bool },
    /// Accept links in a room, and serve them as the server does.
    Accept { room: String },
    /// Connect to who accepts in a room, and try the link.
    Meet { room: String },
    /// Measure what the yardstick measures too: see [`crate::yardstick`].
    Measure { server: Server, job: String, quick: bool },
}

/// What the worker has to show.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToPage {
    /// It can be told what to do.
    Ready,
    /// How the link is, in plain words.
    State {
        text: String,
        up: bool,
    },
    /// How the three data channels are: they open together, and close together.
    Channels(String),
    /// A text came back.
    Answer(String),
    /// Microseconds.
    RoundTrip(f64),
    /// Between 0 and 1.
    Progress(f64),
    Rate(Rate),
    Counters(Counters),
    Check(Check),
    Report(Report),
    Measured(Measured),
}

/// What the link says of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Counters {
    pub(super) route: String,
    /// By channel: commands both ways, my deltas, the server's deltas.
    pub(super) messages: [u64; 3],
    pub(super) bytes: [u64; 3],
    /// Body bytes of fragments that were copied to their place.
    pub(super) reassembled: u64,
    /// Bytes that the application committed and that are not sent.
    pub(super) queued: u64,
    /// Bytes that wait in the browser.
    pub(super) buffered: u64,
    /// How often the browser took no more for now.
    pub(super) waits: u64,
}

/// How a run went.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Report {
    /// The kind of link.
    pub(super) kind: String,
    pub(super) checks: Vec<Check>,
    pub(super) round_trips: RoundTrips,
    pub(super) rates: Vec<Rate>,
    pub(super) counters: Counters,
    /// The window knows; the worker says 0.
    pub(super) main_thread_bytes: u64,
}
