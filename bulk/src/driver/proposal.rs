//! What the peer would send, or have.

use core::fmt;
use std::sync::Arc;

use deltawire_framing::bulk::{BulkStatus, GetWhat, OfferFields, Subject};

use super::receiving::GetStep;
use super::state::{PeerOffer, Proposed, ProposedWhat, State};
use super::{Bulk, Shared};
use crate::error::{Refused, TransferError};
use crate::layout::Layout;
use crate::name::FileName;
use crate::sink::Sink;
use crate::source::Source;
use crate::transfer::Transfer;

/// What the peer would send, or have.
#[derive(Debug)]
#[non_exhaustive]
pub enum Proposal {
    /// It would send a file.
    Offer(Offer),
    /// It would have one.
    Request(Request),
}

/// A file that the peer would send. It has to be accepted or refused; dropping it refuses it.
pub struct Offer {
    bulk: Bulk,
    key: u64,
    offer: PeerOffer,
}

impl Offer {
    /// What it is called: never a path.
    #[must_use]
    pub fn name(&self) -> &FileName {
        &self.offer.name
    }

    /// Bytes of it.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.offer.layout.len()
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// BLAKE3 of it.
    #[must_use]
    pub fn root(&self) -> &[u8; 32] {
        self.offer.layout.root()
    }

    /// When it was changed last as the peer tells, microseconds since the Unix epoch; 0: it does not tell.
    #[must_use]
    pub fn modified(&self) -> u64 {
        self.offer.modified
    }

    /// Takes it.
    ///
    /// # Errors
    /// When the peer has taken it back, or its link is over.
    pub fn accept(self, sink: Sink) -> Result<Transfer, Refused> {
        let mut state = self.bulk.shared.lock();
        if state.take_proposed(self.key).is_none() {
            return Err(Refused::Gone);
        }
        let key = state.key();
        let transfer = receiving_transfer(&self.bulk.shared, key);
        state.accept(self.offer.clone(), sink, transfer.clone(), None, key);
        drop(state);
        Ok(transfer)
    }

    /// Does not take it.
    pub fn refuse(self, status: BulkStatus) {
        self.bulk.shared.lock().refuse_key(self.key, status);
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        self.bulk.shared.lock().refuse_key(self.key, BulkStatus::REFUSED);
    }
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offer").field("name", self.name()).field("len", &self.len()).finish()
    }
}

/// A file that the peer would have. It has to be answered; dropping it refuses it.
pub struct Request {
    bulk: Bulk,
    key: u64,
    id: u32,
    name: Option<FileName>,
}

impl Request {
    /// What it is called: never a path. `None`: the peer asks what files there are.
    #[must_use]
    pub fn name(&self) -> Option<&FileName> {
        self.name.as_ref()
    }

    /// Sends it.
    ///
    /// # Errors
    /// When the peer has taken its request back, its link is over, too many files wait, or this one cannot be cut.
    pub fn answer(self, source: Source, name: FileName) -> Result<Transfer, Refused> {
        if self.bulk.shared.lock().take_proposed(self.key).is_none() {
            return Err(Refused::Gone);
        }
        let sent = self.bulk.send_for(source, name, self.id);
        if sent.is_err() {
            let mut state = self.bulk.shared.lock();
            state.tell_done(Subject::YourRequest, self.id, BulkStatus::TOO_MANY);
        }
        sent
    }

    /// Does not send it.
    pub fn refuse(self, status: BulkStatus) {
        self.bulk.shared.lock().refuse_key(self.key, status);
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.bulk.shared.lock().refuse_key(self.key, BulkStatus::REFUSED);
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("name", &self.name).finish()
    }
}

/// The handle on a transfer of the peer's file.
fn receiving_transfer(shared: &Arc<Shared>, key: u64) -> Transfer {
    let weak = Arc::downgrade(shared);
    Transfer::new(move || {
        if let Some(shared) = weak.upgrade() {
            shared.lock().cancel_receiving(key);
        }
    })
}

impl Bulk {
    pub(super) fn take_proposal(&self, state: &mut State) -> Option<Proposal> {
        let proposed = state.proposed.iter_mut().find(|it| !it.taken)?;
        proposed.taken = true;
        let (bulk, key) = (self.clone(), proposed.key);
        Some(match proposed.what.clone() {
            ProposedWhat::Offer(offer) => Proposal::Offer(Offer { bulk, key, offer }),
            ProposedWhat::Request { id, name } => {
                Proposal::Request(Request { bulk, key, id, name })
            }
        })
    }
}

