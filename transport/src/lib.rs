//! Links: how two peers reach each other.
//!
//! A [`Node`] connects to other nodes and accepts their connections, over WebRTC, with
//! [`signalling`] by HTTP; [`memory`] joins two peers within a process, and `sim` is a network for
//! tests.

#![forbid(unsafe_code)]

#[cfg(target_arch = "wasm32")]
pub mod browser;
mod connection;
#[cfg(not(target_arch = "wasm32"))]
mod driver;
pub mod engine;
mod flight;
#[cfg(all(test, not(target_arch = "wasm32")))]
mod limits;
mod link;
pub mod memory;
mod node;
mod platform;
pub mod signalling;
#[cfg(not(target_arch = "wasm32"))]
pub mod sim;
#[cfg(test)]
mod waiting;

pub use engine::MAX_CANDIDATES;
pub use flight::FlightLimits;
pub use link::{Ended, Link, LinkStats, NoMoreSenders, PeerId, Route, Undelivered};
#[cfg(not(target_arch = "wasm32"))]
pub use node::{AnswerError, Offer};
pub use node::{
    Backoff, BuildError, Change, ConnectError, ConnectionManager, Full, Network, Node, NodeBuilder,
    NodeEvent, NodeLimits, PeerInfo, PeerState, Reconnecting, ShutDown,
};
