use super::Log;
use super::disk::Disk;

/// Counters of a log, and what it takes of memory now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Documents that are known.
    pub documents: u64,
    /// Batches that are listed.
    pub batches: u64,
    /// Bytes of chunks and adopted records in memory ([`LogOptions::max_hot_bytes`](crate::LogOptions::max_hot_bytes)).
    pub hot_bytes: u64,
    /// Bytes of the index ([`LogOptions::max_index_bytes`](crate::LogOptions::max_index_bytes)).
    pub index_bytes: u64,
    /// Bytes of the batches that are kept, headers included.
    pub kept_bytes: u64,
    /// Records that were ever appended.
    pub appended_records: u64,
    /// Bytes of their frames.
    pub appended_bytes: u64,
    /// Bytes of frames that were copied on the way in.
    pub copied_bytes: u64,
    /// Bytes of frames that were adopted, without a copy.
    pub adopted_bytes: u64,
    /// Stamps that changed something.
    pub stamps: u64,
    /// Records that were dropped.
    pub dropped_records: u64,
    /// Bytes that wait to become durable ([`LogOptions::max_dirty_bytes`](crate::LogOptions::max_dirty_bytes)).
    pub dirty_bytes: u64,
    /// Bytes of records that were read back ([`LogOptions::max_cold_bytes`](crate::LogOptions::max_cold_bytes)).
    pub cold_bytes: u64,
    /// Segments.
    pub segments: u64,
    /// Bytes of segments that hold something, archived ones included.
    pub disk_bytes: u64,
    /// Segments of them that are kept elsewhere ([`Log::archived`]).
    pub archived_segments: u64,
    /// Bytes of those.
    pub archived_bytes: u64,
    /// Writes that were asked for.
    pub writes: u64,
    /// Syncs that were asked for.
    pub syncs: u64,
    /// Reads that were asked for.
    pub cold_reads: u64,
    /// Times that the disk was full.
    pub disk_full: u64,
    /// Indexes of sealed segments that were written.
    pub indexes: u64,
    /// Segments that stand for others ([`LogOptions::compact_below`](crate::LogOptions::compact_below)).
    pub compacted_segments: u64,
    /// Compactions that were done.
    pub compactions: u64,
    /// Bytes of batches that they did away with.
    pub compacted_bytes: u64,
    /// Compactions that were given up.
    pub failed_compactions: u64,
    /// Segments that could not be deleted.
    pub failed_deletes: u64,
    /// Batches that were found damaged when they were read back.
    pub damaged_batches: u64,
}

impl Log {
    /// Counters, and what it takes of memory now.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        let disk = self.disk.as_ref();
        let segments = disk.map(|disk| &disk.segments);
        let archived = || segments.into_iter().flatten().filter(|it| it.archived);
        LogStats {
            dirty_bytes: disk.map_or(0, |disk| (disk.dirty + self.open.len()) as u64),
            cold_bytes: disk.map_or(0, |disk| disk.thawed_bytes as u64),
            segments: segments.map_or(0, |segments| segments.len() as u64),
            archived_segments: archived().count() as u64,
            compacted_segments: segments
                .map_or(0, |it| it.iter().filter(|it| it.compacted).count() as u64),
            archived_bytes: archived().map(|it| it.len).sum(),
            disk_bytes: segments.map_or(0, |segments| segments.iter().map(|it| it.len).sum()),
            documents: self.documents.len() as u64,
            batches: self.batches.end() - self.batches.start(),
            hot_bytes: self.chunks.bytes() as u64,
            index_bytes: self.index_bytes() as u64,
            ..self.counters
        }
    }

    pub(super) fn index_bytes(&self) -> usize {
        let disk = self.disk.as_ref().map_or(0, Disk::bytes);
        self.documents.bytes() + self.batches.bytes() + disk
    }
}
