use core::mem::{offset_of, size_of};

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{DocumentType, check_flags, check_reserved, wrong_length};
use crate::error::{Expected, Field, Malformed};

/// How far a delta has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Level {
    /// It has its position, and readers see it. It may be lost with the process.
    Received = 1,
    /// It is as safe as the document's durability says.
    Stored = 2,
    /// It is as safe on other nodes too.
    Replicated = 3,
}

/// What an [`Acknowledge`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcknowledgeFields {
    /// The publication.
    pub id: u32,
    /// How far they have got.
    pub level: Level,
    /// Whether the hub has nothing but memory: then nothing is ever stored.
    pub volatile: bool,
    /// The epoch that `position` is counted in.
    pub epoch: u32,
    /// The sequence of the last delta of the writer's that has got so far, and its position in the document;
    /// `None` before the first. All of the writer's before it have got as far, or were denied.
    pub last: Option<(u32, u64)>,
}

/// Says how far a publication's deltas have got. Cumulative: one acknowledges any number of them. 24 bytes.
///
/// ```text
///  0                 2        3        4                                 8
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | document_type 5 | level  | flags  | id                                |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | epoch                             | sequence                          |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | position                                                              |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// ```
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Acknowledge {
    document_type: U16,
    level: u8,
    flags: u8,
    id: U32,
    epoch: U32,
    sequence: U32,
    position: U64,
}

const _: () = {
    assert!(size_of::<Acknowledge>() == 24);
    assert!(align_of::<Acknowledge>() == 1);
    assert!(offset_of!(Acknowledge, level) == 2);
    assert!(offset_of!(Acknowledge, flags) == 3);
    assert!(offset_of!(Acknowledge, id) == 4);
    assert!(offset_of!(Acknowledge, epoch) == 8);
    assert!(offset_of!(Acknowledge, sequence) == 12);
    assert!(offset_of!(Acknowledge, position) == 16);
};

impl Acknowledge {
    /// In `flags`: `sequence` and `position` hold.
    const KNOWN: u8 = 1;
    /// In `flags`: nothing is ever stored.
    const VOLATILE: u8 = 2;

    /// An acknowledgement with these fields.
    #[must_use]
    pub fn new(fields: AcknowledgeFields) -> Self {
        let (sequence, position) = fields.last.unwrap_or_default();
        Self {
            document_type: DocumentType::Acknowledge.to_wire(),
            level: fields.level as u8,
            flags: if fields.last.is_some() { Self::KNOWN } else { 0 }
                | if fields.volatile { Self::VOLATILE } else { 0 },
            id: U32::new(fields.id),
            epoch: U32::new(fields.epoch),
            sequence: U32::new(sequence),
            position: U64::new(position),
        }
    }

    pub(super) fn parse(body: &[u8]) -> Result<&Self, Malformed> {
        let message =
            Self::ref_from_bytes(body).map_err(|_| wrong_length(body.len(), size_of::<Self>()))?;
        if !(1..=3).contains(&message.level) {
            let expected = Expected::OneOf("1 (received), 2 (stored), 3 (replicated)");
            return Err(Malformed::new(Field::Level, u64::from(message.level), expected));
        }
        check_flags(message.flags, Self::KNOWN | Self::VOLATILE)?;
        Ok(message)
    }

    /// What it says.
    #[must_use]
    pub fn fields(&self) -> AcknowledgeFields {
        let level = match self.level {
            1 => Level::Received,
            2 => Level::Stored,
            _ => Level::Replicated,
        };
        let known = self.flags & Self::KNOWN != 0;
        AcknowledgeFields {
            id: self.id.get(),
            level,
            volatile: self.flags & Self::VOLATILE != 0,
            epoch: self.epoch.get(),
            last: known.then(|| (self.sequence.get(), self.position.get())),
        }
    }
}

/// Why something about a document is refused. Numbers that are not known are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeniedCode(pub u16);

