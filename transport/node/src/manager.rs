//! Which links a node has, and what became of them: the same on every platform, without I/O.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use deltawire_framing::control::Role;
use deltawire_link::{
    Identity, Link, LinkEnded, LinkId, LinkState, Resumed, SessionName, Sessions, Undelivered,
};

use crate::addresses::Addresses;

#[cfg(test)]
mod tests;

/// What bounds a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLimits {
    /// Links that are open or being opened. Default: 1,024.
    pub max_peers: usize,
    /// Links that are being opened, of those that peers started, and peers that are not let in yet: who only
    /// starts them takes no more. Default: 64.
    pub max_pending: usize,
    /// The same of those that came from one address, so that one cannot take all places; of IPv6 the first 64
    /// bits count. Default: 16.
    pub max_pending_per_address: usize,
    /// Links that are open or being opened, of those that came from one address. Raise it where many peers share an address; where they come through a proxy,
    /// name that (`SignallingOptions::trusted_proxies`). Default: 128, an eighth of `max_peers`.
    pub max_per_address: usize,
    /// Events that wait for [`Node::event`](crate::Node::event); beyond, the oldest are dropped and
    /// counted. Default: 256.
    pub max_events: usize,
}

impl Default for NodeLimits {
    fn default() -> Self {
        Self {
            max_peers: 1_024,
            max_pending: 64,
            max_pending_per_address: 16,
            max_per_address: 128,
            max_events: 256,
        }
    }
}

/// Why a node takes no more links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CapacityError {
    /// [`NodeLimits::max_peers`].
    #[error("the node has {limit} peers, as many as max_peers allows")]
    Peers {
        /// The limit.
        limit: usize,
    },
    /// [`NodeLimits::max_pending`].
    #[error("{limit} links are being opened, as many as max_pending allows")]
    Pending {
        /// The limit.
        limit: usize,
    },
    /// [`NodeLimits::max_pending_per_address`].
    #[error(
        "{limit} links from one address are being opened, as many as max_pending_per_address allows"
    )]
    PendingOfAddress {
        /// The limit.
        limit: usize,
    },
    /// [`NodeLimits::max_per_address`].
    #[error("one address has {limit} peers, as many as max_per_address allows")]
    OfAddress {
        /// The limit.
        limit: usize,
    },
    /// It shuts down.
    #[error("the node is shutting down")]
    ShuttingDown,
}

/// What happened to a node's links.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeEvent {
    /// A link is open: the peer said hello.
    Up {
        /// Names the link.
        id: LinkId,
        /// Whether this side started it.
        role: Role,
    },
    /// A link that was open has ended, or one that was being opened will not be.
    Down {
        /// Names the link.
        id: LinkId,
        /// Why it ended.
        ended: LinkEnded,
        /// What its application had committed and was not delivered.
        undelivered: Undelivered,
    },
    /// What a link went over is gone, and its session waits for another: see
    /// [`NodeBuilder::resume`](crate::NodeBuilder::resume).
    Detached {
        /// Names the link.
        id: LinkId,
        /// Why it is gone.
        why: LinkEnded,
    },
    /// A link's session goes on.
    Resumed {
        /// Names the link.
        id: LinkId,
        /// After how long, over what, and what is sent again.
        resumed: Resumed,
    },
    /// A STUN or TURN server was of no use to a link that is being opened, which does without it.
    #[cfg(all(feature = "turn", not(target_arch = "wasm32")))]
    IceServer(crate::IceServerError),
    /// So many events were dropped because nobody took them.
    Missed(u64),
}

/// How far a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerState {
    /// It is being opened.
    Connecting,
    /// The peer said hello.
    Open,
    /// What it went over is gone, and its session waits for another.
    Detached,
}

/// A link as a node lists it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PeerInfo {
    /// Its handle.
    pub link: Link,
    /// How far it is.
    pub state: PeerState,
}

