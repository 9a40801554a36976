//! A node: what an application has of the peers that it talks to.

mod addresses;
mod backoff;
mod manager;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod native;
mod network;
pub(crate) mod patience;
mod place;
mod reconnecting;
mod shut_down;

pub use backoff::Backoff;
pub use manager::{ConnectionManager, Full, NodeEvent, NodeLimits, PeerInfo, PeerState};
#[cfg(not(target_arch = "wasm32"))]
pub use native::{AnswerError, Offer};
#[cfg(not(target_arch = "wasm32"))]
pub use native::{BuildError, ConnectError, Node, NodeBuilder};
pub use network::Network;
#[cfg(target_arch = "wasm32")]
pub(crate) use place::Place;
pub use reconnecting::{Change, Reconnecting};
pub use shut_down::ShutDown;

#[cfg(target_arch = "wasm32")]
pub use crate::browser::{BuildError, ConnectError, Node, NodeBuilder};
