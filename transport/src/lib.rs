//! Links: how two peers reach each other. So far there is one, [`memory`], within a process.

#![forbid(unsafe_code)]

pub mod engine;
#[cfg(not(target_arch = "wasm32"))]
mod connection;
#[cfg(not(target_arch = "wasm32"))]
mod driver;
mod flight;
mod link;
pub mod memory;

pub use flight::FlightLimits;
pub use link::{Ended, Link, LinkStats, NoMoreSenders, PeerId, Undelivered};
