//! The node of a browser's dedicated worker.

mod builder;
mod connecting;

use std::rc::Rc;
use std::time::Duration;

use deltawire_channels::{Delivery, InvalidLimits, Limits, Order, Peer};

pub use self::builder::{BuildError, NodeBuilder};
pub use self::connecting::ConnectError;
use super::clock;
use crate::link::Link;
use crate::node::{Backoff, Network, NodeEvent, PeerInfo, Reconnecting, ShutDown};
use crate::signalling::ClientOptions;

/// One end of links to other nodes, in a dedicated worker whose window has a
/// [`Port`](super::Port). Clones are handles on the same node.
///
/// Links live on when all handles are dropped; [`shut_down`](Self::shut_down) ends them, and so does
/// the end of the worker or its page.
#[derive(Clone)]
pub struct Node {
    inner: Rc<Inner>,
}

struct Inner {
    settings: Settings,
    network: Network,
}

/// What all links of a node are made with.
#[derive(Clone, Debug)]
struct Settings {
    limits: Limits,
    connect_timeout: Duration,
    backoff: Backoff,
    client: ClientOptions,
    command: Order,
    initiator: Delivery,
    acceptor: Delivery,
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
    /// # Errors
    ///
    /// [`ConnectError`] says which step failed: the window, the signalling, WebRTC, or the session.
    pub async fn connect(&self, url: &str) -> Result<(Peer, Link), ConnectError> {
        connecting::connect(&self.inner, url, self.inner.settings.client.patience).await
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

    /// Waits until the node is shutting down, and gives `None`: nobody can connect to a browser.
    /// It is here so that the same code compiles.
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

    /// Takes no more links, delivers what was committed on those that there are, and ends them. Says
    /// what became of them. A link whose peer gets on is waited for; what has not ended when nine
    /// tenths of the time are over is cut off, and its peer is told how much it misses.
    pub async fn shut_down(&self, within: Duration) -> ShutDown {
        self.inner.network.end_all(within).await
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("peers", &self.peers().len()).finish_non_exhaustive()
    }
}
