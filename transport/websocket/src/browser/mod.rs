//! Links over a browser's own `WebSocket`, made where it is used: in a worker, without its window.

mod inbox;
#[cfg(test)]
mod tests;

use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use deltawire_framing::Channel;
use deltawire_link::{
    Acknowledgements, Capabilities, Fault, InFlight, MAX_STREAM_MESSAGE, MessageTransport, Output,
    STREAM_QUEUE, StreamMessageError, TransportError, TransportErrorKind,
};
use wasm_bindgen::prelude::*;
use web_sys::{BinaryType, MessageEvent, Url, WebSocket};

use self::inbox::{Came, Ended, Inbox};
use crate::{KIND, SUBPROTOCOL};

/// Nothing went wrong (RFC 6455, section 7.4.1).
const NORMAL: u16 = 1000;

/// Messages of both channels over a `WebSocket` of the browser's.
///
/// It is told what time it is in each round, as all transports that wake their driver are, and starts no timers.
/// How much is on its way is what the peer did not acknowledge: what the browser says that waits has left
/// nothing but its own queue, and it does not say when that gets shorter.
pub struct BrowserWebSocket {
    socket: WebSocket,
    inbox: Rc<Inbox>,
    handlers: Handlers,
    acknowledgements: Acknowledgements,
    now: Duration,
    told_open: bool,
    /// The peer broke a rule, and nothing more is heard.
    deaf: bool,
}

/// Called by the browser until they are taken off the socket.
struct Handlers {
    on_open: Closure<dyn FnMut()>,
    on_message: Closure<dyn FnMut(MessageEvent)>,
    on_close: Closure<dyn FnMut()>,
}

/// An address at which a browser opens no WebSocket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
#[non_exhaustive]
pub struct AddressError {
    /// What the browser says.
    pub reason: String,
}

/// What a peer sends over a WebSocket that no honest one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WebSocketMisuse {
    /// A message is a text.
    #[error("a text came, only binary messages may")]
    Text,
    /// A message is neither an acknowledgement nor a frame, or acknowledges what was not sent.
    #[error(transparent)]
    Message(#[from] StreamMessageError),
    /// More came than is taken before it is looked at.
    #[error("{len} bytes came at once, at most {max} may")]
    TooMuch {
        /// What came.
        len: usize,
        /// The most.
        max: usize,
    },
}

/// The host that an address names; of IPv6 without its brackets.
///
/// # Errors
///
/// When it is no address.
pub fn host(url: &str) -> Result<String, AddressError> {
    let url = Url::new(url).map_err(refused)?;
    Ok(url.hostname().trim_start_matches('[').trim_end_matches(']').to_owned())
}

impl BrowserWebSocket {
    /// Begins to open one at `ws://…` or `wss://…`. [`poll_output`](MessageTransport::poll_output) says when it is
    /// open, or that it was not to be had: [`TransportErrorKind::NotReached`].
    ///
    /// # Errors
    ///
    /// When the browser does not even try: the address is none, or not allowed from where the code comes from.
    pub fn open(url: &str) -> Result<Self, AddressError> {
        WebSocket::new_with_str(url, SUBPROTOCOL).map(Self::over).map_err(refused)
    }

    /// On a socket that was made in this very task: nothing has happened to it yet.
    fn over(socket: WebSocket) -> Self {
        socket.set_binary_type(BinaryType::Arraybuffer);
        let inbox = Rc::<Inbox>::default();
        let on_open = Closure::new({
            let inbox = inbox.clone();
            move || inbox.opened()
        });
        let on_message = Closure::new({
            let inbox = inbox.clone();
            move |event: MessageEvent| inbox.receive(&event.data())
        });
        // Whatever went wrong, this follows, and says no more than that it did.
        let on_close = Closure::new({
            let inbox = inbox.clone();
            move || inbox.closed()
        });
        socket.set_onopen(Some(on_open.as_ref().unchecked_ref()));
        socket.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        socket.set_onclose(Some(on_close.as_ref().unchecked_ref()));
        Self {
            socket,
            inbox,
            handlers: Handlers { on_open, on_message, on_close },
            acknowledgements: Acknowledgements::default(),
            now: Duration::ZERO,
            told_open: false,
            deaf: false,
        }
    }

