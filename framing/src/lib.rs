//! The wire of Deltawire.
#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

pub mod error;
mod frame;
pub use frame::*;
