//! Nodes over real loopback sockets: what they carry, how they end, what they refuse, and what
//! they survive.

#![cfg(not(target_arch = "wasm32"))]

mod advertised;
mod agreement;
mod closing;
mod deltas;
mod foreign;
mod hostile;
mod identity;
mod life;
mod moves;
mod nodes;
mod proxy;
mod random;
mod refusals;
mod rooms;
mod transfer;
