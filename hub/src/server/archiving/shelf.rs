use std::collections::BTreeSet;
use std::sync::Weak;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use deltawire_store::archive::{Persisted, Remainder};
use deltawire_store::files::SegmentFiles;
use deltawire_store::{Io, Log};
use tokio::sync::mpsc::UnboundedSender;

use super::super::Inner;

/// How long the store is left alone after it failed: at first, and at most.
const REST: Duration = Duration::from_secs(1);
const MAX_REST: Duration = Duration::from_secs(60);

/// What the librarian is asked to do.
#[derive(Debug)]
pub(in super::super) enum Job {
    /// Read from an archived segment. Answered to the log.
    Read { shard: usize, io: Io },
    /// Put a segment of so many bytes.
    Put { shard: usize, segment: u64, len: u64 },
    /// Delete the local file of one that was put.
    Clear { shard: usize, remainder: Remainder },
    /// Delete the objects of segments that the log has deleted.
    Erase { shard: usize },
}

/// What came of it.
#[derive(Debug)]
pub(in super::super) enum Done {
    Persisted(Persisted),
    Cleared,
    Erased,
    /// The store cannot do it now.
    NotPut,
    NotErased,
    /// The segment cannot be put, whatever the store does.
    Unfit,
}

/// A shard's own side of the archive: which segment goes next, one at a time.
#[derive(Debug)]
pub(in super::super) struct Shelf {
    shard: usize,
    keep_bytes: u64,
    keep_for: Option<Duration>,
    /// Not more than the reads that the log has in flight, one segment, and one erasure wait in it.
    jobs: UnboundedSender<Job>,
    done: Receiver<Done>,
    /// The segment that is under way.
    busy: Option<u64>,
    /// Its deletion, which waits until it has arrived, or has not.
    held: Option<Io>,
    /// Segments that cannot be put. Looked at anew when the hub is opened.
    unfit: BTreeSet<u64>,
    erasing: bool,
    erase_due: bool,
    /// Failures in a row, and until when the store is left alone, by the runtime's clock.
    failures: u32,
    rests_until: Duration,
}

/// Where a piece of I/O is done.
pub(in super::super) enum Routed {
    /// As if there were no archive.
    Here(Io),
    /// In the directory, before anything else.
    AtOnce(Io),
    /// It is under way, or waits.
    Away,
}

impl Shelf {
    pub(super) fn new(
        shard: usize,
        (keep_bytes, keep_for): (u64, Option<Duration>),
        jobs: UnboundedSender<Job>,
        done: Receiver<Done>,
    ) -> Self {
        Self {
            shard,
            keep_bytes,
            keep_for,
            jobs,
            done,
            busy: None,
            held: None,
            unfit: BTreeSet::new(),
            erasing: false,
            // What was left when the directory was closed.
            erase_due: true,
            failures: 0,
            rests_until: Duration::ZERO,
        }
    }

    /// Says where a piece of I/O is done, and has the librarian do what is elsewhere.
    pub(in super::super) fn route(&mut self, io: Io, files: &SegmentFiles) -> Routed {
        match io {
            Io::Read { segment, .. } if files.is_archived(segment) => {
                match self.jobs.send(Job::Read { shard: self.shard, io }) {
                    Ok(()) => Routed::Away,
                    // The hub is about to go.
                    Err(unsent) => match unsent.0 {
                        Job::Read { io, .. } => Routed::Here(io),
                        _ => Routed::Away,
                    },
                }
            }
            Io::Delete { segment, .. } if self.busy == Some(segment) => {
                self.held = Some(io);
                Routed::Away
            }
            Io::Delete { segment, .. } if files.has_stub(segment) => {
                self.erase_due = true;
                // So that it is there to be found when the next erasure looks.
                Routed::AtOnce(io)
            }
            io => Routed::Here(io),
        }
    }

    /// Takes in what the librarian has done. Returns a deletion that waited for it.
    pub(in super::super) fn settle(
        &mut self,
        hub: &Weak<Inner>,
        files: &mut SegmentFiles,
    ) -> Option<Io> {
        while let Ok(done) = self.done.try_recv() {
            let hub = hub.upgrade()?;
            let now = hub.runtime.now();
            match done {
                Done::Persisted(persisted) => {
                    self.failures = 0;
                    let remainder = files.archived(&persisted);
                    hub.shard(self.shard).log.archived(persisted.segment());
                    let _ = self.jobs.send(Job::Clear { shard: self.shard, remainder });
                }
                Done::Cleared => self.busy = None,
                Done::Unfit => {
                    self.stays(&hub);
                    self.unfit.extend(self.busy.take());
                }
                Done::NotPut => {
                    self.stays(&hub);
                    self.busy = None;
                    self.rest(now);
                }
                Done::Erased => {
                    self.erasing = false;
                    self.failures = 0;
                }
                Done::NotErased => {
                    (self.erasing, self.erase_due) = (false, true);
                    self.rest(now);
                }
            }
        }
        if self.busy.is_some() {
            return None;
        }
        let held = self.held.take();
        self.erase_due |= held.is_some();
        held
    }

    fn stays(&self, hub: &Inner) {
        if let Some(segment) = self.busy {
            hub.shard(self.shard).log.stays(segment);
        }
    }

    fn rest(&mut self, now: Duration) {
        let rest = REST.saturating_mul(1 << self.failures.min(10)).min(MAX_REST);
        self.failures = self.failures.saturating_add(1);
        self.rests_until = now.saturating_add(rest);
    }

    /// Has the next segment put, if it is time, and erased what is to be.
    pub(in super::super) fn begin(&mut self, hub: &Inner) {
        let now = hub.now();
        if now.elapsed < self.rests_until {
            return;
        }
        if self.erase_due
            && !self.erasing
            && self.jobs.send(Job::Erase { shard: self.shard }).is_ok()
        {
            (self.erasing, self.erase_due) = (true, false);
        }
        if self.busy.is_some() {
            return;
        }
        let mut shard = hub.shard(self.shard);
        let next = self.choose(&shard.log, now.wall);
        // What is being compacted goes later.
        let Some((segment, len)) = next.filter(|(segment, _)| shard.log.leaves(*segment)) else {
            return;
        };
        drop(shard);
        if self.jobs.send(Job::Put { shard: self.shard, segment, len }).is_ok() {
            self.busy = Some(segment);
        }
    }

    /// The oldest segment that is here, if it is too old, or too much is here.
    fn choose(&self, log: &Log, wall: u64) -> Option<(u64, u64)> {
        let (mut oldest, mut bytes) = (None, 0_u64);
        let fits = |segment: &u64| !self.unfit.contains(segment);
        for sealed in log.sealed().filter(|it| !it.archived && fits(&it.segment)) {
            oldest = oldest.or(Some(sealed));
            bytes = bytes.saturating_add(sealed.len);
        }
        let oldest = oldest?;
        let age = self.keep_for.map(|age| u64::try_from(age.as_micros()).unwrap_or(u64::MAX));
        let is_old = age.is_some_and(|age| oldest.newest.saturating_add(age) <= wall);
        (is_old || bytes > self.keep_bytes).then_some((oldest.segment, oldest.len))
    }
}
