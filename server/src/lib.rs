#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used))]

pub mod config;
mod http;
pub mod pinning;
mod server;

pub use server::{Ended, Reloaded, Server, StartError};
