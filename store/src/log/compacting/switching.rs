use super::{Compaction, Log, Stage};
use crate::format::{STEP, Said};
use crate::log::{Check, IndexState};
use crate::position::LogPosition;

impl Log {
    /// The new segment is in its place: the log reads from it from now on.
    pub(super) fn switch(&mut self) {
        let Some(mut compaction) = self.disk.as_mut().and_then(|disk| disk.compaction.take())
        else {
            return;
        };
        self.move_batches(&compaction);
        self.move_entries(&compaction);
        let others = self.move_segments(&compaction);
        self.counters.compactions += 1;
        (compaction.listed, compaction.numbers) = (None, Vec::new());
        compaction.stage = Stage::Naming(others);
        if let Some(disk) = self.disk.as_mut() {
            // Whoever wants something of them asks anew: it lies elsewhere.
            disk.wanted.retain(|request| !compaction.covers(request.segment()));
            disk.compaction = Some(compaction);
        }
    }

    /// Batches lie where the new segment has them; those that it has not are empty.
    fn move_batches(&mut self, compaction: &Compaction) {
        let Some(listed) = &compaction.listed else { return };
        let mut kept = compaction.numbers.iter().zip(&listed.batches).peekable();
        let (mut end, mut items) = (STEP as u64, listed.items.iter());
        let before = self.counters.kept_bytes;
        for number in compaction.start..compaction.end {
            // What is in memory has records where they were.
            self.free(number);
            let Some(batch) = self.batches.get_mut(number) else { continue };
            self.counters.kept_bytes -= u64::from(batch.len);
            batch.segment = compaction.first;
            (batch.at, batch.len, batch.records) = (end, 0, batch.live);
            if let Some((_, moved)) = kept.next_if(|(own, _)| **own == number) {
                (batch.at, batch.len) = (moved.at(), moved.len.get());
                let own = items.by_ref().take(moved.items.get() as usize);
                batch.records = own.filter(|it| it.is_record()).count() as u32;
                batch.check = Check::Never;
                end = moved.at() + u64::from(moved.len.get());
                self.counters.kept_bytes += u64::from(batch.len);
            }
        }
        self.counters.compacted_bytes += before.saturating_sub(self.counters.kept_bytes);
    }

    /// Documents find their records there.
    fn move_entries(&mut self, compaction: &Compaction) {
        let Some(listed) = &compaction.listed else { return };
        let mut items = listed.items.iter();
        for (number, batch) in compaction.numbers.iter().zip(&listed.batches) {
            for listed in items.by_ref().take(batch.items.get() as usize) {
                let Some(item) = listed.entry.item() else { continue };
                let Said::Record { doc, .. } = listed.said(&item) else { continue };
                let Some(known) = self.documents.number(&doc) else { continue };
                let Some(document) = self.documents.get_mut(known) else { continue };
                // It may have gone since, and the document with it.
                if let Some(index) = document.index_of(item.position)
                    && let Some(entry) = document.entries.get_mut(index)
                    && entry.batch == *number as u32
                {
                    entry.offset = item.offset;
                }
            }
        }
    }

    /// One segment stands for all of them. Returns the others, oldest first.
    fn move_segments(&mut self, compaction: &Compaction) -> Vec<u64> {
        let Some(disk) = self.disk.as_mut() else { return Vec::new() };
        let Some(listed) = &compaction.listed else { return Vec::new() };
        let mut documents = Vec::new();
        let (mut others, mut newest, mut end) = (Vec::new(), 0, LogPosition(0));
        let mut len = 0;
        disk.segments.retain(|segment| {
            if !compaction.covers(segment.id) {
                return true;
            }
            len += segment.listed();
            documents.extend_from_slice(&segment.documents);
            (newest, end) = (segment.newest, segment.end);
            if segment.id != compaction.first {
                others.push(segment.id);
            }
            segment.id == compaction.first
        });
        documents.sort_unstable();
        documents.dedup();
        documents.shrink_to_fit();
        for number in &documents {
            if let Some(document) = self.documents.get_mut(*number) {
                let own = |segment: &mut u64| {
                    if compaction.covers(*segment) {
                        *segment = compaction.first;
                    }
                };
                own(&mut document.placed);
                own(&mut document.mentioned);
            }
        }
        if let Some(segment) = disk.segment_mut(compaction.first) {
            (segment.documents, segment.newest, segment.end) = (documents, newest, end);
            (segment.end_batch, segment.len) = (compaction.end, listed.at);
            (segment.index, segment.compacted) = (IndexState::Written { len: 0 }, true);
            let listed = segment.listed();
            disk.listed = (disk.listed + listed).saturating_sub(len);
        }
        others
    }

    /// The new segment's name is durable: the others go, in their turn.
    pub(super) fn end_compaction(&mut self) {
        let Some(disk) = self.disk.as_mut() else { return };
        let Some(compaction) = disk.compaction.take() else { return };
        if let Stage::Naming(others) = compaction.stage {
            disk.retiring.extend(others.into_iter().map(|segment| (segment, LogPosition(0))));
        }
    }
}
