//! Whatever lies in a segment: recovery and reading never panic, and hand out nothing that is not a delta.

use bytes::Bytes;
use deltawire_framing::{DocId, Frame};
use deltawire_store::{
    Durability, Epoch, Io, IoDone, IoError, Log, LogOptions, Now, Position, Read, Recovered,
    Recovery, SegmentIndex, Tail,
};

const STEP: usize = 64;

/// A segment: as it is, or, with an odd first byte, with the checksums and the numbers that every batch has to have put
/// right, so that what is behind them is reached. With 2 in the first byte, what is found in it gets an index, which the
/// last 16 bytes change, and which is believed. With 4 it is made a compacted one.
pub fn recover(data: &[u8]) {
    let Some((first, data)) = data.split_first() else { return };
    let mut segment = data.to_vec();
    match first % 2 {
        1 if first & 4 != 0 => seal_compacted(&mut segment),
        1 => seal(&mut segment),
        _ => {}
    }
    let mut recovery = Recovery::new(0, Epoch(9));
    recovery.segment(1, &segment);
    let found = recovery.finish();
    if let Some((id, len)) = found.cut() {
        assert!(id == 1 && len as usize <= segment.len());
        if first & 2 != 0 && indexed(&mut segment, len as usize) {
            return;
        }
    }
    check(found, &segment);
}

/// Gives a segment an index with mistakes, and opens it by that. `false` if it can have none.
fn indexed(segment: &mut Vec<u8>, len: usize) -> bool {
    let Ok(mut index) = SegmentIndex::of(1, segment, len) else { return false };
    let changes = segment.last_chunk::<16>().copied().unwrap_or_default();
    let listed = index.len() - STEP;
    for change in changes.chunks_exact(4) {
        if let Some(byte) =
            index[..listed].get_mut(usize::from(change[0]) + usize::from(change[1]) * 16)
        {
            *byte = byte.wrapping_add(change[2]);
        }
    }
    let crc = crc32c::crc32c(&index[..listed]);
    index[listed + 44..listed + 48].copy_from_slice(&crc.to_le_bytes());
    let crc = crc32c::crc32c(&index[listed..listed + 60]);
    index[listed + 60..].copy_from_slice(&crc.to_le_bytes());
    segment.truncate(len);
    segment.extend_from_slice(&index);
    let mut recovery = Recovery::new(0, Epoch(9));
    if recovery.indexed(1, &segment[..STEP], &index, segment.len() as u64) {
        check(recovery.finish(), segment);
    }
    true
}

fn check(found: Recovered, segment: &[u8]) {
    let damaged = matches!(found.tail(), Tail::Damaged { .. });
    let options = LogOptions { durability: Durability::PageCache, ..LogOptions::default() };
    let Ok(mut log) = Log::open(options, found) else { return };
    assert_eq!(log.broken().is_some(), damaged);
    let documents: Vec<DocId> = log.documents().copied().collect();
    for doc in documents {
        read(&mut log, &doc, segment);
    }
    log.retain(Now::default());
}

fn read(log: &mut Log, doc: &DocId, segment: &[u8]) {
    let head = log.head(doc).unwrap();
    let mut from = Position(1);
    for _ in 0..4 * segment.len() {
        match log.read(doc, from, 1_000) {
            Read::Run(run) => {
                for stored in &run.records {
                    let delta = Frame::parse(&stored.frame).unwrap().delta().unwrap();
                    assert_eq!(delta.doc_id(), *doc);
                }
                from = run.next;
            }
            Read::Cold(request) => {
                log.want(request);
                while let Some(io) = log.poll_io(Now::default()) {
                    let token = io.token();
                    let result = match io {
                        Io::Read { at, len, .. } => segment
                            .get(at as usize..at as usize + len)
                            .map(Bytes::copy_from_slice)
                            .ok_or(IoError::Full),
                        _ => Ok(Bytes::new()),
                    };
                    let _ = log.handle_io(IoDone { token, result }, Now::default());
                }
            }
            Read::Gap(gap) => {
                assert!(gap.to > from || from > head.next);
                from = gap.to;
            }
            Read::AtHead => return,
            Read::Unknown => panic!("it is known"),
        }
    }
    panic!("reading comes to an end");
}

