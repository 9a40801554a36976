#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

/// The web framework whose `Router` [`Node::router`] gives: the version that it has to be.
#[cfg(not(target_arch = "wasm32"))]
pub use axum;
pub use deltawire_channels as channels;
pub use deltawire_framing as framing;
#[cfg(target_arch = "wasm32")]
pub use deltawire_transport::browser;
#[cfg(not(target_arch = "wasm32"))]
pub use deltawire_transport::{AnswerError, Offer, sim};
pub use deltawire_transport::{
    Backoff, BuildError, Change, ConnectError, ConnectionManager, Ended, FlightLimits, Full, Link,
    LinkStats, Network, NoMoreSenders, Node, NodeBuilder, NodeEvent, NodeLimits, PeerId, PeerInfo,
    PeerState, Reconnecting, Route, ShutDown, Undelivered, engine, memory, signalling,
};

/// What most programs name: nodes and links, peers and their ends, what one says of a delta, and
/// what one sets.
///
/// Messages and their parts are views that methods give; a program that names their types has them
/// from [`framing`], so that its own `Frame`, `Record` or `Channel` is the only one.
pub mod prelude {
    pub use deltawire_channels::{
        ChannelClosed, Delivery, Limits, Message, Order, Peer, Receiver, Reliability, SendError,
        Sender, SharedSender, TryNext,
    };
    pub use deltawire_framing::control::CloseCode;
    pub use deltawire_framing::{Checksum, DeltaFields, DeltaType, DocId};
    pub use deltawire_transport::{
        Ended, Link, Node, NodeBuilder, NodeEvent, NodeLimits, PeerId, Undelivered,
    };
}
