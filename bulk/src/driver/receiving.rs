//! The peer's files, from when they are accepted to when they are there.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use deltawire_channels::Message;
use deltawire_framing::bulk::{Accept, Ask, AskFields, BulkStatus, Get, GetWhat, Subject, Wanted};
use zerocopy::IntoBytes;

use super::state::{PeerOffer, State, Wakes};
use crate::error::TransferError;
use crate::hashing::{Hash, hash_piece};
use crate::incoming::{Asking, Bad, Incoming};
use crate::name::FileName;
use crate::pieces::Pieces;
use crate::signal::Signal;
use crate::sink::{Sink, SinkKind};
use crate::transfer::{Phase, Report, Transfer};

/// The fewest bytes that are asked for at a time, but for the end of a file: the longest piece, and more of one file that has all
/// that may be asked for.
const LEAST: usize = 64 << 10;

/// An offer that was accepted and waits for its turn.
pub(super) struct Accepted {
    pub(super) offer: PeerOffer,
    pub(super) sink: Sink,
    pub(super) transfer: Transfer,
    /// The request of this side's that it answers.
    pub(super) get: Option<u32>,
    pub(super) key: u64,
    /// When the peer was told last that it is not forgotten.
    pub(super) told: Duration,
}

/// A request of this side's.
pub(super) struct Getting {
    pub(super) what: GetWhat,
    pub(super) name: Option<FileName>,
    pub(super) sink: Sink,
    pub(super) transfer: Transfer,
    pub(super) step: GetStep,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum GetStep {
    /// There is no link.
    Waiting,
    Asked {
        since: Duration,
    },
    /// It was offered, and accepted.
    Moving,
}

/// A file of the peer's on its way.
pub(crate) struct Receiving {
    pub(super) transfer: Transfer,
    pub(super) offer: PeerOffer,
    get: Option<u32>,
    /// Once its place is open.
    incoming: Option<Incoming>,
    place: Place,
    begun: Duration,
    resumed: u64,
    moved: u64,
    /// When the peer heard of it last.
    told: Duration,
}

enum Place {
    Memory(Vec<u8>),
    /// A thread or task checks and writes, and waits for more to do.
    #[cfg_attr(not(feature = "files"), allow(dead_code))]
    Written {
        queue: VecDeque<Arrival>,
        wake: Arc<Signal>,
    },
}

/// A piece that came.
#[cfg_attr(not(feature = "files"), allow(dead_code))]
pub(crate) struct Arrival {
    pub(crate) index: u32,
    pub(crate) hash: Hash,
    /// It, where it came: its bytes keep their part of the link's window.
    pub(crate) message: Message,
}

/// What a thread that writes a file is to do.
#[cfg_attr(not(feature = "files"), allow(dead_code))]
pub(crate) enum Work {
    /// To check a piece, and to write it.
    Write(Arrival),
    /// To look for a piece where an earlier transfer left it.
    Look(u32, Hash),
    /// All is written: to make it safe.
    Finish,
}

impl State {
    /// Takes an offer: at once, or when it is its turn.
    pub(super) fn accept(
        &mut self,
        offer: PeerOffer,
        sink: Sink,
        transfer: Transfer,
        get: Option<u32>,
        key: u64,
    ) {
        let accept = Accept::new(offer.id, 0);
        self.tell(accept.as_bytes().to_vec());
        let told = self.now;
        self.accepted.push_back(Accepted { offer, sink, transfer, get, key, told });
        self.start_next();
        self.wake_attendant();
    }

    /// Begins what may begin: of the peer's offers that were accepted.
    pub(super) fn start_next(&mut self) {
        while self.receiving.len() < self.options.max_active {
            let Some(accepted) = self.accepted.pop_front() else { return };
            self.start(accepted);
        }
    }

