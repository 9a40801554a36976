use core::mem::{offset_of, size_of};
use core::time::Duration;

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{DocumentType, check_flags, check_reserved, wrong_length};
use crate::delta::DocId;
use crate::error::{Expected, Field, Malformed};

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the delta at this position, if `epoch` is still the document's. Otherwise with a gap that says
    /// what is missing, then with the newest snapshot or the oldest delta that is kept.
    Position {
        /// The epoch that the position was counted in.
        epoch: u32,
        /// The first delta that is wanted; from 1.
        position: u64,
    },
    /// With the oldest delta that is kept.
    Oldest,
    /// With the next delta that is written.
    Latest,
    /// With the newest snapshot, or the oldest delta where there is none.
    Snapshot,
}

/// What becomes of a subscription whose reader is slower than the document's writers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlowPolicy {
    /// It gets every delta, as long as the document keeps them.
    Block,
    /// Whatever is more than one of these behind is passed over, oldest first. 0 is no bound.
    DropOldest {
        /// Bytes of frames.
        bytes: u64,
        /// Deltas.
        records: u64,
    },
    /// Only the newest delta counts: all before it are passed over.
    Latest,
    /// Where the newest snapshot spares it at least so many deltas, it goes on from there.
    SnapshotThenTail {
        /// Deltas.
        records: u64,
    },
    /// It ends when it does not get on for so long while there is something to read. Whole milliseconds.
    Disconnect {
        /// For how long.
        after: Duration,
    },
    /// Only the newest delta of each key counts: those that a newer one of the same key follows are passed over, as far back
    /// as the hub remembers keys. A delta's key is its writer, or what the hub's application says.
    LatestPerKey,
}

impl SlowPolicy {
    const fn number(self) -> u8 {
        match self {
            Self::Block => 0,
            Self::DropOldest { .. } => 1,
            Self::Latest => 2,
            Self::SnapshotThenTail { .. } => 3,
            Self::Disconnect { .. } => 4,
            Self::LatestPerKey => 5,
        }
    }
}

/// What a [`Subscribe`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscribeFields {
    /// Names the subscription among those of its session; never used twice.
    pub id: u32,
    /// Of which document.
    pub doc_id: DocId,
    /// Where it begins.
    pub start: Start,
    /// What becomes of it when its reader is slow.
    pub policy: SlowPolicy,
    /// Whether it is of the document's presence, in place of its deltas.
    pub presence: bool,
}

/// Asks for a document's deltas, those that there are and those that come. 64 bytes.
///
/// ```text
///  0                 2        3        4                                 8
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | document_type 1 |policy  | flags  | id                                |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | doc_id                                                       16 bytes |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | start  | reserved                 | epoch                             |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | position                                                              |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | max_behind_bytes                                                      |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | max_behind_records                                                    |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | max_behind_ms                     | reserved                          |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// ```
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Subscribe {
    document_type: U16,
    policy: u8,
    flags: u8,
    id: U32,
    doc_id: DocId,
    start: u8,
    reserved_start: [u8; 3],
    epoch: U32,
    position: U64,
    max_behind_bytes: U64,
    max_behind_records: U64,
    max_behind_ms: U32,
    reserved: U32,
}

const _: () = {
    assert!(size_of::<Subscribe>() == 64);
    assert!(align_of::<Subscribe>() == 1);
    assert!(offset_of!(Subscribe, policy) == 2);
    assert!(offset_of!(Subscribe, flags) == 3);
    assert!(offset_of!(Subscribe, id) == 4);
    assert!(offset_of!(Subscribe, doc_id) == 8);
    assert!(offset_of!(Subscribe, start) == 24);
    assert!(offset_of!(Subscribe, epoch) == 28);
    assert!(offset_of!(Subscribe, position) == 32);
    assert!(offset_of!(Subscribe, max_behind_bytes) == 40);
    assert!(offset_of!(Subscribe, max_behind_records) == 48);
    assert!(offset_of!(Subscribe, max_behind_ms) == 56);
    assert!(offset_of!(Subscribe, reserved) == 60);
};

impl Subscribe {
    /// In `flags`: of the document's presence.
    const PRESENCE: u8 = 1;

