//! The peer's files, from when they are accepted to when they are there.

mod ending;
mod moving;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use deltawire_channels::Message;
use deltawire_framing::bulk::{Accept, Bulk, BulkStatus, GetWhat, Subject};
use zerocopy::IntoBytes;

use super::state::{PeerOffer, State, Wakes};
use crate::error::TransferError;
use crate::hashing::Hash;
use crate::incoming::{Bad, Incoming};
use crate::name::FileName;
use crate::pieces::Pieces;
use crate::signal::Signal;
use crate::sink::{Sink, SinkKind};
use crate::transfer::{Phase, Transfer};

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
    message: Message,
}

#[cfg_attr(not(feature = "files"), allow(dead_code))]
impl Arrival {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self.message.frame().bulk() {
            Ok(Bulk::Piece(_, bytes)) => bytes,
            _ => &[],
        }
    }
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
