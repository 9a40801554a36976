//! Links over TCP: `tcp://host:port`.

use std::io;
use std::net::SocketAddr;

use deltawire_channels::Peer;
use deltawire_link::Link;
use deltawire_link::runtime::BoxFuture;
use deltawire_signalling::Token;
use tokio::net::{TcpListener, TcpStream};

use super::accepting::{Knock, Listener};
use super::{check_runtime, connecting};
use crate::host_and_port::host_and_port;
use crate::race::{HEAD_START, MAX_ADDRESSES, in_turn, race};
use crate::{BuildError, ConnectError, LinkKind, Node};

const KIND: &str = "tcp";

/// Links to `tcp://host:port`.
#[derive(Debug)]
pub(super) struct Tcp {
    token: Option<Token>,
    unencrypted: bool,
}

impl Tcp {
    pub(super) fn new(token: Option<Token>, unencrypted: bool) -> Self {
        Self { token, unencrypted }
    }

    async fn open(
        &self,
        node: &Node,
        url: &str,
    ) -> Result<(TcpStream, Option<SocketAddr>), ConnectError> {
        let (host, port) = host_and_port(url, KIND)?;
        let unknown = |source| ConnectError::Host { host: host.to_owned(), source };
        check_runtime().map_err(unknown)?;
        let found = node.runtime().resolve(host, port).await.map_err(unknown)?;
        let addresses = in_turn(found, MAX_ADDRESSES);
        if !self.unencrypted && !addresses.iter().all(is_loopback) {
            return Err(ConnectError::Unencrypted { scheme: KIND, host: host.to_owned() });
        }
        let attempts = addresses.iter().map(|address| {
            Box::pin(async move { Ok((connect(*address).await?, Some(*address))) })
                as BoxFuture<'_, _>
        });
        let raced = race(&**node.runtime(), |_| HEAD_START, attempts, |_: &io::Error| false).await;
        raced.map_err(|mut failed| match failed.pop() {
            Some(source) => {
                ConnectError::Stream { address: format!("{KIND}://{host}:{port}"), source }
            }
            None => unknown(io::Error::other("the name has no address")),
        })
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // Commands are small, and the system would hold them back.
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

impl LinkKind for Tcp {
    fn schemes(&self) -> &[&str] {
        &[KIND]
    }

    fn connect<'a>(
        &'a self,
        node: &'a Node,
        url: &'a str,
        _once: bool,
    ) -> BoxFuture<'a, Result<(Peer, Link), ConnectError>> {
        Box::pin(connecting::connect(node, KIND, self.token.as_ref(), self.open(node, url)))
    }
}

/// Listens at an address.
pub(super) fn bind(address: SocketAddr, unencrypted: bool) -> Result<TcpListener, BuildError> {
    if !unencrypted && !is_loopback(&address) {
        return Err(BuildError::Unencrypted { address });
    }
    let listen = || {
        check_runtime()?;
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    };
    let address = format!("{KIND}://{address}");
    listen().map_err(|source| BuildError::ListenStream { address, source })
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    const KIND: &'static str = KIND;

    async fn accept(&self) -> io::Result<Knock<TcpStream>> {
        let (stream, from) = TcpListener::accept(self).await?;
        // It fails where the peer has gone, which shows soon enough: others are not to wait for that.
        let _ = stream.set_nodelay(true);
        Ok(Knock { stream, from: Some(from), refused: None })
    }
}
