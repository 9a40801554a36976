use std::time::Duration;

use deltawire_framing::Channel;
use deltawire_framing::control::Role;
use deltawire_link::{
    Capabilities, Datagram, DatagramTransport, MessageTransport, Output, TransportError,
};

#[cfg(feature = "lean")]
use crate::Lean;
#[cfg(feature = "str0m")]
use crate::Str0m;
use crate::{Engine, EngineConfig, EngineError};

/// Which WebRTC stack links run on. Both speak the same to peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EngineKind {
    /// [`Lean`]: the quicker one.
    #[cfg(feature = "lean")]
    #[default]
    Lean,
    /// [`Str0m`].
    #[cfg(feature = "str0m")]
    #[cfg_attr(not(feature = "lean"), default)]
    Str0m,
}

/// The engine that its [`EngineConfig::kind`] names.
#[derive(Debug)]
pub enum AnyEngine {
    /// The lean one.
    #[cfg(feature = "lean")]
    Lean(Box<Lean>),
    /// str0m.
    #[cfg(feature = "str0m")]
    Str0m(Box<Str0m>),
}

/// Asks the engine that it is.
macro_rules! ask {
    ($engine:expr, $it:ident => $asked:expr) => {
        match $engine {
            #[cfg(feature = "lean")]
            AnyEngine::Lean($it) => $asked,
            #[cfg(feature = "str0m")]
            AnyEngine::Str0m($it) => $asked,
        }
    };
}

impl Engine for AnyEngine {
    fn offer(
        config: &EngineConfig,
        local: &[std::net::SocketAddr],
        now: Duration,
    ) -> Result<(Self, String), EngineError> {
        match config.kind {
            #[cfg(feature = "lean")]
            EngineKind::Lean => Lean::offer(config, local, now)
                .map(|(engine, offer)| (Self::Lean(Box::new(engine)), offer)),
            #[cfg(feature = "str0m")]
            EngineKind::Str0m => Str0m::offer(config, local, now)
                .map(|(engine, offer)| (Self::Str0m(Box::new(engine)), offer)),
        }
    }

    fn accept_answer(&mut self, answer: &str, now: Duration) -> Result<(), EngineError> {
        ask!(self, engine => engine.accept_answer(answer, now))
    }

    fn answer(
        config: &EngineConfig,
        local: &[std::net::SocketAddr],
        offer: &str,
        now: Duration,
    ) -> Result<(Self, String), EngineError> {
        match config.kind {
            #[cfg(feature = "lean")]
            EngineKind::Lean => Lean::answer(config, local, offer, now)
                .map(|(engine, answer)| (Self::Lean(Box::new(engine)), answer)),
            #[cfg(feature = "str0m")]
            EngineKind::Str0m => Str0m::answer(config, local, offer, now)
                .map(|(engine, answer)| (Self::Str0m(Box::new(engine)), answer)),
        }
    }

    fn add_candidate(&mut self, candidate: &str) -> Result<(), EngineError> {
        ask!(self, engine => engine.add_candidate(candidate))
    }

    fn candidates(&self) -> usize {
        ask!(self, engine => engine.candidates())
    }

    fn role(&self) -> Role {
        ask!(self, engine => engine.role())
    }

    fn user_fragment(&self) -> &str {
        ask!(self, engine => engine.user_fragment())
    }
}

impl AnyEngine {
    /// Writes to any stream, as a peer that breaks the rules would.
    #[doc(hidden)]
    pub fn write_on(&mut self, number: u16, message: &[u8]) -> Result<bool, EngineError> {
        ask!(self, engine => engine.write_on(number, message))
    }
}

impl DatagramTransport for AnyEngine {
    fn handle_datagram(&mut self, datagram: Datagram<'_>, now: Duration) {
        ask!(self, engine => engine.handle_datagram(datagram, now));
    }
}

impl MessageTransport for AnyEngine {
    fn capabilities(&self) -> Capabilities {
        ask!(self, engine => engine.capabilities())
    }

    fn handle_timeout(&mut self, now: Duration) {
        ask!(self, engine => engine.handle_timeout(now));
    }

    fn poll_output(&mut self) -> Result<Output, TransportError> {
        ask!(self, engine => engine.poll_output())
    }

    fn write(&mut self, channel: Channel, message: &[u8]) -> Result<bool, TransportError> {
        ask!(self, engine => engine.write(channel, message))
    }

    fn in_flight(&mut self) -> usize {
        ask!(self, engine => engine.in_flight())
    }

    fn waiting(&mut self) -> Option<usize> {
        ask!(self, engine => engine.waiting())
    }

    fn take_heard(&mut self) -> bool {
        ask!(self, engine => engine.take_heard())
    }

    fn close(&mut self) {
        ask!(self, engine => engine.close());
    }
}
