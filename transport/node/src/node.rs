use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use deltawire_channels::Peer;
use deltawire_framing::control::Role;
use deltawire_link::runtime::{MaybeSend, SharedRuntime};
use deltawire_link::{
    Connection, Fault, Identity, Link, MessageTransport, SessionName, TransportError,
    TransportErrorKind,
};

use crate::kind::LinkKind;
use crate::network::{Network, Outcome};
use crate::reservation::Reservation;
use crate::settings::Settings;
use crate::task::{self, Held};
use crate::{
    Backoff, CapacityError, ConnectError, NodeBuilder, NodeEvent, PeerInfo, Reconnecting, ShutDown,
};

/// One end of many links: connects to other nodes, and accepts their connections. Clones are
/// handles on the same node.
///
/// Links live on when all handles are dropped; [`shut_down`](Self::shut_down) ends them, and in a browser so
/// does the end of the worker or its page. There a node is in a dedicated worker, and accepts links over WebRTC only, in
/// rooms ([`accept_in_room`](Self::accept_in_room)); for these its window has a `browser::Port`.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
    /// The session that is to go on over the links that this handle opens.
    goes_on: Option<SessionName>,
}

pub(crate) struct Inner {
    pub(crate) settings: Settings,
    pub(crate) backoff: Backoff,
    pub(crate) network: Network,
    pub(crate) runtime: SharedRuntime,
    pub(crate) kinds: Vec<Arc<dyn LinkKind>>,
    #[cfg(all(feature = "webrtc", not(target_arch = "wasm32")))]
    pub(crate) webrtc: Arc<crate::webrtc::WebRtc>,
    #[cfg(all(feature = "webrtc", target_arch = "wasm32"))]
    pub(crate) webrtc: Arc<crate::browser::WebRtc>,
    #[cfg(all(feature = "quic", not(target_arch = "wasm32")))]
    pub(crate) quic: Arc<crate::quic::Quic>,
    #[cfg(all(feature = "sctp", not(target_arch = "wasm32")))]
    pub(crate) sctp: Arc<crate::sctp::Sctp>,
    /// Where it listens, if only QUIC does.
    #[cfg(all(feature = "quic", not(feature = "webrtc"), not(target_arch = "wasm32")))]
    pub(crate) listens: Option<std::net::SocketAddr>,
    #[cfg(all(any(feature = "tcp", all(feature = "unix", unix)), not(target_arch = "wasm32")))]
    #[cfg_attr(not(feature = "tcp"), expect(dead_code, reason = "held, so that it goes on"))]
    pub(crate) accepting: crate::streams::Accepting,
    #[cfg(all(feature = "signalling-server", not(target_arch = "wasm32")))]
    pub(crate) http: Option<crate::http::Serving>,
}

/// A node, as long as somebody has a handle on it.
#[cfg(all(
    any(feature = "signalling-server", feature = "tcp", all(feature = "unix", unix)),
    not(target_arch = "wasm32")
))]
#[derive(Clone)]
pub(crate) struct WeakNode(std::sync::Weak<Inner>);

#[cfg(all(
    any(feature = "signalling-server", feature = "tcp", all(feature = "unix", unix)),
    not(target_arch = "wasm32")
))]
impl WeakNode {
    pub(crate) fn upgrade(&self) -> Option<Node> {
        Some(Node { inner: self.0.upgrade()?, goes_on: None })
    }
}

impl Node {
    /// A node to be set up.
    pub fn builder() -> NodeBuilder {
        NodeBuilder::default()
    }

