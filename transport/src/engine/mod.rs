//! What a link runs on: WebRTC without I/O, behind a trait that other stacks fit too.
//!
//! An engine takes in datagrams and gives out datagrams, and carries transport messages over the
//! three negotiated data channels of a link:
//!
//! | stream | carries |
//! |---|---|
//! | 0 | commands and control messages, both ways |
//! | 1 | deltas from the initiator to the acceptor |
//! | 2 | deltas from the acceptor to the initiator |
//!
//! Nothing above knows which stack it is.

#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod admission;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod certificate;
#[cfg(not(target_arch = "wasm32"))]
mod checks;
pub(crate) mod description;
#[cfg(not(target_arch = "wasm32"))]
mod own;
#[cfg(not(target_arch = "wasm32"))]
mod path;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod records;
pub(crate) mod sdp;
#[cfg(not(target_arch = "wasm32"))]
mod shell;
#[cfg(not(target_arch = "wasm32"))]
mod sources;
#[cfg(not(target_arch = "wasm32"))]
mod str0m;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod stun;

use std::net::SocketAddr;
use std::time::Duration;

use deltawire_channels::{Delivery, Order, TransportMessage};
use deltawire_framing::Channel;
use deltawire_framing::control::Role;

#[cfg(not(target_arch = "wasm32"))]
#[doc(hidden)]
pub use self::admission::max_ahead;
#[cfg(not(target_arch = "wasm32"))]
pub use self::admission::max_held;
#[cfg(not(target_arch = "wasm32"))]
pub use self::certificate::{Certificate, CertificateError};
#[doc(hidden)]
pub use self::description::read_description;
pub use self::description::{DescriptionError, MAX_CANDIDATES, MAX_DESCRIPTION_LEN};
#[cfg(not(target_arch = "wasm32"))]
pub use self::sources::MAX_SOURCES;
#[cfg(not(target_arch = "wasm32"))]
pub use self::str0m::Str0m;
#[cfg(not(target_arch = "wasm32"))]
#[doc(hidden)]
pub use self::stun::read_check;

/// Largest datagram that is made by default, bytes: passes where IPv6 does.
pub const DEFAULT_MTU: usize = 1_200;

/// Largest datagram that can be asked for, bytes: an Ethernet frame's payload less the headers of
/// IPv4 and UDP.
pub const MAX_MTU: usize = 1_472;

/// The longest datagram that an engine takes, bytes: room for what any path carries that is not made
/// for longer ones.
pub const MAX_DATAGRAM_LEN: usize = 2_048;

/// What an engine holds of what a peer says before the link is open, at most, bytes; beside what the
/// link takes by itself. [`max_held`] comes on top of it once the peer has said what proves who it is.
#[cfg(not(target_arch = "wasm32"))]
pub const MAX_HANDSHAKE: usize = records::MAX_HELD;

/// What an engine is made with.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Shown to the peer in DTLS; its fingerprint stands in the session description.
    #[cfg(not(target_arch = "wasm32"))]
    pub certificate: std::sync::Arc<Certificate>,
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
    /// Whether the answerer leaves connectivity checks to the offerer (RFC 8445, section 2.5), as
    /// servers with an address of their own do. Default: yes.
    pub ice_lite: bool,
    /// Whether commands arrive in the order in which they were sent.
    pub command: Order,
    /// Delivery of the initiator's deltas.
    pub initiator: Delivery,
    /// Delivery of the acceptor's deltas.
    pub acceptor: Delivery,
    /// The instant at which an engine's `now` is 0, for stacks that count in instants. Default: when
    /// these options are made.
    pub start: std::time::Instant,
}

#[cfg(not(target_arch = "wasm32"))]
impl EngineConfig {
    /// The defaults, with this certificate.
    #[must_use]
    pub fn new(certificate: std::sync::Arc<Certificate>) -> Self {
        Self {
            certificate,
            mtu: DEFAULT_MTU,
            max_message_size: 65_536,
            receive_buffer: 1 << 20,
            max_buffered: 4 << 20,
            ice_lite: true,
            command: Order::default(),
            initiator: Delivery::default(),
            acceptor: Delivery::default(),
            start: std::time::Instant::now(),
        }
    }
}

/// A datagram that came.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// Who sent it.
    pub source: SocketAddr,
    /// The local address at which it came: never an unspecified one.
    pub destination: SocketAddr,
    /// What it holds.
    pub bytes: &'a [u8],
}

/// A datagram to be sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Transmit {
    /// To whom.
    pub destination: SocketAddr,
    /// From which local address.
    pub source: SocketAddr,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// What an engine wants done.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this.
    Transmit(Transmit),
    /// All three streams can be written to.
    Open,
    /// A transport message came, in the memory that the engine has it in.
    Message(Channel, TransportMessage),
    /// The peer hung up, or the streams are gone. Nothing more comes but datagrams.
    Closed,
    /// Nothing to do before this time; `None` is never.
    Timeout(Option<Duration>),
}

