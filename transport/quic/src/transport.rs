//! One connection, as what carries a session: what panics under it ends it alone.

use std::net::SocketAddr;
use std::time::Duration;

use deltawire_framing::Channel;
use deltawire_framing::control::Role;
use deltawire_link::{
    Capabilities, Delivers, InFlight, MessageTransport, Output, PanicGuard, TransportError,
};

use crate::stack::Stack;
use crate::{PeerEvent, QuicConfig, QuicError};

/// One connection of a [`QuicEndpoint`](crate::QuicEndpoint).
///
/// Give it what the endpoint says is its ([`handle_event`](Self::handle_event)), and the endpoint what
/// [`poll_endpoint_event`](Self::poll_endpoint_event) has, each time that it was worked on. Who accepts asks for the
/// [`token`](Self::take_token) first, and then [admits](Self::admit) or [refuses](Self::refuse) its peer.
///
/// If QUIC's stack panics, the connection ends with [`QuicError::Panicked`], and no other does.
pub struct QuicTransport {
    stack: PanicGuard<Stack>,
    role: Role,
    config: QuicConfig,
    /// The peer's address, as far as it was known last.
    remote: SocketAddr,
    /// Whether a browser is at the other end, as far as that has shown.
    #[cfg(feature = "webtransport")]
    http3: bool,
    /// Whether it was said that the stack panicked.
    told: bool,
}

/// What a connection has to tell its endpoint.
pub struct EndpointEvent(pub(crate) quinn_proto::EndpointEvent);

/// What links over bare QUIC are called.
const QUIC: &str = "quic";

/// What waits here at most for QUIC to have room, bytes; and a message of the longest kind beside it.
const MAX_WAITING: usize = 64 << 10;

impl QuicTransport {
    pub(crate) fn new(stack: Stack, role: Role, config: QuicConfig) -> Self {
        let remote = stack.remote_address();
        Self {
            stack: PanicGuard::new(stack),
            role,
            config,
            remote,
            #[cfg(feature = "webtransport")]
            http3: false,
            told: false,
        }
    }

    /// What kind of link it makes: `quic`, or `webtransport` if a browser is at the other end.
    fn kind(&self) -> &'static str {
        #[cfg(feature = "webtransport")]
        if self.http3 {
            return deltawire_webtransport::KIND;
        }
        QUIC
    }

    /// Takes in what the endpoint says is this connection's.
    pub fn handle_event(&mut self, event: PeerEvent) {
        self.stack.with(|stack| stack.handle_event(event));
    }

    /// What the endpoint is to be told.
    pub fn poll_endpoint_event(&mut self) -> Option<EndpointEvent> {
        self.stack.with(Stack::poll_endpoint_event).flatten().map(EndpointEvent)
    }

    /// Where the peer is.
    pub fn remote_address(&mut self) -> SocketAddr {
        if let Some(remote) = self.stack.with(|stack| stack.remote_address()) {
            self.remote = remote;
        }
        self.remote
    }

    /// Whether the peer has shown that it is where it says, or nothing more is heard of it.
    pub fn is_validated(&mut self) -> bool {
        self.stack.with(|stack| stack.is_validated()).unwrap_or(true)
    }

    /// Hands on so many datagrams at a time from here on, where the socket takes less than it said.
    pub fn set_max_segments(&mut self, max_segments: usize) {
        self.stack.with(|stack| stack.set_max_segments(max_segments));
    }

    /// What the peer shows to be let in, once that has come: empty if it shows nothing. Of who accepts.
    pub fn take_token(&mut self) -> Option<Vec<u8>> {
        self.stack.with(Stack::take_token).flatten()
    }

    /// Takes what a browser asks for, once that has come, or why it does not get it: then it is to be refused. Of who accepts.
    #[cfg(feature = "webtransport")]
    pub fn take_request(
        &mut self,
    ) -> Option<Result<deltawire_webtransport::Request, deltawire_webtransport::Denied>> {
        let asked = self.stack.with(Stack::take_request).flatten();
        self.http3 |= asked.is_some();
        asked
    }

    /// Lets the peer in.
    pub fn admit(&mut self) {
        self.stack.with(Stack::admit);
    }

    /// Does not let the peer in, and tells it why. A browser is told by a status, while its connection goes on until
    /// [`give_up`](Self::give_up).
    pub fn refuse(&mut self, reason: &str) {
        self.stack.with(|stack| stack.refuse(reason));
    }

    /// Closes the connection of a peer that was not let in.
    pub fn give_up(&mut self, reason: &str) {
        self.stack.with(|stack| stack.give_up(reason));
    }

    fn panicked(&self) -> TransportError {
        let message = self.stack.panicked().unwrap_or_default().to_owned();
        QuicError::Panicked { message }.into()
    }
}

