//! Rooms: nodes that are connected to through a node that only passes their offers on, and what strangers do to it.

#![cfg(not(target_arch = "wasm32"))]

mod links;
mod service;
