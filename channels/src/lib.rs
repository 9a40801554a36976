//! Lock-free rings that carry messages between an application's threads and the driver of a
//! connection.
//!
//! A [byte ring](ring::byte) holds frames exactly as they are sent, so the bytes that a writer
//! laid out are the bytes that leave. A [slot ring](ring::slot) carries small owned values. Both
//! park instead of spinning, and neither allocates once it is made.
//!
//! All atomics of Deltawire are here too, but for the status bits of a record. Loom models the rings and what wakes
//! drivers.
//!
//! Nothing here knows a socket, a runtime, a clock or a random source. The crate's only unsafe
//! code is in four files of [`ring`]: the two memories, their pages, and the parking of tasks.
//!
//! # Features
//! `futures`: [`Receiver`] as a `Stream` and [`Sender`] as a `Sink`, of owned messages.

#![deny(unsafe_code)]
// Atomics have their home here, in `sync`; `clippy.toml` keeps them out of the other crates.
#![allow(clippy::disallowed_types)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used))]

mod limits;
mod memory;
mod peer;
pub mod ring;
pub mod session;
mod sync;
#[doc(hidden)]
pub mod waking;

pub use deltawire_framing::control::{Delivery, Order, Reliability};
pub use limits::{InvalidLimits, Limits};
pub use memory::{PartialMessage, TransportMessage};
pub use peer::{
    ChannelClosed, Command, DeltaGrant, MAX_HANDED_OVER, MAX_SHARED, Message, OpaqueGrant, Peer,
    Receiver, SendError, Sender, SharedSender, SplitError, TryNextError,
};
#[cfg(feature = "futures")]
pub use peer::{DeltaSink, Messages};
pub use session::Session;
