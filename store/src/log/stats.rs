use super::Log;

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
}

impl Log {
    /// Counters, and what it takes of memory now.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        LogStats {
            documents: self.documents.len() as u64,
            batches: self.batches.end() - self.batches.start(),
            hot_bytes: self.chunks.bytes() as u64,
            index_bytes: self.index_bytes() as u64,
            ..self.counters
        }
    }

    pub(super) fn index_bytes(&self) -> usize {
        self.documents.bytes() + self.batches.bytes()
    }
}
