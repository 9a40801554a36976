//! Links: how two peers reach each other.
//!
//! A [`Node`] connects to other nodes and accepts their connections, over WebRTC, with
//! [`signalling`] by HTTP; [`memory`] joins two peers within a process.

#![forbid(unsafe_code)]

#[cfg(not(target_arch = "wasm32"))]
mod connection;
#[cfg(not(target_arch = "wasm32"))]
mod driver;
pub mod engine;
mod flight;
mod link;
pub mod memory;
mod node;
pub mod signalling;

pub use flight::FlightLimits;
pub use link::{Ended, Link, LinkStats, NoMoreSenders, PeerId, Undelivered};
#[cfg(not(target_arch = "wasm32"))]
pub use node::{
    AnswerError, BuildError, Change, ConnectError, Node, NodeBuilder, Offer, Reconnecting,
};
pub use node::{
    Backoff, ConnectionManager, Full, Network, NodeEvent, NodeLimits, PeerInfo, PeerState,
};
