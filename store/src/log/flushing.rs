//! Batches on their way to the disk.

use std::time::Duration;

use super::Log;
use super::batch::Memory;
use super::disk::{Disk, IndexState, Job, SegmentState};
use super::io::{Io, IoDone, IoError};
use crate::error::Broken;
use crate::format::{ItemKind, Note};
use crate::options::Durability;
use crate::position::{LogPosition, Now};

/// How long a full disk is left alone.
const RETRY: Duration = Duration::from_secs(1);

/// Bytes and slices of a write: enough for a disk to be as fast as it can, few enough for one system call.
const MAX_WRITE: usize = 1 << 20;
const MAX_PARTS: usize = 512;

/// Writes that are asked for before the first of them is done.
const MAX_IN_LINE: usize = 4;

impl Log {
    /// The next piece of I/O to do; `None` until something else happens: a batch ends, a piece of I/O is done, the time
    /// of [`poll_timeout`](Self::poll_timeout) comes. Nothing without files.
    pub fn poll_io(&mut self, now: Now) -> Option<Io> {
        self.tell(now);
        if let Some(io) = self.poll_read() {
            return Some(io);
        }
        if self.broken.as_ref().is_some_and(|broken| *broken != Broken::Closed) {
            return None;
        }
        // Readers or room wait for that: it waits for nothing else, a full disk the least.
        if self.is_compaction_urgent()
            && let Some(io) = self.poll_compact(now)
        {
            return Some(io);
        }
        let disk = self.disk.as_mut()?;
        if let Some((segment, until)) = disk.retiring.front().copied() {
            // One at a time, so that what is left has no hole.
            let is_delete = |(_, job): &(_, Job)| matches!(job, Job::Delete { .. });
            let held = disk.deletes_held || disk.in_flight.iter().any(is_delete);
            if until <= disk.synced && !held {
                disk.retiring.pop_front();
                return Some(Io::Delete { token: disk.begin(Job::Delete { segment }), segment });
            }
            self.sync_for(until);
        }
        let disk = self.disk.as_mut()?;
        if disk.retry_at.is_some_and(|at| now.elapsed < at) {
            return None;
        }
        disk.retry_at = None;
        if let Some(io) = self.poll_seal() {
            return Some(io);
        }
        let disk = self.disk.as_ref()?;
        let page_cache = self.options.durability == Durability::PageCache;
        let barrier = |(_, job): &(_, Job)| match job {
            Job::Create { .. } => true,
            Job::Seal { .. } => !page_cache,
            _ => false,
        };
        if disk.writing() >= MAX_IN_LINE || disk.in_flight.iter().any(barrier) {
            return None;
        }
        if let Some(io) = self.poll_create() {
            return Some(io);
        }
        let io = self.poll_write(now).or_else(|| self.poll_sync()).or_else(|| self.poll_index());
        io.or_else(|| self.poll_compact(now))
    }

