//! Links over WebSocket of a browser's worker: the browser's own, which needs no window.

use deltawire_channels::Peer;
use deltawire_framing::control::Role;
use deltawire_link::Link;
use deltawire_link::runtime::BoxFuture;
use deltawire_signalling::SignallingError;
use deltawire_websocket::{AddressError, BrowserWebSocket, KIND, host};

use crate::{ConnectError, LinkKind, Node, websocket_address};

/// Links to `ws://` and `wss://`.
///
/// A browser does not say why a server refuses, nor when to come back, so it is asked once. Nor does it send a
/// header of this side's along, and so no token: where one is asked for, the address of signalling gives a ticket.
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
        websocket_address::check(url, host(url).map_err(not_one)?, self.unencrypted)?;
        let (reservation, outcome) = node.begin_connect()?;
        let transport = BrowserWebSocket::open(url).map_err(not_one)?;
        node.start(reservation, transport, Role::Initiator, None, None)?;
        Ok(outcome.await?)
    }
}

impl LinkKind for WebSocket {
    fn schemes(&self) -> &[&str] {
        &["ws", "wss"]
    }

    fn name(&self) -> &str {
        KIND
    }

    fn address(&self, asked: &str, offered: Option<&str>, ticket: Option<&str>) -> Option<String> {
        websocket_address::address(asked, offered, ticket)
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

/// Without what stands before an @, that may be a password, and without a ticket.
fn no_address(url: &str, error: AddressError) -> ConnectError {
    let url = url.rsplit('@').next().unwrap_or_default();
    let url = url.split('?').next().unwrap_or_default().to_owned();
    SignallingError::Url { url, reason: error.reason }.into()
}
