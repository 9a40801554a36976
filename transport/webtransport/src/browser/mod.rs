//! Links over a browser's own `WebTransport`, made where it is used: in a worker, without its window.

mod alone_in;
mod alone_out;
mod bindings;
mod incoming;
mod opening;
mod outgoing;
mod promised;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use deltawire_channels::{Delivery, TransportMessage};
use deltawire_framing::Channel;
use deltawire_link::{
    Capabilities, Delivers, Fault, InFlight, MessageTransport, Output, TransportError,
    TransportErrorKind,
};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use self::alone_in::AloneIn;
use self::alone_out::AloneOut;
use self::bindings::WebTransport;
use self::incoming::{Incoming, Lost, MAX_MESSAGE};
use self::outgoing::Outgoing;
use crate::KIND;

/// What may wait for the browser, bytes: one piece that it takes, and the next.
const MAX_IN_FLIGHT: usize = 128 << 10;

/// Messages of both channels over streams of a `WebTransport` of the browser's.
///
/// Everything that it waits for is a promise of the browser's, which wakes its driver: it has no tasks and no timers of its
/// own. A stream has one `write()` at a time; what comes is read when what came before was handed on.
pub struct BrowserWebTransport {
    session: WebTransport,
    closed: JsFuture,
    state: State,
    driver: Option<Waker>,
    now: Duration,
}

enum State {
    Opening(Pin<Box<dyn Future<Output = Result<Streams, JsValue>>>>),
    Open(Box<Streams>),
    Over,
}

/// Those of a link.
struct Streams {
    commands_out: Outgoing,
    commands_in: Incoming,
    deltas_out: Outgoing,
    /// Deltas that may overtake each other.
    messages_out: Option<AloneOut>,
    deltas_in: DeltasIn,
    /// Whether the server takes nothing more on one of them.
    gone: bool,
}

/// How the server's deltas come.
enum DeltasIn {
    InOrder(Incoming),
    Alone(AloneIn),
}

impl DeltasIn {
    fn poll(&mut self, context: &mut Context<'_>) -> Result<Option<TransportMessage>, Lost> {
        match self {
            Self::InOrder(incoming) => incoming.poll(context),
            Self::Alone(incoming) => incoming.poll(context),
        }
    }

    fn deafen(&mut self) {
        match self {
            Self::InOrder(incoming) => incoming.deafen(),
            Self::Alone(incoming) => incoming.deafen(),
        }
    }
}

/// A breach of a link's rules by a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WebTransportMisuse {
    /// A stream began with a number that does not belong there.
    #[error("a stream began with {number}, and {expected} belongs there")]
    Number {
        /// The byte that came.
        number: u8,
        /// The one that belongs there.
        expected: u8,
    },
    /// A message is empty, or longer than any.
    #[error("a message of {len} bytes: it must have 1 to {max}")]
    Length {
        /// The length that was announced, bytes.
        len: u32,
        /// The longest that is taken, bytes.
        max: usize,
    },
}

impl BrowserWebTransport {
    /// Begins to open one at `https://…`, whose server has a certificate with one of these SHA-256, or, if there are none,
    /// one that the browser trusts. [`poll_output`](MessageTransport::poll_output) says when it is open, or that it was not
    /// to be had: [`TransportErrorKind::NotReached`]. Its deltas are sent and received as told.
    ///
    /// # Errors
    ///
    /// When the browser does not even try: it has no WebTransport ([`TransportErrorKind::Unsupported`]), or the address is
    /// none ([`TransportErrorKind::SetUp`]).
    pub fn open(
        url: &str,
        certificate_hashes: &[[u8; 32]],
        send: Delivery,
        receive: Delivery,
    ) -> Result<Self, TransportError> {
        let session = opening::begin(url, certificate_hashes)?;
        let closed = JsFuture::from(session.closed());
        let state = State::Opening(Box::pin(opening::open(session.clone(), send, receive)));
        Ok(Self { session, closed, state, driver: None, now: Duration::ZERO })
    }
}

impl Streams {
    /// The next message, if one is there.
    fn next(&mut self, now: Duration, context: &mut Context<'_>) -> Result<Option<Output>, Lost> {
        for outgoing in [&mut self.commands_out, &mut self.deltas_out] {
            self.gone |= outgoing.poll(context).is_err();
        }
        if let Some(messages) = &mut self.messages_out {
            messages.poll(now, context);
        }
        if let Some(message) = self.commands_in.poll(context)? {
            return Ok(Some(Output::Message(Channel::Command, message)));
        }
        if let Some(message) = self.deltas_in.poll(context)? {
            return Ok(Some(Output::Message(Channel::Data, message)));
        }
        // What came before is told first.
        if self.gone { Err(Lost::Gone) } else { Ok(None) }
    }