    fn start(&mut self, accepted: Accepted) {
        let Accepted { offer, sink, transfer, get, key, .. } = accepted;
        let layout = offer.layout;
        transfer.update(|progress| progress.len = layout.len());
        let place = match sink.0 {
            SinkKind::Memory { max } => {
                if layout.len() > max as u64 {
                    self.tell_done(Subject::YourOffer, offer.id, BulkStatus::TOO_LONG);
                    transfer.end(Err(TransferError::Here(BulkStatus::TOO_LONG)));
                    return self.end_get(get);
                }
                Place::Memory(Vec::new())
            }
            #[cfg(all(feature = "files", target_arch = "wasm32"))]
            SinkKind::Folder(folder) => {
                let wake = Arc::<Signal>::default();
                if let Some(shared) = self.shared.upgrade() {
                    let name = offer.name.clone();
                    crate::browser::spawn_writer(shared, key, layout, name, folder, wake.clone());
                }
                Place::Written { queue: VecDeque::new(), wake }
            }
            #[cfg(all(feature = "files", unix))]
            SinkKind::Folder(ref folder) => {
                let wake = Arc::<Signal>::default();
                let spawned = self.shared.upgrade().map(|shared| {
                    let (name, folder) = (offer.name.clone(), folder.clone());
                    let (modified, wake) = (offer.modified, wake.clone());
                    crate::files::spawn_writer(shared, key, layout, name, modified, folder, wake)
                });
                if let Some(Err(error)) = spawned {
                    let error = TransferError::io("start a thread")(error);
                    self.tell_done(Subject::YourOffer, offer.id, error.status());
                    transfer.end(Err(error));
                    return self.end_get(get);
                }
                Place::Written { queue: VecDeque::new(), wake }
            }
        };
        let in_memory = matches!(place, Place::Memory(_));
        let receiving = Receiving {
            transfer,
            offer,
            get,
            incoming: None,
            place,
            begun: self.now,
            resumed: 0,
            moved: 0,
            told: self.now,
        };
        self.receiving.insert(key, receiving);
        if in_memory {
            self.handle_opened(key, Pieces::none(layout.pieces()), false);
        }
    }

    /// A transfer's place is open, and holds these pieces already.
    pub(crate) fn handle_opened(&mut self, key: u64, have: Pieces, looks: bool) {
        let (now, idle) = (self.now, self.options.idle_timeout);
        let Some(receiving) = self.receiving.get_mut(&key) else { return };
        let incoming = Incoming::new(receiving.offer.layout, have, looks, idle, now);
        let had = incoming.written();
        (receiving.begun, receiving.resumed, receiving.told) = (now, had, now);
        receiving.transfer.update(|progress| {
            progress.phase = Phase::Moving;
            progress.written = had;
        });
        receiving.incoming = Some(incoming);
        let accept = Accept::new(receiving.offer.id, had);
        self.tell(accept.as_bytes().to_vec());
        self.pump_asks();
        self.finish_if_complete(key);
        self.wake_attendant();
    }

    fn finish_if_complete(&mut self, key: u64) {
        let Some(receiving) = self.receiving.get_mut(&key) else { return };
        if !receiving.incoming.as_ref().is_some_and(Incoming::is_complete) {
            return;
        }
        match &mut receiving.place {
            Place::Memory(bytes) => {
                let bytes = core::mem::take(bytes);
                self.handle_finished(key, None, Some(bytes.into()));
            }
            Place::Written { wake, .. } => self.wakes.signal(wake),
        }
    }

    /// Asks for as much as may be asked for: each transfer in its turn.
    pub(crate) fn pump_asks(&mut self) {
        let (most, now) = (self.options.max_asked, self.now);
        let asked = |it: &Receiving| it.incoming.as_ref().map_or(0, Incoming::asked_bytes);
        let mut left = most.saturating_sub(self.receiving.values().map(asked).sum());
        // What each of those that want something gets, so that none takes all.
        let active = self.receiving.len().max(1);
        let share = (most / active).max(LEAST);
        let least = (share / 2).clamp(LEAST, 2 * LEAST);
        let turn = self.ask_turn;
        let after = self.receiving.range(turn + 1..).map(|(key, _)| *key);
        let order: Vec<u64> =
            after.chain(self.receiving.range(..=turn).map(|(key, _)| *key)).collect();
        for key in order {
            let Some(receiving) = self.receiving.get_mut(&key) else { continue };
            let Some(incoming) = &mut receiving.incoming else { continue };
            let mut asks = Vec::new();
            loop {
                let room = left.min(share.saturating_sub(incoming.asked_bytes()));
                // Not a message for each of many short pieces.
                let room = if room < least { 0 } else { room };
                let before = incoming.asked_bytes();
                let Some(asking) = incoming.poll_ask(room, now) else { break };
                left -= (incoming.asked_bytes() - before).min(left);
                asks.push((asking, incoming.written()));
            }
            if asks.is_empty() {
                continue;
            }
            receiving.told = now;
            let id = receiving.offer.id;
            self.ask_turn = key;
            for (Asking { wanted, first, count }, written) in asks {
                let ask = Ask::new(AskFields { id, wanted, first, count, written });
                self.tell(ask.as_bytes().to_vec());
            }
        }
    }

