//! What endpoints and connections are made with.

use std::sync::Arc;
use std::time::Duration;

use deltawire_channels::Delivery;
use deltawire_framing::control::Role;
use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn_proto::{
    ClientConfig, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, ServerConfig, TransportConfig,
    VarInt,
};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::version::TLS13;

#[cfg(feature = "webtransport")]
use crate::http3;
use crate::keys::Keys;
use crate::progress::Progress;
use crate::trust::Verdict;
use crate::{ALPN, MAX_MESSAGE_LEN, MAX_UNADMITTED, QuicError, QuicTrust, messages};

/// What links over QUIC are made with, and what bounds them. In bytes, a link holds at most
/// `send_window + 2 × max_message_len + 128 KiB` of what it sends, and of its peer's what has not come in order:
/// twice `stream_window`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuicConfig {
    /// The longest message, bytes: 1 to [`MAX_MESSAGE_LEN`].
    pub max_message_len: usize,
    /// What the peer may send on a stream before it is read here, bytes. As much as a session grants, and more:
    /// then QUIC never holds up what the session let go.
    pub stream_window: u64,
    /// Delivery of the initiator's deltas. Those that may overtake each other go by themselves, each on a stream of its own,
    /// and the peer may have 256 of these open: `256 × max_message_len` bytes more may lie here, and 256 KiB of datagrams.
    pub initiator: Delivery,
    /// Delivery of the acceptor's deltas.
    pub acceptor: Delivery,
    /// The most that QUIC takes over until the peer acknowledges it, bytes: an eighth more than what the path takes, and
    /// 64 KiB if that is less; commands find [`COMMAND_ROOM`] more.
    pub send_window: u64,
    /// After how much silence a connection is given up. The shorter one of the two sides' counts.
    pub idle_timeout: Duration,
    /// After how much silence this side says that it is there; half as much again of who accepts.
    pub keep_alive: Duration,
    /// Connections that peers have begun and that are not accepted yet.
    pub max_incoming: usize,
}

impl QuicConfig {
    /// What is taken over until the peer acknowledges it, if nothing else is said, bytes: 1 MiB, 100 Mbit/s over
    /// 80 ms.
    pub const SEND_WINDOW: u64 = 1 << 20;

    /// For sessions whose peer may have `window` bytes unread here on a channel, and whose messages are up to
    /// `max_message_len` bytes long.
    #[must_use]
    pub fn new(window: u64, max_message_len: usize) -> Self {
        Self {
            max_message_len: max_message_len.clamp(1, MAX_MESSAGE_LEN),
            stream_window: window.saturating_add(BESIDE_WINDOW),
            initiator: Delivery::default(),
            acceptor: Delivery::default(),
            send_window: Self::SEND_WINDOW,
            idle_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_millis(1_250),
            max_incoming: 64,
        }
    }

    /// Delivery of the deltas that this side sends and receives.
    pub(crate) fn deliveries(&self, role: Role) -> [Delivery; 2] {
        match role {
            Role::Initiator => [self.initiator, self.acceptor],
            Role::Acceptor => [self.acceptor, self.initiator],
        }
    }

    fn uses_datagrams(&self) -> bool {
        messages::go_alone(self.initiator) || messages::go_alone(self.acceptor)
    }

    /// That of all streams once a peer is let in.
    pub(crate) fn receive_window(&self) -> VarInt {
        bounded(self.stream_window.saturating_mul(2))
    }

    fn transport(
        &self,
        role: Role,
        opens: Opens,
        receive: VarInt,
        progress: &Progress,
    ) -> Arc<TransportConfig> {
        let mut transport = TransportConfig::default();
        let mut discovery = MtuDiscoveryConfig::default();
        discovery.upper_bound(MAX_MTU);
        // Who sends them has to take some as well.
        let datagrams = self.uses_datagrams().then_some(messages::DATAGRAMS_IN);
        let waiting = if self.uses_datagrams() { messages::DATAGRAMS_OUT } else { 0 };
        // What one side says shows the other that it is there, so one is enough.
        let keep_alive = match role {
            Role::Initiator => self.keep_alive,
            Role::Acceptor => self.keep_alive.saturating_mul(3) / 2,
        };
        let idle = IdleTimeout::try_from(self.idle_timeout).ok();
        transport
            .max_concurrent_bidi_streams(opens.bidirectional.into())
            .max_concurrent_uni_streams(opens.unidirectional.into())
            .max_idle_timeout(Some(idle.unwrap_or_else(|| VarInt::MAX.into())))
            .keep_alive_interval(Some(keep_alive))
            .stream_receive_window(bounded(self.stream_window))
            .receive_window(receive)
            .send_window(self.send_window)
            // Without it, what is begun of a stream goes before all others, whatever their priority.
            .send_fairness(true)
            .datagram_receive_buffer_size(opens.datagrams.max(datagrams))
            .datagram_send_buffer_size(waiting)
            .crypto_buffer_size(CRYPTO_BUFFER)
            .allow_spin(false)
            .mtu_discovery_config(Some(discovery))
            .congestion_controller_factory(progress.counted());
        Arc::new(transport)
    }

