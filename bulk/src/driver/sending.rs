//! Files of this side's, from when they are given to when the peer has them.

use std::sync::Arc;
use std::time::Duration;

use deltawire_channels::Message;
use deltawire_framing::bulk::{AskFields, BulkStatus, Offer, OfferFields, Piece, Subject};

use super::messages;
use super::origin::{Cached, Origin, len_of};
use super::state::{State, Wakes};
use crate::error::TransferError;
use crate::layout::Layout;
use crate::name::FileName;
use crate::outgoing::{Outgoing, Part};
use crate::signal::Signal;
use crate::transfer::{Phase, Report, Transfer};

/// A file of this side's.
pub(crate) struct Sending {
    pub(super) transfer: Transfer,
    pub(super) name: FileName,
    pub(super) modified: u64,
    /// The peer's request that it answers; 0: none.
    pub(super) request: u32,
    pub(super) origin: Origin,
    /// Once its hash is known.
    pub(super) layout: Option<Layout>,
    pub(super) step: Step,
    pub(super) retries: u32,
}

pub(super) enum Step {
    /// It waits for a link or its turn, not before a time.
    Waiting { until: Duration },
    /// The peer has been told.
    Offered { id: u32, since: Duration },
    /// The peer has accepted.
    Moving { id: u32, outgoing: Outgoing, begun: Duration },
}

impl Sending {
    fn is_active(&self) -> bool {
        !matches!(self.step, Step::Waiting { .. })
    }

    fn id(&self) -> Option<u32> {
        match self.step {
            Step::Waiting { .. } => None,
            Step::Offered { id, .. } | Step::Moving { id, .. } => Some(id),
        }
    }

    fn rest(&mut self, until: Duration, wakes: &mut Wakes) -> usize {
        self.step = Step::Waiting { until };
        self.transfer.update(|progress| progress.phase = Phase::Waiting);
        self.origin.clear(wakes)
    }
}

impl State {
    /// Offers what may be offered now.
    pub(crate) fn offer_next(&mut self) {
        if !self.attended || self.closed {
            return;
        }
        let mut active = self.sending.values().filter(|it| it.is_active()).count();
        let keys: Vec<u64> = self.sending.keys().copied().collect();
        for key in keys {
            if active >= self.options.max_active {
                return;
            }
            let now = self.now;
            let is_ready = self.sending.get(&key).is_some_and(|it| {
                matches!(it.step, Step::Waiting { until } if until <= now) && it.layout.is_some()
            });
            if !is_ready {
                continue;
            }
            let id = self.id();
            let Some(sending) = self.sending.get_mut(&key) else { continue };
            let Some(layout) = sending.layout else { continue };
            let fields = OfferFields {
                id,
                request: sending.request,
                len: layout.len(),
                root: *layout.root(),
                piece_len: layout.piece_len(),
                modified: sending.modified,
            };
            match Offer::body(&fields, sending.name.as_str()) {
                Ok(body) => {
                    sending.step = Step::Offered { id, since: now };
                    self.tell(body);
                    active += 1;
                }
                Err(error) => unreachable!("a layout and a name can be offered: {error}"),
            }
        }
    }

    fn sending_of(&mut self, id: u32) -> Option<(u64, &mut Sending)> {
        self.sending.iter_mut().find(|(_, it)| it.id() == Some(id)).map(|(key, it)| (*key, it))
    }

    /// The peer has accepted an offer, or says that it is still there.
    pub(super) fn handle_accept(&mut self, id: u32, have: u64) {
        let (now, idle) = (self.now, self.options.idle_timeout);
        let Some((_, sending)) = self.sending_of(id) else { return };
        match (&mut sending.step, sending.layout) {
            (Step::Offered { .. }, Some(layout)) => {
                let outgoing = Outgoing::new(layout, have, idle, now);
                let had = outgoing.written();
                sending.step = Step::Moving { id, outgoing, begun: now };
                sending.transfer.update(|progress| {
                    progress.phase = Phase::Moving;
                    progress.written = had;
                });
            }
            (Step::Moving { outgoing, .. }, _) => {
                outgoing.handle_alive(have, now);
                let written = outgoing.written();
                sending.transfer.update(|progress| progress.written = written);
            }
            _ => {}
        }
    }

    /// The peer wants parts of a file.
    pub(super) fn handle_ask(&mut self, ask: &AskFields) {
        let now = self.now;
        let Some((key, sending)) = self.sending_of(ask.id) else { return };
        let Step::Moving { outgoing, .. } = &mut sending.step else {
            let error = TransferError::OutOfPlace("an ask for what was not accepted");
            self.end_sending(key, Err(error), true);
            return;
        };
        match outgoing.handle_ask(ask, now) {
            Ok(()) => {
                let written = outgoing.written();
                sending.transfer.update(|progress| progress.written = written);
                match &sending.origin {
                    Origin::Read(reading) if !reading.takes_cached() => {
                        let wake = reading.wake.clone();
                        self.wakes.signal(&wake);
                    }
                    _ => self.wake_pieces(),
                }
            }
            Err(misplaced) => {
                self.end_sending(key, Err(TransferError::OutOfPlace(misplaced.0)), true);
            }
        }
    }

