//! Sockets of links that this side starts: those to different hosts share one, and its task.
//!
//! Datagrams of two links over the same two sockets could not be told apart, so a second link to the same
//! host, or to an address that another link over the socket has, gets another socket.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use deltawire_channels::Peer;
use deltawire_channels::session::Closed;
use deltawire_link::runtime::SharedRuntime;
use deltawire_link::{Detached, Resumed};
use deltawire_link::{LinkEnded, LinkId};
use deltawire_webrtc::Routes;
use tokio::sync::mpsc;

use super::NativeEngine;
use super::driver::{Driver, Observer, Request};
use crate::network::Network;
use crate::udp::{REQUESTS, Socket};

/// Links of a socket whose driver finds those that have something to do without looking at all of them.
const CAPACITY: usize = 64;

/// The sockets that there are.
#[derive(Clone)]
pub(super) struct Outgoing {
    network: Network,
    sockets: Arc<Mutex<Vec<Shared>>>,
}

/// A socket, and where its links lead.
struct Shared {
    /// Whether it is one link's alone.
    alone: bool,
    local: Local,
    address: SocketAddr,
    burst: u32,
    requests: mpsc::Sender<Request<NativeEngine>>,
    remotes: HashMap<LinkId, Remote>,
    /// Whether a link over it heard nothing: it may be the socket's fault, so no other link gets it.
    retired: bool,
}

/// What links over one socket have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Local {
    /// They live and end with this address.
    Address(IpAddr),
    /// They go on when the host, which has this address now, gets another one.
    Host(IpAddr),
}

/// Where a link leads.
#[derive(Debug, Default)]
struct Remote {
    /// Where its offer went.
    host: (String, u16),
    /// The candidates of its answer.
    addresses: Vec<SocketAddr>,
}

/// A link's part of a socket, until its driver has it.
pub(super) struct Ticket {
    pub(super) address: SocketAddr,
    /// How many bytes may come to the socket at once.
    pub(super) burst: u32,
    pub(super) requests: mpsc::Sender<Request<NativeEngine>>,
    outgoing: Outgoing,
    id: LinkId,
    kept: bool,
}

impl Outgoing {
    pub(super) fn new(network: Network) -> Self {
        Self { network, sockets: Arc::default() }
    }

    fn sockets(&self) -> MutexGuard<'_, Vec<Shared>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A socket for this link to `host`, in which nobody else has it; `alone` asks for a new one.
    pub(super) fn socket(
        &self,
        id: LinkId,
        local: Local,
        host: (String, u16),
        buffer: usize,
        runtime: &SharedRuntime,
        alone: bool,
    ) -> io::Result<Ticket> {
        let mut sockets = self.sockets();
        let fits = |shared: &&mut Shared| {
            !alone
                && !shared.alone
                && !shared.retired
                && shared.local == local
                && !shared.requests.is_closed()
                && shared.remotes.values().all(|remote| remote.host != host)
        };
        let remote = Remote { host: host.clone(), addresses: Vec::new() };
        if let Some(shared) = sockets.iter_mut().find(fits) {
            shared.remotes.insert(id, remote);
            return Ok(self.ticket(shared, id));
        }
        let socket = match local {
            Local::Address(address) => {
                Socket::bind(&**runtime, SocketAddr::new(address, 0), buffer)?
            }
            Local::Host(known) => Socket::bind_to_host(&**runtime, known, buffer)?,
        };
        let (requests, receiver) = mpsc::channel(REQUESTS);
        let (address, burst) = (socket.local_address(), socket.burst());
        let remotes = HashMap::from([(id, remote)]);
        let shared = Shared { alone, local, address, burst, requests, remotes, retired: false };
        let ticket = self.ticket(&shared, id);
        sockets.push(shared);
        drop(sockets);
        let driver = Driver::new(
            socket,
            Routes::of_initiators(),
            receiver,
            self.clone(),
            runtime.clone(),
            CAPACITY,
        );
        runtime.spawn(Box::pin(driver.run()));
        Ok(ticket)
    }

    fn ticket(&self, shared: &Shared, id: LinkId) -> Ticket {
        let Shared { address, burst, .. } = *shared;
        let requests = shared.requests.clone();
        Ticket { address, burst, requests, outgoing: self.clone(), id, kept: false }
    }

    /// This link needs its socket no more. One that nobody needs is given up: its driver ends when nobody
    /// can ask it for anything.
    fn forget(&self, id: LinkId) {
        self.sockets().retain_mut(|shared| {
            shared.remotes.remove(&id);
            !shared.remotes.is_empty()
        });
    }
}

impl Ticket {
    /// Notes where the peer is. Says whether no other link over the socket leads there.
    pub(super) fn leads_to(&self, addresses: Vec<SocketAddr>) -> bool {
        let mut sockets = self.outgoing.sockets();
        let Some(shared) = sockets.iter_mut().find(|it| it.remotes.contains_key(&self.id)) else {
            return false;
        };
        let mut others = shared.remotes.iter().filter(|(id, _)| **id != self.id);
        if others.any(|(_, other)| other.addresses.iter().any(|it| addresses.contains(it))) {
            return false;
        }
        if let Some(remote) = shared.remotes.get_mut(&self.id) {
            remote.addresses = addresses;
        }
        true
    }

    /// The driver has the link, and says when it is gone.
    pub(super) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.kept {
            self.outgoing.forget(self.id);
        }
    }
}

impl Observer for Outgoing {
    fn opened(&self, id: LinkId, peer: Peer) {
        self.network.opened(id, peer);
    }

    fn ended(&self, id: LinkId, ended: LinkEnded) {
        self.note_end(id, &ended);
        self.network.ended(id, ended);
    }

    fn gone(&self, id: LinkId) {
        self.forget(id);
        self.network.gone(id);
    }

    fn merged(&self, id: LinkId, link: LinkId, peer: Peer) {
        self.network.merged(id, link, peer);
    }

    fn resumed(&self, id: LinkId, resumed: Resumed) {
        self.network.resumed(id, resumed);
    }

    fn detached(&self, id: LinkId, detached: Box<Detached>) {
        self.note_end(id, detached.why());
        self.forget(id);
        self.network.detached(id, detached);
    }
}

impl Outgoing {
    /// Where nothing came back, the next link has a socket of its own.
    fn note_end(&self, id: LinkId, ended: &LinkEnded) {
        let is_silence = match ended {
            LinkEnded::NotReached(_) => true,
            LinkEnded::Session(Closed::Error(error)) => error.is_silence(),
            _ => false,
        };
        if is_silence {
            let mut sockets = self.sockets();
            let of = sockets.iter_mut().find(|shared| shared.remotes.contains_key(&id));
            if let Some(shared) = of {
                shared.retired = true;
            }
        }
    }
}