/// The links of a node.
#[derive(Debug)]
pub(crate) struct ConnectionManager {
    limits: NodeLimits,
    next_id: u64,
    peers: BTreeMap<LinkId, PeerInfo>,
    /// Links that have ended and whose last words are on their way: they keep their places.
    leaving: BTreeSet<LinkId>,
    /// Those whose sessions have nothing to go over: they take no places of peers'.
    detached: usize,
    /// Links whose sessions went on over others' places, by these.
    merged: BTreeMap<LinkId, LinkId>,
    sessions: Option<Arc<Sessions>>,
    /// Of those that are being opened, the ones that peers started.
    pending: usize,
    /// Peers that are not let in yet: they count as pending.
    arriving: usize,
    /// The addresses from which links were asked for, if they are known.
    addresses: Addresses,
    events: VecDeque<NodeEvent>,
    missed: u64,
    shutting_down: bool,
}

impl ConnectionManager {
    /// Without any links.
    #[must_use]
    pub(crate) fn new(limits: NodeLimits, sessions: Option<Arc<Sessions>>) -> Self {
        Self {
            detached: 0,
            merged: BTreeMap::new(),
            sessions,
            limits,
            next_id: 1,
            peers: BTreeMap::new(),
            leaving: BTreeSet::new(),
            pending: 0,
            arriving: 0,
            addresses: Addresses::default(),
            events: VecDeque::new(),
            missed: 0,
            shutting_down: false,
        }
    }

    pub(crate) fn limits(&self) -> NodeLimits {
        self.limits
    }

    /// Makes a place for a link that is about to be opened; `from` is the address that asked for it.
    pub(crate) fn begin(
        &mut self,
        role: Role,
        from: Option<IpAddr>,
        identity: Option<Identity>,
        goes_on: Option<SessionName>,
    ) -> Result<(Link, Arc<LinkState>), CapacityError> {
        let NodeLimits { max_peers, max_pending, .. } = self.limits;
        if self.shutting_down {
            return Err(CapacityError::ShuttingDown);
        }
        if self.peers.len() - self.detached + self.leaving.len() >= max_peers {
            return Err(CapacityError::Peers { limit: max_peers });
        }
        if role == Role::Acceptor && self.pending + self.arriving >= max_pending {
            return Err(CapacityError::Pending { limit: max_pending });
        }
        let id = LinkId(self.next_id);
        if let Some(from) = from {
            self.addresses.add(id, from, self.limits)?;
        }
        self.next_id += 1;
        let (link, shared) =
            Link::with_sessions(id, role, identity, self.sessions.clone(), goes_on);
        self.pending += usize::from(role == Role::Acceptor);
        self.peers.insert(id, PeerInfo { link: link.clone(), state: PeerState::Connecting });
        Ok((link, shared))
    }

    /// The peer said hello.
    pub(crate) fn opened(&mut self, id: LinkId) -> Option<Link> {
        let info = self.peers.get_mut(&id)?;
        let (link, role) = (info.link.clone(), info.link.role());
        if info.state == PeerState::Connecting {
            info.state = PeerState::Open;
            self.addresses.settled(id);
            self.pending -= usize::from(role == Role::Acceptor);
            self.push(NodeEvent::Up { id, role });
        }
        Some(link)
    }

    /// It is over.
    /// Gives the link, once.
    pub(crate) fn ended(&mut self, id: LinkId, ended: LinkEnded) -> Option<Link> {
        let id = self.link_of(id);
        let info = self.peers.remove(&id)?;
        self.detached -= usize::from(info.state == PeerState::Detached);
        let pending = info.state == PeerState::Connecting && info.link.role() == Role::Acceptor;
        self.pending -= usize::from(pending);
        if info.state == PeerState::Connecting {
            self.addresses.settled(id);
        }
        self.leaving.insert(id);
        let undelivered = info.link.undelivered();
        self.push(NodeEvent::Down { id, ended, undelivered });
        Some(info.link)
    }

    /// Nothing of it is left.
    pub(crate) fn gone(&mut self, id: LinkId) {
        let id = self.merged.remove(&id).unwrap_or(id);
        self.leaving.remove(&id);
        self.addresses.gone(id);
    }

    /// The link whose session goes over the place that was begun for this one.
    fn link_of(&self, place: LinkId) -> LinkId {
        self.merged.get(&place).copied().unwrap_or(place)
    }

