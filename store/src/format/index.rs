//! The index block behind a sealed segment's batches: what opening needs of them.

use core::mem::{offset_of, size_of};

use deltawire_framing::DocId;
use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::scan::Fault;
use super::{
    Body, Checked, Compacted, Item, ItemKind, Note, STEP, SegmentHeader, TableEntry, batch,
    compacted_batch,
};
use crate::position::LogPosition;

/// A batch, as the index lists it.
///
/// ```text
///  0                                 4                                   8
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | first                                                                 |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | written_at                                                            |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | at / 64                           | len                               |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | items                             | reserved                          |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// ```
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct IndexBatch {
    pub(crate) first: U64,
    pub(crate) written_at: U64,
    steps: U32,
    pub(crate) len: U32,
    pub(crate) items: U32,
    reserved: U32,
}

impl IndexBatch {
    /// Where it begins, bytes from the segment's start.
    pub(crate) fn at(&self) -> u64 {
        u64::from(self.steps.get()) * STEP as u64
    }
}

/// An item, as the index lists it.
///
/// ```text
///  0                                 4                                   8
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | entry: as in the batch's table                               32 bytes |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | doc                                                          16 bytes |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | value, or the frame's length (32) and the delta's sequence (32)       |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | bits                              | nth                               |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// ```
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct IndexItem {
    pub(crate) entry: TableEntry,
    doc: DocId,
    value: U64,
    bits: U32,
    /// Of a compacted segment: which item of its batch it was, from 0; else 0.
    nth: U32,
}

/// What an item says, as far as an index of documents needs it.
pub(crate) enum Said {
    Record { doc: DocId, len: u32, sequence: u32, bits: u32 },
    Note(Note),
}

impl IndexItem {
    pub(crate) fn of(entry: TableEntry, body: &Body<'_>, nth: u32) -> Result<Self, Fault> {
        let (doc, value, bits) = match body {
            Body::Record { security, frame } => {
                let delta = frame.delta().map_err(|_| "delta")?;
                let len = frame.as_bytes().len() as u64;
                let value = len | u64::from(delta.sequence()) << 32;
                (delta.doc_id(), value, security.status().bits())
            }
            Body::Note(note) => (note.doc, note.value.get(), note.bits.get()),
        };
        let (value, bits) = (U64::new(value), U32::new(bits));
        Ok(Self { entry, doc, value, bits, nth: U32::new(nth) })
    }

    pub(crate) fn is_record(&self) -> bool {
        self.entry.item().is_some_and(|item| item.kind == ItemKind::Record)
    }

    /// What it says; `item` is its entry.
    pub(crate) fn said(&self, item: &Item) -> Said {
        let (value, bits) = (self.value.get(), self.bits.get());
        if item.kind == ItemKind::Record {
            return Said::Record {
                doc: self.doc,
                len: value as u32,
                sequence: (value >> 32) as u32,
                bits,
            };
        }
        let mut note = Note::new(self.doc, 0);
        note.position = U64::new(item.position.0);
        note.value = self.value;
        note.bits = self.bits;
        note.by = item.origin.0;
        Said::Note(note)
    }
}

/// The last 64 bytes of a segment with an index.
///
/// ```text
///  0                                 4                 6                 8
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | magic "DLI1"                      | version         | flags           |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | segment                                                               |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | next                                                                  |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | at                                                                    |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | batches                           | items                             |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | chain                             | index_crc                         |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | reserved                                                     12 bytes |
/// +                                   +--------+--------+--------+--------+
/// |                                   | footer_crc                        |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// ```
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct IndexFooter {
    magic: [u8; 4],
    version: U16,
    flags: U16,
    segment: U64,
    /// Log position behind the segment's last item.
    pub(crate) next: U64,
    /// Where the index begins, and the last batch ends, bytes from the segment's start.
    pub(crate) at: U64,
    batches: U32,
    items: U32,
    /// `header_crc` of the segment's last batch.
    pub(crate) chain: U32,
    /// CRC-32C of the index in front.
    index_crc: U32,
    reserved: [u8; 12],
    footer_crc: U32,
}

const _: () = {
    assert!(size_of::<IndexBatch>() == 32 && size_of::<IndexItem>() == 64);
    assert!(size_of::<IndexFooter>() == IndexFooter::SIZE);
    assert!(align_of::<IndexFooter>() == 1);
    assert!(offset_of!(IndexItem, doc) == 32 && offset_of!(IndexItem, value) == 48);
    assert!(offset_of!(IndexFooter, at) == 24 && offset_of!(IndexFooter, batches) == 32);
    assert!(offset_of!(IndexFooter, chain) == 40 && offset_of!(IndexFooter, footer_crc) == 60);
};

