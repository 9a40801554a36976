//! Segments: made, sealed, indexed.

use bytes::Bytes;
use zerocopy::IntoBytes;

use super::Log;
use super::disk::{IndexState, Job, Segment, SegmentState};
use super::io::Io;
use crate::format::{STEP, SegmentHeader};
use crate::options::Durability;
use crate::position::LogPosition;

/// Segments that are not sealed yet: with [`Durability::PageCache`], as many are lost with the machine's power at most.
const MAX_UNSEALED: usize = 8;

impl Log {
    /// Makes the segment that the next write is for, once the one before is sealed. In the page cache nothing waits for
    /// that, but for what would be too much to lose.
    pub(super) fn poll_create(&mut self) -> Option<Io> {
        let len = self.options.segment as u64;
        let page_cache = self.options.durability == Durability::PageCache;
        let disk = self.disk.as_mut()?;
        let (asked, synced) = (disk.asked, disk.synced);
        let planned = disk.segments.partition_point(|it| it.state != SegmentState::Planned);
        let sealed = disk.segments.partition_point(|it| it.state == SegmentState::Sealed);
        let before = planned.checked_sub(1).and_then(|before| disk.segments.get(before));
        if before.is_some_and(|before| asked < before.end_batch)
            || planned - sealed >= if page_cache { MAX_UNSEALED } else { 1 }
        {
            return None;
        }
        let segment = disk.segments.get_mut(planned).filter(|it| asked < it.end_batch)?;
        let header = segment.header.as_deref()?.made(synced);
        segment.state = SegmentState::Creating;
        let segment = segment.id;
        let token = disk.begin(Job::Create { segment });
        let header = Bytes::copy_from_slice(header.as_bytes());
        Some(Io::Create { token, segment, header, len })
    }

    /// Seals the oldest segment that is full and written. One at a time, so that what is synced has no holes.
    pub(super) fn poll_seal(&mut self) -> Option<Io> {
        let disk = self.disk.as_mut()?;
        if disk.is_syncing() {
            return None;
        }
        let written = disk.written;
        let first = disk.segments.partition_point(|it| it.state == SegmentState::Sealed);
        let segment = disk.segments.get_mut(first)?;
        if segment.state != SegmentState::Open || !segment.full || written < segment.end_batch {
            return None;
        }
        segment.state = SegmentState::Sealing;
        let (id, len) = (segment.id, segment.len);
        // It says all that a sync would.
        disk.sync_due &= segment.end_batch < disk.asked;
        let token = disk.begin(Job::Seal { segment: id });
        Some(Io::Seal { token, segment: id, len })
    }

    /// Has the index of a sealed segment written, when there is nothing else to do.
    pub(super) fn poll_index(&mut self) -> Option<Io> {
        let disk = self.disk.as_mut()?;
        if disk.hurry || disk.in_flight.iter().any(|(_, job)| matches!(job, Job::Index { .. })) {
            return None;
        }
        // Newest first: that is where they come from.
        let missing =
            |it: &&mut Segment| it.state == SegmentState::Sealed && it.index == IndexState::Missing;
        let segment = disk.segments.iter_mut().rev().find(missing)?;
        segment.index = IndexState::Writing;
        let (segment, len) = (segment.id, segment.len);
        let token = disk.begin(Job::Index { segment });
        Some(Io::Index { token, segment, len })
    }

    /// A place for a batch of `len` bytes that is about to be made, with its first item at `first`: segment and offset.
    pub(super) fn place(&mut self, len: usize, first: LogPosition) -> (u64, u64) {
        let (wall, most) = (self.wall, self.options.segment as u64);
        // So that what is too old goes soon: not later than after a quarter of its age more.
        let age = self.options.retention.max_age;
        let age = age.map_or(u64::MAX, |age| age.as_micros() as u64 / 4);
        let (epoch, number) = (self.epoch, self.batches.end());
        let Some(disk) = self.disk.as_mut() else { return (0, 0) };
        let full = match disk.segments.back_mut() {
            Some(last) => {
                let too_old = wall.saturating_sub(last.oldest) > age;
                last.full |= last.len + len as u64 > most || too_old;
                last.full
            }
            None => true,
        };
        if full {
            let id = disk.next_segment;
            disk.next_segment += 1;
            let header = SegmentHeader::new(id, first, wall, disk.chain, epoch, disk.shard);
            disk.segments.push_back(Segment {
                id,
                state: SegmentState::Planned,
                header: Some(Box::new(header)),
                len: STEP as u64,
                full: false,
                end_batch: number,
                end: first,
                oldest: wall,
                newest: wall,
                documents: Vec::new(),
                index: IndexState::Missing,
                archived: false,
                leaving: false,
                spoiled: false,
                compacted: false,
            });
        }
        let Some(last) = disk.segments.back_mut() else { return (0, 0) };
        let at = last.len;
        last.len += len as u64;
        last.end_batch = number + 1;
        last.newest = wall;
        let listed = last.listed();
        for (mentioned, is_placed) in disk.mentions.drain(..) {
            let Some(document) = self.documents.get_mut(mentioned) else { continue };
            if is_placed {
                document.placed = last.id;
            }
            if document.mentioned != last.id {
                document.mentioned = last.id;
                last.documents.push(mentioned);
            }
        }
        disk.listed += last.listed() - listed;
        disk.dirty += len;
        (last.id, at)
    }
}
