//! Starts links.

use futures_channel::oneshot;
use tokio::net::UdpSocket;

use super::*;
use crate::connection::Connection;
use crate::driver::{Driver, Socket};
use crate::engine::{Engine, EngineError};
use crate::node::Full;
use crate::node::network::Outcome;
use crate::node::patience::patiently;
use crate::signalling::SignallingError;

/// A link could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// This node takes no more links.
    #[error(transparent)]
    Full(#[from] Full),
    /// The other node was not reached by HTTP, or refused.
    #[error(transparent)]
    Signalling(#[from] SignallingError),
    /// The answer cannot be used.
    #[error("the answer cannot be used: {0}")]
    Engine(#[from] EngineError),
    /// No socket could be had for it.
    #[error("cannot open a UDP socket at {address}: {source}")]
    Socket {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The host of the URL is not known.
    #[error("cannot find a way to {host}: {source}")]
    Host {
        /// As the URL names it.
        host: String,
        /// Why.
        source: std::io::Error,
    },
    /// The system gave no randomness.
    #[error("the system gave no random bytes: {0}")]
    Random(getrandom::Error),
    /// Signalling was done, but the link did not open.
    #[error("the link did not open: {0}")]
    Ended(#[from] Ended),
}

/// A link that waits for its answer. Bring [`sdp`](Self::sdp) to the other node and its answer
/// back. When it is dropped, the link is given up.
pub struct Offer {
    inner: Arc<Inner>,
    /// By itself, for it is large and moves with every future that holds the offer.
    engine: Box<NativeEngine>,
    sdp: String,
    socket: Socket,
    shared: Arc<Shared>,
    outcome: oneshot::Receiver<Outcome>,
    place: Place,
}

impl Offer {
    /// From a socket at this address, with which the link lives and ends.
    pub(super) fn new(inner: &Arc<Inner>, local: IpAddr) -> Result<Self, ConnectError> {
        Self::with(inner, local, |buffer| Socket::bind(SocketAddr::new(local, 0), buffer))
    }

    /// From a host that has this address now, and may get another one.
    fn from_host(inner: &Arc<Inner>, local: IpAddr) -> Result<Self, ConnectError> {
        // That of the host to itself stays, and what is there is for nobody else.
        if local.is_loopback() {
            return Self::new(inner, local);
        }
        Self::with(inner, local, |buffer| Socket::bind_to_host(local, buffer))
    }

    fn with(
        inner: &Arc<Inner>,
        local: IpAddr,
        bind: impl FnOnce(usize) -> std::io::Result<Socket>,
    ) -> Result<Self, ConnectError> {
        let (shared, outcome) = inner.network.begin_connect()?;
        let place = Place::new(&inner.network, &shared);
        let address = SocketAddr::new(local, 0);
        let socket = bind(inner.settings.socket_buffer)
            .map_err(|source| ConnectError::Socket { address, source })?;
        let config = inner.settings.engine(local);
        let (engine, sdp) = NativeEngine::offer(&config, &[socket.local_address()], inner.now())?;
        let engine = Box::new(engine);
        Ok(Self { inner: inner.clone(), engine, sdp, socket, shared, outcome, place })
    }

    /// The session description to be answered.
    #[must_use]
    pub fn sdp(&self) -> &str {
        &self.sdp
    }

    /// Opens the link with the other node's answer.
    ///
    /// # Errors
    ///
    /// When the answer cannot be used, or the peer is not reached.
    pub async fn finish(self, answer: &str) -> Result<(Peer, Link), ConnectError> {
        let Self { inner, mut engine, socket, shared, outcome, place, .. } = self;
        let now = inner.now();
        engine.accept_answer(answer, now)?;
        let config = inner.settings.connection(Role::Initiator).map_err(ConnectError::Random)?;
        let user_fragment = engine.user_fragment().to_owned();
        let connection = Box::new(Connection::new(*engine, config, shared, now));
        // One request, and nobody who could ask for more: the driver ends with the link.
        let (requests, receiver) = mpsc::channel(1);
        let request = Request::Add(connection, user_fragment);
        if requests.try_send(request).is_err() {
            return Err(ConnectError::Ended(Ended::Stopped));
        }
        let observer = ForNetwork { network: inner.network.clone(), resources: None };
        tokio::spawn(Driver::new(socket, receiver, observer, inner.start, 1).run());
        place.take();
        Ok(outcome.await.unwrap_or(Err(Ended::Stopped))?)
    }
}

impl std::fmt::Debug for Offer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Offer").field("sdp", &self.sdp).finish_non_exhaustive()
    }
}

/// Offers by HTTP, and opens the link with the answer.
pub(super) async fn connect(
    inner: &Arc<Inner>,
    url: &str,
    patience: Duration,
) -> Result<(Peer, Link), ConnectError> {
    let offer = match inner.settings.bind {
        Some(local) => Offer::new(inner, local)?,
        None => Offer::from_host(inner, local_address(&signalling::parse(url)?).await?)?,
    };
    let answered = patiently(patience, || inner.client.offer(url, offer.sdp())).await?;
    let outcome = offer.finish(&answered.sdp).await;
    if outcome.is_err()
        && let Some(resource) = &answered.resource
        && let Err(error) = inner.client.hang_up(resource).await
    {
        tracing::debug!(%error, "hanging up failed; the peer gives up by itself");
    }
    outcome
}

/// The address from which the system reaches a URL's host. Nothing is sent.
async fn local_address(url: &url::Url) -> Result<IpAddr, ConnectError> {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or(80);
    let unreachable = |source| ConnectError::Host { host: host.to_owned(), source };
    let named = host.trim_start_matches('[').trim_end_matches(']');
    let mut addresses = tokio::net::lookup_host((named, port)).await.map_err(unreachable)?;
    let Some(remote) = addresses.next() else {
        return Err(unreachable(std::io::Error::other("the name has no address")));
    };
    let any: IpAddr = match remote {
        SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await.map_err(unreachable)?;
    socket.connect(remote).await.map_err(unreachable)?;
    Ok(socket.local_addr().map_err(unreachable)?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_future_of_connecting_is_small() {
        let node = Node::builder().build().unwrap();
        let future = node.connect("http://127.0.0.1:1/webrtc");
        let len = size_of_val(&future);
        assert!(len <= 8 << 10, "{len} bytes");
    }
}
