//! What a log asks of the disk, and what it is told.

use bytes::Bytes;

/// Names a piece of I/O until it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IoToken(pub(super) u64);

/// A piece of I/O that a log asks for. Create and write in the order in which that is asked for, each as a whole. All
/// else may be done at any time and on any thread, beside those: what has to wait for it is not asked for before.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Io {
    /// Make a segment: `len` bytes long, zeros behind the header, and durable with its name before this is done.
    Create {
        /// To be handed back.
        token: IoToken,
        /// Its number.
        segment: u64,
        /// Its first 64 bytes.
        header: Bytes,
        /// Bytes of the whole file.
        len: u64,
    },
    /// Write slices, one behind the other.
    Write {
        /// To be handed back.
        token: IoToken,
        /// The segment's number.
        segment: u64,
        /// Where, bytes from its start; a multiple of 64.
        at: u64,
        /// What.
        parts: Vec<Bytes>,
    },
    /// Make what was written to a segment durable.
    Sync {
        /// To be handed back.
        token: IoToken,
        /// The segment's number.
        segment: u64,
    },
    /// Cut a segment to `len` bytes and make it durable. It is never written again.
    Seal {
        /// To be handed back.
        token: IoToken,
        /// The segment's number.
        segment: u64,
        /// Bytes that it keeps.
        len: u64,
    },
    /// Write the index of a sealed segment behind its batches, in place of what may be there, and make it durable
    /// ([`SegmentIndex`](crate::SegmentIndex)). If it fails, opening reads all of the segment; nothing else.
    Index {
        /// To be handed back.
        token: IoToken,
        /// The segment's number.
        segment: u64,
        /// Bytes up to the end of its last batch.
        len: u64,
    },
    /// Delete a segment. What has to be durable before is.
    Delete {
        /// To be handed back.
        token: IoToken,
        /// The segment's number.
        segment: u64,
    },
    /// Read bytes of a segment, into memory at a multiple of 64.
    Read {
        /// To be handed back.
        token: IoToken,
        /// The segment's number.
        segment: u64,
        /// Where, bytes from its start.
        at: u64,
        /// How many bytes.
        len: usize,
    },
    /// Write to the file that is to take the place of a segment, which is made by the first of these. It is whole, and
    /// durable, when [`Replace`](Self::Replace) is done.
    Rewrite {
        /// To be handed back.
        token: IoToken,
        /// The segment's number.
        segment: u64,
        /// Where, bytes from its start; a multiple of 64.
        at: u64,
        /// What.
        bytes: Bytes,
    },
    /// Make that file durable, and have it take the segment's place and name, all at once. If it fails, the segment is
    /// there as before. Readers of what was compacted ask anew when it is done ([`Read::Cold`](crate::Read::Cold)).
    Replace {
        /// To be handed back.
        token: IoToken,
        /// The segment's number.
        segment: u64,
    },
    /// Make the names of segments durable. Other segments are deleted after it.
    SyncNames {
        /// To be handed back.
        token: IoToken,
        /// The segment whose name is meant.
        segment: u64,
    },
    /// Delete the file that was to take the place of a segment, if there is one.
    Discard {
        /// To be handed back.
        token: IoToken,
        /// The segment's number.
        segment: u64,
    },
}

impl Io {
    /// What [`IoDone`] has to name.
    #[must_use]
    pub const fn token(&self) -> IoToken {
        match self {
            Self::Create { token, .. }
            | Self::Write { token, .. }
            | Self::Sync { token, .. }
            | Self::Seal { token, .. }
            | Self::Index { token, .. }
            | Self::Delete { token, .. }
            | Self::Read { token, .. }
            | Self::Rewrite { token, .. }
            | Self::Replace { token, .. }
            | Self::SyncNames { token, .. }
            | Self::Discard { token, .. } => *token,
        }
    }

    /// The segment that it is about.
    #[must_use]
    pub const fn segment(&self) -> u64 {
        match self {
            Self::Create { segment, .. }
            | Self::Write { segment, .. }
            | Self::Sync { segment, .. }
            | Self::Seal { segment, .. }
            | Self::Index { segment, .. }
            | Self::Delete { segment, .. }
            | Self::Read { segment, .. }
            | Self::Rewrite { segment, .. }
            | Self::Replace { segment, .. }
            | Self::SyncNames { segment, .. }
            | Self::Discard { segment, .. } => *segment,
        }
    }
}

/// What came of a piece of I/O.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IoDone {
    /// That of the [`Io`].
    pub token: IoToken,
    /// What was read; empty for anything else.
    pub result: Result<Bytes, IoError>,
}

/// Why a piece of I/O failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IoError {
    /// The disk is full, or the quota is. It is tried again after a second.
    #[error("no room on the disk")]
    Full,
    /// There are as many files open as there may be. It is tried again: nothing was done.
    #[error("no more files may be opened")]
    NoDescriptor,
    /// What is to be read cannot be reached now. Nothing is wrong with it: who reads asks again.
    #[error("not to be reached: {0}")]
    Unreachable(String),
    /// Anything else, as the operating system says it. It is not tried again.
    #[error("{0}")]
    Failed(String),
}
