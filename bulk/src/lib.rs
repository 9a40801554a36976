//! Files over Deltawire's links, beside deltas that overtake them.
//!
//! | | |
//! |---|---|
//! | [`Bulk`] | what goes over one link: sends, asks for, and takes files |
//! | [`Transfer`] | the handle on one file: progress, cancelling, its end |
//! | [`Proposal`] | what the peer would send, or have |
//! | [`Source`], [`Sink`] | where a file comes from and goes to: memory or, with the feature `files`, a file system |
//! | [`Outgoing`], [`Incoming`] | the two sides of a transfer without files, clocks and tasks |
//!
//! A file is **pulled**: the side that wants it asks for pieces, a bounded number of bytes at a time, and checks each against
//! the file's hash before it is written. Pieces go at the lowest priority that a link has, so anything else overtakes them.
//!
//! # Features
//! `files`: from files and to files, on Unix; in a browser's worker from blobs, and to files of the origin's own file system.
//! Without it files are memory.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used))]

#[cfg(all(feature = "files", target_arch = "wasm32"))]
mod browser;
mod driver;
mod error;
#[cfg(all(feature = "files", unix))]
mod files;
mod hashing;
mod incoming;
mod layout;
mod name;
mod options;
mod outgoing;
mod pieces;
#[cfg(all(feature = "files", any(unix, target_arch = "wasm32")))]
mod saved;
mod signal;
mod sink;
mod source;
mod transfer;
#[cfg(all(feature = "files", any(unix, target_arch = "wasm32")))]
mod unfinished;

pub use deltawire_framing::bulk::BulkStatus;
pub use driver::{Bulk, Offer, Proposal, Request, Unfinished};
pub use error::{AttendError, Refused, TransferError};
#[cfg(all(feature = "files", unix))]
pub use files::{HashedFile, hash_file};
pub use hashing::{Hash, hash_piece, merge, merge_group};
pub use incoming::{Asking, Bad, Incoming, MAX_PAGES, MAX_WRONG, MAX_WRONG_OF_PIECE};
pub use layout::{Layout, LayoutError};
pub use name::{FileName, NameError, PART, STATE};
pub use options::{BulkOptions, InvalidOptions};
pub use outgoing::{MAX_ASKED_AGAIN, MAX_ASKS, Misplaced, Outgoing, Part};
pub use pieces::Pieces;
pub use sink::{Existing, Sink};
pub use source::Source;
pub use transfer::{Phase, Progress, Report, Transfer};
