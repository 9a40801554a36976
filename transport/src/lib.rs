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
#[cfg_attr(target_arch = "wasm32", expect(dead_code, reason = "there is no browser link yet"))]
mod flight;
#[cfg_attr(target_arch = "wasm32", expect(dead_code, reason = "there is no browser link yet"))]
mod link;
pub mod memory;
#[cfg_attr(target_arch = "wasm32", expect(dead_code, reason = "there is no browser link yet"))]
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
