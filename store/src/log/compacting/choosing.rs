use super::{Compaction, Log, Stage};
use crate::log::{IndexState, Segment, SegmentState};
use crate::position::LogPosition;

/// Bytes that a record takes of the list of what is kept: 64, and as many as a list that grows may have free.
const LISTED: usize = 128;

/// Segments that one takes the place of, at most.
const MAX_SEGMENTS: usize = 64;

impl Log {
    /// The oldest segments that lie together and of which less than is worth keeping is still needed.
    pub(super) fn choose_to_compact(&self) -> Option<Compaction> {
        let percent = self.options.compact_below as u64;
        let disk = self.disk.as_ref()?;
        let age = self.options.retention.max_age;
        let age = age.map_or(u64::MAX, |age| age.as_micros() as u64 / 4);
        let (mut chosen, mut oldest): (Option<Compaction>, _) = (None, 0);
        let (mut needed, mut records, mut count) = (0, 0, 0);
        // What is listed of them in memory until it is written.
        let most = (self.options.max_cold_bytes / 4 / LISTED) as u64;
        let mut start = self.batches.start();
        // Not the newest: what comes behind it says how the log ended.
        let others = disk.segments.len().saturating_sub(1);
        for segment in disk.segments.iter().take(others) {
            let (own, live) = self.needed(start, segment.end_batch);
            let worth = fits(segment) && own * 100 < segment.len * percent && live <= most;
            // What is too old goes by whole segments: they do not get to span more than one that is not compacted.
            let room = needed + own <= self.options.segment as u64
                && records + live <= most
                && count < MAX_SEGMENTS
                && segment.newest.saturating_sub(oldest) <= age;
            match &mut chosen {
                Some(_) if !worth || !room => break,
                Some(chosen) => (chosen.last, chosen.end) = (segment.id, segment.end_batch),
                None if worth => {
                    oldest = segment.oldest;
                    chosen = Some(Compaction {
                        first: segment.id,
                        last: segment.id,
                        start,
                        next: start,
                        end: segment.end_batch,
                        stage: Stage::Reading,
                        over: false,
                        source: None,
                        chain: 0,
                        header: None,
                        listed: None,
                        numbers: Vec::new(),
                        out: Vec::new(),
                        written: crate::format::STEP as u64,
                        until: LogPosition(0),
                    });
                }
                None => {}
            }
            if worth {
                (needed, records, count) = (needed + own, records + live, count + 1);
            }
            start = segment.end_batch;
        }
        chosen
    }

    /// About how many bytes of batches are needed, by the records that documents still have, and how many of those there
    /// are. What has no records is notes.
    fn needed(&self, from: u64, to: u64) -> (u64, u64) {
        let (mut bytes, mut live) = (0, 0);
        for batch in (from..to).filter_map(|number| self.batches.get(number)) {
            bytes += match batch.records {
                0 => u64::from(batch.len),
                records => u64::from(batch.len) * u64::from(batch.live) / u64::from(records),
            };
            live += u64::from(batch.live);
        }
        (bytes, live)
    }
}

/// Whether a segment can be compacted.
fn fits(segment: &Segment) -> bool {
    segment.state == SegmentState::Sealed
        && matches!(segment.index, IndexState::Written { .. })
        && segment.len > crate::format::STEP as u64
        && !(segment.archived || segment.leaving || segment.spoiled)
}