    pub(super) fn receiving_for(&self, get: u32) -> Option<u64> {
        self.receiving.iter().find(|(_, it)| it.get == Some(get)).map(|(key, _)| *key)
    }

    fn receiving_of(&mut self, id: u32) -> Option<(u64, &mut Receiving)> {
        self.receiving.iter_mut().find(|(_, it)| it.offer.id == id).map(|(key, it)| (*key, it))
    }

    /// A piece came.
    pub(super) fn handle_piece(&mut self, id: u32, index: u32, bytes: &[u8], message: &Message) {
        let now = self.now;
        // What was asked for before a transfer ended may still come.
        let Some((key, receiving)) = self.receiving_of(id) else { return };
        let Some(incoming) = &mut receiving.incoming else {
            let error = TransferError::OutOfPlace("a piece before it was asked for");
            return self.end_receiving(key, Err(error), true);
        };
        match incoming.handle_piece(index, bytes.len(), now) {
            Err(bad) => self.end_receiving(key, Err(error_of(bad)), true),
            Ok(hash) => {
                receiving.moved += bytes.len() as u64;
                match &mut receiving.place {
                    Place::Written { queue, wake } => {
                        queue.push_back(Arrival { index, hash, message: message.clone() });
                        let wake = wake.clone();
                        self.wakes.signal(&wake);
                    }
                    Place::Memory(memory) => {
                        let layout = *incoming.layout();
                        if hash_piece(&layout, index, bytes) == hash {
                            let end = (layout.offset(index) as usize) + bytes.len();
                            // Asked for in order, so it grows by what came.
                            if memory.len() < end {
                                memory.resize(end, 0);
                            }
                            let start = end - bytes.len();
                            if let Some(room) = memory.get_mut(start..end) {
                                room.copy_from_slice(bytes);
                            }
                            self.handle_written(key, index);
                        } else {
                            self.handle_wrong(key, index);
                        }
                    }
                }
            }
        }
    }

    /// Hashes came.
    pub(super) fn handle_hashes(&mut self, id: u32, wanted: Wanted, first: u32, hashes: &[Hash]) {
        let now = self.now;
        let Some((key, receiving)) = self.receiving_of(id) else { return };
        let Some(incoming) = &mut receiving.incoming else {
            let error = TransferError::OutOfPlace("hashes before they were asked for");
            return self.end_receiving(key, Err(error), true);
        };
        match incoming.handle_hashes(wanted, first, hashes, now) {
            Ok(()) => {
                // There may be something to look for.
                if let Place::Written { wake, .. } = &receiving.place {
                    let wake = wake.clone();
                    self.wakes.signal(&wake);
                }
                self.pump_asks();
            }
            Err(bad) => self.end_receiving(key, Err(error_of(bad)), true),
        }
    }

    /// A piece is checked and written.
    pub(crate) fn handle_written(&mut self, key: u64, index: u32) {
        let Some(receiving) = self.receiving.get_mut(&key) else { return };
        let Some(incoming) = &mut receiving.incoming else { return };
        incoming.handle_written(index);
        let (written, moved) = (incoming.written(), receiving.moved);
        receiving.transfer.update(|progress| {
            (progress.written, progress.moved) = (written, moved);
        });
        self.pump_asks();
        self.finish_if_complete(key);
    }

