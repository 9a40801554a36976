//! Signalling over loopback sockets: the router, its server and the client, and what strangers
//! send to either.

#![cfg(not(target_arch = "wasm32"))]

mod client;
#[cfg(feature = "https")]
mod https;
mod node;
mod raw;
mod rooms;
mod router;
mod server;