    /// When something is given up.
    fn next_timeout(&self) -> Option<Duration> {
        self.messages_out.as_ref().and_then(AloneOut::next_timeout)
    }
}

impl MessageTransport for BrowserWebTransport {
    fn capabilities(&self) -> Capabilities {
        let in_flight = InFlight::HandedOn { max: MAX_IN_FLIGHT };
        let mut capabilities = Capabilities::new(MAX_MESSAGE, in_flight);
        capabilities.kind = KIND;
        capabilities.wakes = true;
        capabilities.delivers = Delivers::Unordered;
        capabilities
    }

    fn attach(&mut self, driver: &Waker) {
        self.driver = Some(driver.clone());
    }

    fn handle_timeout(&mut self, now: Duration) {
        self.now = now;
    }

    fn poll_output(&mut self) -> Result<Output, TransportError> {
        let waker = self.driver.clone().unwrap_or_else(|| Waker::noop().clone());
        let context = &mut Context::from_waker(&waker);
        let lost = match &mut self.state {
            State::Over => return Ok(Output::Timeout(None)),
            State::Opening(opening) => match opening.as_mut().poll(context) {
                Poll::Pending => return Ok(Output::Timeout(None)),
                Poll::Ready(Ok(streams)) => {
                    self.state = State::Open(Box::new(streams));
                    return Ok(Output::Open);
                }
                Poll::Ready(Err(error)) => {
                    self.state = State::Over;
                    return Err(opening::not_reached(&error));
                }
            },
            State::Open(streams) => match streams.next(self.now, context) {
                Ok(Some(output)) => return Ok(output),
                Ok(None) if Pin::new(&mut self.closed).poll(context).is_pending() => {
                    return Ok(Output::Timeout(streams.next_timeout()));
                }
                Ok(None) => Lost::Gone,
                Err(lost) => lost,
            },
        };
        match lost {
            Lost::Gone => {
                self.state = State::Over;
                Ok(Output::Closed)
            }
            // The server can still be told.
            Lost::Misused(misuse) => {
                if let State::Open(streams) = &mut self.state {
                    streams.commands_in.deafen();
                    streams.deltas_in.deafen();
                }
                let (kind, fault) = (TransportErrorKind::Protocol, Fault::Peer);
                Err(TransportError::new(kind, fault, misuse).with_channels_kept())
            }
        }
    }

    fn write(&mut self, channel: Channel, message: &[u8]) -> Result<bool, TransportError> {
        let State::Open(streams) = &mut self.state else { return Ok(true) };
        match channel {
            Channel::Command => streams.commands_out.push(message),
            Channel::Data => match &mut streams.messages_out {
                Some(messages) => messages.push(message, self.now),
                None => streams.deltas_out.push(message),
            },
        }
        Ok(true)
    }

    fn in_flight(&mut self) -> usize {
        match &self.state {
            State::Open(streams) => {
                // What small ones count beside their bytes keeps no commands waiting.
                let alone = streams.messages_out.as_ref().map_or(0, AloneOut::in_flight);
                let alone = alone.min(MAX_IN_FLIGHT);
                streams.commands_out.in_flight() + streams.deltas_out.in_flight() + alone
            }
            // Nobody says any more.
            State::Opening(_) | State::Over => 0,
        }
    }

    /// What the browser has taken may still lie there, and would be lost with the session.
    fn finish(&mut self) -> bool {
        let State::Open(streams) = &mut self.state else { return true };
        let alone = streams.messages_out.as_ref().is_none_or(AloneOut::is_done);
        let all = streams.commands_out.finish() & streams.deltas_out.finish() & alone;
        // Those that have nothing left are closed at once.
        let waker = self.driver.clone().unwrap_or_else(|| Waker::noop().clone());
        let context = &mut Context::from_waker(&waker);
        for outgoing in [&mut streams.commands_out, &mut streams.deltas_out] {
            let _ = outgoing.poll(context);
        }
        all
    }

    fn close(&mut self) {
        self.state = State::Over;
        // One that is closed already says so.
        let _ = self.session.close();
    }
}

impl Drop for BrowserWebTransport {
    fn drop(&mut self) {
        self.close();
    }
}