impl MessageTransport for QuicTransport {
    fn capabilities(&self) -> Capabilities {
        let max = MAX_WAITING.max(self.config.max_message_len);
        let in_flight = InFlight::HandedOn { max };
        let mut capabilities = Capabilities::new(self.config.max_message_len, in_flight);
        capabilities.kind = self.kind();
        capabilities.delivers = Delivers::Unordered;
        // The task that answers for it is the one that runs the session; a browser answers while its page hangs.
        capabilities.liveness = capabilities.kind == QUIC;
        capabilities
    }

    fn handle_timeout(&mut self, now: Duration) {
        self.stack.with(|stack| stack.handle_timeout(now));
    }

    fn poll_output(&mut self) -> Result<Output, TransportError> {
        match self.stack.with(Stack::poll_output) {
            Some(output) => output,
            None if std::mem::replace(&mut self.told, true) => Ok(Output::Timeout(None)),
            None => Err(self.panicked()),
        }
    }

    fn write(&mut self, channel: Channel, message: &[u8]) -> Result<bool, TransportError> {
        let written = self.stack.with(|stack| stack.write(channel, message));
        written.unwrap_or_else(|| Err(self.panicked()))
    }

    fn in_flight(&mut self) -> usize {
        self.stack.with(|stack| stack.in_flight()).unwrap_or_default()
    }

    fn take_progress(&mut self) -> Option<bool> {
        Some(self.stack.with(Stack::take_progress).unwrap_or_default())
    }

    fn finish(&mut self) -> bool {
        self.stack.with(Stack::finish).unwrap_or(true)
    }

    fn close(&mut self) {
        self.stack.with(Stack::close);
    }

    fn take_heard(&mut self) -> bool {
        // A browser acknowledges what comes while its page hangs, or is gone.
        self.kind() == QUIC && self.stack.with(Stack::take_heard).unwrap_or_default()
    }
}

impl std::fmt::Debug for QuicTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QuicTransport")
            .field("role", &self.role)
            .field("remote_address", &self.remote)
            .field("panicked", &self.stack.panicked())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use deltawire_link::{Fault, TransportErrorKind};

    use super::*;
    use crate::{QuicEndpoint, QuicTrust};

    #[test]
    fn what_panics_ends_its_own_connection_by_name() {
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let config = QuicConfig::new(1 << 20, 16 << 10);
        let mut endpoint = QuicEndpoint::new(config, None, here, 1, [1; 32]).unwrap();
        let now = Duration::from_secs(1);
        let mut connect = || {
            let there = SocketAddr::from((Ipv4Addr::LOCALHOST, 2));
            endpoint.connect(there, "127.0.0.1", &QuicTrust::loopback(), b"", now).unwrap().1
        };
        let (mut broken, mut other) = (connect(), connect());
        broken.stack.with(|_| panic!("on purpose"));
        let error = broken.poll_output().unwrap_err();
        assert_eq!((error.kind(), error.fault()), (TransportErrorKind::Panicked, Fault::Local));
        let message = "on purpose".to_owned();
        assert_eq!(error.downcast_ref(), Some(&QuicError::Panicked { message }));
        // Nobody goes round in circles.
        assert_eq!(broken.poll_output(), Ok(Output::Timeout(None)));
        assert!(broken.write(Channel::Data, b"x").is_err());
        assert!(broken.finish() && !broken.take_heard() && broken.in_flight() == 0);
        broken.handle_timeout(now);
        broken.close();
        assert!(broken.poll_endpoint_event().is_none() && broken.take_token().is_none());
        assert!(matches!(other.poll_output(), Ok(Output::Transmit(_))));
    }
}