    /// A piece that came was wrong.
    pub(crate) fn handle_wrong(&mut self, key: u64, index: u32) {
        let Some(receiving) = self.receiving.get_mut(&key) else { return };
        let Some(incoming) = &mut receiving.incoming else { return };
        tracing::debug!(index, name = %receiving.offer.name, "a piece came wrong");
        match incoming.handle_wrong(index) {
            Ok(()) => self.pump_asks(),
            Err(bad) => self.end_receiving(key, Err(error_of(bad)), true),
        }
    }

    /// A thread has looked for a piece.
    #[cfg_attr(not(feature = "files"), allow(dead_code))]
    pub(crate) fn handle_looked(&mut self, key: u64, index: u32, found: bool) {
        let Some(receiving) = self.receiving.get_mut(&key) else { return };
        let Some(incoming) = &mut receiving.incoming else { return };
        incoming.handle_looked(index, found);
        let written = incoming.written();
        if found {
            receiving.resumed += incoming.layout().len_of(index) as u64;
        }
        receiving.transfer.update(|progress| progress.written = written);
        self.pump_asks();
        self.finish_if_complete(key);
    }

    /// What a thread is to do for a transfer: `Err` when that is over, `Ok(None)` when it is to wait.
    #[cfg_attr(not(feature = "files"), allow(dead_code))]
    pub(crate) fn poll_work(&mut self, key: u64) -> Result<Option<Work>, ()> {
        let receiving = self.receiving.get_mut(&key).ok_or(())?;
        let Some(incoming) = &mut receiving.incoming else { return Ok(None) };
        let Place::Written { queue, .. } = &mut receiving.place else { return Err(()) };
        if let Some(arrival) = queue.pop_front() {
            return Ok(Some(Work::Write(arrival)));
        }
        if incoming.is_complete() {
            receiving.transfer.update(|progress| progress.phase = Phase::Finishing);
            return Ok(Some(Work::Finish));
        }
        let look = incoming.poll_look();
        if look.is_none() {
            // That a page has nothing left to look for lets its pieces be asked for.
            self.pump_asks();
        }
        Ok(look.map(|(index, hash)| Work::Look(index, hash)))
    }

    /// The file is there already, whole and with its name.
    #[cfg_attr(not(feature = "files"), allow(dead_code))]
    pub(crate) fn handle_there(&mut self, key: u64, path: std::path::PathBuf) {
        if let Some(receiving) = self.receiving.get_mut(&key) {
            receiving.resumed = receiving.offer.layout.len();
        }
        self.handle_finished(key, Some(path), None);
    }

    /// A file is whole and safe.
    pub(crate) fn handle_finished(
        &mut self,
        key: u64,
        path: Option<std::path::PathBuf>,
        bytes: Option<Bytes>,
    ) {
        let Some(receiving) = self.receiving.get(&key) else { return };
        let layout = receiving.offer.layout;
        let report = Report {
            name: receiving.offer.name.clone(),
            len: layout.len(),
            root: *layout.root(),
            resumed: receiving.resumed,
            moved: receiving.moved,
            repeated: receiving.incoming.as_ref().map_or(0, Incoming::times_wrong),
            took: self.now.saturating_sub(receiving.begun),
            path,
            bytes,
        };
        self.end_receiving(key, Ok(report), true);
    }

    /// Ends a transfer of a file of the peer's; `tells`: and has the peer told.
    pub(crate) fn end_receiving(
        &mut self,
        key: u64,
        ended: Result<Report, TransferError>,
        tells: bool,
    ) {
        let Some(receiving) = self.receiving.remove(&key) else { return };
        receiving.place.wake(&mut self.wakes);
        if tells {
            let status =
                ended.as_ref().map_or_else(TransferError::status, |_| BulkStatus::COMPLETE);
            self.tell_done(Subject::YourOffer, receiving.offer.id, status);
        }
        receiving.transfer.end(ended);
        self.end_get(receiving.get);
        self.note_change();
        self.start_next();
        self.pump_asks();
    }

    fn end_get(&mut self, get: Option<u32>) {
        if let Some(get) = get {
            self.getting.remove(&get);
        }
    }

    /// Ends a request of this side's that the peer does not answer with a file.
    pub(super) fn end_getting(&mut self, id: u32, error: TransferError) {
        if let Some(getting) = self.getting.remove(&id) {
            getting.transfer.end(Err(error));
            self.note_change();
        }
    }

