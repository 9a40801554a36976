use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use deltawire_channels::{Delivery, Order};

use crate::any_engine::EngineKind;
use crate::certificate::Certificate;
use crate::records;
#[cfg(doc)]
use deltawire_sctp::filter::max_held;

/// Largest datagram that is made by default, bytes: passes where IPv6 does.
pub const DEFAULT_MTU: usize = 1_200;

/// Largest datagram that can be asked for, bytes: an Ethernet frame's payload less the headers of
/// IPv4 and UDP.
pub const MAX_MTU: usize = 1_472;

/// The longest datagram that an engine takes, bytes: room for what any path carries that is not made
/// for longer ones.
pub const MAX_DATAGRAM_LEN: usize = deltawire_sctp::MAX_DATAGRAM_LEN;

/// The longest transport message that an engine sends, bytes.
pub(crate) const MAX_SENT: usize = 1 << 16;

/// What an engine holds of what a peer says before the link is open, at most, bytes; beside what the
/// link takes by itself. [`max_held`] comes on top of it once the peer has said what proves who it is.
pub const MAX_HANDSHAKE: usize = records::MAX_HELD;

/// What an engine is made with.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Which engine it is. Default: [`EngineKind::default`].
    pub kind: EngineKind,
    /// Shown to the peer in DTLS; its fingerprint stands in the session description.
    pub certificate: Arc<Certificate>,
    /// Largest datagram, bytes: 576 to [`MAX_MTU`]. Default: [`DEFAULT_MTU`].
    pub mtu: usize,
    /// Largest transport message that is taken, bytes: the `max-message-size` of the session
    /// description. Default: 64 KiB.
    pub max_message_size: u32,
    /// What is held of messages that came in part or ahead of others, bytes: the most that the peer
    /// may have on its way. Less than 1 MiB counts as 1 MiB. Default: 1 MiB.
    pub receive_buffer: u32,
    /// Most bytes that are held until the peer has acknowledged them. Default: 4 MiB.
    pub max_buffered: usize,
    /// So many bytes may come to this side's socket at once, which the peer is told. Default: 0, of which it is told
    /// nothing, as of browsers.
    pub burst: u32,
    /// Whether the answerer leaves connectivity checks to the offerer (RFC 8445, section 2.5), as
    /// servers with an address of their own do. Default: yes.
    pub ice_lite: bool,
    /// Whether commands arrive in the order in which they were sent.
    pub command: Order,
    /// Delivery of the initiator's deltas.
    pub initiator: Delivery,
    /// Delivery of the acceptor's deltas.
    pub acceptor: Delivery,
    /// Addresses beside those of this side's sockets. Default: none.
    pub gathered: Gathered,
    /// The instant at which an engine's `now` is 0, for stacks that count in instants. Default: when
    /// these options are made.
    pub start: Instant,
}

impl EngineConfig {
    /// The defaults, with this certificate.
    #[must_use]
    pub fn new(certificate: Arc<Certificate>) -> Self {
        Self {
            kind: EngineKind::default(),
            certificate,
            mtu: DEFAULT_MTU,
            max_message_size: 65_536,
            receive_buffer: 1 << 20,
            max_buffered: 4 << 20,
            burst: 0,
            ice_lite: true,
            command: Order::default(),
            initiator: Delivery::default(),
            acceptor: Delivery::default(),
            gathered: Gathered::default(),
            start: Instant::now(),
        }
    }
}

/// Addresses of this side's that others gave it, which its description names. One that leaves connectivity checks to its
/// peer has no use for them, and does not name them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gathered {
    /// How others see this side's sockets: the address there, and the socket's own.
    pub reflexive: Vec<(SocketAddr, SocketAddr)>,
    /// Those at TURN servers. A datagram that came there has it as its destination, and one that is to go from there has it as its
    /// source: whoever moves the engine passes it on.
    pub relayed: Vec<SocketAddr>,
}