    pub(crate) fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner), goes_on: None }
    }

    #[cfg(any(
        feature = "webrtc",
        all(
            any(feature = "quic", feature = "sctp", feature = "tcp", all(feature = "unix", unix)),
            not(target_arch = "wasm32")
        )
    ))]
    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    #[cfg(all(
        any(feature = "signalling-server", feature = "tcp", all(feature = "unix", unix)),
        not(target_arch = "wasm32")
    ))]
    pub(crate) fn weak(&self) -> WeakNode {
        WeakNode(Arc::downgrade(&self.inner))
    }

    #[cfg(any(
        feature = "webrtc",
        all(any(feature = "tcp", all(feature = "unix", unix)), not(target_arch = "wasm32")),
        all(feature = "webtransport", target_arch = "wasm32")
    ))]
    pub(crate) fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// Its time, tasks, sockets and randomness.
    #[must_use]
    pub fn runtime(&self) -> &SharedRuntime {
        &self.inner.runtime
    }

    /// Connects to the node at `url`, whose scheme says by which kind of link: over WebRTC it is that of the
    /// other node's signalling, such as `http://127.0.0.1:8080/webrtc`.
    ///
    /// A future that is dropped before it is ready gives the link up; the other node forgets it in time.
    ///
    /// A server that refuses for lack of room and says how long to wait (429 and 503 with
    /// `Retry-After`) is asked again, as long as
    /// [`ClientOptions::patience`](deltawire_signalling::ClientOptions::patience) allows.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] says which step failed: the signalling, the transport, or the session.
    pub async fn connect(&self, url: &str) -> Result<(Peer, Link), ConnectError> {
        self.inner.network.check_open()?;
        let (peer, link) = self.kind_of(url)?.connect(self, url, false).await?;
        crate::resuming::keep(self, url, &link);
        Ok((peer, link))
    }

    /// A handle whose links a session goes on over.
    pub(crate) fn going_on(&self, session: SessionName) -> Self {
        Self { inner: self.inner.clone(), goes_on: Some(session) }
    }

    pub(crate) fn backoff(&self) -> &Backoff {
        &self.inner.backoff
    }

    /// Connects without asking a server twice.
    pub(crate) async fn connect_once(&self, url: &str) -> Result<(Peer, Link), ConnectError> {
        self.inner.network.check_open()?;
        self.kind_of(url)?.connect(self, url, true).await
    }

    /// The place that knows schemes of addresses.
    fn kind_of(&self, url: &str) -> Result<&dyn LinkKind, ConnectError> {
        let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
        let knows = |kind: &&Arc<dyn LinkKind>| {
            kind.schemes().iter().any(|known| known.eq_ignore_ascii_case(scheme))
        };
        let kinds = &self.inner.kinds;
        if let Some(kind) = kinds.iter().find(knows) {
            return Ok(&**kind);
        }
        let mut known = Vec::new();
        for scheme in kinds.iter().flat_map(|kind| kind.schemes()).copied() {
            // Of those with the same addresses, the first is asked.
            if !known.contains(&scheme) {
                known.push(scheme);
            }
        }
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let url = crate::error::shown(url).to_owned();
        Err(ConnectError::NoKind { url, known })
    }

    /// Connects, and connects anew whenever the link ends, after the waits that the builder's
    /// [`Backoff`] says.
    #[must_use]
    pub fn keep_connected(&self, url: &str) -> Reconnecting {
        Reconnecting::new(self.clone(), url.to_owned(), self.inner.backoff)
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

    /// Runs a session on a transport that this side opened, in a task of its own, and waits for the peer's
    /// hello: what kinds of links end with. The transport has to wake its driver
    /// ([`Capabilities::wakes`](deltawire_link::Capabilities::wakes)).
    ///
    /// A future that is dropped before it is ready gives the link up.
    ///
    /// # Errors
    ///
    /// When the node takes no more links, the transport cannot do what the node's options ask for, or the
    /// link ends before the peer said hello.
    pub async fn attach<T>(&self, transport: T) -> Result<(Peer, Link), ConnectError>
    where
        T: MessageTransport + MaybeSend + 'static,
    {
        let (reservation, outcome) = self.begin_connect()?;
        self.start(reservation, transport, Role::Initiator, None, None)?;
        Ok(outcome.await?)
    }

    /// Runs a session on a transport that a peer opened, in a task of its own. The peer then shows in
    /// [`accept`](Self::accept). `identity` is who it is, if that is known.
    ///
    /// # Errors
    ///
    /// When the node takes no more links, or the transport cannot do what the node's options ask for.
    pub fn attach_accepted<T>(
        &self,
        transport: T,
        identity: Option<Identity>,
    ) -> Result<(), ConnectError>
    where
        T: MessageTransport + MaybeSend + 'static,
    {
        let reservation = self.inner.network.begin_accept(None, identity.clone())?;
        self.start(reservation, transport, Role::Acceptor, identity.as_ref(), None)
    }

    pub(crate) fn start<T>(
        &self,
        reservation: Reservation,
        transport: T,
        role: Role,
        identity: Option<&Identity>,
        remote: Option<SocketAddr>,
    ) -> Result<(), ConnectError>
    where
        T: MessageTransport + MaybeSend + 'static,
    {
        if !transport.capabilities().wakes {
            let text = "this transport does not wake its driver: Capabilities::wakes";
            let (kind, fault) = (TransportErrorKind::Unsupported, Fault::Local);
            return Err(TransportError::new(kind, fault, text).into());
        }
        let runtime = &self.inner.runtime;
        let config = self.inner.settings.connection(role, identity, &**runtime);
        let config = config.map_err(ConnectError::Random)?;
        let state = reservation.state().clone();
        // A page loads the code of connections once, whatever kinds of links it has.
        #[cfg(target_arch = "wasm32")]
        let transport: Box<dyn MessageTransport> = Box::new(transport);
        let mut connection = Connection::new(transport, config, state, runtime.now())?;
        if let Some(remote) = remote {
            connection.set_remote_address(remote);
        }
        self.drive(reservation, connection, None);
        Ok(())
    }

    /// Moves a connection in a task of its own.
    pub(crate) fn drive<T>(
        &self,
        reservation: Reservation,
        connection: Connection<T>,
        held: Option<Box<dyn Held>>,
    ) where
        T: MessageTransport + MaybeSend + 'static,
    {
        let Inner { network, runtime, .. } = &*self.inner;
        let task = task::drive(connection, network.clone(), runtime.clone(), held);
        runtime.spawn(Box::pin(task));
        reservation.take();
    }

    pub(crate) fn begin_connect(&self) -> Result<(Reservation, Outcome), CapacityError> {
        self.inner.network.begin_connect(self.goes_on)
    }

    /// Takes no more links, delivers what was committed on those that there are, and ends them. Says
    /// what became of them. A link whose peer gets on is waited for; what has not ended when nine
    /// tenths of the time are over is cut off, and its peer is told how much it misses.
    pub async fn shut_down(&self, within: Duration) -> ShutDown {
        self.inner.network.end_all(within, &*self.inner.runtime).await
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("kinds", &self.inner.kinds)
            .field("peers", &self.peers().len())
            .finish_non_exhaustive()
    }
}
