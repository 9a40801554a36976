//! The window's part: it holds what a worker cannot, and no payload.

mod link;
mod relay;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use deltawire_sdp::IceServer;
use wasm_bindgen::prelude::*;
use web_sys::{MessageEvent, Worker};

use self::link::WindowLink;
use super::envelope::{Envelope, Kind};

/// How a [`Port`] serves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PortOptions {
    /// Relays all messages even if the browser can transfer channels, to try how that is. Default:
    /// no.
    pub force_relay: bool,
    /// Whom the browser asks for addresses at which it is reached from other networks (STUN), or for one there (TURN).
    /// Default: nobody, so that two browsers reach each other within one network only.
    pub ice_servers: Vec<IceServer>,
}

/// What went through a [`Port`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PortStats {
    /// Connections that there are.
    pub links: usize,
    /// Connections that the window has to relay, of all that were made.
    pub relayed: u64,
    /// Bytes of messages that the window had in its hands: 0 unless it relays.
    pub payload_bytes: u64,
}

/// Serves a worker: makes `RTCPeerConnection`s for its node, which exist in windows only, and gives
/// it their data channels. Dropped, it hangs them up.
///
/// Make it right after the worker, so that it hears the worker's first request:
///
/// ```no_run
/// use deltawire_browser::{Port, PortOptions, is_worker, spawn_worker};
///
/// # fn run() -> Result<(), wasm_bindgen::JsValue> {
/// if !is_worker() {
///     let worker = spawn_worker()?;
///     let port = Port::new(worker.clone(), PortOptions::default())?;
///     std::mem::forget(port); // for as long as the page is there
/// }
/// # Ok(())
/// # }
/// ```
///
/// It hears the worker's `message` events beside the application, and passes over what is not its
/// own; the application has to do the same with objects that have a `deltawireLink`.
pub struct Port {
    inner: Rc<Inner>,
    listener: Closure<dyn FnMut(MessageEvent)>,
}

struct Inner {
    worker: Worker,
    options: PortOptions,
    links: RefCell<HashMap<u32, WindowLink>>,
    relayed: Cell<u64>,
    payload_bytes: Rc<Cell<u64>>,
}

impl Port {
    /// Serves this worker from now on.
    ///
    /// # Errors
    ///
    /// What the browser says when it takes no listener.
    pub fn new(worker: Worker, options: PortOptions) -> Result<Self, JsValue> {
        let inner = Rc::new(Inner {
            worker,
            options,
            links: RefCell::default(),
            relayed: Cell::default(),
            payload_bytes: Rc::default(),
        });
        let weak = Rc::downgrade(&inner);
        let listener = Closure::new(move |event: MessageEvent| {
            if let Some((inner, read)) = weak.upgrade().zip(Envelope::read(event.data())) {
                inner.handle(read);
            }
        });
        let callback = listener.as_ref().unchecked_ref();
        inner.worker.add_event_listener_with_callback("message", callback)?;
        Ok(Self { inner, listener })
    }

    /// What went through it.
    #[must_use]
    pub fn stats(&self) -> PortStats {
        PortStats {
            links: self.inner.links.borrow().len(),
            relayed: self.inner.relayed.get(),
            payload_bytes: self.inner.payload_bytes.get(),
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        let callback = self.listener.as_ref().unchecked_ref();
        let _ = self.inner.worker.remove_event_listener_with_callback("message", callback);
    }
}

impl std::fmt::Debug for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Port").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl Inner {
    fn handle(self: &Rc<Self>, (envelope, id, kind): (Envelope, u32, Kind)) {
        match kind {
            Kind::Open => match WindowLink::open(self, id, &envelope) {
                Ok(link) => {
                    if link.is_relayed() {
                        self.relayed.set(self.relayed.get() + 1);
                    }
                    self.links.borrow_mut().insert(id, link);
                }
                Err(reason) => self.fail(id, &reason),
            },
            Kind::Answer => {
                if let Some(link) = self.links.borrow().get(&id) {
                    link.answer(self, id, &envelope.text("sdp"));
                }
            }
            Kind::Close => {
                let link = self.links.borrow_mut().remove(&id);
                if let Some(link) = link {
                    link.close();
                }
            }
            Kind::Channels | Kind::Offer | Kind::Lost | Kind::Failed => {}
        }
    }

    fn fail(&self, id: u32, reason: &str) {
        self.post(&Envelope::new(id, Kind::Failed).with("reason", reason.into()));
    }

    fn post(&self, envelope: &Envelope) {
        // Only what cannot be cloned is refused.
        let _ = self.worker.post_message(envelope.as_message());
    }
}
