//! Nodes that connect over SCTP, and patience.

use std::net::SocketAddr;
use std::time::Duration;

use deltawire::signalling::{ClientOptions, Token};
use deltawire::{Admission, ConnectError, Link, LinkEnded, Node, NodeBuilder};
use deltawire_channels::Peer;
use deltawire_framing::DocId;

pub(crate) const DOC: DocId = DocId([7; 16]);
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) type End = (Peer, Link);

pub(crate) fn accepting(builder: NodeBuilder, admission: Admission) -> Node {
    builder.accept_sctp(SocketAddr::from(([127, 0, 0, 1], 0)), admission).build().unwrap()
}

pub(crate) fn server() -> Node {
    accepting(Node::builder(), Admission::anyone())
}

pub(crate) fn client() -> Node {
    Node::builder().build().unwrap()
}

/// A node that shows this token.
pub(crate) fn with_token(token: &str) -> Node {
    let token = Some(Token::new(token).unwrap());
    Node::builder().signalling(ClientOptions { token, ..Default::default() }).build().unwrap()
}

pub(crate) fn url(server: &Node) -> String {
    format!("sctp://{}", server.sctp_address().unwrap())
}

pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("no {what} in time"))
}

pub(crate) async fn join(client: &Node, server: &Node) -> (End, End) {
    let near = soon("link", client.connect(&url(server))).await.unwrap();
    (near, soon("peer", server.accept()).await.unwrap())
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
pub(crate) fn refusal(outcome: Result<End, ConnectError>) -> deltawire::TransportError {
    match outcome.unwrap_err() {
        ConnectError::Ended(LinkEnded::Transport(error)) => error,
        other => panic!("{other:?}"),
    }
}
