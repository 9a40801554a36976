//! What a log refuses, and what ends it.

use deltawire_framing::{DocId, Malformed};

use crate::position::Position;

/// Why a log did not take something. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// There is no room now. Waiting helps, or a higher limit.
    #[error("the log is full: {room} would be {value} bytes, of at most {limit}")]
    Full {
        /// Of what there is too much.
        room: Room,
        /// How much it would be, bytes.
        value: u64,
        /// How much it may be, bytes.
        limit: u64,
    },
    /// The frame is longer than the log takes ([`LogOptions::max_record`](crate::LogOptions::max_record)).
    #[error("a frame of {len} bytes is too long: at most {limit}")]
    TooLong {
        /// Its length, bytes.
        len: u64,
        /// The longest that is taken, bytes.
        limit: u64,
    },
    /// The frame is not a whole delta.
    #[error("not a whole delta: {0}")]
    NotADelta(Malformed),
    /// The document is new, and there are as many as there may be
    /// ([`LogOptions::max_documents`](crate::LogOptions::max_documents)).
    #[error("there are {limit} documents already")]
    TooManyDocuments {
        /// How many there may be.
        limit: u64,
    },
    /// Nothing is written any more.
    #[error("the log is read-only: {0}")]
    ReadOnly(Broken),
    /// The log does not know the document.
    #[error("document {doc} is not known")]
    Unknown {
        /// The document.
        doc: DocId,
    },
    /// The document has no record there, or has it no longer.
    #[error(
        "document {doc} has no record {at}: it has {first} up to {next}, that one not included"
    )]
    NoRecord {
        /// The document.
        doc: DocId,
        /// The position asked for.
        at: Position,
        /// The oldest that is kept.
        first: Position,
        /// The one behind the newest.
        next: Position,
    },
    /// A record that was rejected cannot be a snapshot.
    #[error("record {at} was rejected: it cannot be a snapshot")]
    Rejected {
        /// Its position.
        at: Position,
    },
    /// A snapshot cannot cover itself.
    #[error("a snapshot at {at} cannot cover records up to {covers}")]
    CoversItself {
        /// Where the snapshot is.
        at: Position,
        /// What it is said to cover.
        covers: Position,
    },
}

/// What there is too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Room {
    /// Bytes that wait to become durable: the disk is slower than what comes, or full.
    Dirty,
    /// The index, of which nothing can go.
    Index,
}

impl core::fmt::Display for Room {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Dirty => "what waits for the disk (max_dirty_bytes)",
            Self::Index => "the index (max_index_bytes)",
        })
    }
}

/// Why a log is read-only. It stays so until it is opened anew.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// A sync failed. What it was to make durable may be lost, and trying again would only hide that.
    #[error("a sync of segment {segment} failed: {reason}")]
    Sync {
        /// The segment.
        segment: u64,
        /// What the operating system said.
        reason: String,
    },
    /// A write failed, and not for want of room.
    #[error("a write to segment {segment} failed: {reason}")]
    Write {
        /// The segment.
        segment: u64,
        /// What the operating system said.
        reason: String,
    },
    /// A segment could not be made, and not for want of room.
    #[error("segment {segment} could not be made: {reason}")]
    Create {
        /// The segment.
        segment: u64,
        /// What the operating system said.
        reason: String,
    },
    /// Something in the middle of the log was found damaged as it was opened: what lies behind it cannot be trusted, and
    /// must not be written over.
    #[error("segment {segment} is damaged at byte {at}, and the log goes on behind it")]
    Damaged {
        /// The segment.
        segment: u64,
        /// Where, bytes from its start.
        at: u64,
    },
    /// It was closed ([`Log::close`](crate::Log::close)).
    #[error("it was closed")]
    Closed,
}

/// Why a log, or a directory of logs, cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// An option is out of its range.
    #[error(transparent)]
    Option(#[from] crate::options::BadOption),
    /// A log with files needs a durability other than [`Memory`](crate::Durability::Memory).
    #[error("option durability is Memory: a log with files is PageCache, Grouped or Each")]
    Durability,
    /// A call of the operating system's failed.
    #[cfg(feature = "files")]
    #[error("could not {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: std::path::PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Segments of it are in an object store, and whoever opens it has none.
    #[cfg(feature = "files")]
    #[error("{} has segment {segment} of shard {shard} in an object store only: open it with that", path.display())]
    Archived {
        /// The directory.
        path: std::path::PathBuf,
        /// The number of the log.
        shard: usize,
        /// The segment.
        segment: u64,
    },
    /// Another process has the directory open.
    #[cfg(feature = "files")]
    #[error("{} is locked: another process has the directory open", path.display())]
    Locked {
        /// The lock.
        path: std::path::PathBuf,
    },
    /// The manifest is not what it should be.
    #[cfg(feature = "files")]
    #[error("{} is damaged: field {field}", path.display())]
    Manifest {
        /// The manifest.
        path: std::path::PathBuf,
        /// The field at fault, named as in `FORMAT.md`.
        field: &'static str,
    },
    /// The directory is of another version of the format.
    #[cfg(feature = "files")]
    #[error("{} is of version {value}, and only {known} is known", path.display())]
    Version {
        /// The manifest.
        path: std::path::PathBuf,
        /// Its version.
        value: u16,
        /// The one that is known.
        known: u16,
    },
    /// A number of shards that no directory can have.
    #[cfg(feature = "files")]
    #[error("{value} shards: must be from 1 to 4096")]
    ShardCount {
        /// The number.
        value: u64,
    },
    /// The directory was made for another number of shards. Documents lie where that number says, so it stays.
    #[cfg(feature = "files")]
    #[error("{} has {known} shards, and cannot be opened with {value}", path.display())]
    Shards {
        /// The directory.
        path: std::path::PathBuf,
        /// The number asked for.
        value: u32,
        /// The number that it was made for.
        known: u32,
    },
    /// There is no such shard.
    #[cfg(feature = "files")]
    #[error("there is no shard {index}: there are {shards}, from 0")]
    NoShard {
        /// The one asked for.
        index: usize,
        /// How many there are.
        shards: usize,
    },
}