/// Puts right what a batch needs to be looked into; its items and its table are as they are.
fn seal(segment: &mut [u8]) {
    let Some(header) = segment.get_mut(..STEP) else { return };
    header[..8].copy_from_slice(b"DLS1\x01\0\0\0");
    header[8..16].copy_from_slice(&1u64.to_le_bytes());
    header[40..44].fill(0);
    let crc = crc32c::crc32c(&header[..60]);
    header[60..].copy_from_slice(&crc.to_le_bytes());
    let mut next = u64::from_le_bytes(header[16..24].try_into().unwrap());
    let mut chain = <[u8; 4]>::try_from(&header[32..36]).unwrap();
    let mut rest = &mut segment[STEP..];
    while rest.len() >= 2 * STEP {
        let steps = usize::from(rest[8]).clamp(2, rest.len() / STEP);
        let (batch, behind) = std::mem::take(&mut rest).split_at_mut(steps * STEP);
        rest = behind;
        batch[..8].copy_from_slice(b"DLB1\x01\0\0\0");
        let len = batch.len() as u32;
        batch[8..12].copy_from_slice(&len.to_le_bytes());
        let items = u32::from(batch[12]);
        batch[12..16].copy_from_slice(&items.to_le_bytes());
        batch[16..24].copy_from_slice(&next.to_le_bytes());
        batch[32..40].copy_from_slice(&1u64.to_le_bytes());
        let table = u32::from(batch[48]) * STEP as u32;
        batch[48..52].copy_from_slice(&table.to_le_bytes());
        let crc = crc32c::crc32c(&batch[STEP..]);
        batch[52..56].copy_from_slice(&crc.to_le_bytes());
        batch[56..60].copy_from_slice(&chain);
        chain = crc32c::crc32c(&batch[..60]).to_le_bytes();
        batch[60..64].copy_from_slice(&chain);
        next = next.wrapping_add(u64::from(items));
    }
}

/// The same for a compacted segment: which items its batches have is as it is, but counts up.
fn seal_compacted(segment: &mut [u8]) {
    let Some((header, mut rest)) = segment.split_at_mut_checked(STEP) else { return };
    header[..8].copy_from_slice(b"DLS1\x02\0\0\0");
    header[8..16].copy_from_slice(&1u64.to_le_bytes());
    header[40..44].fill(0);
    // Anywhere in the log, but not at its very end.
    header[23] &= 0x1f;
    let mut next = u64::from_le_bytes(header[16..24].try_into().unwrap());
    let mut chain = <[u8; 4]>::try_from(&header[32..36]).unwrap();
    let most = u32::from(header[56] % 16);
    let mut batches = 0u32;
    while rest.len() >= 2 * STEP && batches < most {
        let steps = usize::from(rest[8]).clamp(2, rest.len() / STEP);
        let (batch, behind) = std::mem::take(&mut rest).split_at_mut(steps * STEP);
        rest = behind;
        batch[..8].copy_from_slice(b"DLB1\x02\0\0\0");
        let len = batch.len() as u32;
        batch[8..12].copy_from_slice(&len.to_le_bytes());
        let items = u32::from(batch[12]);
        batch[12..16].copy_from_slice(&items.to_le_bytes());
        let first = next + u64::from(batch[16] % 4);
        batch[16..24].copy_from_slice(&first.to_le_bytes());
        batch[32..40].copy_from_slice(&1u64.to_le_bytes());
        let table = u32::from(batch[48]) * STEP as u32;
        batch[48..52].copy_from_slice(&table.to_le_bytes());
        let mut nth = 0;
        for item in 0..items as usize {
            let at = table as usize + items as usize * 32 + item * 4;
            if let Some(place) = batch.get_mut(at..at + 4) {
                nth += u32::from(place[0] % 4);
                place.copy_from_slice(&nth.to_le_bytes());
            }
            nth += 1;
        }
        next = first + u64::from(nth);
        let crc = crc32c::crc32c(&batch[STEP..]);
        batch[52..56].copy_from_slice(&crc.to_le_bytes());
        batch[56..60].copy_from_slice(&chain);
        chain = crc32c::crc32c(&batch[..60]).to_le_bytes();
        batch[60..64].copy_from_slice(&chain);
        batches += 1;
    }
    let end = next + 1 + u64::from(header[44] % 4);
    header[44..52].copy_from_slice(&end.to_le_bytes());
    header[56..60].copy_from_slice(&batches.to_le_bytes());
    let crc = crc32c::crc32c(&header[..60]);
    header[60..].copy_from_slice(&crc.to_le_bytes());
}
