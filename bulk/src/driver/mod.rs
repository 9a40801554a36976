//! Bulk on a link: what tasks, threads and the application do with the two sides of transfers.

mod attend;
mod messages;
mod origin;
mod proposal;
mod receiving;
mod sending;
mod sources;
mod state;

use core::fmt;
use std::sync::Arc;
use std::time::Duration;

use deltawire_channels::{Message, Receiver};
use deltawire_framing::bulk::{BulkStatus, GetWhat, Subject};
use deltawire_link::runtime::{SharedRuntime, sleep};
use deltawire_link::{Link, LinkEnded};

#[cfg(all(feature = "files", any(unix, target_arch = "wasm32")))]
pub(crate) use messages::{hashes as hashes_message, piece as piece_message};
use origin::Origin;
pub use proposal::{Offer, Proposal, Request};
#[cfg(all(feature = "files", any(unix, target_arch = "wasm32")))]
pub(crate) use receiving::Work;
use receiving::{GetStep, Getting};
use sending::{Sending, Step};
pub(crate) use state::Shared;

use crate::error::{AttendError, Refused, TransferError};
use crate::name::FileName;
use crate::options::{BulkOptions, InvalidOptions};
use crate::sink::Sink;
use crate::source::{InMemory, Source, SourceKind};
use crate::transfer::Transfer;

/// Files that go over a link, both ways. Clones are handles on the same.
///
/// [`attend`](Self::attend) has them go over one link. What this side sends and asks for outlives it: over the next link it
/// goes on with what is missing. What the peer sends ends with its link, and goes on when the peer offers it again.
///
/// All of it goes over the data channel. Pieces have a source of their own of the lowest priority, so that whatever else
/// the application sends overtakes them.
#[derive(Clone)]
pub struct Bulk {
    shared: Arc<Shared>,
    runtime: SharedRuntime,
}

/// A transfer that shutting down ended.
#[derive(Clone, Debug)]
pub struct Unfinished {
    /// Of which file.
    pub name: FileName,
    /// Its handle.
    pub transfer: Transfer,
}

impl Bulk {
    /// Bulk without a link yet, which takes time from `runtime`.
    ///
    /// # Errors
    /// When the options cannot be kept.
    pub fn new(runtime: SharedRuntime, options: BulkOptions) -> Result<Self, InvalidOptions> {
        options.validate()?;
        let shared = Shared::new(options);
        shared.lock().now = runtime.now();
        Ok(Self { shared, runtime })
    }

    /// Has files go over a link, until that ends; `receive` is the receiver of its peer. One at a time. The application keeps
    /// the peer's senders and its commands. Messages that are not about bulk are passed over.
    ///
    /// Cancel safe: what this side sends and asks for goes on over the next link.
    ///
    /// # Errors
    /// When the link cannot take bulk.
    pub async fn attend(&self, link: &Link, receive: Receiver) -> Result<LinkEnded, AttendError> {
        let others = |message: Message| {
            tracing::debug!(kind = ?message.kind(), "a message that is not about bulk was passed over");
        };
        self.attend_beside(link, receive, others).await
    }

    /// The same, and gives `others` the messages that are not about bulk, which it may keep: see [`Message`]. It is called by
    /// the task, so it does not wait.
    ///
    /// # Errors
    /// As [`attend`](Self::attend).
    pub async fn attend_beside(
        &self,
        link: &Link,
        receive: Receiver,
        others: impl FnMut(Message),
    ) -> Result<LinkEnded, AttendError> {
        attend::over_link(&self.shared, &self.runtime, link, receive, others).await?;
        Ok(link.closed().await)
    }

    /// Sends a file: has it offered as soon as there is a link. Its hash is calculated first: of memory here, of a file on a
    /// thread.
    ///
    /// # Errors
    /// When too many wait, or the file cannot be cut.
    pub fn send(&self, source: Source, name: FileName) -> Result<Transfer, Refused> {
        self.send_for(source, name, 0)
    }

    /// Sends a file that the peer has asked for; `request` is 0 if it has not.
    fn send_for(&self, source: Source, name: FileName, request: u32) -> Result<Transfer, Refused> {
        let piece_len = {
            let state = self.shared.lock();
            state.check_open(state.sending.len())?;
            state.options.piece_len
        };
        // Without the lock: of much memory it takes long.
        let (origin, layout) = match &source.0 {
            SourceKind::Memory(bytes) => {
                let memory = InMemory::new(bytes.clone(), piece_len)?;
                let layout = *memory.layout();
                (Origin::Memory(memory), Some(layout))
            }
            #[cfg(all(feature = "files", any(unix, target_arch = "wasm32")))]
            _ => (Origin::Read(origin::Reading::default()), None),
        };
        let mut state = self.shared.lock();
        state.check_open(state.sending.len())?;
        let key = state.key();
        let weak = Arc::downgrade(&self.shared);
        let transfer = Transfer::new(move || {
            if let Some(shared) = weak.upgrade() {
                let error = TransferError::Here(BulkStatus::CANCELLED);
                shared.lock().end_sending(key, Err(error), true);
            }
        });
        transfer.update(|progress| progress.len = layout.map_or(0, |layout| layout.len()));
        let sending = Sending {
            transfer: transfer.clone(),
            name,
            modified: 0,
            request,
            origin,
            layout,
            step: Step::Waiting { until: Duration::ZERO },
            retries: 0,
        };
        state.sending.insert(key, sending);
        #[cfg(all(feature = "files", unix))]
        if let SourceKind::File(path) = source.0 {
            let spawned = crate::files::spawn_reader(self.shared.clone(), key, path, piece_len);
            if let Err(error) = spawned {
                let error = TransferError::io("start a thread")(error);
                state.end_sending(key, Err(error), true);
            }
        }
        #[cfg(all(feature = "files", target_arch = "wasm32"))]
        if let SourceKind::Blob(blob) = source.0 {
            crate::browser::spawn_reader(self.shared.clone(), key, blob, piece_len);
        }
        state.offer_next();
        state.wake_attendant();
        Ok(transfer)
    }

