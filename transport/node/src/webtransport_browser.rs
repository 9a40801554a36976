//! Links over WebTransport of a browser's worker: the browser's own, which needs no window.

use deltawire_channels::Peer;
use deltawire_framing::control::Role;
use deltawire_link::Link;
use deltawire_link::runtime::BoxFuture;
use deltawire_webtransport::{BrowserWebTransport, KIND};

use crate::settings::Settings;
use crate::{ConnectError, LinkKind, Node, offered_address};

/// Links to `wt://host:port/path`, which is `https://` for the browser, with the certificates' hashes behind `#`.
///
/// A browser does not say why a server refuses, nor when to come back, so it is asked once.
#[derive(Debug)]
pub(crate) struct WebTransport;

impl WebTransport {
    async fn connect(&self, node: &Node, url: &str) -> Result<(Peer, Link), ConnectError> {
        let (rest, hashes) = offered_address::read("wt", url).ok_or_else(|| {
            // Without a ticket.
            let url = url.split('?').next().unwrap_or_default().to_owned();
            let reason =
                "it must be wt://host:port/path, and behind # hashes of 64 digits".to_owned();
            ConnectError::Address { url, reason }
        })?;
        let (reservation, outcome) = node.begin_connect()?;
        let transport = {
            let Settings { initiator, acceptor, .. } = *node.settings();
            let url = format!("https://{rest}");
            BrowserWebTransport::open(&url, &hashes, initiator, acceptor)?
        };
        node.start(reservation, transport, Role::Initiator, None, None)?;
        Ok(outcome.await?)
    }
}

impl LinkKind for WebTransport {
    fn schemes(&self) -> &[&str] {
        &["wt"]
    }

    fn name(&self) -> &str {
        KIND
    }

    fn address(&self, asked: &str, offered: Option<&str>, ticket: Option<&str>) -> Option<String> {
        offered_address::address("wt", asked, offered, ticket)
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