/// Why an engine could not be made, or ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The peer's session description cannot be used.
    #[error(transparent)]
    Description(#[from] DescriptionError),
    /// An answer came, and there is no offer that waits for it.
    #[error("an answer that nobody asked for")]
    NotOffered,
    /// A candidate that cannot be read.
    #[error("malformed ICE candidate {candidate:?}: {reason}")]
    Candidate {
        /// The line.
        candidate: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The peer's certificate is not the one that its session description names.
    #[error("the peer's certificate does not have the fingerprint of its session description")]
    Fingerprint,
    /// The peer uses a stream where it must not.
    #[error("the peer used stream {stream}: {reason}")]
    Stream {
        /// The SCTP stream, when it is known.
        stream: u16,
        /// Why it must not.
        reason: &'static str,
    },
    /// A browser gave up before the channels were open.
    #[error("the browser found no way to the peer, or the peer hung up before the link was open")]
    NoWay,
    /// The peer sends over SCTP what no honest peer does.
    #[error("the peer broke the rules of SCTP: {0}")]
    Sctp(&'static str),
    /// The stack panicked: a fault of its, which ended this link and no other. The log says where.
    #[error("the WebRTC stack panicked: {0}")]
    Panicked(String),
    /// The stack failed.
    #[error("the WebRTC stack failed: {0}")]
    Stack(String),
}

impl EngineError {
    /// Whether the peer broke a rule, and its streams are still there: say why, then
    /// [`close`](Streams::close). Nothing more of what it says is heard.
    #[must_use]
    pub fn leaves_streams(&self) -> bool {
        matches!(self, Self::Stream { .. } | Self::Sctp(_))
    }
}

/// The three streams of a link, whoever moves their bytes: what a session runs on.
///
/// `now` is time since any fixed start, the same for all calls. After each call that may change
/// something, [`poll_output`](Self::poll_output) is called until it gives a time-out.
pub trait Streams {
    /// The longest transport message that the peer takes, bytes, as its session description says.
    fn max_message_len(&self) -> usize;

    /// Lets time pass.
    fn handle_timeout(&mut self, now: Duration);

    /// What to do next.
    ///
    /// # Errors
    ///
    /// When the link is over because of what the peer did. If the error
    /// [`leaves_streams`](EngineError::leaves_streams), it comes once, and what is written then, and
    /// that this side hung up, still reaches the peer.
    fn poll_output(&mut self) -> Result<Output, EngineError>;

    /// Takes over a transport message, whole or not at all: `false` says that there is no room for
    /// it. Only when the streams are open.
    ///
    /// # Errors
    ///
    /// When the stream is gone.
    fn write(&mut self, channel: Channel, message: &[u8]) -> Result<bool, EngineError>;

    /// Bytes that were written and that the peer did not acknowledge yet, or that wait to be sent
    /// where more is not known.
    fn buffered_amount(&mut self) -> usize;

    /// Hangs up. Datagrams may still have to be sent.
    fn close(&mut self);

    /// Whether the stack checks by itself, every few seconds, that the peer's session is there. A
    /// stack that lives on when its session hangs does not.
    fn hears(&self) -> bool {
        false
    }

    /// Whether messages come and room is made without a call of this trait, as in stacks that the system
    /// moves. Then [`poll_output`](Self::poll_output) is asked each time that the task is woken.
    fn moves_by_itself(&self) -> bool {
        false
    }

    /// Whether such a check succeeded since the last call, or the peer acknowledged something, if
    /// [`hears`](Self::hears).
    fn take_heard(&mut self) -> bool {
        false
    }
}

/// A WebRTC stack with data channels, without I/O: [`Streams`] over datagrams. Up to 16 datagrams may
/// go in between two drains of its output; of more, some may be dropped.
pub trait Engine: Streams + Sized {
    /// Starts a link: gives the engine and its offer. `local` are the addresses at which datagrams
    /// come.
    ///
    /// # Errors
    ///
    /// When the stack refuses its configuration.
    fn offer(
        config: &EngineConfig,
        local: &[SocketAddr],
        now: Duration,
    ) -> Result<(Self, String), EngineError>;

    /// Takes in the answer to the offer.
    ///
    /// # Errors
    ///
    /// When the answer cannot be used, or none is waited for.
    fn accept_answer(&mut self, answer: &str, now: Duration) -> Result<(), EngineError>;

    /// Answers an offer.
    ///
    /// # Errors
    ///
    /// When the offer cannot be used.
    fn answer(
        config: &EngineConfig,
        local: &[SocketAddr],
        offer: &str,
        now: Duration,
    ) -> Result<(Self, String), EngineError>;

    /// Adds an address of the peer's that was trickled (RFC 8838): a line `candidate:…`. Those that
    /// are well formed and of no use are passed over.
    ///
    /// # Errors
    ///
    /// When the line cannot be read, or the peer has named [`MAX_CANDIDATES`].
    fn add_candidate(&mut self, candidate: &str) -> Result<(), EngineError>;

    /// How many candidates the peer named, with those that are of no use.
    fn candidates(&self) -> usize {
        0
    }

    /// Which end of the link this is.
    fn role(&self) -> Role;

    /// The local ICE user fragment: checks of the peer name it first in their USERNAME.
    fn user_fragment(&self) -> &str;

    /// Takes in a datagram. What cannot be read is dropped.
    fn handle_datagram(&mut self, datagram: Datagram<'_>, now: Duration);
}

/// The stream that carries what `role` sends on `channel`.
#[must_use]
pub fn stream(role: Role, channel: Channel) -> u16 {
    match (channel, role) {
        (Channel::Command, _) => 0,
        (Channel::Data, Role::Initiator) => 1,
        (Channel::Data, Role::Acceptor) => 2,
    }
}
