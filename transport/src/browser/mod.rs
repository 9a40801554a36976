//! The browser: a node in a dedicated worker, and the window's part for it.
//!
//! `RTCPeerConnection` exists in windows only; data channels can be given to a worker, in the task
//! that makes them. So the window has a [`Port`], which makes connections when the worker asks,
//! gives their channels away and applies session descriptions, and the worker has everything else:
//! the [`Node`], sessions, rings and signalling. No message goes through the window,
//! so whatever a page does holds none up. In a browser that cannot transfer channels the window
//! relays: it hands each buffer on without copying it, and
//! [`LinkStats::route`](crate::LinkStats::route) says so.
//!
//! A message is sent from where it lies in the ring, and what comes is copied once, from the
//! browser's memory into wasm's.

mod channels;
mod clock;
mod driver;
mod envelope;
mod node;
mod opening;
mod port;
mod signal;
mod worker;

pub(crate) use clock::{now, sleep};
pub use node::{BuildError, ConnectError, Node, NodeBuilder};
pub use port::{Port, PortOptions, PortStats};
pub use worker::{NoWorker, is_worker, spawn_worker};
