//! The connections of a socket.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use deltawire_framing::control::Role;
use deltawire_link::{Datagram, Transmit, caught};
#[cfg(feature = "webtransport")]
use deltawire_webtransport::Rules;
use quinn_proto::{ConnectionHandle, DatagramEvent, Endpoint, Incoming, ServerConfig};

use crate::config::Opens;
use crate::keys::Keys;
use crate::progress::Progress;
use crate::stack::{Place, Stack};
use crate::{
    ALPN, EndpointEvent, MAX_TOKEN_LEN, QuicCertificate, QuicConfig, QuicError, QuicTransport,
    QuicTrust, config,
};

/// The connections of a socket: connects, accepts, and says whose a datagram is. `now` is time since any fixed
/// start, the same for all calls and for the connections.
pub struct QuicEndpoint {
    endpoint: Endpoint,
    config: QuicConfig,
    server: Option<Arc<ServerConfig>>,
    #[cfg_attr(not(feature = "webtransport"), expect(dead_code, reason = "nothing changes"))]
    keys: Arc<Keys>,
    /// What links over WebTransport have to keep to, if there are any.
    #[cfg(feature = "webtransport")]
    rules: Option<Arc<Rules>>,
    start: Instant,
    local: SocketAddr,
    /// Datagrams that the socket takes with one call.
    max_segments: usize,
}

/// Names a connection of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle(usize);

impl Handle {
    /// A number that no other connection of the endpoint has while this one is not forgotten: small.
    #[must_use]
    pub fn index(self) -> usize {
        self.0
    }
}

/// What came for a connection.
pub struct PeerEvent {
    pub(crate) event: quinn_proto::ConnectionEvent,
    pub(crate) at: Instant,
}

/// What a datagram is.
pub enum Routed {
    /// Something for a connection.
    Known(Handle, PeerEvent),
    /// The beginning of a connection, to be [accepted](QuicEndpoint::accept), [refused](QuicEndpoint::refuse) or
    /// [asked to try again](QuicEndpoint::retry).
    New(Arrival),
    /// To be answered with this.
    Answer(Transmit),
    /// Nothing of use.
    Nothing,
}

/// A peer that begins a connection. It has to be given back to the endpoint.
pub struct Arrival(Incoming);

impl Arrival {
    /// Where it comes from.
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        self.0.remote_address()
    }

    /// Whether it has shown that it is there: else the address may be another's.
    #[must_use]
    pub fn is_validated(&self) -> bool {
        self.0.remote_address_validated()
    }
}

/// A connection that was accepted, or what its peer is answered.
pub type Handed = Result<(Handle, QuicTransport), Option<Transmit>>;

impl QuicEndpoint {
    /// Of a socket at `local` that takes `max_segments` datagrams with one call. `certificate` is for those who
    /// connect to it; without one it accepts nobody. `seed` is random.
    ///
    /// # Errors
    ///
    /// When the certificate and its key cannot be used.
    pub fn new(
        config: QuicConfig,
        certificate: Option<&QuicCertificate>,
        local: SocketAddr,
        max_segments: usize,
        seed: [u8; 32],
    ) -> Result<Self, QuicError> {
        let keys = Arc::new(Keys::new(certificate, &config::provider())?);
        let server = keys.has_bare().then(|| config.server(keys.clone(), &[ALPN])).transpose()?;
        let endpoint = Endpoint::new(config::endpoint(seed), server.clone(), true, None);
        Ok(Self {
            endpoint,
            config,
            server,
            keys,
            #[cfg(feature = "webtransport")]
            rules: None,
            start: Instant::now(),
            local,
            max_segments,
        })
    }

