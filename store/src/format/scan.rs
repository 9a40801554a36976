//! A segment, batch by batch, each checked before anything of it is believed.

use core::ops::Range;

use deltawire_framing::{Frame, FrameHeader, SecurityHeader};
use zerocopy::FromBytes;

use super::{BatchHeader, Item, ItemKind, Note, STEP, SegmentHeader, TableEntry};
use crate::position::{LogPosition, Position};

/// Why bytes are not what they should be: the field at fault, named as in `FORMAT.md`.
pub(crate) type Fault = &'static str;

/// No document and no log ever has as many items, so that positions can be added to.
const MAX_POSITION: u64 = 1 << 62;

impl Position {
    /// Whether a record can have it.
    pub(super) fn is_possible(self) -> bool {
        (1..=MAX_POSITION).contains(&self.0)
    }
}

impl LogPosition {
    /// Whether a log can come so far.
    pub(super) fn is_possible(self) -> bool {
        self.0 <= MAX_POSITION
    }
}

/// The header of a segment.
pub(crate) fn segment_header(bytes: &[u8], id: u64) -> Result<&SegmentHeader, Fault> {
    let (header, _) = SegmentHeader::ref_from_prefix(bytes).map_err(|_| "length")?;
    if header.magic != SegmentHeader::MAGIC {
        return Err("magic");
    }
    if header.header_crc.get() != header.own_crc() {
        return Err("header_crc");
    }
    if !matches!(header.version.get(), SegmentHeader::VERSION | SegmentHeader::COMPACTED) {
        return Err("version");
    }
    if header.segment.get() != id {
        return Err("segment");
    }
    if !LogPosition(header.first.get()).is_possible() {
        return Err("first");
    }
    if let Some(compacted) = header.compacted()
        && (compacted.end.0 <= header.first.get() || !compacted.end.is_possible())
    {
        return Err("synced");
    }
    Ok(header)
}

/// A batch whose every byte was checked.
#[derive(Debug)]
pub(crate) struct Checked<'a> {
    pub(crate) header: &'a BatchHeader,
    /// The whole, header included.
    pub(crate) bytes: &'a [u8],
}

/// What an item is, and what it says.
pub(crate) enum Body<'a> {
    Record { security: &'a SecurityHeader, frame: Frame<'a> },
    Note(&'a Note),
}

/// The header that `bytes` begin with, if it is one of segment `id`, sound by itself.
fn batch_header(bytes: &[u8], id: u64, version: u16) -> Result<&BatchHeader, Fault> {
    let (header, _) = BatchHeader::ref_from_prefix(bytes).map_err(|_| "length")?;
    if header.magic != BatchHeader::MAGIC {
        return Err("magic");
    }
    if header.header_crc.get() != header.own_crc() {
        return Err("header_crc");
    }
    if header.version.get() != version {
        return Err("version");
    }
    if header.segment.get() != id {
        return Err("segment");
    }
    Ok(header)
}

/// The batch that `bytes`, of segment `id`, begin with, where one with log position `next` and chain `chain` has to be.
pub(crate) fn batch(
    bytes: &[u8],
    id: u64,
    next: LogPosition,
    chain: u32,
) -> Result<Checked<'_>, Fault> {
    let header = batch_header(bytes, id, BatchHeader::VERSION)?;
    if header.first.get() != next.0 || !next.is_possible() {
        return Err("first");
    }
    check(bytes, header, chain)
}

/// The same of a compacted segment, where one within these log positions has to be.
pub(crate) fn compacted_batch(
    bytes: &[u8],
    id: u64,
    within: Range<LogPosition>,
    chain: u32,
) -> Result<Checked<'_>, Fault> {
    let header = batch_header(bytes, id, BatchHeader::COMPACTED)?;
    if !within.contains(&LogPosition(header.first.get())) || !within.end.is_possible() {
        return Err("first");
    }
    let checked = check(bytes, header, chain)?;
    let mut behind = header.first.get();
    for position in checked.positions() {
        if position.0 < behind || position >= within.end {
            return Err("nth");
        }
        behind = position.0 + 1;
    }
    Ok(checked)
}

/// A batch by itself, of which it is known where it has to be. Its place in the chain is not looked at.
pub(crate) fn batch_alone(bytes: &[u8], id: u64, first: LogPosition) -> Result<Checked<'_>, Fault> {
    let (header, _) = BatchHeader::ref_from_prefix(bytes).map_err(|_| "length")?;
    let chain = header.chain.get();
    if header.version.get() == BatchHeader::COMPACTED {
        let checked = compacted_batch(bytes, id, first..LogPosition(MAX_POSITION), chain)?;
        return if checked.header.first.get() == first.0 { Ok(checked) } else { Err("first") };
    }
    batch(bytes, id, first, chain)
}

