//! What is appended, as batches: begun, ended, and told to readers.

use deltawire_channels::Message;
use deltawire_framing::documents::SnapshotHeader;
use deltawire_framing::{Delta, DeltaFields, DeltaType, DocId};
use deltawire_store::{Appended, LogPosition, Now, Origin, Position, Read, Refused};

use super::super::Deliver;
use super::super::tail::Tail;
use super::{MAX_RUN, Shard, until, visible};

/// Deltas of this process's own that are one batch at most.
const MAX_BATCH: usize = 256;

/// What was appended and cannot be read yet.
#[derive(Debug)]
pub(super) struct OpenBatch {
    began: Now,
    deltas: usize,
    bytes: usize,
}

impl Shard {
    /// Appends a delta that is `len` bytes long with its frame: a copy, or the memory itself.
    pub(crate) fn append(
        &mut self,
        message: Message,
        origin: Origin,
        snapshots: bool,
        now: Now,
    ) -> Result<Appended, (Refused, Message)> {
        let frame = message.frame();
        let Ok(delta) = frame.delta() else {
            unreachable!("the session has checked it");
        };
        let doc_id = delta.doc_id();
        let covers = snapshot_of(delta).filter(|_| snapshots);
        let len = frame.as_bytes().len();
        let key = self
            .remembers_keys(&doc_id)
            .then(|| self.policy.key_of(delta).unwrap_or_else(|| key_of(&origin)));
        let appended = if len < self.options.adopt_from {
            match self.log.append(frame, origin, now) {
                Ok(appended) => appended,
                Err(refused) => return Err((refused, message)),
            }
        } else {
            match self.log.adopt(message.into_kept(), origin, now) {
                Ok(appended) => appended,
                Err((refused, bytes)) => {
                    return Err((refused, Message::of_log(bytes)));
                }
            }
        };
        if let Some(key) = key
            && let Some(keys) = self.live.get_mut(&doc_id).and_then(|live| live.keys.as_mut())
        {
            keys.push(appended.position, key, self.options.max_keyed);
        }
        self.touch(doc_id, len, now);
        if let Some((epoch, covers)) = covers
            && epoch == appended.epoch.0
        {
            // Readers that begin with it must miss nothing: one that something was written in front of, behind what
            // it covers, is a delta like any other.
            let covers = Position(covers);
            if covers.next() == appended.position {
                let _ = self.log.snapshot(&doc_id, appended.position, covers, now);
            }
        }
        Ok(appended)
    }

    /// Appends a delta of this process's own that is written where it is kept; of a document whose keys are not remembered, and no
    /// snapshot.
    pub(in super::super) fn append_payload(
        &mut self,
        fields: DeltaFields,
        payload: &[u8],
        now: Now,
    ) -> Result<Appended, Refused> {
        let mut grant = self.log.reserve(fields.doc_id, payload.len())?;
        grant.payload_mut().copy_from_slice(payload);
        let appended = grant.commit(fields, Origin::NONE, now)?;
        self.touch(fields.doc_id, payload.len(), now);
        Ok(appended)
    }

    /// Whether the keys of a document's deltas are remembered.
    pub(in super::super) fn remembers_keys(&self, doc_id: &DocId) -> bool {
        self.keyed > 0 && self.live.get(doc_id).is_some_and(|live| live.keys.is_some())
    }

    fn touch(&mut self, doc_id: DocId, len: usize, now: Now) {
        if self.touched.last() != Some(&doc_id) {
            self.touched.push(doc_id);
        }
        let batch = self.batch.get_or_insert(OpenBatch { began: now, deltas: 0, bytes: 0 });
        batch.deltas += 1;
        batch.bytes += len;
    }

    /// When the batch began of which nothing can be read yet, if there is one.
    pub(in super::super) fn batch_began(&self) -> Option<Now> {
        self.batch.as_ref().map(|batch| batch.began)
    }

    /// Leaves the batch to whoever takes the lock next, and wakes the document's readers for that; or ends it, if it is long.
    pub(in super::super) fn leave_batch(&mut self, doc_id: DocId, now: Now) {
        // Where they see it when it is stored, they are woken then.
        if self.options.deliver == Deliver::Appended
            && let Some(live) = self.live.get(&doc_id)
            && live.tail.begin_batch()
        {
            live.wake_readers();
        }
        let long = |batch: &OpenBatch| batch.deltas >= MAX_BATCH || batch.bytes >= MAX_RUN;
        if self.batch.as_ref().is_some_and(long) {
            self.end_batch(now);
        }
    }

    /// Ends the batch: readers are told of what was appended. Gives the position that has to be durable for it to be stored.
    pub(crate) fn end_batch(&mut self, now: Now) -> Option<LogPosition> {
        let end = self.log.end_batch(now);
        self.batch = None;
        let mut touched = std::mem::take(&mut self.touched);
        for doc_id in &touched {
            self.publish(*doc_id);
        }
        if self.options.deliver == Deliver::Stored {
            self.held.extend(&touched);
        }
        touched.clear();
        self.touched = touched;
        end
    }

    /// Adds what is new of a document to its tail, and tells its readers.
    pub(super) fn publish(&mut self, doc_id: DocId) {
        let Some(live) = self.live.get_mut(&doc_id) else { return };
        let Some(head) = self.log.head(&doc_id).filter(|_| !live.readers.is_empty()) else {
            live.tail.end_batch();
            return;
        };
        let (before, woken) = (live.tail.head(), live.tail.is_in_batch());
        let end = visible(self.options.deliver, &head);
        if live.tail.epoch() != head.epoch || live.tail.end() > head.next {
            // Cursors find out for themselves.
            self.tails -= live.tail.bytes();
            live.tail = Tail::new(head.epoch, end);
        }
        while live.tail.end() < end {
            let Read::Run(run) = self.log.read(&doc_id, live.tail.end(), MAX_RUN) else { break };
            let run = until(run, end);
            if run.next == run.first {
                break;
            }
            let spare = self.options.max_tail_bytes.saturating_sub(self.tails);
            let most = self.options.tail.min(spare.max(live.tail.bytes()));
            self.tails = self.tails.saturating_add_signed(live.tail.push(run, most));
            self.delivered_runs += 1;
        }
        if live.tail.end() < end {
            // It cannot be read from memory: a reader that comes to the end of the tail goes on from the log.
            self.tails -= live.tail.bytes();
            live.tail = Tail::new(head.epoch, end);
        }
        if live.tail.head().ptr_eq(&before) {
            live.tail.end_batch();
        }
        // Those that were woken as the batch began find it: what they stand at says that there is more until it has a successor.
        if !woken {
            live.wake_readers();
        }
    }
}

/// The key of a delta of this writer's.
fn key_of(origin: &Origin) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = origin.0;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// What a snapshot says that it covers: an epoch and a position.
fn snapshot_of(delta: Delta<'_>) -> Option<(u32, u64)> {
    if delta.delta_type() != DeltaType::SNAPSHOT {
        return None;
    }
    let (header, _) = SnapshotHeader::parse(delta.payload()).ok()?;
    Some((header.epoch(), header.covers()))
}
