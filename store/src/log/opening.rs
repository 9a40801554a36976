use super::chunk::{Chunks, Open};
use super::disk::{Disk, Segment};
use super::times::Times;
use super::{Log, LogStats};
use crate::error::{Broken, OpenError};
use crate::format::{ItemKind, Note};
use crate::options::{Durability, LogOptions};
use crate::position::Now;
use crate::recovery::{Recovered, Tail};

impl Log {
    /// Goes on from what was found on the disk. If the log had not been closed, all documents get another epoch: what was
    /// appended and not written is not known, and somebody may have read it. [`Head::previous`](crate::Head::previous)
    /// says who has not.
    ///
    /// If it is damaged, it is read-only ([`broken`](Self::broken)), with what lies in front of the damage.
    ///
    /// # Errors
    /// [`OpenError::Option`] or [`OpenError::Durability`].
    pub fn open(options: LogOptions, found: Recovered) -> Result<Self, OpenError> {
        options.check()?;
        if options.durability == Durability::Memory {
            return Err(OpenError::Durability);
        }
        let batches = found.batches.end();
        let next_segment = found.segments.back().map_or(1, |last| last.id.saturating_add(1));
        let listed = found.segments.iter().map(Segment::listed).sum();
        let disk = Disk {
            listed,
            segments: found.segments,
            asked: batches,
            written: batches,
            durable: batches,
            synced: found.next,
            evicted: batches,
            ..Disk::new(found.shard, next_segment, found.chain)
        };
        let broken = match found.tail {
            Tail::Damaged { segment, at, .. } => Some(Broken::Damaged { segment, at }),
            _ => None,
        };
        let counters = LogStats { kept_bytes: found.kept_bytes, ..LogStats::default() };
        let mut log = Self {
            options,
            epoch: found.fresh,
            documents: found.documents,
            batches: found.batches,
            chunks: Chunks::new(),
            open: Open::default(),
            next: found.next,
            readable: batches,
            touched: Vec::new(),
            snapshots: Vec::new(),
            wall: found.wall,
            times: Times::default(),
            broken,
            disk: Some(disk),
            counters,
        };
        let numbers: Vec<u32> = log.documents.numbers().collect();
        for batch in log.batches.iter() {
            log.times.note(batch.written_at, batch.first, options.remember_writers);
        }
        let young = log.times.since(log.wall, options.remember_writers);
        // Epochs that ended long ago are not worth records.
        let few = log.index_bytes() > options.max_index_bytes / 2;
        for number in numbers {
            if let Some(document) = log.documents.get_mut(number) {
                let before = document.heap_bytes();
                document.forget_writers(options.max_writers, young);
                if few {
                    document.forget_epochs();
                }
                let freed = before - document.heap_bytes();
                let writers = document.writers_bytes();
                log.documents.heap -= freed;
                log.documents.writers += writers;
            }
            if log.documents.get(number).is_some_and(|document| document.snapshot.is_some()) {
                log.snapshots.push(number);
            }
            log.bound_document(number);
        }
        if found.tail != Tail::Closed && log.documents.len() != 0 {
            log.renew_epochs();
        }
        Ok(log)
    }

    fn renew_epochs(&mut self) {
        let epoch = self.epoch;
        self.documents.heap += self.documents.iter_mut().map(|it| it.renew(epoch)).sum::<usize>();
        if self.broken.is_none() {
            // Readers come with the new epoch soon: it has to hold after the next opening too.
            let now = Now { wall: self.wall, ..Now::default() };
            let note = Note::new(Default::default(), self.wall);
            self.push_note(ItemKind::Opened, note, self.epoch, None, now);
            self.end_batch(now);
        }
    }
}
