use core::mem::{offset_of, size_of};

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{DocumentType, check_reserved, wrong_length};
use crate::error::{Expected, Field, Malformed};

/// Why a [`Mark`] stands where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Why {
    /// The subscription begins.
    Start = 0,
    /// So that the reader knows its position.
    Progress = 1,
    /// All that there was has been sent: what comes now is live.
    Live = 2,
    /// What lies between was passed over, because the reader was slow.
    Slow = 3,
    /// What lies between is not kept any more.
    Expired = 4,
    /// The document's positions were counted anew: what the reader has may never have been.
    NewEpoch = 5,
    /// What lies between is covered by the snapshot that follows.
    Snapshot = 6,
    /// What lies between was rejected.
    LeftOut = 7,
    /// Of a presence: the delta that follows is the last one of the writer whose number stands in
    /// [`skipped`](MarkFields::skipped).
    Writer = 8,
    /// Of a presence: that writer is gone.
    Gone = 9,
    /// A delta that was given already was rejected since: its position stands in [`skipped`](MarkFields::skipped).
    Rejected = 10,
}

impl Why {
    pub(super) const ALL: [Self; 11] = [
        Self::Start,
        Self::Progress,
        Self::Live,
        Self::Slow,
        Self::Expired,
        Self::NewEpoch,
        Self::Snapshot,
        Self::LeftOut,
        Self::Writer,
        Self::Gone,
        Self::Rejected,
    ];
}

/// What a [`Mark`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkFields {
    /// The subscription.
    pub id: u32,
    /// Why it stands here.
    pub why: Why,
    /// The document's epoch.
    pub epoch: u32,
    /// The position of the document's next delta on this channel. Each one after it has the next position.
    pub position: u64,
    /// How many deltas were passed over since the one before it; of a presence, which writer; of a rejection, which position.
    pub skipped: u64,
    /// Bytes of their frames, as far as is known.
    pub skipped_bytes: u64,
}

/// Says where a subscription stands, among its deltas. 40 bytes.
///
/// ```text
///  0                 2        3        4                                 8
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | document_type 7 | why    |reserved| id                                |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | epoch                             | reserved                          |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | position                                                              |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | skipped                                                               |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | skipped_bytes                                                         |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// ```
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Mark {
    document_type: U16,
    why: u8,
    reserved_why: u8,
    id: U32,
    epoch: U32,
    reserved: U32,
    position: U64,
    skipped: U64,
    skipped_bytes: U64,
}

const _: () = {
    assert!(size_of::<Mark>() == 40);
    assert!(align_of::<Mark>() == 1);
    assert!(offset_of!(Mark, why) == 2);
    assert!(offset_of!(Mark, id) == 4);
    assert!(offset_of!(Mark, epoch) == 8);
    assert!(offset_of!(Mark, position) == 16);
    assert!(offset_of!(Mark, skipped) == 24);
    assert!(offset_of!(Mark, skipped_bytes) == 32);
};

impl Mark {
    /// A mark with these fields.
    #[must_use]
    pub fn new(fields: MarkFields) -> Self {
        Self {
            document_type: DocumentType::Mark.to_wire(),
            why: fields.why as u8,
            reserved_why: 0,
            id: U32::new(fields.id),
            epoch: U32::new(fields.epoch),
            reserved: U32::ZERO,
            position: U64::new(fields.position.max(1)),
            skipped: U64::new(fields.skipped),
            skipped_bytes: U64::new(fields.skipped_bytes),
        }
    }

    pub(super) fn parse(body: &[u8]) -> Result<&Self, Malformed> {
        let message =
            Self::ref_from_bytes(body).map_err(|_| wrong_length(body.len(), size_of::<Self>()))?;
        if usize::from(message.why) >= Why::ALL.len() {
            let reasons = "0 (start), 1 (progress), 2 (live), 3 (slow), 4 (expired), 5 (new epoch), \
                           6 (snapshot), 7 (left out), 8 (writer), 9 (gone), 10 (rejected)";
            let expected = Expected::OneOf(reasons);
            return Err(Malformed::new(Field::Why, u64::from(message.why), expected));
        }
        check_reserved(message.reserved_why)?;
        check_reserved(message.reserved.get())?;
        if message.position.get() == 0 {
            return Err(Malformed::new(Field::Position, 0, Expected::AtLeast(1)));
        }
        Ok(message)
    }

    /// What it says.
    #[must_use]
    pub fn fields(&self) -> MarkFields {
        MarkFields {
            id: self.id.get(),
            why: Why::ALL.get(usize::from(self.why)).copied().unwrap_or(Why::Progress),
            epoch: self.epoch.get(),
            position: self.position.get(),
            skipped: self.skipped.get(),
            skipped_bytes: self.skipped_bytes.get(),
        }
    }
}
