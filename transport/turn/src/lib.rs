//! STUN and TURN, as a node needs them that may be behind a NAT, without I/O.
//!
//! | to | use |
//! |---|---|
//! | learn how others see a socket's address | [`binding_request`], [`read_binding`] |
//! | have an address at a server | [`Allocation`] |
//! | read what comes over TCP | [`Frames`] |
//! | read where a server is | [`ServerUrl`] |

#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::unwrap_used))]

mod allocation;
mod binding;
mod error;
mod frames;
mod message;
mod url;

pub use allocation::{
    Allocation, AllocationConfig, Event, MAX_CHANNELS, MAX_HELD, MAX_LIFETIME, MAX_PERMISSIONS,
};
pub use binding::{binding_request, read_binding};
pub use error::TurnError;
pub use frames::{Frames, MAX_FRAME};
#[doc(hidden)]
pub use message::read_message;
pub use url::{ServerKind, ServerUrl, Transport};

/// Names a request and its answer: 96 random bits.
pub type Transaction = [u8; 12];
