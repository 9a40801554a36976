//! One address for every kind of link: asks the node there what it offers, tries that in the order of preference, and
//! takes what opens first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deltawire_channels::Peer;
use deltawire_link::Link;
use deltawire_link::runtime::BoxFuture;
use deltawire_signalling::{OfferedLink, OfferedLinks, Signaller};

use crate::patience::patiently;
use crate::race::race;
use crate::{ConnectError, LinkKind, Node, offered_address};

/// What a kind gets as a start before the next one is tried beside it, unless it fails sooner: a path that is
/// blocked says nothing for many seconds.
const HEAD_START: Duration = Duration::from_millis(300);

/// What those get that stand before WebRTC in a browser, where it is several times slower than they are.
const BEFORE_WEBRTC: Duration =
    if cfg!(target_arch = "wasm32") { Duration::from_secs(1) } else { HEAD_START };

/// How long it is remembered by which kind an address was reached.
const REMEMBERED: Duration = Duration::from_secs(600);

/// How many addresses are remembered.
const MAX_REMEMBERED: usize = 256;

/// How many kinds of those that a server offers are tried.
const MAX_TRIED: usize = 8;

/// Links by whatever kind there is.
pub(crate) struct Automatic {
    signaller: Arc<dyn Signaller>,
    patience: Duration,
    /// The kinds that may be used, the best first.
    kinds: Vec<Arc<dyn LinkKind>>,
    /// By which kind addresses were reached, and until when that counts.
    reached: Mutex<HashMap<String, (String, Duration)>>,
}

impl Automatic {
    pub(crate) fn new(
        signaller: Arc<dyn Signaller>,
        patience: Duration,
        kinds: Vec<Arc<dyn LinkKind>>,
    ) -> Self {
        Self { signaller, patience, kinds, reached: Mutex::default() }
    }

    async fn connect(
        &self,
        node: &Node,
        url: &str,
        once: bool,
    ) -> Result<(Peer, Link), ConnectError> {
        let ways = match &*self.kinds {
            // Nothing to choose from.
            [kind] if kind.address(url, None, None).as_deref() == Some(url) => {
                return kind.connect(node, url, once).await;
            }
            _ => self.ways(url, &self.offered(node, url, once).await?, node),
        };
        let (origin, chosen) = (origin(url), ways.len() > 1);
        let (name, connected) = self.first(node, ways, once).await?;
        // Where there was no choice, as in a room, nothing was learned of the others.
        if chosen {
            let until = node.runtime().now().saturating_add(REMEMBERED);
            self.remember(origin, name, until);
        }
        Ok(connected)
    }

    async fn offered(
        &self,
        node: &Node,
        url: &str,
        once: bool,
    ) -> Result<OfferedLinks, ConnectError> {
        let patience = if once { Duration::ZERO } else { self.patience };
        let ask = || self.signaller.links(url);
        Ok(patiently(&**node.runtime(), patience, ask).await?)
    }

    /// What is tried, in this order: what was reached last, then what is preferred.
    fn ways(&self, url: &str, offered: &OfferedLinks, node: &Node) -> Vec<Way> {
        let known = self.reached(origin(url), node.runtime().now());
        let ticket = offered.ticket.as_deref();
        let way = |kind: &Arc<dyn LinkKind>| {
            let is_it = |offered: &&OfferedLink| offered.kind == kind.name();
            let offered = offered.links.iter().find(is_it)?;
            if let Some(elsewhere) = offered.url.as_deref().filter(|at| !is_same_origin(url, at)) {
                tracing::warn!(kind = kind.name(), elsewhere, "offered elsewhere, and passed over");
                return None;
            }
            let address = kind.address(url, offered.url.as_deref(), ticket)?;
            Some(Way { kind: kind.clone(), address })
        };
        let mut ways: Vec<_> = self.kinds.iter().filter_map(way).take(MAX_TRIED).collect();
        ways.sort_by_key(|way| Some(way.kind.name()) != known.as_deref());
        ways
    }

