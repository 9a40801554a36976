//! Nodes: one end of many links, the same natively and in a browser's dedicated worker.
//!
//! A [`Node`] has kinds of links ([`LinkKind`]), of which the scheme of an address chooses one; what all
//! kinds share is here: how many there may be, who waits for them, what became of them, and when to try
//! again. What a node needs of its surroundings is a [`Runtime`](deltawire_link::Runtime): tokio's, a
//! browser's, or a simulated one.

#![forbid(unsafe_code)]
#![cfg_attr(
    target_arch = "wasm32",
    allow(clippy::arc_with_non_send_sync, reason = "the same types as where there are threads")
)]

mod addresses;
#[cfg(all(
    any(feature = "quic", feature = "sctp", feature = "tcp", all(feature = "unix", unix)),
    not(target_arch = "wasm32")
))]
mod admission;
#[cfg(all(
    any(feature = "quic", feature = "sctp", feature = "tcp", all(feature = "unix", unix)),
    not(target_arch = "wasm32")
))]
mod arrival;
mod automatic;
mod backoff;
#[cfg(all(feature = "webrtc", target_arch = "wasm32"))]
mod browser;
mod builder;
mod error;
#[cfg(all(any(feature = "quic", feature = "sctp", feature = "tcp"), not(target_arch = "wasm32")))]
mod host_and_port;
#[cfg(all(feature = "signalling-server", not(target_arch = "wasm32")))]
mod http;
mod kind;
mod manager;
#[cfg(feature = "metrics")]
mod metrics;
mod network;
#[cfg(not(target_arch = "wasm32"))]
mod network_watch;
mod node;
#[cfg_attr(
    not(any(feature = "quic", all(feature = "webtransport", target_arch = "wasm32"))),
    allow(dead_code, reason = "addresses of kinds that this node does not have")
)]
mod offered_address;
mod patience;
#[cfg(all(feature = "quic", not(target_arch = "wasm32")))]
mod quic;
mod race;
mod reconnecting;
mod reservation;
mod resuming;
#[cfg(feature = "webrtc")]
mod rooms;
#[cfg(all(feature = "sctp", not(target_arch = "wasm32")))]
mod sctp;
mod settings;
mod shut_down;
#[cfg(all(any(feature = "tcp", all(feature = "unix", unix)), not(target_arch = "wasm32")))]
mod streams;
mod task;
#[cfg(not(target_arch = "wasm32"))]
mod tokio;
#[cfg(all(
    any(feature = "webrtc", feature = "quic", feature = "sctp"),
    not(target_arch = "wasm32")
))]
#[cfg_attr(
    not(feature = "webrtc"),
    allow(dead_code, unreachable_pub, reason = "addresses that WebRTC's peers are told")
)]
mod udp;
#[cfg(test)]
#[path = "../../link/src/waiting.rs"]
mod waiting;
#[cfg(all(feature = "webrtc", not(target_arch = "wasm32")))]
mod webrtc;
#[cfg(feature = "webrtc")]
mod webrtc_signalling;
#[cfg(all(feature = "websocket", not(target_arch = "wasm32")))]
mod websocket;
#[cfg(all(feature = "websocket", any(feature = "signalling-client", target_arch = "wasm32")))]
mod websocket_address;
#[cfg(all(feature = "websocket", target_arch = "wasm32"))]
mod websocket_browser;
#[cfg(all(feature = "webtransport", target_arch = "wasm32"))]
mod webtransport_browser;

#[cfg(all(
    any(feature = "quic", feature = "sctp", feature = "tcp", all(feature = "unix", unix)),
    not(target_arch = "wasm32")
))]
pub use admission::Admission;
pub use backoff::Backoff;
#[cfg(all(feature = "webrtc", target_arch = "wasm32"))]
pub use browser::{AnswerError, Offer};
pub use builder::NodeBuilder;
pub use error::{BuildError, ConnectError};
pub use kind::LinkKind;
pub use manager::{CapacityError, NodeEvent, NodeLimits, PeerInfo, PeerState};
pub use node::Node;
pub use reconnecting::{ReconnectEvent, Reconnecting};
#[cfg(feature = "webrtc")]
pub use rooms::RoomError;
pub use shut_down::ShutDown;
#[cfg(all(feature = "unix", unix))]
pub use streams::UnixPeers;
#[cfg(not(target_arch = "wasm32"))]
pub use tokio::TokioRuntime;
#[cfg(all(feature = "webrtc", not(target_arch = "wasm32")))]
pub use webrtc::{AnswerError, Offer};
#[cfg(all(feature = "turn", not(target_arch = "wasm32")))]
pub use webrtc::{IceServerError, IceServerProblem};

/// Limits that a test compares with the documentation.
#[doc(hidden)]
#[cfg(all(feature = "webrtc", not(target_arch = "wasm32")))]
pub mod limits {
    pub use crate::settings::CONNECT_TIMEOUT;
    pub use crate::udp::socket::MAX_WAITING;
    pub use crate::udp::{REQUESTS, SOCKET_BUFFER};
    #[cfg(feature = "turn")]
    pub use crate::webrtc::gathering::{
        GATHERING, MAX_ASKING, MAX_FROM_RELAY, MAX_ICE_SERVERS, MAX_PROBES, MAX_TO_RELAY,
        MAX_TO_STREAM,
    };
    #[cfg(feature = "turn")]
    pub use deltawire_turn as turn;
}