impl IndexFooter {
    pub(crate) const SIZE: usize = 64;
    const MAGIC: [u8; 4] = *b"DLI1";
    const VERSION: u16 = 1;
    const COMPACTED: u16 = 2;

    fn is_compacted(&self) -> bool {
        self.version.get() == Self::COMPACTED
    }

    fn own_crc(&self) -> u32 {
        crc32c::crc32c(self.as_bytes().get(..60).unwrap_or_default())
    }

    /// The footer that `bytes` are, of a file of segment `id` with `file_len` bytes.
    pub(crate) fn read(bytes: &[u8], id: u64, file_len: u64) -> Result<Self, Fault> {
        let footer = Self::read_from_bytes(bytes).map_err(|_| "length")?;
        if footer.magic != Self::MAGIC {
            return Err("magic");
        }
        if footer.footer_crc.get() != footer.own_crc() {
            return Err("footer_crc");
        }
        if !matches!(footer.version.get(), Self::VERSION | Self::COMPACTED) {
            return Err("version");
        }
        if footer.segment.get() != id {
            return Err("segment");
        }
        let at = footer.at.get();
        let end = at.checked_add(footer.index_len());
        if at < STEP as u64 || at % STEP as u64 != 0 || end != Some(file_len) {
            return Err("at");
        }
        Ok(footer)
    }

    /// Bytes of the file that an index, footer included, says that it is of. Nothing is checked.
    pub(crate) fn file_len(index: &[u8]) -> Option<u64> {
        let (_, footer) = Self::read_from_suffix(index).ok()?;
        footer.at.get().checked_add(footer.index_len())
    }

    /// Bytes of the index and of this.
    pub(crate) fn index_len(&self) -> u64 {
        let batches = u64::from(self.batches.get()) * size_of::<IndexBatch>() as u64;
        let items = u64::from(self.items.get()) * size_of::<IndexItem>() as u64;
        batches + items + Self::SIZE as u64
    }
}

/// An index that was checked: what it lists adds up.
#[derive(Debug)]
pub(crate) struct CheckedIndex<'a> {
    pub(crate) footer: IndexFooter,
    pub(crate) batches: &'a [IndexBatch],
    pub(crate) items: &'a [IndexItem],
}

impl CheckedIndex<'_> {
    /// The log position of an item, of a batch that begins at `first`; `index` is which of the batch's items it is.
    pub(crate) fn position(
        &self,
        first: LogPosition,
        item: &IndexItem,
        index: usize,
    ) -> LogPosition {
        let nth = if self.footer.is_compacted() { item.nth.get() } else { index as u32 };
        LogPosition(first.0 + u64::from(nth))
    }
}

/// The index of segment `id`, a file of `file_len` bytes, with this header. `bytes` are index and footer.
pub(crate) fn index<'a>(
    bytes: &'a [u8],
    id: u64,
    file_len: u64,
    header: &SegmentHeader,
) -> Result<CheckedIndex<'a>, Fault> {
    let start = bytes.len().checked_sub(IndexFooter::SIZE).ok_or("length")?;
    let (listed, footer) = bytes.split_at_checked(start).ok_or("length")?;
    let footer = IndexFooter::read(footer, id, file_len)?;
    if footer.index_len() != bytes.len() as u64 {
        return Err("length");
    }
    if footer.index_crc.get() != crc32c::crc32c(listed) {
        return Err("index_crc");
    }
    let compacted = header.compacted();
    if compacted.is_some() != footer.is_compacted() {
        return Err("version");
    }
    let count = footer.batches.get() as usize;
    if compacted.is_some_and(|it| it.batches as usize != count || it.behind != footer.chain.get()) {
        return Err("batches");
    }
    let (batches, rest) =
        <[IndexBatch]>::ref_from_prefix_with_elems(listed, count).map_err(|_| "batches")?;
    let items = <[IndexItem]>::ref_from_bytes(rest).map_err(|_| "items")?;
    let (mut next, mut at) = (header.first.get(), STEP as u64);
    let mut left = items;
    for batch in batches {
        let (count, len) = (batch.items.get() as usize, u64::from(batch.len.get()));
        let first = batch.first.get();
        let follows = if compacted.is_some() { first >= next } else { first == next };
        if !follows || batch.at() != at || count == 0 || len % STEP as u64 != 0 {
            return Err("batches");
        }
        next = first;
        let (own, behind) = left.split_at_checked(count).ok_or("items")?;
        for listed in own {
            let position = first.checked_add(u64::from(listed.nth.get())).ok_or("nth")?;
            if compacted.is_some() && position < next {
                return Err("nth");
            }
            next =
                if compacted.is_some() { position } else { next }.checked_add(1).ok_or("first")?;
            let item = listed.entry.item().ok_or("place")?;
            let start = u64::from(item.offset) * STEP as u64;
            let end = match listed.said(&item) {
                Said::Record { len, .. } => start + STEP as u64 + u64::from(len),
                Said::Note(_) => start + STEP as u64,
            };
            if start < STEP as u64 || end > len {
                return Err("place");
            }
            if item.is_of_a_document() && !item.position.is_possible() {
                return Err("position");
            }
        }
        (left, at) = (behind, at + len);
    }
    if let Some(compacted) = compacted {
        if next > compacted.end.0 {
            return Err("next");
        }
        next = compacted.end.0;
    }
    if !left.is_empty() || next != footer.next.get() || !LogPosition(next).is_possible() {
        return Err("next");
    }
    if at != footer.at.get() {
        return Err("at");
    }
    Ok(CheckedIndex { footer, batches, items })
}