impl DeniedCode {
    /// The peer may not do that with this document.
    pub const NOT_PERMITTED: Self = Self(1);
    /// The peer has as many subscriptions or publications as it may, or the node as many documents.
    pub const TOO_MANY: Self = Self(2);
    /// There is no room to store it now.
    pub const FULL: Self = Self(3);
    /// The store takes nothing any more: its disk failed.
    pub const READ_ONLY: Self = Self(4);
    /// The delta's sequence does not follow the one before it.
    pub const SEQUENCE: Self = Self(5);
    /// The document has gone on from where the delta was [expected](super::Expect).
    pub const CONFLICT: Self = Self(6);
    /// The delta is longer than the store takes.
    pub const TOO_LONG: Self = Self(7);
    /// The application does not want the delta.
    pub const REJECTED: Self = Self(8);
    /// Who decides about it did not in time.
    pub const UNDECIDED: Self = Self(9);
    /// It was permitted, and is not any longer.
    pub const REVOKED: Self = Self(10);
    /// The session's deltas may get lost or overtake each other: documents need all of them, in order.
    pub const DELIVERY: Self = Self(11);
    /// The subscription did not get on for as long as its policy allows.
    pub const TOO_SLOW: Self = Self(12);
    /// The id names nothing, or something already.
    pub const ID: Self = Self(13);
    /// The document was deleted.
    pub const DELETED: Self = Self(14);
    /// The node is going away.
    pub const GOING_AWAY: Self = Self(15);

    /// What it says, for people.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::NOT_PERMITTED => "this peer may not do that with this document",
            Self::TOO_MANY => "there are as many as there may be",
            Self::FULL => "there is no room to store it now",
            Self::READ_ONLY => "the store takes nothing any more: its disk failed",
            Self::SEQUENCE => "its sequence does not follow the one before it",
            Self::CONFLICT => "the document has gone on since",
            Self::TOO_LONG => "it is longer than the store takes",
            Self::REJECTED => "the application does not want it",
            Self::UNDECIDED => "who decides about it did not in time",
            Self::REVOKED => "it was permitted, and is not any longer",
            Self::DELIVERY => {
                "the session's deltas may get lost or overtake each other, and documents need all, in \
                 order"
            }
            Self::TOO_SLOW => "it did not get on for as long as its policy allows",
            Self::ID => "its id names nothing, or something already",
            Self::DELETED => "the document was deleted",
            Self::GOING_AWAY => "the node is going away",
            Self(_) => "for a reason that this version does not know",
        }
    }
}

/// What a [`Denied`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeniedFields {
    /// The subscription or publication.
    pub id: u32,
    /// Why.
    pub code: DeniedCode,
    /// The delta of the publication that is refused; `None` is the subscription or publication as a whole, which
    /// is over.
    pub sequence: Option<u32>,
    /// The position that the document's next delta gets; 0 where that is not told.
    pub next: u64,
}

/// Refuses a subscription, a publication, or one delta of it. 24 bytes.
///
/// ```text
///  0                 2                 4                                 8
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | document_type 6 | code            | id                                |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | sequence                          | flags  | reserved                 |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | next                                                                  |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// ```
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Denied {
    document_type: U16,
    code: U16,
    id: U32,
    sequence: U32,
    flags: u8,
    reserved: [u8; 3],
    next: U64,
}

const _: () = {
    assert!(size_of::<Denied>() == 24);
    assert!(align_of::<Denied>() == 1);
    assert!(offset_of!(Denied, code) == 2);
    assert!(offset_of!(Denied, id) == 4);
    assert!(offset_of!(Denied, sequence) == 8);
    assert!(offset_of!(Denied, flags) == 12);
    assert!(offset_of!(Denied, next) == 16);
};

impl Denied {
    /// In `flags`: it is one delta that is refused, that with `sequence`.
    const DELTA: u8 = 1;

    /// A refusal with these fields.
    #[must_use]
    pub fn new(fields: DeniedFields) -> Self {
        Self {
            document_type: DocumentType::Denied.to_wire(),
            code: U16::new(fields.code.0),
            id: U32::new(fields.id),
            sequence: U32::new(fields.sequence.unwrap_or_default()),
            flags: if fields.sequence.is_some() { Self::DELTA } else { 0 },
            reserved: [0; 3],
            next: U64::new(fields.next),
        }
    }

    pub(super) fn parse(body: &[u8]) -> Result<&Self, Malformed> {
        let message =
            Self::ref_from_bytes(body).map_err(|_| wrong_length(body.len(), size_of::<Self>()))?;
        check_flags(message.flags, Self::DELTA)?;
        let [a, b, c] = message.reserved;
        check_reserved(u32::from_le_bytes([a, b, c, 0]))?;
        Ok(message)
    }

    /// What it says.
    #[must_use]
    pub fn fields(&self) -> DeniedFields {
        DeniedFields {
            id: self.id.get(),
            code: DeniedCode(self.code.get()),
            sequence: (self.flags & Self::DELTA != 0).then(|| self.sequence.get()),
            next: self.next.get(),
        }
    }
}
