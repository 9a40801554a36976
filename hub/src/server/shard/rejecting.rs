//! What of a document was rejected, and what of it is wanted: what readers are not given.

use std::ops::Range;

use deltawire_framing::DocId;
use deltawire_store::{Epoch, LogPosition, Look, Now, Position, Refused, Run, StatusBits};

use super::super::rejections::Missed;
use super::super::tail::Tail;
use super::Shard;

/// Deltas that are looked at for one that was rejected, before others have their turn.
const MAX_LOOK: usize = 4_096;

impl Shard {
    /// Rejects a delta: it is not given to readers any more, and those that may have it are told. Gives the position that
    /// has to be durable for that to last.
    pub(crate) fn reject(
        &mut self,
        doc_id: DocId,
        at: Position,
        by: [u8; 16],
        now: Now,
    ) -> Result<LogPosition, Refused> {
        let known = self.log.status(&doc_id, at);
        self.log.stamp(&doc_id, at, StatusBits::REJECTED, by, now)?;
        self.log.end_batch(now);
        let end = self.log.end();
        if known.is_some_and(|status| status.contains(StatusBits::REJECTED)) {
            return Ok(end);
        }
        let Some(live) = self.live.get_mut(&doc_id) else { return Ok(end) };
        // The tail has it as well: readers go on from the log, which leaves it out.
        self.tails -= live.tail.bytes();
        live.tail = Tail::new(live.tail.epoch(), live.tail.end());
        if let Some(keys) = &mut live.keys {
            keys.reject(at);
        }
        live.rejections.push(at);
        for (_, reader) in &live.readers {
            reader.note_rejection();
        }
        Ok(end)
    }

    /// The rejections that a reader has missed that knows of `seen`, and of how many it knows then.
    pub(crate) fn rejections(&self, doc_id: &DocId, epoch: Epoch, seen: u64) -> (Missed, u64) {
        let Some(live) = self.live.get(doc_id) else { return (Missed::Some(Vec::new()), seen) };
        let missed = if self.is_in(doc_id, epoch) {
            live.rejections.since(seen)
        } else {
            // They are another document's than what it has.
            Missed::Some(Vec::new())
        };
        (missed, live.rejections.count())
    }

    fn is_in(&self, doc_id: &DocId, epoch: Epoch) -> bool {
        self.log.head(doc_id).is_some_and(|head| head.epoch == epoch)
    }

    /// Looks for the next delta of a document that was rejected.
    pub(crate) fn look_for_rejected(
        &self,
        doc_id: &DocId,
        epoch: Epoch,
        within: Range<Position>,
    ) -> Option<Look> {
        self.log.rejected_within(doc_id, within, MAX_LOOK).filter(|_| self.is_in(doc_id, epoch))
    }

    /// The newest delta in front of `end` that was not rejected, and behind `position`.
    pub(super) fn newest_kept(
        &self,
        doc_id: &DocId,
        position: Position,
        end: Position,
    ) -> Option<Position> {
        let mut at = end;
        for _ in 0..MAX_LOOK {
            at = at.previous().filter(|at| *at > position)?;
            let status = self.log.status(doc_id, at)?;
            if !status.contains(StatusBits::REJECTED) {
                return Some(at);
            }
        }
        None
    }

    /// What of a run a reader wants that wants only the newest of each key.
    pub(crate) fn newest_of(&self, doc_id: &DocId, run: &Run) -> Run {
        let mut run = run.clone();
        let end = self.log.head(doc_id).map(|head| self.visible(&head));
        if let Some(keys) = self.live.get(doc_id).and_then(|live| live.keys.as_ref())
            && let Some(end) = end
        {
            run.records.retain(|record| !keys.is_superseded(record.position, end));
        }
        run
    }
}