    /// The peer has ended a transfer of this side's file.
    pub(super) fn handle_sending_done(&mut self, id: u32, status: BulkStatus) {
        let (now, most) = (self.now, self.options.max_retries);
        let Some((key, _)) = self.sending_of(id) else { return };
        let Some(sending) = self.sending.get_mut(&key) else { return };
        if status == BulkStatus::BUSY && sending.retries < most {
            let wait = Duration::from_secs(1 << sending.retries.min(5));
            sending.retries += 1;
            let read = sending.rest(now.saturating_add(wait), &mut self.wakes);
            self.free_read(read);
            return self.offer_next();
        }
        let ended = match (status, &sending.step, sending.layout) {
            (BulkStatus::COMPLETE, Step::Moving { outgoing, begun, .. }, Some(layout)) => {
                Ok(Report {
                    name: sending.name.clone(),
                    len: layout.len(),
                    root: *layout.root(),
                    resumed: layout.len().saturating_sub(outgoing.sent()),
                    moved: outgoing.sent(),
                    repeated: 0,
                    took: now.saturating_sub(*begun),
                    path: None,
                    bytes: None,
                })
            }
            (BulkStatus::COMPLETE, ..) => {
                Err(TransferError::OutOfPlace("the end of what was not accepted"))
            }
            _ => Err(TransferError::Peer(status)),
        };
        self.end_sending(key, ended, false);
    }

    /// The peer wants no answer to its request any more.
    pub(super) fn withdraw_answers(&mut self, request: u32, status: BulkStatus) {
        let answers = self.sending.iter().find(|(_, it)| it.request == request && request != 0);
        if let Some(key) = answers.map(|(key, _)| *key) {
            self.end_sending(key, Err(TransferError::Peer(status)), true);
        }
    }

    /// Ends a transfer of this side's file; `tells`: and has the peer told.
    pub(crate) fn end_sending(
        &mut self,
        key: u64,
        ended: Result<Report, TransferError>,
        tells: bool,
    ) {
        let Some(mut sending) = self.sending.remove(&key) else { return };
        let read = sending.origin.clear(&mut self.wakes);
        self.free_read(read);
        if let (Err(error), true) = (&ended, tells) {
            match (sending.id(), sending.request) {
                (Some(id), _) => self.tell_done(Subject::MyOffer, id, error.status()),
                (None, request) if request != 0 => {
                    self.tell_done(Subject::YourRequest, request, error.status());
                }
                _ => {}
            }
        }
        sending.transfer.end(ended);
        self.note_change();
        self.offer_next();
    }

    /// The link is gone: files are offered anew over the next one, answers to requests are not.
    pub(super) fn rest_sending(&mut self) {
        let keys: Vec<u64> = self.sending.keys().copied().collect();
        for key in keys {
            let Some(sending) = self.sending.get_mut(&key) else { continue };
            if sending.request != 0 {
                self.end_sending(key, Err(TransferError::LinkLost), false);
            } else if sending.is_active() {
                let read = sending.rest(Duration::ZERO, &mut self.wakes);
                self.free_read(read);
            }
        }
    }

    pub(super) fn time_out_sending(&mut self) {
        let now = self.now;
        let answer = self.options.answer_timeout;
        let late: Vec<(u64, TransferError)> = self
            .sending
            .iter()
            .filter_map(|(key, sending)| match &sending.step {
                Step::Offered { since, .. } if now >= since.saturating_add(answer) => {
                    Some((*key, TransferError::Unanswered))
                }
                Step::Moving { outgoing, .. } if outgoing.is_idle(now) => {
                    Some((*key, TransferError::Idle))
                }
                _ => None,
            })
            .collect();
        for (key, error) in late {
            self.end_sending(key, Err(error), true);
        }
    }

    /// So much that was read has gone.
    pub(crate) fn free_read(&mut self, len: usize) {
        self.read_ahead = self.read_ahead.saturating_sub(len);
        if len > 0 {
            for sending in self.sending.values() {
                if let Origin::Read(reading) = &sending.origin
                    && !reading.takes_cached()
                {
                    self.wakes.signal(&reading.wake);
                }
            }
        }
    }