fn check<'a>(bytes: &'a [u8], header: &'a BatchHeader, chain: u32) -> Result<Checked<'a>, Fault> {
    let (len, table) = (header.len.get() as usize, header.table.get() as usize);
    let items = header.items.get() as usize;
    if len % STEP != 0 || len > bytes.len() {
        return Err("len");
    }
    if table % STEP != 0 || table < BatchHeader::SIZE {
        return Err("table");
    }
    let table_len = items.checked_mul(entry_len(header)).ok_or("items")?;
    if items == 0 || table.checked_add(table_len).is_none_or(|end| end > len) {
        return Err("items");
    }
    if header.chain.get() != chain {
        return Err("chain");
    }
    let bytes = bytes.get(..len).ok_or("len")?;
    let body = bytes.get(BatchHeader::SIZE..).ok_or("len")?;
    if header.body_crc.get() != crc32c::crc32c(body) {
        return Err("body_crc");
    }
    let checked = Checked { header, bytes };
    // So that whoever goes through them need not stop in the middle.
    let mut behind = 0;
    for item in checked.items() {
        let item = item?;
        // One behind the other: no two entries of the table are of the same bytes.
        if item.offset < behind {
            return Err("place");
        }
        behind = item.offset + 1;
        if item.is_of_a_document() && !item.position.is_possible() {
            return Err("position");
        }
        if let Body::Note(note) = checked.body(&item)?
            && note.position.get() != item.position.0
        {
            return Err("position");
        }
    }
    Ok(checked)
}

/// Bytes that the table has for each item, and what follows it.
fn entry_len(header: &BatchHeader) -> usize {
    let compacted = header.version.get() == BatchHeader::COMPACTED;
    TableEntry::SIZE + if compacted { NTH } else { 0 }
}

/// Bytes of which item of its batch an item was.
pub(crate) const NTH: usize = size_of::<u32>();

impl<'a> Checked<'a> {
    pub(crate) fn entries(&self) -> impl Iterator<Item = &'a TableEntry> + use<'a> {
        let table = self.bytes.get(self.header.table.get() as usize..).unwrap_or_default();
        let entries = table.chunks_exact(TableEntry::SIZE).take(self.header.items.get() as usize);
        entries.flat_map(TableEntry::ref_from_bytes)
    }

    /// The log positions of the items.
    pub(crate) fn positions(&self) -> impl Iterator<Item = LogPosition> + use<'a> {
        let first = self.header.first.get();
        let items = self.header.items.get();
        let table = self.header.table.get() as usize + items as usize * TableEntry::SIZE;
        let nth = self.bytes.get(table..).unwrap_or_default();
        let compacted = self.header.version.get() == BatchHeader::COMPACTED;
        (0..items).map(move |index| {
            let at = index as usize * NTH;
            let nth = nth.get(at..).and_then(|it| it.first_chunk::<NTH>());
            let nth = nth.map_or(index, |nth| u32::from_le_bytes(*nth));
            LogPosition(first + u64::from(if compacted { nth } else { index }))
        })
    }

    pub(crate) fn items(&self) -> impl Iterator<Item = Result<Item, Fault>> + use<'a> {
        self.entries().map(|entry| entry.item().ok_or("place"))
    }

    pub(crate) fn body(&self, item: &Item) -> Result<Body<'a>, Fault> {
        let start = item.offset as usize * STEP;
        let bytes = self.bytes.get(start..self.header.table.get() as usize).ok_or("place")?;
        if start < BatchHeader::SIZE {
            return Err("place");
        }
        if item.kind != ItemKind::Record {
            let (note, _) = Note::ref_from_prefix(bytes).map_err(|_| "place")?;
            return Ok(Body::Note(note));
        }
        let (security, frame) = SecurityHeader::ref_from_prefix(bytes).map_err(|_| "place")?;
        let header = FrameHeader::of_whole(frame).ok_or("frame")?;
        let frame = frame.get(..header.whole_frame_len()).ok_or("frame")?;
        let frame = Frame::parse(frame).map_err(|_| "frame")?;
        frame.delta().map_err(|_| "delta")?;
        Ok(Body::Record { security, frame })
    }
}

/// What lies behind the last good batch of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rest {
    /// Bytes up to the last that is not zero.
    pub(crate) bytes: u64,
    /// Items of batches that follow and whose headers are sound.
    pub(crate) items: u64,
    /// The greatest log position below which everything had been synced, by any of those.
    pub(crate) synced: LogPosition,
}

/// Looks through what follows the last good batch, of which the log position behind is `next`.
pub(crate) fn rest(bytes: &[u8], id: u64, next: LogPosition) -> Rest {
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let mut rest = Rest { bytes: used as u64, items: 0, synced: LogPosition(0) };
    for start in (0..used).step_by(STEP) {
        let found = bytes.get(start..).unwrap_or_default();
        if !found.starts_with(&BatchHeader::MAGIC) {
            continue;
        }
        if let Ok(header) = batch_header(found, id, BatchHeader::VERSION)
            && header.first.get() >= next.0
        {
            rest.items += u64::from(header.items.get());
            rest.synced = rest.synced.max(LogPosition(header.synced.get()));
        }
    }
    rest
}
