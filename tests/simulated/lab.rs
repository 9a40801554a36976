//! Hosts, their nodes, and what runs on them.

use std::time::Duration;

use deltawire::sim::{Host, Path, Simulation, certificate};
use deltawire::{Link, Node, NodeBuilder};
use deltawire_channels::{Peer, Receiver, Sender};
use deltawire_framing::{DeltaFields, DocId};

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const URL: &str = "sim://server";
pub(crate) const DOC: DocId = DocId([7; 16]);

/// What a node on this host is made with, whose sessions end with their links.
pub(crate) fn builder(sim: &mut Simulation, host: Host) -> NodeBuilder {
    Node::builder()
        .resume(None)
        .runtime(sim.runtime(host))
        .signaller(sim.signaller(host))
        .certificate(certificate())
}

/// A node that accepts and is served at [`URL`].
pub(crate) fn server(sim: &mut Simulation, host: Host) -> Node {
    server_with(sim, host, |builder| builder)
}

pub(crate) fn server_with(
    sim: &mut Simulation,
    host: Host,
    options: impl FnOnce(NodeBuilder) -> NodeBuilder,
) -> Node {
    let listen = (sim.address(host), 4_000).into();
    let node = options(builder(sim, host).listen(listen)).build().unwrap();
    sim.serve(host, URL, node.clone());
    node
}

/// Echoes all that comes to each peer of a node's.
pub(crate) async fn echo_all(node: Node) {
    let runtime = node.runtime().clone();
    while let Some((peer, _link)) = node.accept().await {
        runtime.spawn(Box::pin(echo(peer)));
    }
}

async fn echo(mut peer: Peer) {
    while let Ok(message) = peer.receive.next().await {
        let Ok(delta) = message.delta() else { return };
        let sent = peer.send.send(DeltaFields::new(delta.doc_id()), delta.payload()).await;
        if sent.is_err() {
            return;
        }
    }
}

/// Sends numbers, in order, until the link is over; says how many were accepted.
pub(crate) async fn count_up(mut sender: Sender, most: u64, len: usize) -> u64 {
    for number in 0..most {
        let mut payload = vec![0; len.max(8)];
        payload[..8].copy_from_slice(&number.to_le_bytes());
        if sender.send(DeltaFields::new(DOC), &payload).await.is_err() {
            return number;
        }
    }
    most
}

/// Reads numbers, which have to come one by one, until the link is over or so many came.
pub(crate) async fn read_up(receiver: &mut Receiver, most: u64) -> u64 {
    for expected in 0..most {
        let Ok(message) = receiver.next().await else { return expected };
        let payload = message.delta().unwrap().payload();
        assert_eq!(payload[..8], expected.to_le_bytes(), "each once, in order");
    }
    most
}

/// Two hosts, the second of which has a server, over this path.
pub(crate) fn pair(seed: u64, path: Path) -> (Simulation, [Host; 2]) {
    let mut sim = Simulation::new(seed);
    let hosts = sim.add_hosts();
    sim.set_path(hosts[0], hosts[1], path);
    (sim, hosts)
}

/// Connects, and takes what the other node accepted.
pub(crate) fn connect(
    sim: &mut Simulation,
    client: &Node,
    server: &Node,
) -> ((Peer, Link), (Peer, Link)) {
    let near = sim.block_on(20 * SECOND, client.connect(URL)).unwrap().unwrap();
    let far = sim.block_on(20 * SECOND, server.accept()).unwrap().unwrap();
    (near, far)
}
