//! The three data channels of a link, in the worker.

#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use deltawire_channels::TransportMessage;
use deltawire_framing::Channel;
use deltawire_framing::control::Role;
use deltawire_link::{
    Capabilities, Delivers, Fault, InFlight, MessageTransport, Output, TransportError,
    TransportErrorKind,
};
use deltawire_sdp::{StreamMisuse, stream};
use js_sys::{Array, ArrayBuffer, Uint8Array};
use wasm_bindgen::prelude::*;
use web_sys::{Event, MessageEvent, MessagePort, RtcDataChannel, RtcDataChannelState};

use super::clock;
use super::envelope::explain;

/// What may wait in the browser's own buffers. A command waits behind it, and too little of it
/// leaves the path idle until the worker comes round. Bytes.
pub(super) const BUFFER: usize = 256 << 10;

/// The browser says when no more than this waits in a channel. If a frame of the longest kind finds
/// no room in [`BUFFER`], then more than this waits in one of the two channels that are sent on.
/// Bytes.
pub(super) const LOW: u32 = 64 << 10;

/// What may come before the link's session takes it: hello and windows. Bytes.
const EARLY: usize = 64 << 10;

/// What the worker says to a relay when the link is over.
pub(super) const CLOSE: &str = "close";

/// While something waits, the buffers are looked at so often even if the browser says nothing.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The three data channels of a link, by stream.
pub struct Channels {
    role: Role,
    pipes: [Pipe; 3],
    inbox: Rc<Inbox>,
    max_message_len: usize,
    told_open: bool,
    /// As of the last look.
    buffered: usize,
}

/// What came and was not taken yet.
#[derive(Default)]
pub(super) struct Inbox {
    messages: RefCell<VecDeque<(Channel, TransportMessage)>>,
    /// Bytes of `messages`.
    waiting: Cell<usize>,
    /// The session takes what comes.
    taken: Cell<bool>,
    /// Whether the peer is who connected.
    acceptor: Cell<bool>,
    /// By stream.
    open: Cell<[bool; 3]>,
    lost: RefCell<Option<Lost>>,
    driver: RefCell<Option<Waker>>,
}

enum Lost {
    HungUp,
    Error(TransportError),
}

enum Pipe {
    Transferred { channel: RtcDataChannel, handlers: Handlers },
    Relayed { port: MessagePort, on_message: OnMessage, sent: f64, gone: Rc<Cell<f64>> },
}

type OnMessage = Closure<dyn FnMut(MessageEvent)>;

struct Handlers {
    on_message: OnMessage,
    on_event: Closure<dyn FnMut(Event)>,
    /// By itself, as it comes often: an event's type is a string that has to be copied.
    on_low: Closure<dyn FnMut()>,
}

impl Channels {
    /// Takes over what the window sent, at once: what comes before a handler is there is lost.
    pub(super) fn new(
        role: Role,
        relayed: bool,
        channels: &Array,
        inbox: Rc<Inbox>,
    ) -> Option<Self> {
        if channels.length() != 3 {
            return None;
        }
        inbox.acceptor.set(role == Role::Acceptor);
        let pipes = [0, 1, 2].map(|number| {
            let channel = channels.get(u32::from(number));
            if relayed {
                Pipe::relayed(channel.unchecked_into(), number, &inbox)
            } else {
                Pipe::transferred(channel.unchecked_into(), number, &inbox)
            }
        });
        Some(Self { role, pipes, inbox, max_message_len: 0, told_open: false, buffered: 0 })
    }

    /// The session begins: who is woken when something happens, and what the peer takes.
    pub fn begin(&mut self, max_message_len: usize) {
        self.max_message_len = max_message_len;
        self.inbox.taken.set(true);
    }
}

impl Inbox {
    pub(super) fn attach(&self, driver: Waker) {
        *self.driver.borrow_mut() = Some(driver);
    }

    /// The connection is gone.
    pub(super) fn hang_up(&self) {
        let open = self.open.get() == [true; 3];
        self.lose(if open { Lost::HungUp } else { Lost::Error(no_way()) });
    }