    /// Asks the peer for a file of this name, as soon as there is a link.
    ///
    /// # Errors
    /// When too many wait.
    pub fn get(&self, name: FileName, sink: Sink) -> Result<Transfer, Refused> {
        self.ask_for(GetWhat::File, Some(name), sink)
    }

    /// Asks the peer what files it has. What it answers is for the application to read.
    ///
    /// # Errors
    /// When too many wait.
    pub fn get_catalogue(&self, sink: Sink) -> Result<Transfer, Refused> {
        self.ask_for(GetWhat::Catalogue, None, sink)
    }

    fn ask_for(
        &self,
        what: GetWhat,
        name: Option<FileName>,
        sink: Sink,
    ) -> Result<Transfer, Refused> {
        let mut state = self.shared.lock();
        state.check_open(state.getting.len())?;
        let id = state.id();
        let weak = Arc::downgrade(&self.shared);
        let transfer = Transfer::new(move || {
            if let Some(shared) = weak.upgrade() {
                shared.lock().cancel_get(id, BulkStatus::CANCELLED);
            }
        });
        let getting =
            Getting { what, name, sink, transfer: transfer.clone(), step: GetStep::Waiting };
        state.getting.insert(id, getting);
        state.ask_again();
        Ok(transfer)
    }

    /// Waits for the next thing that the peer would send, or have. `None` when bulk was shut down.
    ///
    /// Cancel safe. Without anybody who asks, proposals wait until there are too many, and are then refused.
    pub async fn proposals(&self) -> Option<Proposal> {
        loop {
            let changed = self.shared.changed.listen();
            {
                let mut state = self.shared.lock();
                if let Some(proposal) = self.take_proposal(&mut state) {
                    return Some(proposal);
                }
                if state.refusing || state.closed {
                    return None;
                }
            }
            changed.await;
        }
    }

    /// Refuses what is new, waits for what goes on, for `within` at most, and ends the rest: what was received of it is kept for
    /// another transfer. Gives those that were ended.
    pub async fn shut_down(&self, within: Duration) -> Vec<Unfinished> {
        let deadline = self.runtime.now().saturating_add(within);
        {
            let mut state = self.shared.lock();
            state.refusing = true;
            for proposed in core::mem::take(&mut state.proposed) {
                state.refuse(&proposed.what, BulkStatus::GOING_AWAY);
            }
            state.note_change();
        }
        while self.runtime.now() < deadline {
            if !self.shared.lock().is_timed() {
                break;
            }
            sleep(&*self.runtime, Duration::from_millis(10)).await;
        }
        let mut state = self.shared.lock();
        let unfinished = state.end_all(BulkStatus::GOING_AWAY);
        state.closed = true;
        state.wake_attendant();
        state.note_change();
        unfinished
    }

    /// Whether it goes over a link now.
    #[must_use]
    pub fn is_attended(&self) -> bool {
        self.shared.lock().attended
    }

    /// How many transfers go on or wait.
    #[must_use]
    pub fn transfers(&self) -> usize {
        let state = self.shared.lock();
        state.sending.len() + state.receiving.len() + state.accepted.len()
    }
}

impl state::State {
    /// Ends a request of this side's, wherever it is.
    fn cancel_get(&mut self, id: u32, status: BulkStatus) {
        let error = TransferError::Here(status);
        if let Some(at) = self.accepted.iter().position(|it| it.get == Some(id))
            && let Some(accepted) = self.accepted.remove(at)
        {
            self.tell_done(Subject::YourOffer, accepted.offer.id, status);
        } else if let Some(key) = self.receiving_for(id) {
            return self.end_receiving(key, Err(error), true);
        } else {
            self.tell_done(Subject::MyRequest, id, status);
        }
        self.end_getting(id, error);
    }

    fn end_all(&mut self, status: BulkStatus) -> Vec<Unfinished> {
        let mut unfinished = Vec::new();
        let error = || Err(TransferError::Here(status));
        // Nothing that waits begins in place of what ends.
        for accepted in core::mem::take(&mut self.accepted) {
            self.tell_done(Subject::YourOffer, accepted.offer.id, status);
            accepted.transfer.end(error());
            let (name, transfer) = (accepted.offer.name, accepted.transfer);
            unfinished.push(Unfinished { name, transfer });
        }
        let waiting: Vec<u64> = self.sending.keys().rev().copied().collect();
        for key in waiting {
            if let Some(sending) = self.sending.get(&key) {
                let (name, transfer) = (sending.name.clone(), sending.transfer.clone());
                unfinished.push(Unfinished { name, transfer });
            }
            self.end_sending(key, error(), true);
        }
        for key in self.receiving.keys().copied().collect::<Vec<_>>() {
            if let Some(receiving) = self.receiving.get(&key) {
                let (name, transfer) = (receiving.offer.name.clone(), receiving.transfer.clone());
                unfinished.push(Unfinished { name, transfer });
            }
            self.end_receiving(key, error(), true);
        }
        for id in self.getting.keys().copied().collect::<Vec<_>>() {
            self.tell_done(Subject::MyRequest, id, status);
            self.end_getting(id, TransferError::Here(status));
        }
        unfinished
    }
}

impl fmt::Debug for Bulk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.lock();
        f.debug_struct("Bulk")
            .field("attended", &state.attended)
            .field("sending", &state.sending.len())
            .field("receiving", &state.receiving.len())
            .finish_non_exhaustive()
    }
}