    /// For those who connect to this side, and speak one of these protocols, the best first.
    pub(crate) fn server(
        &self,
        keys: Arc<Keys>,
        protocols: &[&[u8]],
    ) -> Result<Arc<ServerConfig>, QuicError> {
        let mut tls = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(unusable)?
            .with_no_client_auth()
            .with_cert_resolver(keys);
        tls.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        // Nobody resumes.
        tls.send_tls13_tickets = 0;
        let crypto = QuicServerConfig::try_from(tls).map_err(unusable)?;
        let mut server = ServerConfig::with_crypto(Arc::new(crypto));
        server
            .migration(true)
            .max_incoming(self.max_incoming)
            // Each is accepted or refused as it comes.
            .incoming_buffer_size(0)
            .incoming_buffer_size_total(0);
        Ok(Arc::new(server))
    }

    /// The same for one connection, whose progress is to be known.
    pub(crate) fn accepting(
        &self,
        server: &ServerConfig,
        opens: Opens,
        progress: &Progress,
    ) -> Arc<ServerConfig> {
        let mut server = server.clone();
        server.transport_config(self.transport(
            Role::Acceptor,
            opens,
            MAX_UNADMITTED.into(),
            progress,
        ));
        Arc::new(server)
    }

    /// To connect to a server.
    pub(crate) fn client(
        &self,
        trust: &QuicTrust,
        is_loopback: bool,
        progress: &Progress,
    ) -> Result<(ClientConfig, Verdict), QuicError> {
        let provider = provider();
        let (verifier, verdict) = trust.verifier(is_loopback, &provider)?;
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(unusable)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        tls.alpn_protocols = vec![ALPN.to_vec()];
        // A session that was resumed would not be asked for its certificate.
        tls.resumption = Resumption::disabled();
        let crypto = QuicClientConfig::try_from(tls).map_err(unusable)?;
        let mut client = ClientConfig::new(Arc::new(crypto));
        let mut opens = Opens::ACCEPTOR;
        if messages::go_alone(self.acceptor) {
            opens.unidirectional += messages::MAX_STREAMS;
        }
        client.transport_config(self.transport(
            Role::Initiator,
            opens,
            self.receive_window(),
            progress,
        ));
        Ok((client, verdict))
    }
}

/// What a peer may open, and send beside streams.
#[derive(Clone, Copy)]
pub(crate) struct Opens {
    bidirectional: u32,
    unidirectional: u32,
    /// Bytes of datagrams that lie here; `None` if there may be none.
    datagrams: Option<usize>,
}

impl Opens {
    const ACCEPTOR: Self = Self { bidirectional: 0, unidirectional: 1, datagrams: None };

    /// A native initiator.
    pub(crate) const INITIATOR: Self = Self { bidirectional: 1, ..Self::ACCEPTOR };

    /// Either that or a browser: which one shows when this was said.
    #[cfg(feature = "webtransport")]
    pub(crate) const BROWSER: Self = Self {
        bidirectional: http3::MAX_BIDIRECTIONAL,
        unidirectional: http3::MAX_UNIDIRECTIONAL,
        datagrams: Some(http3::DATAGRAMS),
    };
}

/// What QUIC takes over of commands beside a send window that deltas have filled, bytes.
pub const COMMAND_ROOM: u64 = 64 << 10;

/// What a session's window does not count of a stream: lengths and control messages, bytes.
const BESIDE_WINDOW: u64 = 64 << 10;

/// What of a handshake may lie here before it is in order, bytes.
const CRYPTO_BUFFER: usize = 16 << 10;

/// The longest datagram that is tried, bytes: that of Ethernet over IPv4.
const MAX_MTU: u16 = 1_472;

/// What all connections of an endpoint share.
pub(crate) fn endpoint(seed: [u8; 32]) -> Arc<EndpointConfig> {
    let mut config = EndpointConfig::default();
    // Else the first byte of half of all datagrams looks like another protocol's (RFC 9443).
    config.grease_quic_bit(false).rng_seed(Some(seed));
    Arc::new(config)
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn bounded(bytes: u64) -> VarInt {
    VarInt::from_u64(bytes).unwrap_or(VarInt::MAX)
}

fn unusable(error: impl std::fmt::Display) -> QuicError {
    QuicError::Options { what: "TLS", why: error.to_string() }
}
