use core::fmt;
use core::mem::size_of;

use zerocopy::byteorder::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{BulkType, wrong_length};
use crate::error::{Expected, Field, Malformed};

/// What a [`BulkDone`] is about, as its sender sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Subject {
    /// An offer of the peer's.
    YourOffer = 0,
    /// An offer of one's own.
    MyOffer = 1,
    /// A request of the peer's.
    YourRequest = 2,
    /// A request of one's own.
    MyRequest = 3,
}

/// How a transfer ended. Other codes than those named here are read and kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct BulkStatus(pub u8);

impl BulkStatus {
    /// The file is there, whole, and was checked.
    pub const COMPLETE: Self = Self(0);
    /// What came did not have the hash that was offered, however often it was asked for.
    pub const CHECKSUM: Self = Self(1);
    /// A file could not be read or written.
    pub const ERROR: Self = Self(2);
    /// One side does not want it any more.
    pub const CANCELLED: Self = Self(3);
    /// The receiver does not want it, or the other may not have it.
    pub const REFUSED: Self = Self(4);
    /// There is no room for it.
    pub const NO_ROOM: Self = Self(5);
    /// Nothing came for too long.
    pub const IDLE: Self = Self(6);
    /// Too many wait.
    pub const TOO_MANY: Self = Self(7);
    /// It is longer than the receiver takes.
    pub const TOO_LONG: Self = Self(8);
    /// No file may be called so.
    pub const NAME: Self = Self(9);
    /// Another transfer is at this file: later it may go.
    pub const BUSY: Self = Self(10);
    /// There is no such file.
    pub const NOT_FOUND: Self = Self(11);
    /// The node takes and gives no more.
    pub const GOING_AWAY: Self = Self(12);
    /// The peer sent or asked for what has no place.
    pub const OUT_OF_PLACE: Self = Self(13);
    /// There is a file of this name.
    pub const EXISTS: Self = Self(14);

    /// What it means, for people.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::COMPLETE => "the file is there",
            Self::CHECKSUM => "what came did not have the hash that was offered",
            Self::ERROR => "a file could not be read or written",
            Self::CANCELLED => "cancelled",
            Self::REFUSED => "refused",
            Self::NO_ROOM => "there is no room for it",
            Self::IDLE => "nothing came for too long",
            Self::TOO_MANY => "too many wait",
            Self::TOO_LONG => "longer than is taken",
            Self::NAME => "no file may be called so",
            Self::BUSY => "another transfer is at this file",
            Self::NOT_FOUND => "there is no such file",
            Self::GOING_AWAY => "the node is going away",
            Self::OUT_OF_PLACE => "the peer sent or asked for what has no place",
            Self::EXISTS => "there is a file of this name",
            _ => "for a reason that this version does not know",
        }
    }
}

impl fmt::Debug for BulkStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0, self.text())
    }
}

/// What a [`BulkDone`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoneFields {
    /// What it is about.
    pub subject: Subject,
    /// The offer's or request's number.
    pub id: u32,
    /// How it ended.
    pub status: BulkStatus,
}

/// Ends a transfer, or a request that no offer answers. 8 bytes.
///
/// ```text
///  0                 2        3        4                                 8
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | bulk_type 6     | status |subject | id                                |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// ```
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct BulkDone {
    bulk_type: U16,
    status: u8,
    subject: u8,
    id: U32,
}

const _: () = assert!(size_of::<BulkDone>() == 8 && align_of::<BulkDone>() == 1);

impl BulkDone {
    /// Ends what these fields name.
    #[must_use]
    pub fn new(fields: DoneFields) -> Self {
        Self {
            bulk_type: BulkType::Done.to_wire(),
            status: fields.status.0,
            subject: fields.subject as u8,
            id: U32::new(fields.id),
        }
    }

    pub(super) fn parse(body: &[u8]) -> Result<&Self, Malformed> {
        let message =
            Self::ref_from_bytes(body).map_err(|_| wrong_length(body.len(), size_of::<Self>()))?;
        if message.subject > Subject::MyRequest as u8 {
            let expected = Expected::OneOf(
                "0 (the receiver's offer), 1 (the sender's offer), 2 (the receiver's request), 3 (the sender's request)",
            );
            return Err(Malformed::new(Field::Subject, u64::from(message.subject), expected));
        }
        Ok(message)
    }

    /// What it says.
    #[must_use]
    pub fn fields(&self) -> DoneFields {
        DoneFields {
            subject: match self.subject {
                0 => Subject::YourOffer,
                1 => Subject::MyOffer,
                2 => Subject::YourRequest,
                _ => Subject::MyRequest,
            },
            id: self.id.get(),
            status: BulkStatus(self.status),
        }
    }
}
