use std::collections::VecDeque;
use std::time::Duration;

use super::compacting::Compaction;
use super::io::IoToken;
use super::reading::ReadRequest;
use crate::format::SegmentHeader;
use crate::position::LogPosition;

/// How far a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SegmentState {
    /// Batches were made for it, but there is no file.
    Planned,
    Creating,
    Open,
    Sealing,
    /// It is never written again.
    Sealed,
}

/// How far the index of a sealed segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IndexState {
    Missing,
    Writing,
    /// Bytes that it takes.
    Written {
        len: u64,
    },
    /// It could not be written. The segment is read as a whole when the log is opened.
    Failed,
}

impl IndexState {
    /// Bytes behind the segment's batches.
    pub(crate) fn len(self) -> u64 {
        if let Self::Written { len } = self { len } else { 0 }
    }
}

/// A segment file, and what is known of it.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) id: u64,
    pub(crate) state: SegmentState,
    /// Its header; `None` once it is written.
    pub(crate) header: Option<Box<SegmentHeader>>,
    /// Bytes that batches take, with the header in front.
    pub(crate) len: u64,
    /// Whether no batch is added any more.
    pub(crate) full: bool,
    /// The number behind its last batch.
    pub(crate) end_batch: u64,
    /// Log position behind its last item.
    pub(crate) end: LogPosition,
    /// When its first and its last batch were made, microseconds since the Unix epoch.
    pub(crate) oldest: u64,
    pub(crate) newest: u64,
    /// Documents that items of it tell of, by number; a number may have passed to another document since.
    pub(crate) documents: Vec<u32>,
    pub(crate) index: IndexState,
    /// Whether it is kept elsewhere: reading it takes as long as that does.
    pub(crate) archived: bool,
    /// Whether it is about to be.
    pub(crate) leaving: bool,
    /// Whether it cannot be compacted, for what was found in it.
    pub(crate) spoiled: bool,
    /// Whether it stands for others, too, and holds only what was needed of them.
    pub(crate) compacted: bool,
}

impl Segment {
    /// Bytes of memory of its list of documents.
    pub(crate) fn listed(&self) -> usize {
        self.documents.capacity() * size_of::<u32>()
    }
}

/// A piece of I/O in flight.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Job {
    Create {
        segment: u64,
    },
    /// Batches from..to, by number.
    Write {
        segment: u64,
        from: u64,
        to: u64,
    },
    /// What was asked to be written before, up to the batch with this number.
    Sync {
        segment: u64,
        to: u64,
    },
    Seal {
        segment: u64,
    },
    Index {
        segment: u64,
    },
    Delete {
        segment: u64,
    },
    Read {
        request: ReadRequest,
    },
    /// Of a compaction: read batches, up to the one with this number.
    CompactRead {
        segment: u64,
        to: u64,
        len: usize,
    },
    Rewrite,
    Replace,
    SyncNames {
        segment: u64,
    },
    Discard,
}

impl Job {
    /// Whether it is of a compaction.
    pub(crate) fn is_compaction(&self) -> bool {
        matches!(
            self,
            Self::CompactRead { .. }
                | Self::Rewrite
                | Self::Replace
                | Self::SyncNames { .. }
                | Self::Discard
        )
    }
}

/// What a log with files has beside one without.
#[derive(Debug)]
pub(crate) struct Disk {
    /// Oldest first.
    pub(crate) segments: VecDeque<Segment>,
    /// Bytes of memory of their lists of documents.
    pub(crate) listed: usize,
    /// The number of the next one.
    pub(crate) next_segment: u64,
    pub(crate) shard: u32,
    /// `header_crc` of the last batch.
    pub(crate) chain: u32,
    pub(crate) next_token: u64,
    /// In the order in which they were asked for.
    pub(crate) in_flight: Vec<(IoToken, Job)>,
    /// The number of the first batch that nobody was asked to write.
    pub(crate) asked: u64,
    /// The number of the first batch that is not written.
    pub(crate) written: u64,
    /// The number of the first batch that is not durable, by the policy.
    pub(crate) durable: u64,
    /// Everything below it was synced.
    pub(crate) synced: LogPosition,
    /// Whether a sync has to follow what was asked to be written.
    pub(crate) sync_due: bool,
    /// Bytes of batches that have ended and are not durable.
    pub(crate) dirty: usize,
    /// Bytes of batches that are ready to be written, and since when the first of them is.
    pub(crate) waiting: usize,
    pub(crate) waiting_since: Duration,
    /// Writes wait for no others.
    pub(crate) hurry: bool,
    /// When to try again after the disk was full.
    pub(crate) retry_at: Option<Duration>,
    /// Segments that can be deleted once the log is durable up to a position.
    pub(crate) retiring: VecDeque<(u64, LogPosition)>,
    /// One could not be deleted: until retention is asked again, none is.
    pub(crate) deletes_held: bool,
    pub(crate) wanted: VecDeque<ReadRequest>,
    /// The same of segments that are kept elsewhere: nobody waits behind them.
    pub(crate) wanted_away: VecDeque<ReadRequest>,
    /// What is being compacted.
    pub(crate) compaction: Option<Compaction>,
    /// Whether it is to be looked for something to compact, and when at the earliest.
    pub(crate) compaction_due: bool,
    pub(crate) compaction_at: Duration,
    /// Batches that were read back, oldest first, and their bytes.
    pub(crate) thawed: VecDeque<u64>,
    pub(crate) thawed_bytes: usize,
    /// No batch below it has memory that could be freed.
    pub(crate) evicted: u64,
    /// Documents that items of the open batch tell of, and whether they say where the document is.
    pub(crate) mentions: Vec<(u32, bool)>,
}

