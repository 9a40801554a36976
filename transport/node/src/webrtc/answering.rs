//! Answers offers, for signalling and for who brings them by other means.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use deltawire_framing::control::Role;
use deltawire_link::{Connection, Identity, LinkId, TransportError};
#[cfg(feature = "turn")]
use deltawire_sdp::Description;
use deltawire_sdp::MAX_CANDIDATES;
use deltawire_sdp::grammar::Candidate;
use deltawire_signalling::{Answer, Answerer, OfferedLink, Offerer, Refusal, ResourceId};
use deltawire_webrtc::{Engine, EngineConfig, EngineError};

use super::NativeEngine;
use super::driver::{Added, Request};
#[cfg(feature = "turn")]
use super::gathering;
use crate::rooms::OF_ROOMS;
use crate::{CapacityError, Node};

/// An offer was not answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The node takes no more links.
    #[error(transparent)]
    Capacity(#[from] CapacityError),
    /// The offer is malformed, has no data channels, or asks for what this node cannot do.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The node listens nowhere.
    #[error("this node accepts nobody: give it an address with NodeBuilder::listen")]
    NotListening,
    /// The link cannot be set up with this node's options.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The node's socket is gone.
    #[error("the task that moves the node's socket has ended")]
    Stopped,
    /// The system gave no randomness.
    #[error("the system gave no random bytes: {0}")]
    Random(io::Error),
}

impl AnswerError {
    /// Whether no other offer would be answered either.
    pub(crate) fn is_of_this_node(&self) -> bool {
        matches!(self, Self::NotListening | Self::Stopped | Self::Random(_))
    }
}

/// What offers made, by the id that signalling gave them.
#[derive(Clone, Debug, Default)]
pub(super) struct Resources {
    table: Arc<Mutex<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    by_id: HashMap<ResourceId, Resource>,
    by_link: HashMap<LinkId, ResourceId>,
}

#[derive(Clone, Copy, Debug)]
struct Resource {
    link: LinkId,
    listener: usize,
    candidates: usize,
}

impl Resources {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, id: ResourceId, link: LinkId, listener: usize, candidates: usize) {
        let mut table = self.table();
        table.by_id.insert(id, Resource { link, listener, candidates });
        table.by_link.insert(link, id);
    }

    pub(super) fn remove(&self, link: LinkId) {
        let mut table = self.table();
        if let Some(id) = table.by_link.remove(&link) {
            table.by_id.remove(&id);
        }
    }
}

/// Answers, and has the link driven. Connectivity checks are left to who offers if the node's options say so.
pub(super) async fn answer(
    node: &Node,
    offer: &str,
    from: Option<IpAddr>,
    identity: Option<Identity>,
) -> Result<Answer, AnswerError> {
    begin(node, offer, from, identity, |_| {}).await
}

/// Answers, and has the link driven; this side checks too, which opens its firewall.
pub(super) async fn answer_checking(node: &Node, offer: &str) -> Result<Answer, AnswerError> {
    begin(node, offer, Some(OF_ROOMS), None, |config| config.ice_lite = false).await
}

