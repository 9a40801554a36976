//! Nodes that accept over WebTransport, who connects to them, and patience.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use deltawire::signalling::{SignallingOptions, SignallingServer};
use deltawire::{Admission, Link, Node, NodeBuilder};
use deltawire_channels::Peer;
use deltawire_framing::DocId;

use crate::browser::Browser;
use crate::carried::Carried;

pub(crate) const DOC: DocId = DocId([7; 16]);
pub(crate) const PATH: &str = "/deltawire";
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) type End = (Peer, Link);

pub(crate) fn listening() -> NodeBuilder {
    Node::builder().listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
}

pub(crate) fn server() -> Node {
    listening().accept_webtransport(Admission::anyone()).build().unwrap()
}

pub(crate) fn at(server: &Node) -> SocketAddr {
    server.addresses().next().unwrap()
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

pub(crate) async fn browser(server: &Node) -> Browser {
    Browser::start(at(server), server.webtransport_fingerprints()).await
}

/// A link over a session that was asked for at this path.
pub(crate) async fn join(client: &Node, server: &Node, path: &str) -> (End, End) {
    let session = browser(server).await.ask(path, &[]).await.unwrap();
    let near = soon("link", client.attach(Carried::over(session).await)).await.unwrap();
    (near, soon("peer", server.accept()).await.unwrap())
}

/// The address of signalling for a node.
pub(crate) async fn signalling(node: &Node, options: SignallingOptions) -> String {
    let router = node.router(options);
    let server = SignallingServer::bind((Ipv4Addr::LOCALHOST, 0).into(), router).await.unwrap();
    let url = format!("http://{}/webrtc", server.local_addr());
    tokio::spawn(server.serve(std::future::pending()));
    url
}