    pub(super) fn fail(&self, error: TransportError) {
        self.lose(Lost::Error(error));
    }

    fn lose(&self, lost: Lost) {
        self.lost.borrow_mut().get_or_insert(lost);
        self.wake();
    }

    fn opened(&self, number: u16) {
        let mut open = self.open.get();
        open[usize::from(number)] = true;
        self.open.set(open);
        self.wake();
    }

    /// Takes in what a channel gave: the one copy is from the browser's memory into wasm's.
    fn receive(&self, number: u16, data: &JsValue) {
        let fault = |reason| {
            let misuse = StreamMisuse { stream: number, reason };
            let (kind, fault) = (TransportErrorKind::Protocol, Fault::Peer);
            self.fail(TransportError::new(kind, fault, misuse).with_channels_kept());
        };
        let peer = if self.acceptor.get() { Role::Initiator } else { Role::Acceptor };
        let is_of = |channel| stream(peer, channel) == number;
        let channel = match [Channel::Command, Channel::Data].into_iter().find(|it| is_of(*it)) {
            Some(channel) => channel,
            None => return fault("it carries this side's deltas only"),
        };
        let Some(buffer) = data.dyn_ref::<ArrayBuffer>() else {
            return fault("a text came, only binary messages may");
        };
        let waiting = self.waiting.get() + buffer.byte_length() as usize;
        if !self.taken.get() && waiting > EARLY {
            return fault("too much came before the link was open");
        }
        self.waiting.set(waiting);
        let message = TransportMessage::filled_by(buffer.byte_length() as usize, |room| {
            Uint8Array::new(buffer).copy_to(room);
        });
        self.messages.borrow_mut().push_back((channel, message));
        self.wake();
    }

    fn take(&self) -> Option<(Channel, TransportMessage)> {
        let (channel, message) = self.messages.borrow_mut().pop_front()?;
        self.waiting.set(self.waiting.get() - message.len());
        Some((channel, message))
    }

    fn wake(&self) {
        let driver = self.driver.borrow().clone();
        if let Some(driver) = driver {
            driver.wake();
        }
    }
}

impl Pipe {
    fn transferred(channel: RtcDataChannel, number: u16, inbox: &Rc<Inbox>) -> Self {
        channel.set_buffered_amount_low_threshold(LOW);
        let on_message = Closure::new({
            let inbox = inbox.clone();
            move |event: MessageEvent| inbox.receive(number, &event.data())
        });
        let on_event = Closure::new({
            let inbox = inbox.clone();
            move |event: Event| match event.type_().as_str() {
                "open" => inbox.opened(number),
                _ => inbox.hang_up(),
            }
        });
        let on_low = Closure::new({
            let inbox = inbox.clone();
            move || inbox.wake()
        });
        channel.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        let callback = Some(on_event.as_ref().unchecked_ref());
        channel.set_onopen(callback);
        channel.set_onclose(callback);
        channel.set_onerror(callback);
        channel.set_onbufferedamountlow(Some(on_low.as_ref().unchecked_ref()));
        match channel.ready_state() {
            RtcDataChannelState::Open => inbox.opened(number),
            RtcDataChannelState::Closing | RtcDataChannelState::Closed => inbox.hang_up(),
            _ => {}
        }
        Self::Transferred { channel, handlers: Handlers { on_message, on_event, on_low } }
    }

    fn relayed(port: MessagePort, number: u16, inbox: &Rc<Inbox>) -> Self {
        let gone = Rc::new(Cell::new(0.0));
        let on_message = Closure::new({
            let (inbox, gone) = (inbox.clone(), gone.clone());
            move |event: MessageEvent| {
                let data = event.data();
                match (data.as_f64(), data.as_string().as_deref()) {
                    (Some(bytes), _) => {
                        gone.set(bytes);
                        inbox.wake();
                    }
                    (_, Some("open")) => inbox.opened(number),
                    (_, Some(_)) => inbox.hang_up(),
                    _ => inbox.receive(number, &data),
                }
            }
        });
        port.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        Self::Relayed { port, on_message, sent: 0.0, gone }
    }

