//! Links over WebSocket of a browser's worker: the browser's own, which needs no window.

use deltawire_channels::Peer;
use deltawire_framing::control::Role;
use deltawire_link::Link;
use deltawire_link::runtime::BoxFuture;
use deltawire_signalling::SignallingError;
use deltawire_websocket::{AddressError, BrowserWebSocket, host};

use crate::encryption::check_websocket;
use crate::{ConnectError, LinkKind, Node};

/// Links to `ws://` and `wss://`.
///
/// A browser does not say why a server refuses, nor when to come back, so it is asked once.
#[derive(Debug)]
pub(crate) struct WebSocket {
    unencrypted: bool,
}

impl WebSocket {
    pub(crate) fn new(unencrypted: bool) -> Self {
        Self { unencrypted }
    }

    async fn connect(&self, node: &Node, url: &str) -> Result<(Peer, Link), ConnectError> {
        let not_one = |error| no_address(url, error);
        check_websocket(url, host(url).map_err(not_one)?, self.unencrypted)?;
        let (reservation, outcome) = node.begin_connect()?;
        let address = self.address(url).await?;
        let transport = BrowserWebSocket::open(&address).map_err(not_one)?;
        node.start(reservation, transport, Role::Initiator, None)?;
        Ok(outcome.await?)
    }

    /// What is opened: the place for a ticket (`?ticket=…`), as a browser sends no header of this side's with a
    /// WebSocket, and so no token.
    async fn address(&self, url: &str) -> Result<String, ConnectError> {
        Ok(url.to_owned())
    }
}

impl LinkKind for WebSocket {
    fn schemes(&self) -> &[&str] {
        &["ws", "wss"]
    }

    fn connect<'a>(
        &'a self,
        node: &'a Node,
        url: &'a str,
        _once: bool,
    ) -> BoxFuture<'a, Result<(Peer, Link), ConnectError>> {
        Box::pin(self.connect(node, url))
    }
}

/// Without what stands before an @: that may be a password.
fn no_address(url: &str, error: AddressError) -> ConnectError {
    let url = url.rsplit('@').next().unwrap_or_default().to_owned();
    SignallingError::Url { url, reason: error.reason }.into()
}
