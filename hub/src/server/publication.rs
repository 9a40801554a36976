//! One writer's deltas to one document: which of them are there, and how far they have got.

use std::collections::VecDeque;
use std::time::Duration;

use deltawire_framing::DocId;
use deltawire_framing::documents::{DeniedCode, Level};
use deltawire_store::{Appended, Log, LogPosition, Origin, Position};

pub(super) struct Publication {
    pub(super) doc_id: DocId,
    pub(super) presence: bool,
    pub(super) shard: usize,
    pub(super) origin: Origin,
    pub(super) snapshots: bool,
    pub(super) until: Option<Duration>,
    /// Whether nothing is ever stored.
    volatile: bool,
    /// Why it is over, once what is to be stored is, and was told.
    pub(super) ending: Option<DeniedCode>,
    pub(super) epoch: u32,
    /// The position that its next delta is to get.
    pub(super) expect: Option<Position>,
    /// The sequence of its next delta; `None` where nothing is known of the writer.
    next: Option<u32>,
    /// Whether none has come yet: the first may leave out what was refused before.
    fresh: bool,
    /// The last that has its position.
    received: Option<(u32, u64)>,
    /// The last that is stored.
    stored: Option<(u32, u64)>,
    /// Those that are to be stored, the last of each batch: by the position that has to be durable.
    storing: VecDeque<(LogPosition, u32, u64)>,
    /// What was told last of either.
    told_received: Option<Option<(u32, u64)>>,
    told_stored: Option<(u32, u64)>,
    /// Whether there is something to tell.
    pub(super) due: bool,
    /// Whether it waits for its turn to be told.
    pub(super) queued: bool,
}

/// How a delta's sequence stands to what is there.
pub(super) enum Taken {
    /// It is the next.
    Next,
    /// It is there already.
    Before,
    /// One before it is missing.
    Ahead,
}

impl Publication {
    pub(super) fn new(
        doc_id: DocId,
        presence: bool,
        shard: usize,
        origin: Origin,
        snapshots: bool,
        until: Option<Duration>,
        volatile: bool,
    ) -> Self {
        Self {
            doc_id,
            presence,
            shard,
            origin,
            snapshots,
            until,
            volatile,
            ending: None,
            epoch: 0,
            expect: None,
            next: None,
            fresh: true,
            received: None,
            stored: None,
            storing: VecDeque::new(),
            told_received: None,
            told_stored: None,
            due: true,
            queued: false,
        }
    }

    /// Takes in what the log knows of the writer, from before.
    pub(super) fn learn(&mut self, log: &Log) {
        self.epoch = log.head(&self.doc_id).map_or(0, |head| head.epoch.0);
        let Some(written) = log.last_of(&self.doc_id, &self.origin) else { return };
        let last = (written.sequence, written.position.0);
        self.next = Some(written.sequence.wrapping_add(1));
        if self.received == Some(last) {
            return;
        }
        self.received = Some(last);
        self.due = true;
        let needed = written.at.next();
        if self.volatile {
            return;
        }
        if needed <= log.durable() {
            self.stored = Some(last);
        } else {
            self.storing.push_back((needed, last.0, last.1));
        }
    }

    /// Takes in what another session of the same writer has written meanwhile.
    pub(super) fn catch_up(&mut self, log: &Log) {
        let last = log.last_of(&self.doc_id, &self.origin).map(|written| written.sequence);
        if last.is_some() && last != self.received.map(|(sequence, _)| sequence) {
            self.learn(log);
        }
    }

    pub(super) fn check(&self, sequence: u32) -> Taken {
        match self.next {
            None => Taken::Next,
            Some(next) if next == sequence => Taken::Next,
            Some(next) if next.wrapping_sub(sequence) < 1 << 31 => Taken::Before,
            Some(_) if self.fresh => Taken::Next,
            Some(_) => Taken::Ahead,
        }
    }

    /// Its next delta is in the log.
    pub(super) fn appended(&mut self, sequence: u32, appended: Appended) {
        let position = appended.position.0;
        self.next = Some(sequence.wrapping_add(1));
        self.fresh = false;
        self.epoch = appended.epoch.0;
        self.received = Some((sequence, position));
        self.due = true;
        if self.volatile {
            return;
        }
        let needed = appended.at.next();
        // Acknowledgements are cumulative: what waits already waits no longer than this.
        let full = self.storing.len() >= MAX_STORING;
        match self.storing.back_mut().filter(|_| full) {
            Some(last) => *last = (needed, sequence, position),
            None => self.storing.push_back((needed, sequence, position)),
        }
    }

    pub(super) fn is_storing(&self) -> bool {
        !self.storing.is_empty()
    }

    /// All in front of `durable` is stored. Says whether that is news.
    pub(super) fn note_durable(&mut self, durable: LogPosition) -> bool {
        let mut news = false;
        while let Some((needed, sequence, position)) = self.storing.front().copied()
            && needed <= durable
        {
            self.storing.pop_front();
            self.stored = Some((sequence, position));
            self.due = true;
            news = true;
        }
        news
    }

    /// What is to be told next.
    pub(super) fn acknowledgement(&self) -> (Level, Option<(u32, u64)>) {
        // What opens the publication says all that is there; then what is stored counts for more.
        if self.told_received.is_some() && self.stored != self.told_stored {
            return (Level::Stored, self.stored);
        }
        (Level::Received, self.received)
    }

    /// That was told.
    pub(super) fn told(&mut self, level: Level) {
        match level {
            Level::Received => self.told_received = Some(self.received),
            _ => self.told_stored = self.stored,
        }
        self.due = self.told_received != Some(self.received) || self.told_stored != self.stored;
    }
}

/// Batches of which it is told by themselves when they are stored.
const MAX_STORING: usize = 256;
