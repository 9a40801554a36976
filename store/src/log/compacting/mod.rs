//! Segments of which little is still needed: what is, is written into one that takes their place.
//!
//! ```text
//! Reading ─► a slice is read, what is needed of it goes into the new file ─► … ─► index ─► header ─► Settling
//! Settling ─► all is synced by which records were no longer needed: what took their place, and what forgot them
//! Holding ─► no reader is under way to the old ones, and none is let in ─► Replacing: synced, renamed
//! Naming  ─► the log reads from the new one; once its name is durable, the others are deleted
//! ```
//!
//! Records keep their bytes, their positions and their place in the log, and so do notes; batches keep their numbers.

mod choosing;
mod rewriting;
mod switching;

use bytes::Bytes;
use zerocopy::IntoBytes;

use super::Log;
use super::disk::Job;
use super::io::{Io, IoError};
use crate::error::Broken;
use crate::format::{Compacted, Listed, STEP, SegmentHeader};
use crate::position::{LogPosition, Now};
use core::time::Duration;

/// Bytes that are read at a time, or one batch: while they are looked through, the log does nothing else.
const SLICE: usize = 256 << 10;

/// How long a disk is left alone on which there was no room, or nothing could be written.
const REST: Duration = Duration::from_secs(60);

/// What is under way.
#[derive(Debug)]
pub(crate) struct Compaction {
    /// The first and the last segment that are replaced.
    pub(super) first: u64,
    pub(super) last: u64,
    /// The number of the first batch of them, of the next to be read, and behind the last.
    pub(super) start: u64,
    next: u64,
    pub(super) end: u64,
    stage: Stage,
    /// It is to be given up.
    over: bool,
    /// The segment that is being read, by its header.
    source: Option<SegmentHeader>,
    /// The old segments' chain, behind what was read.
    chain: u32,
    /// The new segment: its header, what it has, and what waits to be written to it.
    header: Option<SegmentHeader>,
    pub(super) listed: Option<Listed>,
    /// Which batches it has, by number.
    pub(super) numbers: Vec<u64>,
    out: Vec<u8>,
    /// Bytes of the new file that were written.
    written: u64,
    /// Behind everything by which it was seen what is needed.
    until: LogPosition,
}

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    Reading,
    /// Its batches are written: its index is next.
    Indexing,
    /// And its header.
    Heading,
    /// Whole, but what was left out may still be all that a crash would leave.
    Settling,
    /// Whole, but for readers that are under way to what it replaces.
    Holding,
    Replacing,
    /// It is in its place. The others are to be deleted when that is durable.
    Naming(Vec<u64>),
    /// What there is of the new file is to be deleted.
    Discarding,
}

impl Compaction {
    pub(crate) fn covers(&self, segment: u64) -> bool {
        (self.first..=self.last).contains(&segment)
    }

    /// Whether nothing may be read of what it replaces.
    pub(crate) fn holds(&self, segment: u64) -> bool {
        matches!(self.stage, Stage::Holding | Stage::Replacing) && self.covers(segment)
    }

    /// Whether it cannot be given up any more.
    pub(crate) fn is_replacing(&self) -> bool {
        matches!(self.stage, Stage::Replacing | Stage::Naming(_))
    }
}

/// Why it is given up.
enum Stop {
    /// For now.
    Later,
    /// Something is wrong with this segment.
    Spoiled(u64),
    /// What is needed of the segments takes more memory than there is for it.
    Long,
}

impl Log {
    /// What compaction asks for next, when there is nothing else to do.
    pub(super) fn poll_compact(&mut self, now: Now) -> Option<Io> {
        let disk = self.disk.as_mut()?;
        let is_compaction = |(_, job): &(_, Job)| job.is_compaction();
        if disk.hurry || disk.in_flight.iter().any(is_compaction) {
            return None;
        }
        if disk.compaction.is_none() {
            if !std::mem::take(&mut disk.compaction_due) || now.elapsed < disk.compaction_at {
                return None;
            }
            let chosen = self.choose_to_compact()?;
            self.disk.as_mut()?.compaction = Some(chosen);
        }
        loop {
            let disk = self.disk.as_mut()?;
            let compaction = disk.compaction.as_mut()?;
            if compaction.over && !compaction.is_replacing() {
                compaction.stage = Stage::Discarding;
            }
            let segment = compaction.first;
            match &compaction.stage {
                Stage::Reading if !compaction.out.is_empty() => {
                    let bytes = std::mem::take(&mut compaction.out);
                    return Some(self.rewrite(Bytes::from(bytes)));
                }
                Stage::Reading => {
                    if let Some(io) = self.read_to_compact() {
                        return Some(io);
                    }
                    let until = self.next;
                    let compaction = self.compaction_mut()?;
                    (compaction.stage, compaction.until) = (Stage::Indexing, until);
                }
                Stage::Indexing => match self.index_of_compacted() {
                    Some(bytes) => return Some(self.rewrite(Bytes::from(bytes))),
                    None => self.stop(&Stop::Long, now),
                },
                Stage::Heading => {
                    let header = compaction.header?;
                    compaction.written = 0;
                    let bytes = Bytes::copy_from_slice(header.as_bytes());
                    return Some(self.rewrite(bytes));
                }
                Stage::Settling if disk.synced < compaction.until => {
                    let until = compaction.until;
                    self.sync_for(until);
                    return None;
                }
                Stage::Settling => compaction.stage = Stage::Holding,
                Stage::Holding => {
                    let under_way = |(_, job): &(_, Job)| match job {
                        Job::Read { request } => compaction.covers(request.segment()),
                        _ => false,
                    };
                    if disk.in_flight.iter().any(under_way) {
                        return None;
                    }
                    compaction.stage = Stage::Replacing;
                    let token = disk.begin(Job::Replace);
                    return Some(Io::Replace { token, segment });
                }
                Stage::Naming(_) => {
                    let token = disk.begin(Job::SyncNames { segment });
                    return Some(Io::SyncNames { token, segment });
                }
                Stage::Discarding => {
                    let token = disk.begin(Job::Discard);
                    return Some(Io::Discard { token, segment });
                }
                Stage::Replacing => return None,
            }
        }
    }

