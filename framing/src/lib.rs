//! The wire of Deltawire: frames, deltas and records, laid out once and read in place.
//!
//! **The bytes that arrive are the bytes that are stored, read and sent on.** A delta is laid out
//! once, by whoever writes it; a reader gets a view over the bytes and throws the view away.
//! Nothing here does I/O, asks a clock or draws a random number, and nothing is `unsafe`.
//!
//! | to | use |
//! |---|---|
//! | write a delta where it will be sent from | [`DeltaWriter`], in a [`RecordBuf`] for alignment |
//! | send a message longer than a frame | [`Fragmenter`] |
//! | join small frames into one transport message | [`run()`] |
//! | read a transport message | [`Frames`], then [`Frame::delta`], [`Frame::control`], [`Frame::document`], [`Frame::request`] or [`Frame::bulk`] |
//! | put fragments together | [`Reassembler`] |
//! | edit lists as payload | [`operations`] |
//! | keep a delta with what the node knows of it | [`Record`], [`SharedRecord`] |
//!
//! The format itself, enough to write another implementation from, is in `docs/WIRE.md`.
//!
//! # Features
//! `std` (default): CRC-32C by the CPU's own instruction. Without it the crate needs only `alloc`.

#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used))]

extern crate alloc;
#[cfg(any(test, feature = "std"))]
extern crate std;

pub mod bulk;
pub mod control;
mod delta;
pub mod documents;
mod error;
mod fragmenter;
mod frame;
pub mod operations;
mod reassembler;
mod record;
pub mod requests;

pub use delta::{
    Checksum, Delta, DeltaFields, DeltaHeader, DeltaMut, DeltaType, DeltaWriter, DocId, payload_as,
    payload_as_mut,
};
pub use error::{Blame, CastError, Expected, Field, LimitExceeded, Malformed, Refused, WriteError};
pub use fragmenter::{FragmentInPlace, Fragmenter};
pub use frame::{
    Channel, DEFAULT_MAX_FRAME_LEN, FRAME_ALIGN, Frame, FrameHeader, Frames, Kind, Run, frame_step,
    run,
};
pub use reassembler::{
    Abandoned, Landing, Message, Reassembled, Reassembler, ReassemblerCounters, ReassemblerLimits,
};
pub use record::{
    RECORD_ALIGN, Record, RecordBuf, RecordMut, SecurityHeader, SharedRecord, SigningKey, Status,
    StatusBits,
};
