use core::future::Future;
use core::time::Duration;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::TrustedProxies;
use super::connections::{self, Places};

/// What bounds the clients of a [`SignallingServer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// How many connections there may be; more wait until others end. Default: 1024.
    pub max_connections: usize,
    /// How many of these one address may have; more are answered with status 429 and closed. Of
    /// IPv6, the first 64 bits count. Trusted proxies may have all. Default: 64.
    pub max_connections_per_address: usize,
    /// The longest head of a request, bytes; fewer than 8 KiB count as 8 KiB. Default: 16 KiB.
    pub max_head: usize,
    /// How long a request's head may take to come, and how long a connection without a request
    /// is kept. Default: 10 s.
    pub head_timeout: Duration,
    /// How long a client may leave an answer unread. Default: 10 s.
    pub write_timeout: Duration,
    /// How old a connection gets: after this it takes no more requests, and has
    /// [`shutdown_timeout`](Self::shutdown_timeout) for the one that it is at. Default: 60 s.
    pub max_age: Duration,
    /// How long requests may go on when the server shuts down, or their connection is too old.
    /// Default: 10 s.
    pub shutdown_timeout: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            max_connections: 1024,
            max_connections_per_address: 64,
            max_head: 16 << 10,
            head_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            max_age: Duration::from_secs(60),
            shutdown_timeout: Duration::from_secs(10),
        }
    }
}

/// Why an address cannot be listened at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Somebody listens there: another instance of this program, perhaps.
    #[error("{address} is in use: end the program that listens there, or take another port")]
    InUse {
        /// The address.
        address: SocketAddr,
    },
    /// This machine has no such address.
    #[error("{address} is no address of this machine: take one of its own, or 0.0.0.0 for all")]
    NotHere {
        /// The address.
        address: SocketAddr,
    },
    /// This user may not listen there.
    #[error("{address} may not be listened at by this user: take a port from 1024 on")]
    Denied {
        /// The address.
        address: SocketAddr,
    },
    /// Another reason.
    #[error("{address} cannot be listened at")]
    Other {
        /// The address.
        address: SocketAddr,
        /// The reason.
        source: io::Error,
    },
}

/// Connections that wait for being accepted.
const BACKLOG: u32 = 1_024;

/// A server for a router: HTTP/1.1 over TCP, without TLS. For https put a proxy before it.
///
/// ```no_run
/// use std::sync::Arc;
///
/// use deltawire_signalling::{
///     Answerer, BindError, SignallingOptions, SignallingServer, router,
/// };
///
/// async fn serve(node: Arc<impl Answerer>) -> Result<(), BindError> {
///     let router = router(node, SignallingOptions::default());
///     let server = SignallingServer::bind(([127, 0, 0, 1], 8080).into(), router).await?;
///     server.serve(std::future::pending()).await; // until the program ends
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct SignallingServer {
    listener: TcpListener,
    /// Of the runtime in which it listens.
    handle: tokio::runtime::Handle,
    address: SocketAddr,
    router: Router,
    limits: ServerLimits,
    trusted_proxies: TrustedProxies,
}

impl SignallingServer {
    /// Listens at this address; port 0 takes any that is free. Nothing is answered before
    /// [`serve`](Self::serve).
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, or in one without I/O.
    pub async fn bind(address: SocketAddr, router: Router) -> Result<Self, BindError> {
        Ok(Self::listen(address)?.with_router(router))
    }

    /// The same at once, for a router that is made when the address is known; until then nothing is found there. Without tokio's
    /// runtime around it, an error.
    pub fn listen(address: SocketAddr) -> Result<Self, BindError> {
        let error = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse { address },
            io::ErrorKind::AddrNotAvailable => BindError::NotHere { address },
            io::ErrorKind::PermissionDenied => BindError::Denied { address },
            _ => BindError::Other { address, source },
        };
        let handle = tokio::runtime::Handle::try_current()
            .map_err(|_| error(io::Error::other("HTTP needs tokio's runtime")))?;
        let listen = || {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            // As tokio's `TcpListener::bind` does; on Windows it would mean something else.
            #[cfg(not(windows))]
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(BACKLOG)
        };
        let listener = listen().map_err(error)?;
        let address = listener.local_addr().map_err(error)?;
        let (limits, trusted_proxies) = (ServerLimits::default(), TrustedProxies::none());
        Ok(Self { listener, handle, address, router: Router::new(), limits, trusted_proxies })
    }

    /// The same server for this router.
    #[must_use]
    pub fn with_router(mut self, router: Router) -> Self {
        self.router = router;
        self
    }

    /// The same server with these limits.
    #[must_use]
    pub fn with_limits(mut self, limits: ServerLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The same server behind these proxies, which
    /// [`SignallingOptions::trusted_proxies`](super::SignallingOptions::trusted_proxies) has to
    /// name too.
    #[must_use]
    pub fn with_trusted_proxies(mut self, proxies: TrustedProxies) -> Self {
        self.trusted_proxies = proxies;
        self
    }

    /// The address, with the port that was taken.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// [Serves](Self::serve) in a task of the runtime in which it listens, whichever runs this.
    pub fn spawn(self, shutdown: impl Future<Output = ()> + Send + 'static) {
        let handle = self.handle.clone();
        handle.spawn(self.serve(shutdown));
    }

    /// Answers until `shutdown` is ready, then takes no more connections, ends those without a
    /// request, and returns when the other requests have been answered, or after
    /// [`ServerLimits::shutdown_timeout`]. Dropping the future ends all connections at once.
    ///
    /// # Panics
    ///
    /// In a tokio runtime without time.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let Self { listener, handle: _, address, router, limits, trusted_proxies } = self;
        let max_connections = limits.max_connections.clamp(1, Semaphore::MAX_PERMITS);
        let permits = Arc::new(Semaphore::new(max_connections));
        let places = Places::new(limits.max_connections_per_address);
        let (end, ended) = watch::channel(());
        let mut connections = JoinSet::new();
        tracing::debug!(%address, "signalling starts");
        let accept = async {
            while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
                let (stream, from) = accept(&listener).await;
                while connections.try_join_next().is_some() {}
                let place = places.take(from.ip());
                if place.is_none() && !trusted_proxies.has(from.ip()) {
                    tracing::debug!(%from, "signalling refused: too many connections");
                    places.refuse(stream);
                    continue;
                }
                let connection =
                    connections::serve(stream, from, router.clone(), limits, ended.clone());
                connections.spawn(async move {
                    connection.await;
                    drop((permit, place));
                });
            }
        };
        tokio::select! {
            () = accept => {}
            () = shutdown => {}
        }
        drop((listener, end));
        tracing::debug!(%address, "signalling shuts down");
        let all = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(limits.shutdown_timeout, all).await.is_err() {
            tracing::warn!(%address, "signalling requests were left unanswered");
        }
    }
}

/// The next connection. Some errors are of one connection, others pass when files are closed:
/// neither ends the server.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(connection) => return connection,
            Err(error) => {
                tracing::warn!(%error, "no connection could be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