    /// What a thread is to read next of a file, under which number: room for it is taken.
    #[cfg_attr(not(feature = "files"), allow(dead_code))]
    pub(crate) fn poll_read(&mut self, key: u64) -> Option<(u32, Part, usize)> {
        let room = self.options.max_read_ahead;
        let sending = self.sending.get_mut(&key)?;
        let Step::Moving { id, outgoing, .. } = &mut sending.step else { return None };
        let Origin::Read(reading) = &mut sending.origin else { return None };
        if self.read_ahead > 0 && self.read_ahead + messages::LONGEST - Piece::SIZE > room {
            return None;
        }
        let part = reading.poll_part(outgoing)?;
        let layout = outgoing.layout();
        let len = match part {
            Part::Piece(index) => layout.len_of(index),
            Part::PieceHashes(group) => 32 * layout.pieces_of(group).len(),
            Part::GroupHashes => 32 * layout.groups() as usize,
        };
        self.read_ahead += len;
        Some((*id, part, len))
    }

    /// A thread has read a part.
    #[cfg_attr(not(feature = "files"), allow(dead_code))]
    pub(crate) fn handle_read(&mut self, key: u64, id: u32, part: Part, message: Message) {
        let len = len_of(&message);
        match self.sending.get_mut(&key) {
            Some(Sending { step: Step::Moving { id: current, .. }, origin, .. })
                if *current == id =>
            {
                if let Origin::Read(reading) = origin {
                    reading.ready.push_back((part, message));
                }
                self.wake_pieces();
            }
            // The link that asked for it is gone.
            _ => self.free_read(len),
        }
    }

    /// The next part for the link: each transfer in its turn.
    pub(super) fn poll_piece(&mut self) -> Option<Message> {
        if self.options.max_rate > 0 && self.now < self.paced {
            self.waits_for_pace = true;
            self.wake_attendant();
            return None;
        }
        let turn = self.turn;
        let after = self.sending.range(turn + 1..).map(|(key, _)| *key);
        let order: Vec<u64> =
            after.chain(self.sending.range(..=turn).map(|(key, _)| *key)).collect();
        for key in order {
            let Some((part, message)) = self.take_part(key) else { continue };
            self.turn = key;
            let now = self.now;
            let nanos = len_of(&message) as u64 * 1_000_000_000;
            if let Some(nanos) = nanos.checked_div(self.options.max_rate) {
                self.paced = self.paced.max(now).saturating_add(Duration::from_nanos(nanos));
            }
            if let Some(Sending { step: Step::Moving { outgoing, .. }, transfer, .. }) =
                self.sending.get_mut(&key)
            {
                outgoing.handle_sent(part, now);
                let sent = outgoing.sent();
                transfer.update(|progress| progress.moved = sent);
            }
            return Some(message);
        }
        None
    }

    fn take_part(&mut self, key: u64) -> Option<(Part, Message)> {
        let Sending { origin, step, .. } = self.sending.get_mut(&key)?;
        let Step::Moving { id, outgoing, .. } = step else { return None };
        match origin {
            Origin::Memory(memory) => {
                let part = outgoing.poll_part()?;
                let message = match part {
                    Part::Piece(index) => {
                        let bytes = memory.piece(index);
                        let copied = messages::piece(*id, index, bytes.len(), |room| {
                            room.copy_from_slice(bytes);
                            Ok::<_, core::convert::Infallible>(())
                        });
                        copied.unwrap_or_else(|never| match never {})
                    }
                    Part::PieceHashes(group) => {
                        messages::hashes(*id, part, memory.piece_hashes(group))
                    }
                    Part::GroupHashes => messages::hashes(*id, part, &memory.group_hashes()),
                };
                Some((part, message))
            }
            Origin::Read(reading) => {
                if let Some((part, message)) = reading.ready.pop_front() {
                    self.free_read(len_of(&message));
                    return Some((part, message));
                }
                let taken = reading.take_cached(*id, outgoing);
                if taken.is_none() && reading.missed.is_some() {
                    self.wakes.signal(&reading.wake);
                }
                taken
            }
        }
    }

    /// A file's hash is known: it can be offered.
    #[cfg_attr(not(feature = "files"), allow(dead_code))]
    pub(crate) fn handle_hashed(
        &mut self,
        key: u64,
        layout: Layout,
        modified: u64,
        cached: Option<Cached>,
    ) {
        if let Some(sending) = self.sending.get_mut(&key) {
            if let Origin::Read(reading) = &mut sending.origin {
                reading.cached = cached;
            }
            sending.layout = Some(layout);
            sending.modified = modified;
            sending.transfer.update(|progress| progress.len = layout.len());
            self.offer_next();
        }
    }

    /// What a thread waits on that reads a file; `None` when that is over.
    #[cfg_attr(not(feature = "files"), allow(dead_code))]
    pub(crate) fn reader_of(&self, key: u64) -> Option<Arc<Signal>> {
        match &self.sending.get(&key)?.origin {
            Origin::Read(reading) => Some(reading.wake.clone()),
            Origin::Memory(_) => None,
        }
    }
}