    /// Takes in what came of a piece of I/O.
    ///
    /// # Errors
    /// If the log is read-only from now on: a sync failed, or a write did, and not for want of room.
    pub fn handle_io(&mut self, done: IoDone, now: Now) -> Result<(), Broken> {
        self.tell(now);
        let Some(disk) = self.disk.as_mut() else { return Ok(()) };
        let Some(job) = disk.finish(done.token) else { return Ok(()) };
        // After a failed sync, another that succeeds says nothing of what the first was for.
        let dead = self.broken.as_ref().is_some_and(|broken| *broken != Broken::Closed);
        // Files have changed their names, whatever became of the log.
        let is_read = matches!(job, Job::Read { .. } | Job::Replace);
        let broken = match (job, done.result) {
            _ if dead && !is_read => None,
            (Job::Create { segment }, Ok(_)) => {
                if let Some(segment) = disk.segment_mut(segment) {
                    segment.state = SegmentState::Open;
                    segment.header = None;
                }
                None
            }
            (Job::Create { segment }, Err(error)) => {
                if let Some(segment) = disk.segment_mut(segment) {
                    segment.state = SegmentState::Planned;
                }
                self.failed(error, now, |reason| Broken::Create { segment, reason })
            }
            (Job::Write { from, to, .. }, Ok(_)) => {
                // Unless one in front of it failed, and this one is asked for again.
                if from == disk.written {
                    disk.written = to;
                    disk.asked = disk.asked.max(to);
                    self.settle_written(from, to);
                }
                None
            }
            (Job::Write { segment, from, .. }, Err(error)) => {
                disk.asked = disk.asked.min(from);
                self.failed(error, now, |reason| Broken::Write { segment, reason })
            }
            (Job::Sync { to, .. }, Ok(_)) => {
                let to = to.min(disk.written);
                self.settle_synced(to);
                None
            }
            (Job::Seal { segment }, Ok(_)) => {
                let sealed = disk.segment_mut(segment);
                if let Some(sealed) = sealed {
                    sealed.state = SegmentState::Sealed;
                    let to = sealed.end_batch;
                    self.settle_synced(to);
                }
                None
            }
            (Job::Sync { segment, .. } | Job::Seal { segment }, Err(error)) => {
                Some(Broken::Sync { segment, reason: error.to_string() })
            }
            (Job::Index { segment }, result) => {
                if let Some(segment) = disk.segment_mut(segment) {
                    // How long it is matters when the log is opened only.
                    let (done, failed) = (IndexState::Written { len: 0 }, IndexState::Failed);
                    segment.index = if result.is_ok() { done } else { failed };
                }
                self.counters.indexes += u64::from(result.is_ok());
                None
            }
            (Job::Delete { segment }, Err(_)) => {
                // What comes next must not go before it: that would leave a hole.
                let synced = disk.synced;
                disk.retiring.push_front((segment, synced));
                disk.deletes_held = true;
                self.counters.failed_deletes += 1;
                None
            }
            (Job::Delete { .. }, Ok(_)) => None,
            (job, result) if job.is_compaction() => self.handle_compaction(&job, result, now),
            (Job::Read { request }, Ok(bytes)) => {
                self.thaw(request, bytes);
                None
            }
            (Job::Read { .. }, Err(IoError::Unreachable(_) | IoError::NoDescriptor)) => None,
            (Job::Read { request }, Err(_)) => {
                self.read_alone_or_mark(request);
                None
            }
            // Taken out above.
            _ => None,
        };
        match broken {
            Some(broken) => {
                self.release_readers();
                self.broken = Some(broken.clone());
                Err(broken)
            }
            None => Ok(()),
        }
    }

