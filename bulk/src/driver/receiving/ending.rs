//! How transfers of the peer's files end, and requests of this side's.

use bytes::Bytes;
use deltawire_framing::bulk::{Accept, BulkStatus, Get, Subject};
use zerocopy::IntoBytes;

use super::{GetStep, Receiving, State};
use crate::error::TransferError;
use crate::incoming::Incoming;
use crate::name::FileName;
use crate::transfer::{Phase, Report};

impl State {
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

    pub(super) fn end_get(&mut self, get: Option<u32>) {
        if let Some(get) = get {
            self.getting.remove(&get);
        }
    }

    /// Ends a request of this side's that the peer does not answer with a file.
    pub(in crate::driver) fn end_getting(&mut self, id: u32, error: TransferError) {
        if let Some(getting) = self.getting.remove(&id) {
            getting.transfer.end(Err(error));
            self.note_change();
        }
    }

    /// The peer has ended a transfer of its file, or taken an offer back.
    pub(in crate::driver) fn handle_receiving_done(&mut self, id: u32, status: BulkStatus) {
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
    pub(in crate::driver) fn rest_receiving(&mut self) {
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
    pub(in crate::driver) fn ask_again(&mut self) {
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

    pub(in crate::driver) fn time_out_receiving(&mut self) {
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