    /// The browser has its own copy of the bytes when this returns.
    fn send(&mut self, message: &[u8]) -> Result<(), JsValue> {
        match self {
            Self::Transferred { channel, .. } => channel.send_with_u8_array(message),
            Self::Relayed { port, sent, .. } => {
                let buffer = Uint8Array::from(message).buffer();
                port.post_message_with_transferable(&buffer, &Array::of1(&buffer))?;
                *sent += message.len() as f64;
                Ok(())
            }
        }
    }

    fn buffered(&self) -> usize {
        match self {
            Self::Transferred { channel, .. } => channel.buffered_amount() as usize,
            Self::Relayed { sent, gone, .. } => (sent - gone.get()).max(0.0) as usize,
        }
    }

    fn is_gone(&self) -> bool {
        match self {
            Self::Transferred { channel, .. } => channel.ready_state() != RtcDataChannelState::Open,
            Self::Relayed { .. } => false,
        }
    }
}

impl MessageTransport for Channels {
    fn capabilities(&self) -> Capabilities {
        // The browser does not say what was acknowledged.
        let in_flight = InFlight::HandedOn { max: BUFFER };
        let mut capabilities = Capabilities::new(self.max_message_len, in_flight);
        capabilities.kind = "webrtc";
        capabilities.delivers = Delivers::AsAsked;
        capabilities.wakes = true;
        capabilities
    }

    fn attach(&mut self, driver: &Waker) {
        self.inbox.attach(driver.clone());
    }

    fn handle_timeout(&mut self, _now: Duration) {}

    fn poll_output(&mut self) -> Result<Output, TransportError> {
        if let Some((channel, message)) = self.inbox.take() {
            return Ok(Output::Message(channel, message));
        }
        if !self.told_open && self.inbox.open.get() == [true; 3] {
            self.told_open = true;
            return Ok(Output::Open);
        }
        match self.inbox.lost.borrow_mut().take() {
            Some(Lost::HungUp) => Ok(Output::Closed),
            Some(Lost::Error(error)) => Err(error),
            None => Ok(Output::Timeout((self.buffered > 0).then(|| clock::now() + LOOK_AGAIN))),
        }
    }

    fn write(&mut self, channel: Channel, message: &[u8]) -> Result<bool, TransportError> {
        let number = stream(self.role, channel);
        let pipe = &mut self.pipes[usize::from(number)];
        if let Err(error) = pipe.send(message) {
            if pipe.is_gone() {
                // The event that says so is still on its way.
                self.inbox.hang_up();
                return Ok(true);
            }
            let reason = format!("{} bytes were refused: {}", message.len(), explain(&error));
            let (kind, fault) = (TransportErrorKind::Failed, Fault::Local);
            return Err(TransportError::new(kind, fault, reason));
        }
        self.buffered += message.len();
        Ok(true)
    }

    fn in_flight(&mut self) -> usize {
        let of = |channel| self.pipes[usize::from(stream(self.role, channel))].buffered();
        self.buffered = of(Channel::Command) + of(Channel::Data);
        self.buffered
    }

    fn close(&mut self) {
        for pipe in &self.pipes {
            match pipe {
                Pipe::Transferred { channel, .. } => channel.close(),
                // It goes behind the messages. The window may be gone, and the channel with it.
                Pipe::Relayed { port, .. } => drop(port.post_message(&CLOSE.into())),
            }
        }
    }
}

fn no_way() -> TransportError {
    let text = "the browser found no way to the peer, or the peer hung up before the link was open";
    TransportError::new(TransportErrorKind::NotReached, Fault::Unknown, text)
}

impl Drop for Pipe {
    fn drop(&mut self) {
        match self {
            Self::Transferred { channel, handlers } => {
                let Handlers { on_message, on_event, on_low } = handlers;
                channel.set_onmessage(None);
                channel.set_onopen(None);
                channel.set_onclose(None);
                channel.set_onerror(None);
                channel.set_onbufferedamountlow(None);
                let _ = (on_message, on_event, on_low);
            }
            Self::Relayed { port, on_message, .. } => {
                port.set_onmessage(None);
                port.close();
                let _ = on_message;
            }
        }
    }
}
