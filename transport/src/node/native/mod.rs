//! The node of a native process: UDP sockets moved by tasks of the tokio runtime that builds it.

mod answering;
pub(crate) mod builder;
mod connecting;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use deltawire_channels::{Delivery, InvalidLimits, Limits, Order, Peer};
use deltawire_framing::control::Role;
use tokio::sync::mpsc;

pub use self::answering::AnswerError;
use self::answering::Resources;
pub use self::builder::{BuildError, NodeBuilder};
pub use self::connecting::{ConnectError, Offer};
use super::place::Place;
use super::{Backoff, Network, NodeEvent, PeerInfo, Reconnecting, ShutDown};
use crate::connection::ConnectionConfig;
use crate::driver::{Observer, Request};
use crate::engine::{DEFAULT_MTU, EngineConfig, MAX_MTU, Str0m};
use crate::flight::FlightLimits;
use crate::link::{Ended, Link, PeerId, Shared};
use crate::signalling::{self, SignallingClient, SignallingOptions};

/// The WebRTC stack under all links.
type NativeEngine = Str0m;

/// One end of many links: connects to other nodes, and accepts their connections. Clones are
/// handles on the same node.
///
/// Links live on when all handles are dropped; [`shut_down`](Self::shut_down) ends them.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    network: Network,
    client: SignallingClient,
    listeners: Vec<Listener>,
    next_listener: Mutex<usize>,
    resources: Resources,
    start: Instant,
}

/// A socket that accepts.
struct Listener {
    /// Where peers find it.
    addresses: Vec<SocketAddr>,
    requests: mpsc::Sender<Request<NativeEngine>>,
}

/// What all links of a node are made with.
#[derive(Clone, Debug)]
struct Settings {
    engine: EngineConfig,
    mtu: Option<usize>,
    limits: Limits,
    flight: FlightLimits,
    connect_timeout: Duration,
    socket_buffer: usize,
    bind: Option<IpAddr>,
    backoff: Backoff,
    patience: Duration,
}

impl Node {
    /// A node to be set up.
    pub fn builder() -> NodeBuilder {
        NodeBuilder::default()
    }

    /// Connects to the node whose signalling is at `url`, such as `http://127.0.0.1:8080/webrtc`.
    ///
    /// A future that is dropped before it is ready gives the link up; the other node forgets it in time.
    ///
    /// A server that refuses for lack of room and says how long to wait (429 and 503 with
    /// `Retry-After`) is asked again, as long as [`ClientOptions::patience`] allows.
    ///
    /// [`ClientOptions::patience`]: signalling::ClientOptions::patience
    ///
    /// # Errors
    ///
    /// [`ConnectError`] says which step failed: the signalling, WebRTC, or the session.
    pub async fn connect(&self, url: &str) -> Result<(Peer, Link), ConnectError> {
        connecting::connect(&self.inner, url, self.inner.settings.patience).await
    }

    /// Connects without asking a server twice.
    pub(crate) async fn try_connect(&self, url: &str) -> Result<(Peer, Link), ConnectError> {
        connecting::connect(&self.inner, url, Duration::ZERO).await
    }

    /// Connects, and connects anew whenever the link ends, after the waits that the builder's
    /// [`Backoff`] says.
    #[must_use]
    pub fn keep_connected(&self, url: &str) -> Reconnecting {
        Reconnecting::new(self.clone(), url.to_owned(), self.inner.settings.backoff)
    }

    /// The next peer that connected; `None` when the node is shutting down. A node that listens
    /// nowhere waits until then. Cancel safe: a peer that was not given yet goes to who asks next.
    pub async fn accept(&self) -> Option<(Peer, Link)> {
        self.inner.network.accept().await
    }

    /// What happened next to the node's links. Each event is told once. Cancel safe: what was not
    /// told yet is told to who asks next.
    pub async fn event(&self) -> NodeEvent {
        self.inner.network.event().await
    }

    /// All links that are open or being opened, oldest first.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerInfo> {
        self.inner.network.peers()
    }

    /// Where peers reach this node by UDP: empty if it listens nowhere.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.inner.listeners.iter().flat_map(|listener| listener.addresses.iter().copied())
    }

    /// Signalling for this node, to be mounted in an application of your own: see
    /// [`signalling::router`].
    pub fn router(&self, options: SignallingOptions) -> axum::Router {
        signalling::router(Arc::new(self.clone()), options)
    }

    /// Starts a link whose offer travels by other means than HTTP: see [`Offer`]. `local` is the
    /// address to be reached at; the link ends when the host loses it.
    ///
    /// # Errors
    ///
    /// When the node is full, or cannot bind a socket at this address.
    pub fn offer(&self, local: IpAddr) -> Result<Offer, ConnectError> {
        Offer::new(&self.inner, local)
    }

    /// Answers an offer that came by other means than HTTP. The peer then shows in
    /// [`accept`](Self::accept).
    ///
    /// # Errors
    ///
    /// When the offer cannot be read or has no data channels, the node is full, or it listens
    /// nowhere.
    pub async fn answer(&self, offer: &str) -> Result<String, AnswerError> {
        answering::answer(&self.inner, offer, None).await.map(|answered| answered.sdp)
    }

    /// Takes no more links, delivers what was committed on those that there are, and ends them. Says
    /// what became of them. A link whose peer gets on is waited for; what has not ended when nine
    /// tenths of the time are over is cut off, and its peer is told how much it misses.
    pub async fn shut_down(&self, within: Duration) -> ShutDown {
        self.inner.network.end_all(within).await
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node")
            .field("addresses", &self.addresses().collect::<Vec<_>>())
            .field("peers", &self.peers().len())
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// For links over a socket at this address.
    fn engine(&self, local: IpAddr) -> EngineConfig {
        let default = if local.is_loopback() { MAX_MTU } else { DEFAULT_MTU };
        EngineConfig { mtu: self.mtu.unwrap_or(default), ..self.engine.clone() }
    }

    fn connection(&self, role: Role) -> Result<ConnectionConfig, getrandom::Error> {
        let mut session_id = [0; 16];
        getrandom::fill(&mut session_id)?;
        let mut session =
            deltawire_channels::session::Config::new(role, session_id, getrandom::u64()?);
        session.limits = self.limits;
        session.command = self.engine.command;
        (session.send, session.receive) = match role {
            Role::Initiator => (self.engine.initiator, self.engine.acceptor),
            Role::Acceptor => (self.engine.acceptor, self.engine.initiator),
        };
        let Self { flight, connect_timeout, .. } = *self;
        Ok(ConnectionConfig { session, flight, connect_timeout })
    }
}

/// Tells the network what drivers tell.
struct ForNetwork {
    network: Network,
    resources: Option<Resources>,
}

impl Observer for ForNetwork {
    fn opened(&self, id: PeerId, peer: Peer) {
        self.network.opened(id, peer);
    }

    fn ended(&self, id: PeerId, ended: Ended) {
        if let Some(resources) = &self.resources {
            resources.remove(id);
        }
        self.network.ended(id, ended);
    }

    fn gone(&self, id: PeerId) {
        self.network.gone(id);
    }
}

impl Inner {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// The sockets that accept take turns.
    fn listener(&self) -> Option<(usize, &Listener)> {
        let mut next = self.next_listener.lock().unwrap_or_else(PoisonError::into_inner);
        let index = next.checked_rem(self.listeners.len())?;
        *next = index + 1;
        Some((index, &self.listeners[index]))
    }
}
