//! Nodes at loopback, and links between them.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use deltawire::signalling::{Rate, SignallingOptions, SignallingServer};
use deltawire::{Link, LinkEnded, LinkId, Node, NodeBuilder, NodeEvent, Undelivered};
use deltawire_channels::Peer;
use tokio::net::TcpSocket;
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub(crate) const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub(crate) const ANY_PORT: SocketAddr = SocketAddr::new(LOOPBACK, 0);

/// An end of a link.
pub(crate) type End = (Peer, Link);

/// Waits, but not for ever.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(Duration::from_secs(30), future).await {
        Ok(value) => value,
        Err(_) => panic!("waited 30 s for {what}"),
    }
}

/// Waits until something holds that nobody is woken for.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    soon(what, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// Of nodes whose links are over WebRTC: what these tests are about. Those of all kinds are in tests/links.
pub(crate) fn builder() -> NodeBuilder {
    Node::builder().resume(None).prefer_links(["webrtc"])
}

/// A node that listens at loopback.
pub(crate) fn listening(builder: NodeBuilder) -> Node {
    builder.listen(ANY_PORT).build().unwrap()
}

pub(crate) fn server() -> Node {
    listening(builder())
}

/// A node that only connects.
pub(crate) fn client() -> Node {
    builder().build().unwrap()
}

/// Opens a link without HTTP; `edit` changes the answer on its way. The first end is the one that
/// connects.
pub(crate) async fn join_with(
    client: &Node,
    server: &Node,
    edit: impl FnOnce(String) -> String,
) -> (End, End) {
    join_from(LOOPBACK, client, server, edit).await
}

/// The same, from this address of the client's.
pub(crate) async fn join_from(
    local: IpAddr,
    client: &Node,
    server: &Node,
    edit: impl FnOnce(String) -> String,
) -> (End, End) {
    let offer = client.offer(local).unwrap();
    let answer = edit(server.answer(offer.sdp()).await.unwrap());
    let both = async { tokio::join!(offer.finish(&answer), server.accept()) };
    let (near, far) = soon("a link", both).await;
    (near.unwrap(), far.unwrap())
}

pub(crate) async fn join(client: &Node, server: &Node) -> (End, End) {
    join_with(client, server, |answer| answer).await
}

/// Two nodes and the link between them. The first end is the one that connects.
pub(crate) async fn pair(builder: NodeBuilder) -> ([Node; 2], (End, End)) {
    let (client, server) = (builder.clone().build().unwrap(), listening(builder));
    let ends = join(&client, &server).await;
    ([client, server], ends)
}

/// The URL of a port where nobody listens, and what keeps others from it.
pub(crate) fn deserted() -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(ANY_PORT).unwrap();
    let url = format!("http://{}/webrtc", socket.local_addr().unwrap());
    (socket, url)
}

/// Signalling for a node: its URL, and the task that serves it until it is aborted.
pub(crate) async fn serve(node: &Node, address: SocketAddr) -> (String, JoinHandle<()>) {
    let rate = Rate { refill: Duration::ZERO, ..Rate::default() };
    serve_with(node, address, SignallingOptions { rate, ..SignallingOptions::default() }).await
}

pub(crate) async fn serve_with(
    node: &Node,
    address: SocketAddr,
    options: SignallingOptions,
) -> (String, JoinHandle<()>) {
    let server = SignallingServer::bind(address, node.router(options)).await.unwrap();
    let url = format!("http://{}/webrtc", server.local_addr());
    (url, tokio::spawn(server.serve(std::future::pending())))
}

/// The next event that tells of an end.
pub(crate) async fn down(node: &Node) -> (LinkId, LinkEnded, Undelivered) {
    loop {
        if let NodeEvent::Down { id, ended, undelivered } = soon("a Down", node.event()).await {
            return (id, ended, undelivered);
        }
    }
}
