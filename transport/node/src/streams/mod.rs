//! Links over streams of the system's, without encryption: TCP and Unix sockets. What makes a stream is in a file for each;
//! who may have a link on it, and what becomes of it, is the same for both.

mod accepting;
mod connecting;
#[cfg(feature = "tcp")]
mod tcp;
#[cfg(all(feature = "unix", unix))]
mod unix;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use deltawire_signalling::Token;
use futures_channel::oneshot;

use self::accepting::{Listener, accept};
#[cfg(all(feature = "unix", unix))]
pub use self::unix::UnixPeers;
use crate::{Admission, BuildError, LinkKind, Node};

/// What a builder is told of streams.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    #[cfg(feature = "tcp")]
    pub(crate) tcp: Option<(std::net::SocketAddr, Admission)>,
    #[cfg(all(feature = "unix", unix))]
    pub(crate) unix: Option<(std::path::PathBuf, Admission)>,
    #[cfg(all(feature = "unix", unix))]
    pub(crate) peers: UnixPeers,
}

impl Options {
    /// The kinds of links that these options make.
    pub(crate) fn kinds(&self, token: Option<&Token>, unencrypted: bool) -> Vec<Arc<dyn LinkKind>> {
        let _ = unencrypted;
        vec![
            #[cfg(feature = "tcp")]
            Arc::new(tcp::Tcp::new(token.cloned(), unencrypted)),
            #[cfg(all(feature = "unix", unix))]
            Arc::new(unix::Unix::new(token.cloned(), self.peers.clone())),
        ]
    }

    /// Binds what accepts.
    pub(crate) fn bind(self, unencrypted: bool) -> Result<(Bound, Accepting), BuildError> {
        let _ = unencrypted;
        let (mut bound, mut accepting) = (Bound::default(), Accepting::default());
        #[cfg(feature = "tcp")]
        if let Some((address, admission)) = self.tcp {
            let listener = tcp::bind(address, unencrypted)?;
            accepting.tcp = listener.local_addr().ok();
            bound.add(listener, admission, &mut accepting);
        }
        #[cfg(all(feature = "unix", unix))]
        if let Some((path, admission)) = self.unix {
            let listener = unix::UnixAcceptor::bind(path, self.peers)?;
            bound.add(listener, admission, &mut accepting);
        }
        Ok((bound, accepting))
    }
}

/// Who accepts, as soon as there is a node.
#[derive(Default)]
pub(crate) struct Bound(Vec<Start>);

/// Begins to accept for a node.
type Start = Box<dyn FnOnce(&Node) + Send>;

impl Bound {
    fn add<L: Listener>(&mut self, listener: L, admission: Admission, accepting: &mut Accepting) {
        let (held, gone) = oneshot::channel();
        accepting.held.push(held);
        let start = move |node: &Node| {
            node.runtime().spawn(Box::pin(accept(listener, admission, node.weak(), gone)));
        };
        self.0.push(Box::new(start));
    }

    /// Accepts for this node.
    pub(crate) fn start(self, node: &Node) {
        self.0.into_iter().for_each(|start| start(node));
    }
}

/// A node's part of what accepts: it goes on until this is dropped, or the node shuts down.
#[derive(Debug, Default)]
pub(crate) struct Accepting {
    held: Vec<oneshot::Sender<Infallible>>,
    #[cfg(feature = "tcp")]
    tcp: Option<std::net::SocketAddr>,
}

/// What a node has because it has links over TCP.
#[cfg(feature = "tcp")]
impl Node {
    /// Where peers reach this node by TCP: `None` if it accepts nobody there.
    #[must_use]
    pub fn tcp_address(&self) -> Option<std::net::SocketAddr> {
        self.inner().accepting.tcp
    }
}

/// Sockets of tokio's need its runtime around them.
fn check_runtime() -> io::Result<()> {
    let missing = |_| io::Error::other("links over TCP and Unix sockets need tokio's runtime");
    tokio::runtime::Handle::try_current().map(drop).map_err(missing)
}
