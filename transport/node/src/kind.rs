use std::fmt;

use deltawire_channels::Peer;
use deltawire_link::Link;
use deltawire_link::runtime::{BoxFuture, MaybeSync};

use crate::{ConnectError, Node};

/// A kind of link: makes those to addresses of its schemes.
///
/// WebRTC is one, which nodes have by themselves (feature `webrtc`); others are given to
/// [`NodeBuilder::link_kind`](crate::NodeBuilder::link_kind). A kind connects in its way, and hands what
/// carries the messages to [`Node::attach`]; who accepts does the same, as acceptor. Everything else is the
/// node's: limits, events, [`Reconnecting`](crate::Reconnecting), shutting down.
pub trait LinkKind: fmt::Debug + MaybeSync + 'static {
    /// The schemes of its addresses: of `ws://example.org` it is `ws`.
    fn schemes(&self) -> &[&str];

    /// What servers call it that offer it: see [`Link::kind`](deltawire_link::Link::kind). Default: empty, so that
    /// it is used for addresses of its schemes only.
    fn name(&self) -> &str {
        ""
    }

    /// The address of a link of this kind, to a node that offers it at `offered`, or, if that is `None`, at the
    /// address where it was asked. `ticket` lets in who opens it. `None`: it cannot be used. Default: `offered`.
    fn address(&self, asked: &str, offered: Option<&str>, ticket: Option<&str>) -> Option<String> {
        let _ = (asked, ticket);
        offered.map(str::to_owned)
    }

    /// Connects to the node at this address. `once` says that a server which refuses for now is not to be
    /// asked again: the caller comes back by itself.
    fn connect<'a>(
        &'a self,
        node: &'a Node,
        url: &'a str,
        once: bool,
    ) -> BoxFuture<'a, Result<(Peer, Link), ConnectError>>;
}
