//! Whole nodes on the simulated network: what `docs/RELIABILITY.md` promises of nodes, at virtual time.

#![cfg(not(target_arch = "wasm32"))]

mod capacity;
mod deaf;
#[cfg(feature = "hub")]
mod documents;
mod ends;
mod lab;
mod reconnecting;
#[cfg(feature = "requests")]
mod requests;
mod resuming;
#[cfg(feature = "quic")]
mod round_trips;
#[cfg(feature = "quic")]
mod slow;
mod sockets;
mod transfer;