async fn begin(
    node: &Node,
    offer: &str,
    from: Option<IpAddr>,
    identity: Option<Identity>,
    change: impl FnOnce(&mut EngineConfig),
) -> Result<Answer, AnswerError> {
    let (inner, runtime) = (node.inner(), node.runtime());
    let webrtc = &inner.webrtc;
    let (index, listener) = webrtc.listener().ok_or(AnswerError::NotListening)?;
    let reservation = inner.network.begin_accept(from, identity.clone())?;
    let link = reservation.id();
    let Some(local) = listener.addresses.first() else { return Err(AnswerError::NotListening) };
    let mut config = webrtc.engine(local.ip(), listener.burst);
    change(&mut config);
    #[cfg(feature = "turn")]
    let relay = if config.ice_lite {
        None
    } else {
        // What is none costs no servers.
        Description::read(offer).map_err(EngineError::from)?;
        let local = &listener.addresses;
        let gathered = Box::pin(gathering::gather(node, local, &listener.requests)).await;
        gathered.tell(&mut config);
        gathered.relay
    };
    let now = runtime.now();
    let (engine, sdp) = NativeEngine::answer(&config, &listener.addresses, offer, now)?;
    let (user_fragment, named) = (engine.user_fragment().to_owned(), engine.candidates());
    let config = inner
        .settings
        .connection(Role::Acceptor, identity.as_ref(), &**runtime)
        .map_err(AnswerError::Random)?;
    let state = reservation.state().clone();
    let connection = Box::new(Connection::new(engine, config, state, now)?);
    let mut id = [0; 16];
    runtime.random(&mut id).map_err(AnswerError::Random)?;
    let id = ResourceId::new(id);
    let Ok(request) = listener.requests.reserve().await else {
        return Err(AnswerError::Stopped);
    };
    webrtc.resources.add(id, link, index, named);
    request.send(Request::Add(Added {
        connection,
        user_fragment,
        #[cfg(feature = "turn")]
        relay,
    }));
    reservation.take();
    tracing::debug!(%link, "answered an offer");
    Ok(Answer { id, sdp })
}

impl Answerer for Node {
    async fn answer(&self, offer: String, from: Offerer) -> Result<Answer, Refusal> {
        let network = from.network();
        answer(self, &offer, network, from.identity).await.map_err(Refusal::from)
    }

    fn add_candidates(&self, id: &ResourceId, candidates: Vec<String>) -> Result<(), Refusal> {
        for candidate in &candidates {
            if let Err(broken) = Candidate::read(candidate) {
                let (field, value) = (broken.field, broken.value.to_owned());
                return Err(Refusal::Malformed { field, value, expected: broken.expected });
            }
        }
        let mut table = self.inner().webrtc.resources.table();
        let resource = table.by_id.get_mut(id).ok_or(Refusal::Unknown)?;
        let named = resource.candidates + candidates.len();
        if named > MAX_CANDIDATES {
            return Err(Refusal::TooManyCandidates { limit: MAX_CANDIDATES });
        }
        self.request(resource.listener, Request::Candidates(resource.link, candidates))?;
        resource.candidates = named;
        Ok(())
    }

    fn links(&self) -> Vec<OfferedLink> {
        let webrtc = (!self.inner().webrtc.listeners.is_empty()).then_some("webrtc");
        let websocket = cfg!(feature = "websocket").then_some("websocket");
        let here = websocket.into_iter().chain(webrtc).map(OfferedLink::here);
        #[cfg(all(feature = "quic", feature = "signalling-server"))]
        let here = self.inner().quic.offered().into_iter().chain(here);
        here.collect()
    }

    #[cfg(all(feature = "quic", feature = "signalling-server"))]
    fn tickets(&self) -> Option<deltawire_signalling::Tickets> {
        self.inner().quic.tickets()
    }

    #[cfg(all(feature = "quic", feature = "signalling-server"))]
    fn needs_tickets(&self) -> bool {
        self.inner().quic.needs_tickets()
    }

    #[cfg(all(feature = "signalling-server", feature = "websocket"))]
    fn websocket(&self, from: Offerer) -> Result<deltawire_signalling::AttachStream, Refusal> {
        self.accept_websocket(from)
    }

    fn hang_up(&self, id: &ResourceId) -> Result<(), Refusal> {
        let table = self.inner().webrtc.resources.table();
        let Resource { link, listener, .. } = *table.by_id.get(id).ok_or(Refusal::Unknown)?;
        drop(table);
        self.request(listener, Request::HangUp(link))?;
        self.inner().webrtc.resources.remove(link);
        Ok(())
    }
}

impl Node {
    fn request(&self, listener: usize, request: Request<NativeEngine>) -> Result<(), Refusal> {
        let listener = self.inner().webrtc.listeners.get(listener).ok_or(Refusal::Unknown)?;
        listener
            .requests
            .try_send(request)
            .map_err(|_| Refusal::Internal { reason: "the driver does not keep up".to_owned() })
    }
}

impl From<AnswerError> for Refusal {
    fn from(error: AnswerError) -> Self {
        match error {
            AnswerError::Capacity(error) => error.into(),
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