    /// Accepts browsers by WebTransport too, to whom it shows this certificate. `rules` says where links are, and of which
    /// pages; who is let in is asked of [`QuicTransport::take_request`].
    ///
    /// # Errors
    ///
    /// When the certificate and its key cannot be used.
    #[cfg(feature = "webtransport")]
    pub fn accept_webtransport(
        &mut self,
        certificate: &QuicCertificate,
        rules: Rules,
    ) -> Result<(), QuicError> {
        self.set_webtransport_certificate(certificate)?;
        let both = [ALPN, deltawire_webtransport::ALPN];
        let protocols = if self.keys.has_bare() { &both[..] } else { &both[1..] };
        self.server = Some(self.config.server(self.keys.clone(), protocols)?);
        self.endpoint.set_server_config(self.server.clone());
        self.rules = Some(Arc::new(rules));
        Ok(())
    }

    /// Shows this certificate to browsers from here on.
    ///
    /// # Errors
    ///
    /// When the certificate and its key cannot be used.
    #[cfg(feature = "webtransport")]
    pub fn set_webtransport_certificate(
        &mut self,
        certificate: &QuicCertificate,
    ) -> Result<(), QuicError> {
        self.keys.set_webtransport(certificate, &config::provider())
    }

    /// Accepts nobody from here on.
    pub fn accept_no_more(&mut self) {
        self.server = None;
        self.endpoint.set_server_config(None);
    }

    fn at(&self, now: Duration) -> Instant {
        self.start.checked_add(now).unwrap_or(self.start)
    }

    fn place(&self, role: Role, now: Duration) -> Place {
        let Self { start, local, max_segments, .. } = *self;
        Place {
            role,
            start,
            now: self.at(now),
            local,
            max_segments,
            #[cfg(feature = "webtransport")]
            rules: self.rules.clone().filter(|_| role == Role::Acceptor),
        }
    }

    /// Connects to the server at `remote`, which `host` names, and shows it `token`: empty if it asks for none.
    ///
    /// # Errors
    ///
    /// When the name, the address or what is trusted cannot be used, or the token is too long.
    pub fn connect(
        &mut self,
        remote: SocketAddr,
        host: &str,
        trust: &QuicTrust,
        token: &[u8],
        now: Duration,
    ) -> Result<(Handle, QuicTransport), QuicError> {
        if token.len() > MAX_TOKEN_LEN {
            let len = u32::try_from(token.len()).unwrap_or(u32::MAX);
            return Err(QuicError::Token { len });
        }
        let is_loopback = remote.ip().to_canonical().is_loopback();
        let progress = Progress::default();
        let (client, verdict) = self.config.client(trust, is_loopback, &progress)?;
        let place = self.place(Role::Initiator, now);
        let connected = self.endpoint.connect(place.now, client, remote, host);
        let (handle, connection) = connected
            .map_err(|error| QuicError::Options { what: "the address", why: error.to_string() })?;
        let token = Some(token.to_vec());
        let config = self.config;
        let stack = Stack::new(connection, config, place, Some(verdict), token, progress);
        Ok((Handle(handle.0), QuicTransport::new(stack, Role::Initiator, config)))
    }

