use core::fmt;
use core::mem::{offset_of, size_of};

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{DocumentType, check_flags, check_reserved, wrong_length};
use crate::delta::DocId;
use crate::error::{Expected, Field, Malformed};

/// A writer's name across its sessions: 16 random bytes that it keeps to itself and to whom it publishes
/// to. With it a new session goes on where the last one ended, and what was sent twice is stored once.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(transparent)]
pub struct WriterId(pub [u8; 16]);

impl fmt::Debug for WriterId {
    /// Who knows it can write in its name, so it is not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WriterId(..)")
    }
}

/// What a [`Publish`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishFields {
    /// Names the publication among those of its session; never used twice.
    pub id: u32,
    /// To which document.
    pub doc_id: DocId,
    /// Who writes.
    pub writer: WriterId,
    /// Whether it is to the document's presence, in place of its deltas.
    pub presence: bool,
}

/// Announces deltas of the sender's to a document. Answered with an [`Acknowledge`](super::Acknowledge)
/// that says which of the writer's deltas are there already, or with a [`Denied`](super::Denied). 48 bytes.
///
/// ```text
///  0                 2        3        4                                 8
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | document_type 3 | flags  |reserved| id                                |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | doc_id                                                       16 bytes |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | writer                                                       16 bytes |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | reserved                                                              |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// ```
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Publish {
    document_type: U16,
    flags: u8,
    reserved_flags: u8,
    id: U32,
    doc_id: DocId,
    writer: WriterId,
    reserved: U64,
}

const _: () = {
    assert!(size_of::<Publish>() == 48);
    assert!(align_of::<Publish>() == 1);
    assert!(offset_of!(Publish, flags) == 2);
    assert!(offset_of!(Publish, id) == 4);
    assert!(offset_of!(Publish, doc_id) == 8);
    assert!(offset_of!(Publish, writer) == 24);
    assert!(offset_of!(Publish, reserved) == 40);
};

impl Publish {
    /// In `flags`: to the document's presence.
    const PRESENCE: u8 = 1;

    /// A publication with these fields.
    #[must_use]
    pub fn new(fields: PublishFields) -> Self {
        Self {
            document_type: DocumentType::Publish.to_wire(),
            flags: if fields.presence { Self::PRESENCE } else { 0 },
            reserved_flags: 0,
            id: U32::new(fields.id),
            doc_id: fields.doc_id,
            writer: fields.writer,
            reserved: U64::ZERO,
        }
    }

    pub(super) fn parse(body: &[u8]) -> Result<&Self, Malformed> {
        let message =
            Self::ref_from_bytes(body).map_err(|_| wrong_length(body.len(), size_of::<Self>()))?;
        check_flags(message.flags, Self::PRESENCE)?;
        check_reserved(message.reserved_flags)?;
        check_reserved(message.reserved.get())?;
        Ok(message)
    }

    /// What it says.
    #[must_use]
    pub fn fields(&self) -> PublishFields {
        PublishFields {
            id: self.id.get(),
            doc_id: self.doc_id,
            writer: self.writer,
            presence: self.flags & Self::PRESENCE != 0,
        }
    }
}

/// Ends a publication. Its deltas that came before are kept and acknowledged. 8 bytes.
///
/// ```text
///  0                 2                 4                                 8
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | document_type 4 | reserved        | id                                |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// ```
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Unpublish {
    document_type: U16,
    reserved: U16,
    id: U32,
}

const _: () = assert!(size_of::<Unpublish>() == 8 && align_of::<Unpublish>() == 1);

impl Unpublish {
    /// Ends the publication with this id.
    #[must_use]
    pub fn new(id: u32) -> Self {
        let document_type = DocumentType::Unpublish.to_wire();
        Self { document_type, reserved: U16::ZERO, id: U32::new(id) }
    }

    pub(super) fn parse(body: &[u8]) -> Result<&Self, Malformed> {
        let message =
            Self::ref_from_bytes(body).map_err(|_| wrong_length(body.len(), size_of::<Self>()))?;
        check_reserved(message.reserved.get())?;
        Ok(message)
    }

    /// The publication.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id.get()
    }
}

/// Lets the publication's next delta in only where it would get this position: so it rests on exactly
/// what its writer has seen. On the data channel, right before the delta. 16 bytes.
///
/// ```text
///  0                 2                 4                                 8
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | document_type 8 | reserved        | id                                |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | position                                                              |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// ```
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Expect {
    document_type: U16,
    reserved: U16,
    id: U32,
    position: U64,
}

const _: () = {
    assert!(size_of::<Expect>() == 16 && align_of::<Expect>() == 1);
    assert!(offset_of!(Expect, position) == 8);
};

impl Expect {
    /// The next delta of the publication `id` is to get `position`.
    #[must_use]
    pub fn new(id: u32, position: u64) -> Self {
        let document_type = DocumentType::Expect.to_wire();
        Self {
            document_type,
            reserved: U16::ZERO,
            id: U32::new(id),
            position: U64::new(position.max(1)),
        }
    }

    pub(super) fn parse(body: &[u8]) -> Result<&Self, Malformed> {
        let message =
            Self::ref_from_bytes(body).map_err(|_| wrong_length(body.len(), size_of::<Self>()))?;
        check_reserved(message.reserved.get())?;
        if message.position.get() == 0 {
            return Err(Malformed::new(Field::Position, 0, Expected::AtLeast(1)));
        }
        Ok(message)
    }

    /// The publication.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id.get()
    }

    /// The position that its next delta is to get.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position.get()
    }
}
