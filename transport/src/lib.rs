//! Links: how two peers reach each other. [`memory`] joins two within a process; for the others,
//! [`signalling`] carries offers and answers over HTTP.

#![forbid(unsafe_code)]

pub mod memory;
pub mod signalling;
