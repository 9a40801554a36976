//! What a log keeps, how much memory that may take, and when it is safe.

use core::time::Duration;

/// When a record counts as stored: what [`Log::durable`](crate::Log::durable) waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// As soon as its batch has ended. It survives nothing. The default, and the only one of a log without files.
    #[default]
    Memory,
    /// When it was handed to the operating system: it survives the end of the process (`kill -9`), not that of the
    /// machine.
    PageCache,
    /// When the disk said that it has it: it survives a power cut. Records that come close together share a sync.
    Grouped {
        /// How long the first record of a group waits for others. 2 ms is a good value.
        max_wait: Duration,
        /// After how many bytes a group waits no longer. 1 MiB is a good value.
        max_bytes: usize,
    },
    /// The same, with a batch and a sync for each record. For tests and for comparison.
    Each,
}

impl Durability {
    /// `Grouped` with 2 ms and 1 MiB.
    #[must_use]
    pub const fn grouped() -> Self {
        Self::Grouped { max_wait: Duration::from_millis(2), max_bytes: 1 << 20 }
    }
}

/// How much is kept. What goes is always the oldest, of the whole log or of a document, and a reader that wanted it is
/// told ([`Gap`](crate::Gap)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Bytes of the whole log, headers included: in memory without files, in segments with them (then what goes is whole
    /// segments, so that there may be one more). Default: no limit but [`LogOptions::max_hot_bytes`] without files.
    pub max_bytes: u64,
    /// How long a record is kept. Default: for ever.
    pub max_age: Option<Duration>,
    /// Bytes of frames of one document. The last record is kept however long it is. Default: no limit.
    pub per_document_bytes: u64,
    /// Records of one document, at least 1. Default: no limit.
    pub per_document_records: u64,
    /// How many of the records that a durable snapshot covers are kept nevertheless, for readers that are a little
    /// behind. Default: 1,024.
    pub keep_after_snapshot: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            max_bytes: u64::MAX,
            max_age: None,
            per_document_bytes: u64::MAX,
            per_document_records: u64::MAX,
            keep_after_snapshot: 1_024,
        }
    }
}

/// Options of a log. A log takes at most `max_hot_bytes` + `max_cold_bytes` + `max_index_bytes` of memory, and eight
/// chunks that are kept to be used again. Beside that there is what readers hold on to: a record that they keep keeps the
/// chunk that it lies in. Opening a log reads one segment at a time into memory, and its index may be longer than
/// `max_index_bytes` then: nothing is appended before it has shrunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// When a record counts as stored. Default: [`Durability::Memory`]. [`Log::new`](crate::Log::new) takes no other.
    pub durability: Durability,
    /// How much is kept.
    pub retention: Retention,
    /// Bytes of memory that are taken at a time, and longest batch but for records that are longer. 4 KiB to 64 MiB;
    /// default: 1 MiB.
    pub chunk: usize,
    /// Bytes of a segment file. At least four chunks and twice `max_record`, at most 2 GiB; default: 64 MiB.
    pub segment: usize,
    /// Documents that are known at a time, with records or without. Each takes 300 to 400 bytes of the index. Default:
    /// 1,000,000.
    pub max_documents: usize,
    /// Longest frame, header included, bytes. Default: 16 MiB.
    pub max_record: usize,
    /// Bytes of records in memory, in whole chunks. Past it the oldest leave memory: to be read back from their
    /// segment, or, without files, for good. At least four times a chunk and `max_record`; default: 256 MiB.
    pub max_hot_bytes: usize,
    /// Bytes of records that were read back from segments, beside those. At least 1 MiB and twice `max_record`; default:
    /// 64 MiB.
    pub max_cold_bytes: usize,
    /// Bytes that wait to become durable; past it appends are refused ([`Refused::Full`](crate::Refused::Full)). At
    /// least a chunk and `max_record`, at most half of `max_hot_bytes`; default: 32 MiB.
    pub max_dirty_bytes: usize,
    /// Bytes of the index: 16 a record, about 100 a batch, a few hundred a document, 48 a remembered writer. Past it the
    /// oldest records go; when none are left, appends are refused. At least 1 MiB; default: 256 MiB.
    pub max_index_bytes: usize,
    /// Percent of a segment's bytes that are of records which documents still have: below it, segments that lie together
    /// are compacted into one, when [`Log::retain`](crate::Log::retain) finds them. Takes 256 KiB, or a batch, at a time,
    /// and at most half of `max_cold_bytes` for what is written. Who archives segments asks
    /// [`Log::leaves`](crate::Log::leaves) before. At most 90; 0: never. Default: 0; 25 is a good value.
    pub compact_below: usize,
    /// Writers of a document that are remembered for [`Log::last_of`](crate::Log::last_of); the one that wrote least
    /// recently goes. Those whose last record is not durable yet are remembered beside them, up to 4,096, and those that wrote within
    /// `remember_writers`. 48 bytes each, of the index. At most 4,096; default: 64.
    pub max_writers: usize,
    /// For how long a writer is remembered beside those, up to 1,024 of a document, and as long as all take no more than an eighth of
    /// `max_index_bytes`: longer than one is away that may have to
    /// send its last records again. Default: 10 minutes.
    pub remember_writers: Duration,
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            durability: Durability::Memory,
            retention: Retention::default(),
            chunk: MIB,
            segment: 64 * MIB,
            max_documents: 1_000_000,
            max_record: 16 * MIB,
            max_hot_bytes: 256 * MIB,
            max_cold_bytes: 64 * MIB,
            max_dirty_bytes: 32 * MIB,
            max_index_bytes: 256 * MIB,
            compact_below: 0,
            max_writers: 64,
            remember_writers: Duration::from_secs(600),
        }
    }
}

impl LogOptions {
    /// Whether a log can work with them.
    ///
    /// # Errors
    /// The first option that is out of its range.
    pub fn check(&self) -> Result<(), BadOption> {
        let record = self.max_record.saturating_add(KIB);
        let most = usize::MAX;
        let of = |option, value, least, most| BadOption::check(option, value, least, most);
        of("chunk", self.chunk, 4 * KIB, 64 * MIB)?;
        of("max_record", self.max_record, 64, 1 << 30)?;
        let least = (4 * self.chunk).max(2 * record);
        of("segment", self.segment, least, 2 << 30)?;
        of("max_documents", self.max_documents, 1, u32::MAX as usize / 2)?;
        of("max_hot_bytes", self.max_hot_bytes, 4 * (self.chunk + record), most)?;
        of("max_cold_bytes", self.max_cold_bytes, MIB.max(2 * record), most)?;
        of("max_dirty_bytes", self.max_dirty_bytes, self.chunk + record, self.max_hot_bytes / 2)?;
        of("max_index_bytes", self.max_index_bytes, MIB, most)?;
        of("max_writers", self.max_writers, 1, 4_096)?;
        of("compact_below", self.compact_below, 0, 90)?;
        let records = usize::try_from(self.retention.per_document_records).unwrap_or(most);
        of("retention.per_document_records", records, 1, most)
    }
}

/// An option that is out of its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("option {option} is {value}, must be from {least} to {most}")]
pub struct BadOption {
    /// Its name.
    pub option: &'static str,
    /// What it is.
    pub value: u64,
    /// The least that it may be.
    pub least: u64,
    /// The most that it may be.
    pub most: u64,
}

impl BadOption {
    fn check(option: &'static str, value: usize, least: usize, most: usize) -> Result<(), Self> {
        if (least..=most).contains(&value) {
            return Ok(());
        }
        Err(Self { option, value: value as u64, least: least as u64, most: most as u64 })
    }
}
