//! Links: how two peers reach each other. So far there is one, [`memory`], within a process.

#![forbid(unsafe_code)]

pub mod engine;
mod flight;
pub mod memory;