    /// The peer has ended a transfer of its file, or taken an offer back.
    pub(super) fn handle_receiving_done(&mut self, id: u32, status: BulkStatus) {
        let error = TransferError::Peer(status);
        if let Some((key, _)) = self.receiving_of(id) {
            return self.end_receiving(key, Err(error), false);
        }
        if let Some(at) = self.accepted.iter().position(|it| it.offer.id == id)
            && let Some(accepted) = self.accepted.remove(at)
        {
            accepted.transfer.end(Err(error));
            self.end_get(accepted.get);
        }
    }

    /// The link is gone: what this side asked for goes on over the next one, what it was offered does not.
    pub(super) fn rest_receiving(&mut self) {
        let mut over = Vec::new();
        for (_, receiving) in core::mem::take(&mut self.receiving) {
            receiving.place.wake(&mut self.wakes);
            over.push((receiving.get, receiving.transfer));
        }
        over.extend(self.accepted.drain(..).map(|it| (it.get, it.transfer)));
        for (get, transfer) in over {
            match get.and_then(|get| self.getting.get_mut(&get)) {
                Some(_) => transfer.update(|progress| progress.phase = Phase::Waiting),
                None => transfer.end(Err(TransferError::LinkLost)),
            }
        }
        for getting in self.getting.values_mut() {
            getting.step = GetStep::Waiting;
        }
    }

    /// A link is there: asks for what this side wants.
    pub(super) fn ask_again(&mut self) {
        if !self.attended {
            return;
        }
        let now = self.now;
        let mut asks = Vec::new();
        for (id, getting) in &mut self.getting {
            if getting.step == GetStep::Waiting {
                getting.step = GetStep::Asked { since: now };
                let name = getting.name.as_ref().map_or("", FileName::as_str);
                match Get::body(*id, getting.what, name) {
                    Ok(body) => asks.push(body),
                    Err(error) => unreachable!("a name can be asked for: {error}"),
                }
            }
        }
        for ask in asks {
            self.tell(ask);
        }
        self.wake_attendant();
    }

    pub(super) fn time_out_receiving(&mut self) {
        let (now, answer, idle) =
            (self.now, self.options.answer_timeout, self.options.idle_timeout);
        let late = |step: &GetStep| matches!(step, GetStep::Asked { since } if now >= since.saturating_add(answer));
        let unanswered: Vec<u32> =
            self.getting.iter().filter(|(_, it)| late(&it.step)).map(|(id, _)| *id).collect();
        for id in unanswered {
            self.tell_done(Subject::MyRequest, id, BulkStatus::IDLE);
            self.end_getting(id, TransferError::Unanswered);
        }
        let is_idle = |it: &Receiving| it.incoming.as_ref().is_some_and(|it| it.is_idle(now));
        let stopped: Vec<u64> =
            self.receiving.iter().filter(|(_, it)| is_idle(it)).map(|(key, _)| *key).collect();
        for key in stopped {
            self.end_receiving(key, Err(TransferError::Idle), true);
        }
        // Where this side is at work, the peer is told that it is there.
        let mut alive = Vec::new();
        for accepted in &mut self.accepted {
            if now >= accepted.told.saturating_add(idle / 3) {
                accepted.told = now;
                alive.push(Accept::new(accepted.offer.id, 0));
            }
        }
        for receiving in self.receiving.values_mut() {
            let Some(incoming) = &receiving.incoming else { continue };
            if now >= receiving.told.saturating_add(idle / 3) {
                receiving.told = now;
                alive.push(Accept::new(receiving.offer.id, incoming.written()));
            }
        }
        for accept in alive {
            self.tell(accept.as_bytes().to_vec());
        }
    }
}

impl Place {
    fn wake(&self, wakes: &mut Wakes) {
        if let Self::Written { wake, .. } = self {
            wakes.signal(wake);
        }
    }
}

fn error_of(bad: Bad) -> TransferError {
    match bad {
        Bad::Misplaced(misplaced) => TransferError::OutOfPlace(misplaced.0),
        Bad::Checksum(times) => TransferError::Checksum(times),
    }
}
