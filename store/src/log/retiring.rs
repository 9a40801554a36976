//! Segments that go, and what has to be said in their place.

use zerocopy::byteorder::little_endian::{U32, U64};

use super::Log;
use super::disk::SegmentState;
use crate::format::{ItemKind, Note, STEP};
use crate::position::{LogPosition, Now};

impl Log {
    /// Drops the segments that retention no longer keeps.
    pub(super) fn retain_segments(&mut self, now: Now) {
        let before = self.next;
        if let Some(disk) = self.disk.as_mut() {
            disk.deletes_held = false;
            disk.compaction_due = self.options.compact_below > 0;
        }
        let retention = self.options.retention;
        while self.counters.kept_bytes > retention.max_bytes && self.drop_segment() {}
        if let Some(age) = retention.max_age {
            let age = u64::try_from(age.as_micros()).unwrap_or(u64::MAX);
            let wall = self.wall;
            if let Some(last) = self.disk.as_mut().and_then(|disk| disk.segments.back_mut()) {
                // Nothing may come to make it full.
                last.full |= wall.saturating_sub(last.newest) >= age;
            }
            while self.oldest_segment().is_some_and(|it| it.newest.saturating_add(age) <= wall)
                && self.drop_segment()
            {}
        }
        while self.is_oldest_dead() && self.drop_segment() {}
        if self.next != before {
            self.end_batch(now);
        }
    }

    fn oldest_segment(&self) -> Option<&super::disk::Segment> {
        self.disk.as_ref()?.segments.front()
    }

    /// Whether no document needs a record of the oldest segment, and nothing has to be said in its place: what would have
    /// to be said is as long as what goes, at the worst, and that again and again.
    fn is_oldest_dead(&self) -> bool {
        let Some(segment) = self.oldest_segment() else { return false };
        let dead = |number| self.batches.get(number).is_none_or(|batch| batch.live == 0);
        segment.state == SegmentState::Sealed
            && (segment.len > self.options.chunk as u64 || segment.len == STEP as u64)
            && (self.batches.start()..segment.end_batch).all(dead)
    }

    /// Drops the oldest segment, if it is sealed: its records go at once, the file when what is said in its place is
    /// durable.
    pub(super) fn drop_segment(&mut self) -> bool {
        if self.check_writable().is_err() {
            return false;
        }
        let Some(disk) = self.disk.as_mut() else { return false };
        let oldest = disk.segments.front().filter(|it| it.state == SegmentState::Sealed);
        let Some(oldest) = oldest.map(|it| it.id) else { return false };
        if !self.give_up_compaction(oldest) {
            return false;
        }
        let Some(disk) = self.disk.as_mut() else { return false };
        let Some(segment) = disk.segments.pop_front() else { return false };
        disk.listed = disk.listed.saturating_sub(segment.listed());
        let now = Now { wall: self.wall, ..Now::default() };
        for number in segment.documents.iter().copied() {
            if let Some(last) = segment.end_batch.checked_sub(1) {
                self.drop_up_to(number, last);
            }
            self.say_again(number, segment.id, segment.end, now);
        }
        while self.batches.start() < segment.end_batch {
            let number = self.batches.start();
            self.free(number);
            match self.batches.pop() {
                Some(batch) => self.counters.kept_bytes -= u64::from(batch.len),
                None => break,
            }
        }
        let until = self.next;
        if let Some(disk) = self.disk.as_mut() {
            disk.retiring.push_back((segment.id, until));
        }
        true
    }

    /// Says of a document what only items of a segment that goes say.
    fn say_again(&mut self, number: u32, segment: u64, end: LogPosition, now: Now) {
        let wall = self.wall;
        let Some(document) = self.documents.get_mut(number) else { return };
        let (doc, epoch) = (document.id, document.epoch);
        let mut notes = Vec::new();
        if document.placed == segment {
            let mut note = Note::new(doc, wall);
            note.position = U64::new(document.appended().0);
            notes.push((ItemKind::Floor, note));
        }
        // Their notes come one behind the other.
        let mut at = LogPosition(self.next.0 + notes.len() as u64);
        for writer in document.writers.iter_mut().filter(|writer| writer.mentioned < end) {
            let mut note = Note::new(doc, wall);
            note.position = U64::new(writer.written.position.0);
            note.value = U64::new(writer.written.at.0);
            note.bits = U32::new(writer.written.sequence);
            note.by = writer.origin.0;
            notes.push((ItemKind::Writer, note));
            writer.mentioned = at;
            at = at.next();
        }
        for (kind, note) in notes {
            self.push_note(kind, note, epoch, Some(number), now);
        }
    }
}
