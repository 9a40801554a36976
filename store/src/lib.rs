//! A log of deltas: stored as they came, read and sent on as they lie.
//!
//! A [`Log`] holds the deltas of any number of documents, one behind the other in the order in which they came, each with
//! a [`Position`] in its document. It does no I/O and asks no clock: [`Log::poll_io`] says what is to be written,
//! [`Log::handle_io`] takes what came of it, and time is an argument. One thread owns it.
//!
//! | to | use |
//! |---|---|
//! | store a delta | [`Log::append`] (one copy), [`Log::adopt`] (none), [`Log::reserve`] (written in place) |
//! | make what was stored readable | [`Log::end_batch`] |
//! | read a document from a position | [`Log::read`]: slices of what was stored, no copies |
//! | say what came of a delta | [`Log::stamp`]: bits that are only ever switched on |
//! | bound what is kept | [`LogOptions`], [`Retention`], [`Log::snapshot`] |
//! | keep it over restarts | [`Log::open`], and the feature `files` |
//!
//! ```
//! use deltawire_framing::{Channel, DeltaFields, DeltaWriter, DocId, Frame, FrameHeader, Kind, RecordBuf};
//! use deltawire_store::{Epoch, Log, LogOptions, Now, Origin, Position, Read};
//!
//! let doc = DocId([7; 16]);
//! let mut record = RecordBuf::with_body_capacity(100);
//! let mut writer = DeltaWriter::new(record.body_mut(), DeltaFields::new(doc))?;
//! writer.payload_mut()[..5].copy_from_slice(b"hello");
//! let body_len = writer.finish(5)?;
//! record.seal(FrameHeader::whole(Kind::Delta, Channel::Data, body_len)?)?;
//!
//! let mut log = Log::new(LogOptions::default(), Epoch(1));
//! let appended = log.append(record.frame()?, Origin::NONE, Now::default())?;
//! assert_eq!(appended.position, Position(1));
//! log.end_batch(Now::default());
//!
//! let Read::Run(run) = log.read(&doc, Position(1), 64 * 1024) else { panic!("it was appended") };
//! assert_eq!(Frame::parse(&run.records[0].frame)?.delta()?.payload(), b"hello");
//! assert!(matches!(log.read(&doc, run.next, 64 * 1024), Read::AtHead));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

//!
//! # Features
//! `files`: logs in a directory, with what the operating system has for them. Unix only.
//! `object-store`: sealed segments in an object store (`archive`), over those files.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used))]

#[cfg(all(unix, feature = "object-store"))]
pub mod archive;
mod error;
#[cfg(all(unix, feature = "files"))]
pub mod files;
mod format;
mod index;
mod log;
mod options;
mod position;
mod recovery;

pub use deltawire_framing::{DocId, StatusBits};
pub use error::{Broken, OpenError, Refused, Room};
pub use index::{NoIndex, SegmentIndex};
pub use log::{
    Appended, Gap, GapReason, Grant, Head, Io, IoDone, IoError, IoToken, Log, LogStats, Look,
    Previous, Read, ReadRequest, Run, SealedSegment, Snapshot, Stored, Written,
};
pub use options::{BadOption, Durability, LogOptions, Retention};
pub use position::{Epoch, LogPosition, Now, Origin, Position};
pub use recovery::{Recovered, Recovery, Tail};