    /// Says whose a datagram is.
    pub fn handle_datagram(&mut self, datagram: Datagram<'_>, now: Duration) -> Routed {
        let Datagram { source, destination, bytes } = datagram;
        let at = self.at(now);
        let mut answer = Vec::new();
        let reached = self.reached(destination.ip());
        let bytes = BytesMut::from(bytes);
        let endpoint = &mut self.endpoint;
        let handled =
            survived(|| endpoint.handle(at, source, reached, None, bytes, &mut answer)).flatten();
        match handled {
            None => Routed::Nothing,
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                Routed::Known(Handle(handle.0), PeerEvent { event, at })
            }
            Some(DatagramEvent::NewConnection(incoming)) => Routed::New(Arrival(incoming)),
            Some(DatagramEvent::Response(transmit)) => {
                Routed::Answer(self.answer(&transmit, answer))
            }
        }
    }

    /// The local address by which answers have to go, where the socket has several.
    fn reached(&self, destination: IpAddr) -> Option<IpAddr> {
        let chosen = self.local.ip().is_unspecified() && !destination.is_unspecified();
        chosen.then_some(destination)
    }

    fn answer(&self, transmit: &quinn_proto::Transmit, mut bytes: Vec<u8>) -> Transmit {
        bytes.truncate(transmit.size);
        let source = transmit.src_ip.unwrap_or(self.local.ip());
        Transmit {
            destination: transmit.destination,
            source: SocketAddr::new(source, self.local.port()),
            bytes,
            segment: transmit.segment_size,
        }
    }

    /// Accepts a peer; who it is shows later.
    ///
    /// # Errors
    ///
    /// When what it sent is broken. It may have to be told.
    pub fn accept(&mut self, arrival: Arrival, now: Duration) -> Handed {
        let place = self.place(Role::Acceptor, now);
        let mut answer = Vec::new();
        let progress = Progress::default();
        #[cfg(feature = "webtransport")]
        let opens = if self.rules.is_some() { Opens::BROWSER } else { Opens::INITIATOR };
        #[cfg(not(feature = "webtransport"))]
        let opens = Opens::INITIATOR;
        let accepting = |server| self.config.accepting(server, opens, &progress);
        let server = self.server.as_deref().map(accepting);
        let endpoint = &mut self.endpoint;
        let accepted = survived(|| {
            endpoint
                .accept(arrival.0, place.now, &mut answer, server)
                .map_err(|error| error.response)
        });
        match accepted {
            Some(Ok((handle, connection))) => {
                let config = self.config;
                let stack = Stack::new(connection, config, place, None, None, progress);
                Ok((Handle(handle.0), QuicTransport::new(stack, Role::Acceptor, config)))
            }
            Some(Err(response)) => Err(response.map(|transmit| self.answer(&transmit, answer))),
            None => Err(None),
        }
    }

    /// Tells a peer that there is no room for it.
    pub fn refuse(&mut self, arrival: Arrival) -> Transmit {
        let mut answer = Vec::new();
        let transmit = self.endpoint.refuse(arrival.0, &mut answer);
        self.answer(&transmit, answer)
    }

    /// Asks a peer to show that it is where it says, which costs this side nothing until then. One that has shown it
    /// is refused.
    pub fn retry(&mut self, arrival: Arrival) -> Transmit {
        let mut answer = Vec::new();
        match self.endpoint.retry(arrival.0, &mut answer) {
            Ok(transmit) => self.answer(&transmit, answer),
            Err(error) => self.refuse(Arrival(error.into_incoming())),
        }
    }

    /// Takes in what a connection has to tell. The connection may have to be told something in turn.
    pub fn handle_event(
        &mut self,
        handle: Handle,
        event: EndpointEvent,
        now: Duration,
    ) -> Option<PeerEvent> {
        let endpoint = &mut self.endpoint;
        let told = survived(|| endpoint.handle_event(ConnectionHandle(handle.0), event.0));
        let event = told.flatten()?;
        Some(PeerEvent { event, at: self.at(now) })
    }

    /// Forgets a connection: to be said once of each. Its peer is told that nobody knows it, whatever it sends.
    pub fn forget(&mut self, handle: Handle) {
        let (endpoint, drained) = (&mut self.endpoint, quinn_proto::EndpointEvent::drained());
        survived(|| endpoint.handle_event(ConnectionHandle(handle.0), drained));
    }
}

/// What the endpoint does, if it does not panic: all connections of a socket need it, so it goes on, and what it panicked
/// at is dropped.
fn survived<R>(work: impl FnOnce() -> R) -> Option<R> {
    let done = caught(work);
    done.inspect_err(|message| tracing::error!(message, "QUIC's endpoint panicked")).ok()
}

impl std::fmt::Debug for QuicEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QuicEndpoint")
            .field("local", &self.local)
            .field("connections", &self.endpoint.open_connections())
            .finish_non_exhaustive()
    }
}
