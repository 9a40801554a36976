//! What is said of records and documents after they were stored.

use deltawire_framing::{DocId, StatusBits};
use zerocopy::byteorder::little_endian::{U32, U64};

use super::Log;
use super::document::KeptSnapshot;
use crate::error::Refused;
use crate::format::{Item, ItemKind, Note, STEP};
use crate::options::Durability;
use crate::position::{Epoch, LogPosition, Now, Origin, Position};

impl Log {
    /// Switches status bits of a record on, in the name of `by`. Bits that are on stay on, so saying it again changes
    /// nothing. A record that is [`REJECTED`](StatusBits::REJECTED) is not read any more.
    ///
    /// With files it persists, in the batch that is open; whether it is durable is for
    /// [`durable`](Self::durable) to say, as of a record.
    ///
    /// # Errors
    /// [`Refused::Unknown`], [`Refused::NoRecord`], [`Refused::Full`] or [`Refused::ReadOnly`].
    pub fn stamp(
        &mut self,
        doc: &DocId,
        at: Position,
        bits: StatusBits,
        by: [u8; 16],
        now: Now,
    ) -> Result<(), Refused> {
        self.tell(now);
        self.check_writable()?;
        let number = self.record_of(doc, at)?;
        let status = self.status(doc, at).unwrap_or_default();
        if status.contains(bits) {
            return Ok(());
        }
        let mut note = Note::new(*doc, self.wall);
        note.position = U64::new(at.0);
        note.bits = U32::new(bits.bits());
        note.by = by;
        self.note_if_filed(ItemKind::Stamp, note, number, now)?;
        if let Some(document) = self.documents.get_mut(number)
            && let Some(index) = document.index_of(at)
        {
            if let Some(entry) = document.entries.get_mut(index) {
                entry.switch_on(bits);
            }
            let rejected = bits.contains(StatusBits::REJECTED);
            document.rejected |= rejected;
            if rejected && document.snapshot.is_some_and(|snapshot| snapshot.at == at) {
                document.snapshot = None;
            }
        }
        self.counters.stamps += 1;
        Ok(())
    }

    /// What came of a record so far. `None` if there is none at that position, or no longer.
    #[must_use]
    pub fn status(&self, doc: &DocId, at: Position) -> Option<StatusBits> {
        Some(self.documents.by_id(doc)?.entry(at)?.status())
    }

    /// Says that the record at `at` is a snapshot of all up to `covers`, that one included. Once the snapshot and this are
    /// durable, [`retain`](Self::retain) drops what it covers, but for
    /// [`Retention::keep_after_snapshot`](crate::Retention::keep_after_snapshot) records. An older snapshot than the one
    /// that is known changes nothing.
    ///
    /// # Errors
    /// [`Refused::Unknown`], [`Refused::NoRecord`], [`Refused::CoversItself`], [`Refused::Rejected`],
    /// [`Refused::Full`] or [`Refused::ReadOnly`].
    pub fn snapshot(
        &mut self,
        doc: &DocId,
        at: Position,
        covers: Position,
        now: Now,
    ) -> Result<(), Refused> {
        self.tell(now);
        self.check_writable()?;
        let number = self.record_of(doc, at)?;
        if covers >= at {
            return Err(Refused::CoversItself { at, covers });
        }
        if self.status(doc, at).is_some_and(|status| status.contains(StatusBits::REJECTED)) {
            return Err(Refused::Rejected { at });
        }
        let known = self.documents.get(number).and_then(|document| document.snapshot);
        if known.is_some_and(|known| known.at >= at) {
            return Ok(());
        }
        let mut note = Note::new(*doc, self.wall);
        note.position = U64::new(at.0);
        note.value = U64::new(covers.0);
        let note = self.note_if_filed(ItemKind::Snapshot, note, number, now)?;
        if let Some(document) = self.documents.get_mut(number) {
            document.snapshot = Some(KeptSnapshot { at, covers, note });
        }
        if !self.snapshots.contains(&number) {
            self.snapshots.push(number);
        }
        Ok(())
    }

    /// Forgets a document: nothing of it can be read from now on. A document of the same name that is made later has
    /// another epoch. Returns whether it was known; `false` as well if the log is read-only, and then nothing changes.
    pub fn forget(&mut self, doc: &DocId, now: Now) -> bool {
        self.tell(now);
        let Some(number) = self.documents.number(doc) else { return false };
        if self.check_writable().is_err() {
            return false;
        }
        if self.disk.is_some() {
            let mut note = Note::new(*doc, self.wall);
            let document = self.documents.get(number);
            note.position = U64::new(document.map_or(0, |document| document.appended().0));
            let epoch = document.map_or(self.epoch, |document| document.epoch);
            self.push_note(ItemKind::Forget, note, epoch, None, now);
        }
        self.drop_document(number);
        true
    }

    pub(super) fn drop_document(&mut self, number: u32) {
        while self.drop_front(number) {}
        if let Some(document) = self.documents.remove(number)
            && document.epoch == self.epoch
        {
            self.epoch = Epoch(self.epoch.0.wrapping_add(1));
        }
        self.snapshots.retain(|waiting| *waiting != number);
    }

    /// The number of a document that has a record at `at`.
    fn record_of(&self, doc: &DocId, at: Position) -> Result<u32, Refused> {
        let unknown = Refused::Unknown { doc: *doc };
        let number = self.documents.number(doc).ok_or(unknown.clone())?;
        let document = self.documents.get(number).ok_or(unknown)?;
        if document.index_of(at).is_none() {
            let (first, next) = (document.first, document.appended());
            return Err(Refused::NoRecord { doc: *doc, at, first, next });
        }
        Ok(number)
    }

    /// Writes a note into the open batch. It is about document `number`, if about any.
    pub(super) fn push_note(
        &mut self,
        kind: ItemKind,
        note: Note,
        epoch: Epoch,
        number: Option<u32>,
        now: Now,
    ) -> LogPosition {
        self.make_chunk(STEP, now);
        let at = self.next;
        self.next = at.next();
        let offset = self.open.push_note(&note);
        let position = Position(note.position.get());
        let origin = Origin(note.by);
        self.open.enter(Item { kind, offset, position, epoch, origin }, false);
        if let (Some(disk), Some(number)) = (&mut self.disk, number) {
            disk.mentions.push((number, kind == ItemKind::Floor));
        }
        at
    }

    /// The same, if there is room and the log has files.
    fn note_if_filed(
        &mut self,
        kind: ItemKind,
        note: Note,
        number: u32,
        now: Now,
    ) -> Result<LogPosition, Refused> {
        if self.disk.is_none() {
            // It is as durable as the record that was appended last.
            return Ok(LogPosition(self.next.0.saturating_sub(1)));
        }
        self.make_room(2 * STEP, false)?;
        let epoch = self.documents.get(number).map_or(self.epoch, |document| document.epoch);
        let at = self.push_note(kind, note, epoch, Some(number), now);
        if self.options.durability == Durability::Each {
            self.close_batch(now);
        }
        Ok(at)
    }
}