impl State {
    /// The peer would send a file.
    pub(super) fn handle_offer(&mut self, fields: &OfferFields, name: &str) {
        let OfferFields { id, request, len, root, piece_len, modified } = *fields;
        let checked = match (FileName::new(name), Layout::new(len, root, piece_len)) {
            _ if self.refusing => Err(BulkStatus::GOING_AWAY),
            (Err(_), _) => Err(BulkStatus::NAME),
            (_, Err(_)) => Err(BulkStatus::TOO_LONG),
            _ if len > self.options.max_len => Err(BulkStatus::TOO_LONG),
            (Ok(name), Ok(layout)) => Ok(PeerOffer { id, name, layout, modified }),
        };
        if request != 0 {
            return self.handle_answer(id, request, checked);
        }
        let waiting = self.proposed.len() + self.accepted.len();
        match checked {
            Ok(offer) if waiting < self.options.max_pending => {
                self.propose(ProposedWhat::Offer(offer));
            }
            Ok(_) => self.tell_done(Subject::YourOffer, id, BulkStatus::TOO_MANY),
            Err(status) => self.tell_done(Subject::YourOffer, id, status),
        }
    }

    /// The peer answers a request of this side's.
    fn handle_answer(&mut self, id: u32, request: u32, checked: Result<PeerOffer, BulkStatus>) {
        let asked = self.getting.get_mut(&request);
        let Some(getting) = asked.filter(|it| matches!(it.step, GetStep::Asked { .. })) else {
            return self.tell_done(Subject::YourOffer, id, BulkStatus::CANCELLED);
        };
        match checked {
            Ok(offer) => {
                getting.step = GetStep::Moving;
                let (sink, transfer) = (getting.sink.clone(), getting.transfer.clone());
                let key = self.key();
                self.accept(offer, sink, transfer, Some(request), key);
            }
            Err(status) => {
                self.tell_done(Subject::YourOffer, id, status);
                self.end_getting(request, TransferError::Here(status));
            }
        }
    }

    /// The peer would have a file.
    pub(super) fn handle_get(&mut self, id: u32, what: GetWhat, name: &str) {
        let named = match what {
            GetWhat::Catalogue => Ok(None),
            GetWhat::File => FileName::new(name).map(Some),
        };
        let refused = match named {
            _ if self.refusing => BulkStatus::GOING_AWAY,
            Err(_) => BulkStatus::NAME,
            Ok(name) if self.proposed.len() < self.options.max_pending => {
                return self.propose(ProposedWhat::Request { id, name });
            }
            Ok(_) => BulkStatus::TOO_MANY,
        };
        self.tell_done(Subject::YourRequest, id, refused);
    }

    fn propose(&mut self, what: ProposedWhat) {
        let (key, link) = (self.key(), self.link);
        self.proposed.push_back(Proposed { key, link, taken: false, what });
        self.note_change();
    }

    /// Takes out what the application answers, if its link is still there.
    fn take_proposed(&mut self, key: u64) -> Option<ProposedWhat> {
        let at = self.proposed.iter().position(|it| it.key == key)?;
        let proposed = self.proposed.remove(at)?;
        self.is_attended_by(proposed.link).then_some(proposed.what)
    }

    fn refuse_key(&mut self, key: u64, status: BulkStatus) {
        if let Some(what) = self.take_proposed(key) {
            self.refuse(&what, status);
        }
    }

    pub(super) fn refuse(&mut self, what: &ProposedWhat, status: BulkStatus) {
        match what {
            ProposedWhat::Offer(offer) => self.tell_done(Subject::YourOffer, offer.id, status),
            ProposedWhat::Request { id, .. } => {
                self.tell_done(Subject::YourRequest, *id, status);
            }
        }
    }

    /// The peer has taken an offer or a request back.
    pub(super) fn withdraw(&mut self, subject: Subject, id: u32) {
        self.proposed.retain(|it| match (&it.what, subject) {
            (ProposedWhat::Offer(offer), Subject::MyOffer) => offer.id != id,
            (ProposedWhat::Request { id: request, .. }, Subject::MyRequest) => *request != id,
            _ => true,
        });
    }

    fn cancel_receiving(&mut self, key: u64) {
        let error = TransferError::Here(BulkStatus::CANCELLED);
        if let Some(at) = self.accepted.iter().position(|it| it.key == key)
            && let Some(accepted) = self.accepted.remove(at)
        {
            self.tell_done(Subject::YourOffer, accepted.offer.id, BulkStatus::CANCELLED);
            accepted.transfer.end(Err(error));
        } else {
            self.end_receiving(key, Err(error), true);
        }
    }
}
