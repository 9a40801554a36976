//! Links in a browser: data channels in a dedicated worker, and the window's part for them.
//!
//! `RTCPeerConnection` exists in windows only; data channels can be given to a worker, in the task
//! that makes them. So the window has a `Port`, which makes connections when the worker asks,
//! gives their channels away and applies session descriptions, and the worker has everything else:
//! the node, sessions, rings and signalling. No message goes through the window,
//! so whatever a page does holds none up. In a browser that cannot transfer channels the window
//! relays: it hands each buffer on without copying it, and
//! `LinkStats::route` says so.
//!
//! A message is sent from where it lies in the ring, and what comes is copied once, from the
//! browser's memory into wasm's.
//!
//! On other targets this crate is empty.

#![cfg(target_arch = "wasm32")]
#![forbid(unsafe_code)]

mod channels;
mod clock;
mod envelope;
mod online;
mod opening;
mod port;
mod runtime;
mod worker;

pub use channels::Channels;
pub use clock::timeout;
pub use deltawire_sdp::IceServer;
#[doc(hidden)]
pub use envelope::explain;
pub use opening::{Candidates, Offered, Opening, OpeningError, answer, listen, open};
pub use port::{Port, PortOptions, PortStats};
pub use runtime::BrowserRuntime;
pub use worker::{NoWorker, is_worker, spawn_worker};
