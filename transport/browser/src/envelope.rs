//! What the window and the worker say to each other: small objects that name themselves, so that
//! the application can use the same worker's messages for its own.

use js_sys::{Array, Object, Reflect};
use wasm_bindgen::prelude::*;

/// Marks a message as one of these, and says which link it is of.
const LINK: &str = "deltawireLink";
const KIND: &str = "kind";

/// One message about one link.
pub(super) struct Envelope(Object);

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// To the window: make a connection, to who made an offer if there is one with it.
    Open,
    /// To the worker: here are its channels.
    Channels,
    /// To the worker: here is its offer, or its answer.
    Offer,
    /// To the window: here is the answer.
    Answer,
    /// To the worker: the browser gave the connection up.
    Lost,
    /// To the worker: the window could not do it.
    Failed,
    /// To the window: close the connection.
    Close,
}

const KINDS: [(Kind, &str); 7] = [
    (Kind::Open, "open"),
    (Kind::Channels, "channels"),
    (Kind::Offer, "offer"),
    (Kind::Answer, "answer"),
    (Kind::Lost, "lost"),
    (Kind::Failed, "failed"),
    (Kind::Close, "close"),
];

impl Envelope {
    pub(super) fn new(link: u32, kind: Kind) -> Self {
        let name = KINDS.iter().find(|(found, _)| *found == kind).map_or("", |(_, name)| *name);
        Self(Object::new()).with(LINK, link.into()).with(KIND, name.into())
    }

    /// The same with one thing more.
    pub(super) fn with(self, name: &str, value: JsValue) -> Self {
        // A new plain object takes everything.
        let _ = Reflect::set(&self.0, &name.into(), &value);
        self
    }

    /// Reads a message, if it is one of these.
    pub(super) fn read(message: JsValue) -> Option<(Self, u32, Kind)> {
        let envelope = Self(message.dyn_into().ok()?);
        let link = envelope.get(LINK).as_f64()? as u32;
        let name = envelope.text(KIND);
        let (kind, _) = KINDS.iter().find(|(_, found)| *found == name)?;
        Some((envelope, link, *kind))
    }

    pub(super) fn get(&self, name: &str) -> JsValue {
        Reflect::get(&self.0, &name.into()).unwrap_or_default()
    }

    pub(super) fn text(&self, name: &str) -> String {
        self.get(name).as_string().unwrap_or_default()
    }

    pub(super) fn list(&self, name: &str) -> Array {
        Array::from(&self.get(name))
    }

    pub(super) fn as_message(&self) -> &JsValue {
        &self.0
    }
}

/// What a thrown value says, for people.
pub fn explain(error: &JsValue) -> String {
    match error.dyn_ref::<js_sys::Error>() {
        Some(error) => String::from(error.to_string()),
        None => {
            let text = |name: &str| Reflect::get(error, &name.into()).ok()?.as_string();
            match (text("name"), text("message")) {
                (Some(name), Some(message)) => format!("{name}: {message}"),
                _ => format!("{error:?}"),
            }
        }
    }
}
