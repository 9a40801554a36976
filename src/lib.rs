#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

/// The web framework whose `Router` [`Node::router`] gives: the version that it has to be.
#[cfg(all(feature = "signalling-server", not(target_arch = "wasm32")))]
pub use axum;
#[cfg(all(
    any(feature = "webrtc", feature = "websocket", feature = "webtransport"),
    target_arch = "wasm32"
))]
pub use deltawire_browser as browser;
/// Files over links, beside what overtakes them.
#[cfg(feature = "bulk")]
pub use deltawire_bulk as bulk;
pub use deltawire_channels as channels;
pub use deltawire_framing as framing;
pub use deltawire_link as link;
pub use deltawire_link::{
    Identity, Link, LinkChange, LinkChanges, LinkEnded, LinkId, LinkStats, NoMoreSenders,
    PacingLimits, Resumed, Route, SessionsLimits, TransportError, TransportErrorKind, Undelivered,
    memory,
};
#[cfg(all(
    any(feature = "quic", feature = "sctp", feature = "tcp", all(feature = "unix", unix)),
    not(target_arch = "wasm32")
))]
pub use deltawire_node::Admission;
#[cfg(not(target_arch = "wasm32"))]
pub use deltawire_node::TokioRuntime;
#[cfg(all(feature = "unix", unix))]
pub use deltawire_node::UnixPeers;
#[doc(hidden)]
#[cfg(all(feature = "webrtc", not(target_arch = "wasm32")))]
pub use deltawire_node::limits;
#[cfg(feature = "webrtc")]
pub use deltawire_node::{AnswerError, Offer, RoomError};
pub use deltawire_node::{
    Backoff, BuildError, CapacityError, ConnectError, LinkKind, Node, NodeBuilder, NodeEvent,
    NodeLimits, PeerInfo, PeerState, ReconnectEvent, Reconnecting, ShutDown,
};
#[cfg(all(feature = "turn", not(target_arch = "wasm32")))]
pub use deltawire_node::{IceServerError, IceServerProblem};
#[cfg(all(feature = "quic", not(target_arch = "wasm32")))]
pub use deltawire_quic as quic;
#[cfg(feature = "requests")]
pub use deltawire_requests as requests;
#[cfg(all(feature = "sctp", not(target_arch = "wasm32")))]
pub use deltawire_sctp as sctp;
#[cfg(feature = "webrtc")]
pub use deltawire_sdp as sdp;
#[cfg(feature = "webrtc")]
pub use deltawire_sdp::IceServer;
pub use deltawire_signalling as signalling;
#[cfg(all(feature = "sim", not(target_arch = "wasm32")))]
pub use deltawire_sim as sim;
#[cfg(all(any(feature = "tcp", all(feature = "unix", unix)), not(target_arch = "wasm32")))]
pub use deltawire_stream as stream;
#[cfg(all(feature = "webrtc", not(target_arch = "wasm32")))]
pub use deltawire_webrtc as webrtc;

#[cfg(feature = "webtransport")]
pub use deltawire_webtransport as webtransport;

/// What is to compile of its examples does.
#[cfg(all(doctest, feature = "turn"))]
#[doc = include_str!("../docs/LINKS.md")]
struct Links;

#[cfg(feature = "documents")]
pub mod documents;

/// What most programs name: nodes and links, peers and their ends, what one says of a delta, and
/// what one sets.
///
/// Messages and their parts are views that methods give; a program that names their types has them
/// from [`framing`], so that its own `Frame`, `Record` or `Channel` is the only one.
pub mod prelude {
    pub use deltawire_channels::{
        ChannelClosed, Delivery, Limits, Message, Order, Peer, Receiver, Reliability, SendError,
        Sender, SharedSender, TryNextError,
    };
    pub use deltawire_framing::control::CloseCode;
    pub use deltawire_framing::{Checksum, DeltaFields, DeltaType, DocId};
    pub use deltawire_link::{Link, LinkEnded, LinkId, Undelivered};
    pub use deltawire_node::{Node, NodeBuilder, NodeEvent, NodeLimits};
}