    /// When [`poll_io`](Self::poll_io) has something to do by itself, by [`Now::elapsed`]. `None` while nothing waits.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        if self.broken.as_ref().is_some_and(|broken| *broken != Broken::Closed) {
            return None;
        }
        let disk = self.disk.as_ref()?;
        if disk.retry_at.is_some() {
            return disk.retry_at;
        }
        let Durability::Grouped { max_wait, .. } = self.options.durability else { return None };
        (disk.waiting > 0 && disk.in_line() == 0).then(|| disk.waiting_since + max_wait)
    }

    /// Ends the log in order: nothing is appended any more, and what was goes to the disk without waiting. When
    /// [`durable`](Self::durable) has come to the position that is returned, the log can be dropped, and opens with the
    /// epochs that it has now. `None` if it cannot be written to.
    pub fn close(&mut self, now: Now) -> Option<LogPosition> {
        self.tell(now);
        self.check_writable().ok()?;
        if self.disk.is_some() {
            let note = Note::new(Default::default(), self.wall);
            self.push_note(ItemKind::Closed, note, self.epoch, None, now);
        }
        self.end_batch(now);
        self.broken = Some(Broken::Closed);
        if let Some(disk) = self.disk.as_mut() {
            disk.hurry = true;
        }
        self.release_readers();
        Some(self.next)
    }

    /// Whether everything that was asked for has been answered: nothing is in flight.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.disk.as_ref().is_none_or(|disk| {
            disk.in_flight.is_empty() && disk.wanted.is_empty() && disk.wanted_away.is_empty()
        })
    }

    fn failed(
        &mut self,
        error: IoError,
        now: Now,
        broken: impl FnOnce(String) -> Broken,
    ) -> Option<Broken> {
        match error {
            IoError::Full | IoError::NoDescriptor => {
                self.counters.disk_full += 1;
                if let Some(disk) = self.disk.as_mut() {
                    disk.retry_at = Some(now.elapsed + RETRY);
                }
                None
            }
            IoError::Unreachable(reason) | IoError::Failed(reason) => Some(broken(reason)),
        }
    }

    /// Writes what waits, if it has waited for long enough.
    fn poll_write(&mut self, now: Now) -> Option<Io> {
        let disk = self.disk.as_mut()?;
        let (from, end) = (disk.asked, self.readable);
        if from >= end {
            return None;
        }
        let ready = match self.options.durability {
            Durability::Grouped { max_wait, max_bytes } => {
                disk.hurry
                    || disk.waiting >= max_bytes
                    || now.elapsed >= disk.waiting_since + max_wait
                    // The rest of a group that did not fit one write.
                    || disk.sync_due
            }
            _ => true,
        };
        // A group that is being synced is not added to.
        let page_cache = self.options.durability == Durability::PageCache;
        if !ready || (disk.is_syncing() && !page_cache) {
            return None;
        }
        let each = self.options.durability == Durability::Each;
        if each && disk.sync_due && disk.durable < disk.asked {
            return None;
        }
        let first = self.batches.get(from)?;
        let (segment, at) = (first.segment, first.at);
        if disk.segment_mut(segment)?.state != SegmentState::Open {
            return None;
        }
        let mut parts = Vec::new();
        let (mut len, mut to) = (0, from);
        while to < end
            && let Some(batch) = self.batches.get(to)
            && batch.segment == segment
            && (len == 0 || (!each && len + batch.len as usize <= MAX_WRITE))
            && parts.len() < MAX_PARTS
        {
            match &batch.memory {
                Memory::Chunk(bytes) => parts.push(bytes.clone()),
                Memory::Adopted(three) => parts.extend(three.iter().cloned()),
                Memory::Gone | Memory::Thawed(_) => {
                    debug_assert!(false, "a batch is in memory until it is written");
                    break;
                }
            }
            len += batch.len as usize;
            to += 1;
        }
        disk.asked = to;
        disk.waiting = disk.waiting.saturating_sub(len);
        if to == end {
            disk.waiting = 0;
        } else if !disk.hurry {
            // What is left belongs to the same group.
            disk.waiting_since = disk.waiting_since.min(now.elapsed);
        }
        disk.sync_due |= !page_cache || disk.hurry;
        self.counters.writes += 1;
        let token = disk.begin(Job::Write { segment, from, to });
        Some(Io::Write { token, segment, at, parts })
    }

    fn poll_sync(&mut self) -> Option<Io> {
        let disk = self.disk.as_mut()?;
        if !disk.sync_due || disk.is_syncing() || disk.written < disk.asked {
            return None;
        }
        let to = disk.written;
        let segment = self.batches.get(to.checked_sub(1)?)?.segment;
        // What lies in front is synced when it is sealed.
        if disk.segments.iter().any(|it| it.id < segment && it.state != SegmentState::Sealed) {
            return None;
        }
        disk.sync_due = false;
        self.counters.syncs += 1;
        let token = disk.begin(Job::Sync { segment, to });
        Some(Io::Sync { token, segment })
    }

    /// Sees to it that what is written up to a position gets synced: in the page cache nothing else may ask for it.
    pub(super) fn sync_for(&mut self, until: LogPosition) {
        let closed = self.closed();
        let Some(disk) = self.disk.as_mut() else { return };
        let written = self.batches.get(disk.written).map_or(closed, |batch| batch.first);
        disk.sync_due |= until <= written && disk.in_line() == 0;
    }

    /// Batches from..to are written.
    fn settle_written(&mut self, from: u64, to: u64) {
        for number in from..to {
            // What nobody needs had to stay until now.
            self.settle_dead(number);
        }
        // When it is closed, it is synced as well.
        let closing = self.disk.as_ref().is_some_and(|disk| disk.hurry);
        if self.options.durability == Durability::PageCache && !closing {
            self.settle_durable(to);
        }
    }

    fn settle_synced(&mut self, to: u64) {
        let synced = self.batches.get(to).map_or(self.closed(), |batch| batch.first);
        if let Some(disk) = self.disk.as_mut() {
            disk.synced = disk.synced.max(synced);
        }
        self.settle_durable(to);
    }

    fn settle_durable(&mut self, to: u64) {
        let Some(disk) = self.disk.as_mut() else { return };
        let from = disk.durable;
        disk.durable = from.max(to);
        for number in from..to {
            let len = self.batches.get(number).map_or(0, |batch| batch.len as usize);
            disk.dirty = disk.dirty.saturating_sub(len);
        }
    }

    /// What ended is ready to be written.
    pub(super) fn ready(&mut self, now: Now, bytes: usize) {
        if let Some(disk) = self.disk.as_mut() {
            if disk.waiting == 0 {
                disk.waiting_since = now.elapsed;
            }
            disk.waiting += bytes;
        }
    }

    pub(super) fn disk_is_written(&self, number: u64) -> bool {
        self.disk.as_ref().is_none_or(|disk: &Disk| number < disk.written)
    }
}
