//! Answers offers, for signalling and for who brings them by other means.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::*;
use crate::connection::Connection;
use crate::engine::sdp::Candidate;
use crate::engine::{DescriptionError, Engine, EngineError, MAX_CANDIDATES};
use crate::node::Full;
use crate::signalling::{Answer, Answerer, Refusal, ResourceId, network};

/// An offer was not answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The node takes no more links.
    #[error(transparent)]
    Full(#[from] Full),
    /// The offer is malformed, has no data channels, or asks for what this node cannot do.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The node listens nowhere.
    #[error("this node accepts nobody: give it an address with NodeBuilder::listen")]
    NotListening,
    /// The node's socket is gone.
    #[error("the task that moves the node's socket has ended")]
    Stopped,
    /// The system gave no randomness.
    #[error("the system gave no random bytes: {0}")]
    Random(getrandom::Error),
}

/// What offers made, by the id that signalling gave them.
#[derive(Clone, Debug, Default)]
pub(super) struct Resources {
    table: Arc<Mutex<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    by_id: HashMap<ResourceId, Resource>,
    by_peer: HashMap<PeerId, ResourceId>,
}

#[derive(Clone, Copy, Debug)]
struct Resource {
    peer: PeerId,
    listener: usize,
    candidates: usize,
}

impl Resources {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, id: ResourceId, peer: PeerId, listener: usize, candidates: usize) {
        let mut table = self.table();
        table.by_id.insert(id, Resource { peer, listener, candidates });
        table.by_peer.insert(peer, id);
    }

    pub(super) fn remove(&self, peer: PeerId) {
        let mut table = self.table();
        if let Some(id) = table.by_peer.remove(&peer) {
            table.by_id.remove(&id);
        }
    }
}

/// Answers, and has the link driven.
pub(super) async fn answer(
    inner: &Inner,
    offer: &str,
    from: Option<IpAddr>,
) -> Result<Answer, AnswerError> {
    let (index, listener) = inner.listener().ok_or(AnswerError::NotListening)?;
    let shared = inner.network.begin_accept(from)?;
    let peer = shared.id();
    let place = Place::new(&inner.network, &shared);
    let Some(local) = listener.addresses.first() else { return Err(AnswerError::NotListening) };
    let config = inner.settings.engine(local.ip());
    let now = inner.now();
    let (engine, sdp) = NativeEngine::answer(&config, &listener.addresses, offer, now)?;
    let (user_fragment, named) = (engine.user_fragment().to_owned(), engine.candidates());
    let config = inner.settings.connection(Role::Acceptor).map_err(AnswerError::Random)?;
    let connection = Box::new(Connection::new(engine, config, shared, now));
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(AnswerError::Random)?;
    let id = ResourceId::new(id);
    let Ok(request) = listener.requests.reserve().await else {
        return Err(AnswerError::Stopped);
    };
    inner.resources.add(id, peer, index, named);
    request.send(Request::Add(connection, user_fragment));
    place.take();
    tracing::debug!(%peer, "answered an offer");
    Ok(Answer { id, sdp })
}

impl Answerer for Node {
    async fn answer(&self, offer: String, from: SocketAddr) -> Result<Answer, Refusal> {
        // 0.0.0.0 says that the address is not known.
        let from = Some(from.ip()).filter(|address| !address.is_unspecified()).map(network);
        answer(&self.inner, &offer, from).await.map_err(Refusal::from)
    }

    fn add_candidates(&self, id: &ResourceId, candidates: Vec<String>) -> Result<(), Refusal> {
        for candidate in &candidates {
            if let Err(broken) = Candidate::read(candidate) {
                let (field, value) = (broken.field, broken.value.to_owned());
                return Err(Refusal::Malformed { field, value, expected: broken.expected });
            }
        }
        let mut table = self.inner.resources.table();
        let resource = table.by_id.get_mut(id).ok_or(Refusal::Unknown)?;
        let named = resource.candidates + candidates.len();
        if named > MAX_CANDIDATES {
            return Err(Refusal::TooManyCandidates { limit: MAX_CANDIDATES });
        }
        self.request(resource.listener, Request::Candidates(resource.peer, candidates))?;
        resource.candidates = named;
        Ok(())
    }

    fn hang_up(&self, id: &ResourceId) -> Result<(), Refusal> {
        let table = self.inner.resources.table();
        let Resource { peer, listener, .. } = *table.by_id.get(id).ok_or(Refusal::Unknown)?;
        drop(table);
        self.request(listener, Request::HangUp(peer))?;
        self.inner.resources.remove(peer);
        Ok(())
    }
}

impl Node {
    fn request(&self, listener: usize, request: Request<NativeEngine>) -> Result<(), Refusal> {
        let listener = self.inner.listeners.get(listener).ok_or(Refusal::Unknown)?;
        listener
            .requests
            .try_send(request)
            .map_err(|_| Refusal::Internal { reason: "the driver does not keep up".to_owned() })
    }
}

impl From<AnswerError> for Refusal {
    fn from(error: AnswerError) -> Self {
        match error {
            AnswerError::Full(Full::OfAddress { limit }) => Self::TooManyOfAddress { limit },
            AnswerError::Full(Full::Peers { limit }) => Self::TooManyPeers { limit },
            AnswerError::Full(Full::Pending { limit } | Full::PendingOfAddress { limit }) => {
                Self::TooManyPending { limit }
            }
            AnswerError::Full(_) => Self::ShuttingDown,
            AnswerError::Engine(EngineError::Description(error)) => error.into(),
            AnswerError::Engine(EngineError::Candidate { candidate, .. }) => Self::Malformed {
                field: "candidate",
                value: candidate,
                expected: "must be one that ICE can use (RFC 8839, section 5.1)",
            },
            error => Self::Internal { reason: error.to_string() },
        }
    }
}

impl From<DescriptionError> for Refusal {
    fn from(error: DescriptionError) -> Self {
        match error {
            DescriptionError::Malformed { field, value, expected, .. } => {
                Self::Malformed { field, value, expected }
            }
            DescriptionError::Missing { field } => {
                Self::Unsupported { field, value: String::new(), expected: "must be there" }
            }
            DescriptionError::NoChannels => Self::NoChannels,
            DescriptionError::Unsupported { field, value, expected } => {
                Self::Unsupported { field, value, expected }
            }
            DescriptionError::TooLong { field, len, .. } => Self::Unsupported {
                field,
                value: format!("{len} bytes"),
                expected: "must be shorter: docs/LIMITS.md has the limits",
            },
            DescriptionError::TooManyCandidates { limit } => Self::TooManyCandidates { limit },
        }
    }
}
