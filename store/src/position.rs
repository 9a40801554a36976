//! Where a record is, who wrote it, and what time it is.

use core::fmt;
use core::time::Duration;

/// The place of a record in its document: gapless, from 1.
///
/// It is the log's own and never written into a frame. What it means holds for one [`Epoch`] of the document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl Position {
    /// The first record of any document.
    pub const FIRST: Self = Self(1);

    /// The position behind this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The position in front of this one; `None` for the first.
    #[must_use]
    pub const fn previous(self) -> Option<Self> {
        if self.0 <= 1 { None } else { Some(Self(self.0 - 1)) }
    }

    /// How many records lie from `other` up to this one, this one not counted; 0 if it is in front of `other`.
    #[must_use]
    pub const fn since(self, other: Self) -> u64 {
        self.0.saturating_sub(other.0)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names a life of a document. It changes whenever positions may mean something else: when the document was forgotten
/// and made anew, and when the log was opened after it had not been closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u32);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The place of an item in a log: contiguous, from 0, over all documents. Records count, and so do notes (stamps,
/// snapshots and the like), since they have to become durable as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPosition(pub u64);

impl LogPosition {
    /// The position behind this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who wrote a record, as whoever appends it says; stored beside the record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(pub [u8; 16]);

impl Origin {
    /// Nobody in particular. What it wrote is not remembered: [`Log::last_of`](crate::Log::last_of) knows nothing of it.
    pub const NONE: Self = Self([0; 16]);
}

/// The time, as the caller's clocks say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Since any fixed instant, by a clock that never goes back: for deadlines.
    pub elapsed: Duration,
    /// Microseconds since the Unix epoch, for ages and for what is written down. It may go back: the log keeps the
    /// greatest that it was told.
    pub wall: u64,
}
