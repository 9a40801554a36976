//! Items of a batch: records and notes, and the table that says what lies where.

use core::mem::{offset_of, size_of};

use deltawire_framing::DocId;
use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::STEP;
use crate::position::{Epoch, Origin, Position};

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ItemKind {
    /// A record (WIRE.md, §7).
    Record = 1,
    /// Status bits that were switched on after the record had been stored.
    Stamp = 2,
    /// A record is a snapshot of those up to another.
    Snapshot = 3,
    /// The document was forgotten.
    Forget = 4,
    /// What a document is, in place of what a deleted segment said of it.
    Floor = 5,
    /// What a writer wrote last, in place of what a deleted segment said of it.
    Writer = 6,
    /// The log was opened after it had not been closed: all documents have this epoch now.
    Opened = 7,
    /// The log was closed.
    Closed = 8,
}

impl ItemKind {
    const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::Record,
            2 => Self::Stamp,
            3 => Self::Snapshot,
            4 => Self::Forget,
            5 => Self::Floor,
            6 => Self::Writer,
            7 => Self::Opened,
            8 => Self::Closed,
            _ => return None,
        })
    }
}

/// An item as the table describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) kind: ItemKind,
    /// Where it lies, in steps of 64 bytes from the batch's start.
    pub(crate) offset: u32,
    pub(crate) position: Position,
    pub(crate) epoch: Epoch,
    pub(crate) origin: Origin,
}

impl Item {
    /// Whether it tells of a document; else of the whole log.
    pub(crate) fn is_of_a_document(&self) -> bool {
        !matches!(self.kind, ItemKind::Opened | ItemKind::Closed)
    }
}

/// An entry of the table behind a batch's items.
///
/// ```text
///  0                                 4                                   8
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | position                                                              |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | epoch                             | place: offset / 64 (28), kind (4) |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | origin                                                       16 bytes |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// ```
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct TableEntry {
    position: U64,
    epoch: U32,
    place: U32,
    origin: [u8; 16],
}

const _: () = {
    assert!(size_of::<TableEntry>() == TableEntry::SIZE);
    assert!(align_of::<TableEntry>() == 1);
    assert!(offset_of!(TableEntry, epoch) == 8);
    assert!(offset_of!(TableEntry, place) == 12);
    assert!(offset_of!(TableEntry, origin) == 16);
};

impl TableEntry {
    pub(crate) const SIZE: usize = 32;
    const OFFSET_BITS: u32 = 28;

    pub(crate) fn new(item: Item) -> Self {
        Self {
            position: U64::new(item.position.0),
            epoch: U32::new(item.epoch.0),
            place: U32::new((item.kind as u32) << Self::OFFSET_BITS | item.offset),
            origin: item.origin.0,
        }
    }

    /// `None` if the kind is not known.
    pub(crate) fn item(&self) -> Option<Item> {
        let place = self.place.get();
        Some(Item {
            kind: ItemKind::from_number(place >> Self::OFFSET_BITS)?,
            offset: place & ((1 << Self::OFFSET_BITS) - 1),
            position: Position(self.position.get()),
            epoch: Epoch(self.epoch.get()),
            origin: Origin(self.origin),
        })
    }
}

/// The 64 bytes of an item that is no record. Which fields say what depends on the kind.
///
/// ```text
///  0                                 4                                   8
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | doc                                                          16 bytes |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | position                                                              |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | value                                                                 |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | bits                              | reserved                          |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | by                                                           16 bytes |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | at                                                                    |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// ```
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Note {
    pub(crate) doc: DocId,
    pub(crate) position: U64,
    pub(crate) value: U64,
    pub(crate) bits: U32,
    pub(crate) reserved: U32,
    pub(crate) by: [u8; 16],
    pub(crate) at: U64,
}

const _: () = {
    assert!(size_of::<Note>() == STEP);
    assert!(align_of::<Note>() == 1);
    assert!(offset_of!(Note, position) == 16);
    assert!(offset_of!(Note, value) == 24);
    assert!(offset_of!(Note, bits) == 32);
    assert!(offset_of!(Note, by) == 40);
    assert!(offset_of!(Note, at) == 56);
};

impl Note {
    /// Of `doc`, at `wall` microseconds since the Unix epoch; the rest is for the kind.
    pub(crate) fn new(doc: DocId, wall: u64) -> Self {
        Self {
            doc,
            position: U64::ZERO,
            value: U64::ZERO,
            bits: U32::ZERO,
            reserved: U32::ZERO,
            by: [0; 16],
            at: U64::new(wall),
        }
    }
}