    /// A session goes on in this place, which was begun for it. Gives its link.
    pub(crate) fn merged(&mut self, place: LinkId, id: LinkId) -> Option<Link> {
        let begun = self.peers.remove(&place)?;
        let pending = begun.state == PeerState::Connecting;
        self.pending -= usize::from(pending && begun.link.role() == Role::Acceptor);
        if pending {
            self.addresses.settled(place);
        }
        self.addresses.rename(place, id);
        self.merged.insert(place, id);
        let info = self.peers.get_mut(&id)?;
        self.detached -= usize::from(info.state == PeerState::Detached);
        info.state = PeerState::Open;
        Some(info.link.clone())
    }

    /// It goes on on both sides.
    pub(crate) fn resumed(&mut self, place: LinkId, resumed: Resumed) {
        let id = self.link_of(place);
        self.push(NodeEvent::Resumed { id, resumed });
    }

    /// What it went over is gone, and its session waits for another.
    pub(crate) fn detached(&mut self, place: LinkId, why: LinkEnded) {
        let id = self.merged.remove(&place).unwrap_or(place);
        self.addresses.gone(id);
        let Some(info) = self.peers.get_mut(&id) else { return };
        info.state = PeerState::Detached;
        self.detached += 1;
        self.push(NodeEvent::Detached { id, why });
    }

    /// Whether nothing of any link is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.peers.is_empty() && self.leaving.is_empty()
    }

    /// Takes no more links from here on. Gives those that there are.
    pub(crate) fn shut_down(&mut self) -> Vec<Link> {
        self.shutting_down = true;
        self.peers.values().map(|info| info.link.clone()).collect()
    }

    /// Whether it takes no more links.
    #[must_use]
    pub(crate) fn is_shutting_down(&self) -> bool {
        self.shutting_down
    }

    /// A link that is open or being opened.
    pub(crate) fn link(&self, id: LinkId) -> Option<Link> {
        self.peers.get(&id).map(|info| info.link.clone())
    }

    /// All links, in the order in which they were begun.
    pub(crate) fn peers(&self) -> impl Iterator<Item = &PeerInfo> {
        self.peers.values()
    }

    /// What happened next.
    pub(crate) fn poll_event(&mut self) -> Option<NodeEvent> {
        if self.missed > 0 {
            return Some(NodeEvent::Missed(std::mem::take(&mut self.missed)));
        }
        self.events.pop_front()
    }

    /// A server was of no use.
    #[cfg(all(feature = "turn", not(target_arch = "wasm32")))]
    pub(crate) fn ice_server_failed(&mut self, error: crate::IceServerError) {
        self.push(NodeEvent::IceServer(error));
    }

    fn push(&mut self, event: NodeEvent) {
        if self.events.len() >= self.limits.max_events {
            self.events.pop_front();
            self.missed += 1;
        }
        self.events.push_back(event);
    }
}

/// Peers that are not let in yet.
#[allow(dead_code, reason = "of kinds of links that let peers in by themselves")]
impl ConnectionManager {
    /// Counts a peer that is not let in yet; `from` is where it is, once it has shown that it is there.
    pub(crate) fn arrive(&mut self, from: Option<IpAddr>) -> Result<(), CapacityError> {
        let NodeLimits { max_pending, .. } = self.limits;
        if self.shutting_down {
            return Err(CapacityError::ShuttingDown);
        }
        if self.pending + self.arriving >= max_pending {
            return Err(CapacityError::Pending { limit: max_pending });
        }
        if let Some(from) = from {
            self.addresses.arrive(from, self.limits)?;
        }
        self.arriving += 1;
        Ok(())
    }

    /// A peer that is not let in yet has shown that it is there.
    pub(crate) fn validated(&mut self, from: IpAddr) -> Result<(), CapacityError> {
        self.addresses.arrive(from, self.limits)
    }

    /// A peer that was not let in yet is no more, or is a link from here on.
    pub(crate) fn leave(&mut self, from: Option<IpAddr>) {
        self.arriving -= 1;
        if let Some(from) = from {
            self.addresses.leave(from);
        }
    }
}
