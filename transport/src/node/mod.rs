//! A node: what an application has of the peers that it talks to.

mod backoff;
mod manager;
#[cfg(not(target_arch = "wasm32"))]
mod native;
mod network;
#[cfg(not(target_arch = "wasm32"))]
mod reconnecting;

pub use backoff::Backoff;
pub use manager::{ConnectionManager, Full, NodeEvent, NodeLimits, PeerInfo, PeerState};
#[cfg(not(target_arch = "wasm32"))]
pub use native::{AnswerError, BuildError, ConnectError, Node, NodeBuilder, Offer};
pub use network::Network;
#[cfg(not(target_arch = "wasm32"))]
pub use reconnecting::{Change, Reconnecting};
