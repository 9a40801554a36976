//! A file of the peer's on its way: what is asked for, what comes, and what becomes of it.

use deltawire_channels::Message;
use deltawire_framing::bulk::{Ask, AskFields, Wanted};
use zerocopy::IntoBytes;

use super::{Arrival, Place, Receiving, State, Work, error_of};
use crate::error::TransferError;
use crate::hashing::{Hash, hash_piece};
use crate::incoming::{Asking, Incoming};
use crate::outgoing::MAX_ASKS;
use crate::transfer::Phase;

/// The fewest bytes that are asked for at a time, but for the end of a file: the longest piece, and more of one file that has all
/// that may be asked for.
const LEAST: usize = 64 << 10;

/// The most runs of pieces that are asked for: fewer than the other side takes, whatever lies between them here.
const MAX_RUNS: usize = MAX_ASKS / 2;

impl State {
    pub(super) fn finish_if_complete(&mut self, key: u64) {
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
            while incoming.asked_runs() < MAX_RUNS {
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

    pub(in crate::driver) fn receiving_for(&self, get: u32) -> Option<u64> {
        self.receiving.iter().find(|(_, it)| it.get == Some(get)).map(|(key, _)| *key)
    }

    pub(super) fn receiving_of(&mut self, id: u32) -> Option<(u64, &mut Receiving)> {
        self.receiving.iter_mut().find(|(_, it)| it.offer.id == id).map(|(key, it)| (*key, it))
    }

    /// A piece came.
    pub(in crate::driver) fn handle_piece(
        &mut self,
        id: u32,
        index: u32,
        bytes: &[u8],
        message: &Message,
    ) {
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
    pub(in crate::driver) fn handle_hashes(
        &mut self,
        id: u32,
        wanted: Wanted,
        first: u32,
        hashes: &[Hash],
    ) {
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
}
