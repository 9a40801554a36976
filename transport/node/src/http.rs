//! A node's own HTTP server: signalling and WebSockets at one TCP port, for as long as the node is there.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use deltawire_signalling::{
    Answer, Answerer, OfferedLink, Offerer, Refusal, ResourceId, SignallingOptions,
    SignallingServer,
};
use futures_channel::oneshot;

use crate::node::WeakNode;
use crate::{BuildError, Node};

/// What a builder is told of it.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) address: SocketAddr,
    pub(crate) signalling: SignallingOptions,
}

impl Options {
    /// Who may come over links that signalling tells of, to this address, if nothing else was said: whoever may signal. What else
    /// stands in front of signalling, such as a proxy that asks for something, is not known here, so they show a ticket of it.
    #[cfg(feature = "quic")]
    pub(crate) fn admission(&self, listen: SocketAddr) -> crate::Admission {
        let SignallingOptions { token, authorizer, .. } = &self.signalling;
        if token.is_none() && authorizer.is_none() && listen.ip().is_loopback() {
            return crate::Admission::anyone();
        }
        crate::Admission::ticket()
    }

    /// Listens, and answers nobody yet.
    pub(crate) fn bind(self) -> Result<Listening, BuildError> {
        let Self { address, signalling } = self;
        let server = SignallingServer::listen(address)?
            .with_trusted_proxies(signalling.trusted_proxies.clone());
        Ok(Listening { server, signalling })
    }
}

/// A server that waits for its node.
pub(crate) struct Listening {
    server: SignallingServer,
    signalling: SignallingOptions,
}

impl Listening {
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Serves until the node is gone or shuts down.
    pub(crate) fn start(self, node: &Node, gone: oneshot::Receiver<Infallible>) {
        let Self { server, signalling } = self;
        let router = deltawire_signalling::router(Arc::new(Served(node.weak())), signalling);
        let network = node.inner().network.clone();
        let ends = async move {
            let (mut gone, mut closing) = (pin!(gone), pin!(network.closing()));
            poll_fn(|context| {
                let over = gone.as_mut().poll(context).is_ready()
                    || closing.as_mut().poll(context).is_ready();
                if over { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        };
        server.with_router(router).spawn(ends);
    }
}

/// A server's address, which serves until this is dropped.
#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) address: SocketAddr,
    _held: oneshot::Sender<Infallible>,
}

impl Serving {
    pub(crate) fn new(address: SocketAddr) -> (Self, oneshot::Receiver<Infallible>) {
        let (held, gone) = oneshot::channel();
        (Self { address, _held: held }, gone)
    }
}

/// A node that is served as long as somebody else has it.
struct Served(WeakNode);

impl Served {
    fn node(&self) -> Result<Node, Refusal> {
        self.0.upgrade().ok_or(Refusal::ShuttingDown)
    }
}

impl Answerer for Served {
    async fn answer(&self, offer: String, from: Offerer) -> Result<Answer, Refusal> {
        Answerer::answer(&self.node()?, offer, from).await
    }

    fn add_candidates(&self, id: &ResourceId, candidates: Vec<String>) -> Result<(), Refusal> {
        self.node()?.add_candidates(id, candidates)
    }

    fn links(&self) -> Vec<OfferedLink> {
        self.node().map(|node| node.links()).unwrap_or_default()
    }

    #[cfg(feature = "quic")]
    fn tickets(&self) -> Option<deltawire_signalling::Tickets> {
        self.node().ok()?.tickets()
    }

    #[cfg(feature = "quic")]
    fn needs_tickets(&self) -> bool {
        self.node().is_ok_and(|node| node.needs_tickets())
    }

    #[cfg(feature = "websocket")]
    fn websocket(&self, from: Offerer) -> Result<deltawire_signalling::AttachStream, Refusal> {
        self.node()?.websocket(from)
    }

    fn hang_up(&self, id: &ResourceId) -> Result<(), Refusal> {
        self.node()?.hang_up(id)
    }
}

/// What a node has because it serves HTTP.
impl Node {
    /// Where this node serves HTTP: `None` without [`NodeBuilder::http`](crate::NodeBuilder::http).
    #[must_use]
    pub fn http_address(&self) -> Option<SocketAddr> {
        Some(self.inner().http.as_ref()?.address)
    }
}