    fn compaction_mut(&mut self) -> Option<&mut Compaction> {
        self.disk.as_mut()?.compaction.as_mut()
    }

    /// Has bytes written behind those that the new file has.
    fn rewrite(&mut self, bytes: Bytes) -> Io {
        let Some(disk) = self.disk.as_mut() else { unreachable!("only a log with files compacts") };
        let token = disk.begin(Job::Rewrite);
        let (mut segment, mut at) = (0, 0);
        if let Some(compaction) = &mut disk.compaction {
            (segment, at) = (compaction.first, compaction.written);
            compaction.written += bytes.len() as u64;
        }
        Io::Rewrite { token, segment, at, bytes }
    }

    fn index_of_compacted(&mut self) -> Option<Vec<u8>> {
        let compaction = self.compaction_mut()?;
        let (listed, header) = (compaction.listed.as_mut()?, compaction.header.as_mut()?);
        let known = header.compacted()?;
        let batches = u32::try_from(compaction.numbers.len()).ok()?;
        let settled = Compacted { behind: compaction.chain, batches, ..known };
        listed.settle(settled);
        *header = header.standing_for(settled);
        listed.finish().ok()
    }

    /// Takes in what came of what it asked for.
    pub(super) fn handle_compaction(
        &mut self,
        job: &Job,
        result: Result<Bytes, IoError>,
        now: Now,
    ) -> Option<Broken> {
        match (job, result) {
            (Job::SyncNames { segment }, Err(error)) => {
                // What is in the new one only may go with a crash from here on, if the others do.
                let (segment, reason) = (*segment, error.to_string());
                return Some(Broken::Sync { segment, reason });
            }
            (Job::SyncNames { .. }, Ok(_)) => self.end_compaction(),
            (Job::Replace, Ok(_)) => self.switch(),
            (Job::Discard, _) => {
                if let Some(disk) = self.disk.as_mut() {
                    disk.compaction = None;
                }
            }
            // What was wanted of it is not wanted any more.
            (_, Ok(_)) if self.compaction_mut().is_none_or(|it| it.over) => {}
            (Job::CompactRead { segment, to, .. }, Ok(bytes)) => {
                if let Err(stop) = self.compact_slice(*segment, *to, &bytes) {
                    self.stop(&stop, now);
                }
            }
            (Job::Rewrite, Ok(_)) => {
                if let Some(compaction) = self.compaction_mut() {
                    match compaction.stage {
                        Stage::Indexing => compaction.stage = Stage::Heading,
                        Stage::Heading => compaction.stage = Stage::Settling,
                        _ => {}
                    }
                }
            }
            (Job::CompactRead { segment, .. }, Err(IoError::Failed(_))) => {
                self.stop(&Stop::Spoiled(*segment), now);
            }
            (_, Err(_)) => self.stop(&Stop::Later, now),
            (_, Ok(_)) => {}
        }
        None
    }

    fn stop(&mut self, why: &Stop, now: Now) {
        let Some(disk) = self.disk.as_mut() else { return };
        let Some(compaction) = &mut disk.compaction else { return };
        (compaction.stage, compaction.over) = (Stage::Discarding, true);
        match why {
            Stop::Later => disk.compaction_at = now.elapsed.saturating_add(REST),
            Stop::Spoiled(_) | Stop::Long => {
                let of = match why {
                    Stop::Spoiled(segment) => *segment..=*segment,
                    _ => compaction.first..=compaction.last,
                };
                let spoiled = disk.segments.iter_mut().filter(|it| of.contains(&it.id));
                spoiled.for_each(|it| it.spoiled = true);
            }
        }
        self.counters.failed_compactions += 1;
    }

    /// Whether readers are held up until files have changed their names, or files are there that could go.
    pub(super) fn is_compaction_urgent(&self) -> bool {
        let compaction = self.disk.as_ref().and_then(|disk| disk.compaction.as_ref());
        compaction.is_some_and(|it| {
            matches!(it.stage, Stage::Holding | Stage::Naming(_) | Stage::Discarding)
        })
    }

    /// Nothing is compacted any more: whoever waits for that to be over need not.
    pub(super) fn release_readers(&mut self) {
        if let Some(compaction) = self.compaction_mut().filter(|it| it.stage == Stage::Holding) {
            (compaction.stage, compaction.over) = (Stage::Discarding, true);
        }
    }

    /// A segment is about to go: it is not compacted any more. `false` if it is being replaced, and has to stay until it is.
    pub(super) fn give_up_compaction(&mut self, segment: u64) -> bool {
        let Some(compaction) = self.compaction_mut().filter(|it| it.covers(segment)) else {
            return true;
        };
        if compaction.is_replacing() {
            return false;
        }
        compaction.over = true;
        true
    }
}

const _: () = assert!(SegmentHeader::SIZE == STEP);