/// Collects what an index lists, batch by batch.
#[derive(Debug)]
pub(crate) struct Listed {
    id: u64,
    compacted: Option<Compacted>,
    pub(crate) next: LogPosition,
    pub(crate) chain: u32,
    /// Where the next batch begins, bytes from the segment's start.
    pub(crate) at: u64,
    pub(crate) batches: Vec<IndexBatch>,
    pub(crate) items: Vec<IndexItem>,
}

impl Listed {
    pub(crate) fn new(id: u64, header: &SegmentHeader) -> Self {
        Self {
            id,
            compacted: header.compacted(),
            next: LogPosition(header.first.get()),
            chain: header.chain.get(),
            at: STEP as u64,
            batches: Vec::new(),
            items: Vec::new(),
        }
    }

    /// The batch that `bytes` begin with, where the next has to be.
    pub(crate) fn check<'a>(&self, bytes: &'a [u8]) -> Result<Checked<'a>, Fault> {
        match self.compacted {
            Some(compacted) => {
                compacted_batch(bytes, self.id, self.next..compacted.end, self.chain)
            }
            None => batch(bytes, self.id, self.next, self.chain),
        }
    }

    pub(crate) fn push(&mut self, batch: &Checked<'_>) -> Result<(), Fault> {
        let header = batch.header;
        let mut next = self.next;
        for ((entry, item), position) in batch.entries().zip(batch.items()).zip(batch.positions()) {
            let item = item?;
            let nth = position.0 - header.first.get();
            let nth = if self.compacted.is_some() { nth as u32 } else { 0 };
            self.items.push(IndexItem::of(*entry, &batch.body(&item)?, nth)?);
            next = position.next();
        }
        self.batches.push(IndexBatch {
            first: header.first,
            written_at: header.written_at,
            steps: U32::new(u32::try_from(self.at / STEP as u64).map_err(|_| "at")?),
            len: header.len,
            items: header.items,
            reserved: U32::ZERO,
        });
        self.at += u64::from(header.len.get());
        self.next = next;
        self.chain = header.header_crc.get();
        Ok(())
    }

    /// All of a compacted segment is listed, and it is known what that stands for.
    pub(crate) fn settle(&mut self, compacted: Compacted) {
        self.compacted = Some(compacted);
    }

    /// Bytes of memory that it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.items.capacity() * size_of::<IndexItem>()
            + self.batches.capacity() * size_of::<IndexBatch>()
    }

    /// The index block, footer included.
    pub(crate) fn finish(&self) -> Result<Vec<u8>, Fault> {
        let mut bytes = self.batches.as_bytes().to_vec();
        bytes.extend_from_slice(self.items.as_bytes());
        let (version, next, chain) = match self.compacted {
            Some(compacted) => (IndexFooter::COMPACTED, compacted.end, compacted.behind),
            None => (IndexFooter::VERSION, self.next, self.chain),
        };
        let mut footer = IndexFooter {
            magic: IndexFooter::MAGIC,
            version: U16::new(version),
            flags: U16::ZERO,
            segment: U64::new(self.id),
            next: U64::new(next.0),
            at: U64::new(self.at),
            batches: U32::new(u32::try_from(self.batches.len()).map_err(|_| "batches")?),
            items: U32::new(u32::try_from(self.items.len()).map_err(|_| "items")?),
            chain: U32::new(chain),
            index_crc: U32::new(crc32c::crc32c(&bytes)),
            reserved: [0; 12],
            footer_crc: U32::ZERO,
        };
        footer.footer_crc = U32::new(footer.own_crc());
        bytes.extend_from_slice(footer.as_bytes());
        Ok(bytes)
    }
}