    /// A subscription with these fields.
    #[must_use]
    pub fn new(fields: SubscribeFields) -> Self {
        let (start, epoch, position) = match fields.start {
            Start::Position { epoch, position } => (0, epoch, position.max(1)),
            Start::Oldest => (1, 0, 0),
            Start::Latest => (2, 0, 0),
            Start::Snapshot => (3, 0, 0),
        };
        let (bytes, records, ms) = match fields.policy {
            SlowPolicy::Block | SlowPolicy::Latest | SlowPolicy::LatestPerKey => (0, 0, 0),
            SlowPolicy::DropOldest { bytes, records } => (bytes, records, 0),
            SlowPolicy::SnapshotThenTail { records } => (0, records, 0),
            SlowPolicy::Disconnect { after } => {
                (0, 0, u32::try_from(after.as_millis()).unwrap_or(u32::MAX))
            }
        };
        Self {
            document_type: DocumentType::Subscribe.to_wire(),
            policy: fields.policy.number(),
            flags: if fields.presence { Self::PRESENCE } else { 0 },
            id: U32::new(fields.id),
            doc_id: fields.doc_id,
            start,
            reserved_start: [0; 3],
            epoch: U32::new(epoch),
            position: U64::new(position),
            max_behind_bytes: U64::new(bytes),
            max_behind_records: U64::new(records),
            max_behind_ms: U32::new(ms),
            reserved: U32::ZERO,
        }
    }

    pub(super) fn parse(body: &[u8]) -> Result<&Self, Malformed> {
        let message =
            Self::ref_from_bytes(body).map_err(|_| wrong_length(body.len(), size_of::<Self>()))?;
        if message.policy > 5 {
            let policies = "0 (block), 1 (drop oldest), 2 (latest), 3 (snapshot, then tail), \
                            4 (disconnect), 5 (latest per key)";
            let expected = Expected::OneOf(policies);
            return Err(Malformed::new(Field::Policy, u64::from(message.policy), expected));
        }
        check_flags(message.flags, Self::PRESENCE)?;
        if message.start > 3 {
            let starts = "0 (position), 1 (oldest), 2 (latest), 3 (snapshot)";
            let expected = Expected::OneOf(starts);
            return Err(Malformed::new(Field::Start, u64::from(message.start), expected));
        }
        let [a, b, c] = message.reserved_start;
        check_reserved(u32::from_le_bytes([a, b, c, 0]))?;
        if message.start == 0 && message.position.get() == 0 {
            return Err(Malformed::new(Field::Position, 0, Expected::AtLeast(1)));
        }
        check_reserved(message.reserved.get())?;
        Ok(message)
    }

    /// What it says.
    #[must_use]
    pub fn fields(&self) -> SubscribeFields {
        let start = match self.start {
            0 => Start::Position { epoch: self.epoch.get(), position: self.position.get() },
            1 => Start::Oldest,
            2 => Start::Latest,
            _ => Start::Snapshot,
        };
        let (bytes, records) = (self.max_behind_bytes.get(), self.max_behind_records.get());
        let policy = match self.policy {
            0 => SlowPolicy::Block,
            1 => SlowPolicy::DropOldest { bytes, records },
            2 => SlowPolicy::Latest,
            3 => SlowPolicy::SnapshotThenTail { records },
            5 => SlowPolicy::LatestPerKey,
            _ => {
                let after = Duration::from_millis(self.max_behind_ms.get().into());
                SlowPolicy::Disconnect { after }
            }
        };
        SubscribeFields {
            id: self.id.get(),
            doc_id: self.doc_id,
            start,
            policy,
            presence: self.flags & Self::PRESENCE != 0,
        }
    }
}

/// Ends a subscription. Deltas that are on their way still come. 8 bytes.
///
/// ```text
///  0                 2                 4                                 8
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | document_type 2 | reserved        | id                                |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// ```
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Unsubscribe {
    document_type: U16,
    reserved: U16,
    id: U32,
}

const _: () = assert!(size_of::<Unsubscribe>() == 8 && align_of::<Unsubscribe>() == 1);

impl Unsubscribe {
    /// Ends the subscription with this id.
    #[must_use]
    pub fn new(id: u32) -> Self {
        let document_type = DocumentType::Unsubscribe.to_wire();
        Self { document_type, reserved: U16::ZERO, id: U32::new(id) }
    }

    pub(super) fn parse(body: &[u8]) -> Result<&Self, Malformed> {
        let message =
            Self::ref_from_bytes(body).map_err(|_| wrong_length(body.len(), size_of::<Self>()))?;
        check_reserved(message.reserved.get())?;
        Ok(message)
    }

    /// The subscription.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id.get()
    }
}