    /// The first that opens; the others are given up.
    async fn first(
        &self,
        node: &Node,
        ways: Vec<Way>,
        once: bool,
    ) -> Result<(String, (Peer, Link)), ConnectError> {
        let attempts = ways.iter().map(|Way { kind, address }| {
            let attempt = async move {
                tracing::debug!(kind = kind.name(), "tries a kind of link");
                match kind.connect(node, address, once).await {
                    Ok(connected) => Ok((kind.name().to_owned(), connected)),
                    Err(error) => {
                        tracing::info!(kind = kind.name(), %error, "a kind of link did not open");
                        Err((kind.name().to_owned(), error))
                    }
                }
            };
            Box::pin(attempt) as BoxFuture<'_, _>
        });
        let head_start = |next: usize| match ways.get(next) {
            Some(way) if way.kind.name() == "webrtc" => BEFORE_WEBRTC,
            _ => HEAD_START,
        };
        let raced = race(&**node.runtime(), head_start, attempts, |_| false).await;
        raced.map_err(not_connected)
    }

    fn reached(&self, origin: &str, now: Duration) -> Option<String> {
        let reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        reached.get(origin).filter(|(_, until)| *until > now).map(|(kind, _)| kind.clone())
    }

    fn remember(&self, origin: &str, kind: String, until: Duration) {
        let mut reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        if reached.len() >= MAX_REMEMBERED
            && !reached.contains_key(origin)
            && let Some(oldest) = reached.iter().min_by_key(|(_, (_, until))| *until)
        {
            let oldest = oldest.0.clone();
            reached.remove(&oldest);
        }
        reached.insert(origin.to_owned(), (kind, until));
    }
}

/// A kind that is tried, and where.
struct Way {
    kind: Arc<dyn LinkKind>,
    address: String,
}

/// Scheme, host and port.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let path = url[host..].find('/').map_or(url.len(), |at| host + at);
    &url[..path]
}

/// Whether a link that is offered at an address leads to who offers it: a token and a ticket go to nobody else, and
/// https stays encrypted. One without a host leads to the host that was asked, and names a kind that encrypts.
fn is_same_origin(asked: &str, offered: &str) -> bool {
    if offered_address::is_without_host(offered) {
        return true;
    }
    let as_http = |url: &str| {
        let origin = origin(url).to_ascii_lowercase();
        match origin.strip_prefix("ws") {
            Some(rest) => format!("http{rest}"),
            None => origin,
        }
    };
    as_http(asked) == as_http(offered)
}

fn not_connected(mut tried: Vec<(String, ConnectError)>) -> ConnectError {
    match tried.pop() {
        Some((_, error)) if tried.is_empty() => error,
        Some(last) => {
            tried.push(last);
            ConnectError::NoLink { tried }
        }
        None => ConnectError::NothingInCommon,
    }
}

impl LinkKind for Automatic {
    fn schemes(&self) -> &[&str] {
        self.signaller.schemes()
    }

    fn connect<'a>(
        &'a self,
        node: &'a Node,
        url: &'a str,
        once: bool,
    ) -> BoxFuture<'a, Result<(Peer, Link), ConnectError>> {
        Box::pin(self.connect(node, url, once))
    }
}

impl std::fmt::Debug for Automatic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kinds: Vec<_> = self.kinds.iter().map(|kind| kind.name()).collect();
        f.debug_struct("Automatic").field("kinds", &kinds).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_an_address_without_its_path() {
        assert_eq!(origin("http://a:80/b/c"), "http://a:80");
        assert_eq!(origin("http://a"), "http://a");
        assert_eq!(origin("/a"), "");
    }

    #[test]
    fn what_is_offered_elsewhere_or_without_tls_is_not_of_the_same_origin() {
        for (offered, same) in [
            ("https://a:1/b", true),
            ("wss://A:1/c", true),
            ("ws://a:1/c", false),
            ("http://a:1/c", false),
            ("wss://a/c", false),
            ("wss://b:1/c", false),
            ("wss://a:1@b/c", false),
        ] {
            assert_eq!(is_same_origin("https://a:1/b", offered), same, "{offered}");
        }
        assert!(is_same_origin("http://a/b", "ws://a/c"));
        assert!(is_same_origin("https://a/b", "wt://:4000/c"));
        assert!(!is_same_origin("https://a/b", "wt://a:4000/c"));
    }
}
