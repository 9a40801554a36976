//! Why there is no bulk, or no file.

use std::io;
use std::sync::Arc;

use deltawire_framing::bulk::BulkStatus;
use deltawire_link::NoMoreSenders;

use crate::layout::LayoutError;
use crate::name::NameError;

/// Why bulk cannot go over a link, or not any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttendError {
    /// The node at the other end is one that knows no bulk.
    #[error("the other node takes no bulk")]
    NotSpoken,
    /// The link may lose or reorder deltas.
    #[error("the link may lose deltas or change their order: bulk needs channels that do neither")]
    Delivery,
    /// The peer takes no messages as long as those about bulk.
    #[error(
        "the other node takes messages of {allowed} bytes, bulk needs 65,552: make its data_window larger"
    )]
    Window {
        /// Bytes of the longest message that it takes.
        allowed: usize,
    },
    /// It goes over another link already.
    #[error("bulk goes over another link already")]
    Attended,
    /// It was shut down.
    #[error("bulk was shut down")]
    Closed,
    /// The link has as many senders as it may.
    #[error(transparent)]
    NoMoreSenders(#[from] NoMoreSenders),
}

/// Why a file is not sent or asked for. Nothing was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// As many wait as may.
    #[error("as many files wait as may: {limit}")]
    TooMany {
        /// How many may.
        limit: usize,
    },
    /// It was shut down.
    #[error("bulk was shut down")]
    Closed,
    /// It cannot be called so.
    #[error(transparent)]
    Name(#[from] NameError),
    /// It cannot be cut into pieces.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The peer took its offer or request back, or the link is over.
    #[error("the other side took it back, or the link is over")]
    Gone,
}

/// Why a transfer ended without the file.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// The peer ended it.
    #[error("the other side ended it: {}", .0.text())]
    Peer(BulkStatus),
    /// This side ended it.
    #[error("this side ended it: {}", .0.text())]
    Here(BulkStatus),
    /// What came did not have the hash that was offered.
    #[error("what came did not have the hash that was offered, {0} times")]
    Checksum(u32),
    /// A file could not be read or written.
    #[error("{doing}: {error}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        error: Arc<io::Error>,
    },
    /// Nothing came for too long.
    #[error("nothing came of it for too long")]
    Idle,
    /// Nobody answered.
    #[error("the other side did not answer in time")]
    Unanswered,
    /// The link ended. What came is kept, and is not sent again.
    #[error("the link ended before the file was there")]
    LinkLost,
    /// The peer broke a rule.
    #[error("the other side broke a rule: {0}")]
    OutOfPlace(&'static str),
    /// It was dropped: bulk itself, or a thread of it by a panic.
    #[error("bulk was dropped")]
    Dropped,
}

impl TransferError {
    /// How the peer is told.
    pub(crate) fn status(&self) -> BulkStatus {
        match self {
            Self::Here(status) | Self::Peer(status) => *status,
            Self::Checksum(_) => BulkStatus::CHECKSUM,
            Self::Io { error, .. } => match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => BulkStatus::NO_ROOM,
                io::ErrorKind::NotFound => BulkStatus::NOT_FOUND,
                io::ErrorKind::AlreadyExists => BulkStatus::EXISTS,
                _ => BulkStatus::ERROR,
            },
            Self::Idle | Self::Unanswered => BulkStatus::IDLE,
            Self::OutOfPlace(_) => BulkStatus::OUT_OF_PLACE,
            Self::LinkLost | Self::Dropped => BulkStatus::CANCELLED,
        }
    }

    /// An error of the system's.
    #[cfg_attr(not(feature = "files"), allow(dead_code))]
    pub(crate) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io { doing, error: Arc::new(error) }
    }
}
