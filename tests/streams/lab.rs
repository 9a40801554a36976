//! Nodes that connect over streams, and patience.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use deltawire::signalling::{ClientOptions, Token};
use deltawire::stream::ByteStream;
use deltawire::{Admission, ConnectError, Link, Node, NodeBuilder, TransportError};
use deltawire_channels::Peer;
use deltawire_framing::DocId;

pub(crate) const DOC: DocId = DocId([7; 16]);
pub(crate) const KINDS: [&str; 2] = ["tcp", "unix"];

const PATIENCE: Duration = Duration::from_secs(20);

type End = (Peer, Link);

/// A node that accepts, and its address.
pub(crate) struct Served {
    pub(crate) node: Node,
    pub(crate) url: String,
    pub(crate) place: Place,
}

/// Where the system knows it.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A path that nobody else has.
pub(crate) fn free_path() -> PathBuf {
    static NEXT: Mutex<u32> = Mutex::new(0);
    let mut number = NEXT.lock().unwrap();
    *number += 1;
    std::env::temp_dir().join(format!("deltawire-streams-{}-{number}", std::process::id()))
}

impl Served {
    pub(crate) fn new(kind: &str, builder: NodeBuilder, admission: Admission) -> Self {
        if kind == "tcp" {
            let any = (Ipv4Addr::LOCALHOST, 0).into();
            let node = builder.accept_tcp(any, admission).build().unwrap();
            let address = node.tcp_address().unwrap();
            return Self { node, url: format!("tcp://{address}"), place: Place::Tcp(address) };
        }
        let path = free_path();
        let node = builder.accept_unix(&path, admission).build().unwrap();
        Self { node, url: format!("unix://{}", path.display()), place: Place::Unix(path) }
    }

    pub(crate) async fn join(&self, client: &Node) -> (End, End) {
        let near = soon("link", client.connect(&self.url)).await.unwrap();
        (near, soon("peer", self.node.accept()).await.unwrap())
    }

    /// A stream to it, on which nothing was said.
    pub(crate) async fn raw(&self) -> Box<dyn ByteStream> {
        match &self.place {
            Place::Tcp(address) => Box::new(tokio::net::TcpStream::connect(address).await.unwrap()),
            Place::Unix(path) => Box::new(tokio::net::UnixStream::connect(path).await.unwrap()),
        }
    }

    /// Whether anybody listens there.
    pub(crate) fn is_there(&self) -> bool {
        match &self.place {
            Place::Tcp(address) => std::net::TcpStream::connect(address).is_ok(),
            Place::Unix(path) => path.symlink_metadata().is_ok(),
        }
    }
}

pub(crate) fn client() -> Node {
    Node::builder().build().unwrap()
}

pub(crate) fn with_token(token: &str) -> Node {
    let token = Some(Token::new(token).unwrap());
    Node::builder().signalling(ClientOptions { token, ..ClientOptions::default() }).build().unwrap()
}

pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("no {what} in time"))
}

pub(crate) async fn until(what: &str, mut done: impl FnMut() -> bool) {
    soon(what, async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Why a link was not to be had.
pub(crate) fn refusal(outcome: Result<End, ConnectError>) -> TransportError {
    match outcome.unwrap_err() {
        ConnectError::Transport(error) => error,
        other => panic!("{other:?}"),
    }
}