impl Disk {
    pub(crate) fn new(shard: u32, next_segment: u64, chain: u32) -> Self {
        Self {
            segments: VecDeque::new(),
            listed: 0,
            next_segment,
            shard,
            chain,
            next_token: 0,
            in_flight: Vec::new(),
            asked: 0,
            written: 0,
            durable: 0,
            synced: LogPosition(0),
            sync_due: false,
            dirty: 0,
            waiting: 0,
            waiting_since: Duration::ZERO,
            hurry: false,
            retry_at: None,
            retiring: VecDeque::new(),
            deletes_held: false,
            wanted: VecDeque::new(),
            wanted_away: VecDeque::new(),
            compaction: None,
            compaction_due: false,
            compaction_at: Duration::ZERO,
            thawed: VecDeque::new(),
            thawed_bytes: 0,
            evicted: 0,
            mentions: Vec::new(),
        }
    }

    pub(crate) fn segment_mut(&mut self, id: u64) -> Option<&mut Segment> {
        // The newest are asked for.
        self.segments.iter_mut().rev().find(|segment| segment.id == id)
    }

    /// Whether a segment is kept elsewhere.
    pub(crate) fn is_archived(&self, id: u64) -> bool {
        let found = self.segments.binary_search_by_key(&id, |segment| segment.id).ok();
        found.and_then(|at| self.segments.get(at)).is_some_and(|segment| segment.archived)
    }

    pub(crate) fn begin(&mut self, job: Job) -> IoToken {
        let token = IoToken(self.next_token);
        self.next_token += 1;
        self.in_flight.push((token, job));
        token
    }

    pub(crate) fn finish(&mut self, token: IoToken) -> Option<Job> {
        let index = self.in_flight.iter().position(|(known, _)| *known == token)?;
        Some(self.in_flight.remove(index).1)
    }

    /// Jobs in flight that are done in order.
    pub(crate) fn writing(&self) -> usize {
        let in_order =
            |job: &&(IoToken, Job)| matches!(job.1, Job::Create { .. } | Job::Write { .. });
        self.in_flight.iter().filter(in_order).count()
    }

    /// Whether a segment is being synced or sealed.
    pub(crate) fn is_syncing(&self) -> bool {
        self.in_flight.iter().any(|(_, job)| matches!(job, Job::Sync { .. } | Job::Seal { .. }))
    }

    /// Jobs in flight but for those that change nothing of what is durable.
    pub(crate) fn in_line(&self) -> usize {
        let in_order = |job: &&(IoToken, Job)| {
            let beside = matches!(job.1, Job::Index { .. } | Job::Delete { .. } | Job::Read { .. });
            !beside && !job.1.is_compaction()
        };
        self.in_flight.iter().filter(in_order).count()
    }

    /// What is being read.
    pub(crate) fn reads(&self) -> impl Iterator<Item = &ReadRequest> {
        self.in_flight.iter().filter_map(|(_, job)| match job {
            Job::Read { request } => Some(request),
            _ => None,
        })
    }

    pub(crate) fn is_reading(&self) -> bool {
        self.reads().next().is_some()
    }

    /// Bytes of memory of the list of segments, and of what they list.
    pub(crate) fn bytes(&self) -> usize {
        self.segments.capacity() * size_of::<Segment>() + self.listed
    }
}