    /// What came next, if anything did.
    fn take(&mut self) -> Result<Option<Output>, WebSocketMisuse> {
        while let Some(came) = self.inbox.take() {
            match came {
                Came::Acknowledgement(bytes) => {
                    self.acknowledgements.take(&bytes, self.now)?;
                }
                Came::Message(message) => {
                    if let Some(channel) = self.acknowledgements.take(&message, self.now)? {
                        return Ok(Some(Output::Message(channel, message)));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Tells the peer what came, if it was not told.
    fn acknowledge(&mut self) -> Result<(), TransportError> {
        match self.acknowledgements.to_send() {
            Some(acknowledgement) => self.send(&acknowledgement),
            None => Ok(()),
        }
    }

    /// The browser has its own copy of the bytes when this returns. It drops them if the socket is closed, of
    /// which the event may still be on its way.
    fn send(&self, message: &[u8]) -> Result<(), TransportError> {
        self.socket.send_with_u8_array(message).map_err(|error| {
            let reason = format!("{} bytes were refused: {}", message.len(), explain(&error));
            TransportError::new(TransportErrorKind::Failed, Fault::Local, reason)
        })
    }
}

impl MessageTransport for BrowserWebSocket {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::new(MAX_STREAM_MESSAGE, InFlight::Acknowledged);
        capabilities.kind = KIND;
        capabilities.queue = STREAM_QUEUE;
        capabilities.wakes = true;
        capabilities
    }

    fn attach(&mut self, driver: &Waker) {
        self.inbox.attach(driver);
    }

    fn handle_timeout(&mut self, now: Duration) {
        self.now = now;
    }

    fn poll_output(&mut self) -> Result<Output, TransportError> {
        if !self.told_open && self.inbox.is_open() {
            self.told_open = true;
            return Ok(Output::Open);
        }
        match self.take() {
            Ok(Some(output)) => return Ok(output),
            Ok(None) => {}
            Err(misuse) => {
                self.deaf = true;
                self.inbox.deafen();
                return Err(misused(misuse));
            }
        }
        if self.acknowledgements.is_due(self.now) {
            self.acknowledge()?;
        }
        match self.inbox.take_end() {
            Some(Ended::Misused(misuse)) => {
                self.deaf = true;
                Err(misused(misuse))
            }
            Some(Ended::Closed) if self.told_open => Ok(Output::Closed),
            Some(Ended::Closed) => Err(not_reached()),
            None => Ok(Output::Timeout(self.acknowledgements.poll_timeout())),
        }
    }

    fn write(&mut self, _channel: Channel, message: &[u8]) -> Result<bool, TransportError> {
        self.acknowledge()?;
        self.send(message)?;
        self.acknowledgements.wrote(message.len());
        Ok(true)
    }

    fn in_flight(&mut self) -> usize {
        // Nobody says any more; the browser sends what it has before it closes.
        let over = self.deaf || self.inbox.is_closed();
        // What was not sent cannot have come, whatever the peer says.
        let waiting = self.socket.buffered_amount() as usize;
        if over { 0 } else { self.acknowledgements.in_flight().max(waiting) }
    }

    fn close(&mut self) {
        // One that is not open yet takes nothing.
        if self.told_open {
            let _ = self.acknowledge();
        }
        self.inbox.deafen();
        // Refused is only a code that must not be sent.
        let _ = self.socket.close_with_code(NORMAL);
    }
}

impl Drop for BrowserWebSocket {
    fn drop(&mut self) {
        self.socket.set_onopen(None);
        self.socket.set_onmessage(None);
        self.socket.set_onclose(None);
        let Handlers { on_open, on_message, on_close } = &self.handlers;
        let _ = (on_open, on_message, on_close);
        let _ = self.socket.close_with_code(NORMAL);
    }
}

/// The peer can still be told.
fn misused(misuse: WebSocketMisuse) -> TransportError {
    let (kind, fault) = (TransportErrorKind::Protocol, Fault::Peer);
    TransportError::new(kind, fault, misuse).with_channels_kept()
}

fn not_reached() -> TransportError {
    let text = "the browser opened no WebSocket, and does not say why: check the address, and that its server runs; \
                that the server lets in pages of this origin, and who has no token; that proxies on the way let \
                WebSockets through; that a page from https uses wss; and that this browser may reach devices \
                of the local network, if the server is one";
    TransportError::new(TransportErrorKind::NotReached, Fault::Unknown, text)
}

fn refused(error: JsValue) -> AddressError {
    AddressError { reason: explain(&error) }
}

fn explain(error: &JsValue) -> String {
    let error = error.dyn_ref::<js_sys::Error>();
    error.map_or_else(String::new, |error| String::from(error.message()))
}
