//! The board between native peers over real links.

#![cfg(not(target_arch = "wasm32"))]

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use deltawire::Backoff;
use deltawire::documents::{Documents, DocumentsOptions, Hub, HubOptions, keep, serve};
use deltawire::framing::DeltaFields;
use deltawire::prelude::*;
use deltawire::signalling::{SignallingOptions, SignallingServer};
use deltawire_browser_demo::board::{
    Appearance, BOARD, Operation, PATH, Participant, Rules, Stroke, ToWindow,
};
use deltawire_browser_demo::service::Error;

const PATIENCE: Duration = Duration::from_secs(30);

/// A server that can be killed.
struct Server {
    address: SocketAddr,
    node: Node,
    hub: Hub,
    signalling: tokio::task::JoinHandle<()>,
}

impl Server {
    async fn start(address: SocketAddr) -> Result<Self, Error> {
        let node =
            Node::builder().listen((Ipv4Addr::LOCALHOST, 0).into()).serve_documents().build()?;
        let hub = Hub::in_memory(HubOptions::default(), Rules, node.runtime().clone());
        let options = SignallingOptions { path: PATH.parse()?, ..SignallingOptions::default() };
        let server = SignallingServer::bind(address, node.router(options)).await?;
        let address = server.local_addr();
        let signalling = tokio::spawn(server.serve(std::future::pending()));
        let (serving, served) = (node.clone(), hub.clone());
        tokio::spawn(async move { serve(&serving, &served).await });
        Ok(Self { address, node, hub, signalling })
    }

    /// Ends it, and what its hub had in memory.
    async fn end(self) -> SocketAddr {
        self.signalling.abort();
        self.node.shut_down(Duration::from_secs(1)).await;
        self.address
    }
}

/// A peer, and the node that keeps it connected.
fn join(address: SocketAddr, author: u64) -> Result<(Participant, Node), Error> {
    let backoff = Backoff { longest: Duration::from_millis(300), ..Backoff::default() };
    let node = Node::builder().backoff(backoff).prefer_links(["websocket"]).build()?;
    let documents = Documents::new(node.runtime().clone(), DocumentsOptions::default());
    let participant = Participant::join(&documents, author, || 1)?;
    let keeper = node.clone();
    tokio::spawn(
        async move { keep(&keeper, &format!("http://{address}{PATH}"), &documents).await },
    );
    Ok((participant, node))
}

fn stroke(x: i16) -> Operation {
    Operation::Stroke(Stroke { colour: 1, width: 60, points: vec![[x, 1], [x, 2]] })
}

/// Lets all of them go on until it is so.
async fn until(
    what: &str,
    peers: &mut [&mut Participant; 2],
    is_so: impl Fn(&[&mut Participant; 2]) -> bool,
) {
    let reached = async {
        while !is_so(peers) {
            let [a, b] = peers;
            tokio::select! {
                told = a.next() => drop(told.unwrap()),
                told = b.next() => drop(told.unwrap()),
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
        }
    };
    let reached = tokio::time::timeout(PATIENCE, reached).await.is_ok();
    assert!(reached, "no {what} in time: {:?}, {:?}", peers[0].status(), peers[1].status());
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("no {what} in time"))
}

fn strokes(peer: &Participant) -> Vec<i16> {
    peer.replica().strokes().iter().map(|it| it.points[0][0]).collect()
}

#[tokio::test]
async fn two_replicas_converge_even_when_the_hub_has_forgotten_everything() -> Result<(), Error> {
    let server = Server::start((Ipv4Addr::LOCALHOST, 0).into()).await?;
    let (mut a, _node_a) = join(server.address, 1)?;
    let (mut b, _node_b) = join(server.address, 2)?;
    let peers = &mut [&mut a, &mut b];
    until("link", peers, |peers| peers.iter().all(|it| it.status().live)).await;
    for x in 0..20 {
        peers[0].perform(stroke(x));
        peers[1].perform(stroke(100 + x));
    }
    peers[0].undo();
    let same = |peers: &[&mut Participant; 2], next| {
        peers.iter().all(|it| it.status().next == next && it.status().waiting == 0)
    };
    // Forty strokes and one that is taken back; what was not placed yet when it was taken back is placed first.
    until("strokes", peers, |peers| same(peers, 42)).await;
    let digest = peers[0].replica().digest();
    assert_eq!(peers[1].replica().digest(), digest);
    assert_eq!(strokes(peers[0]).len(), 39);
    assert!(!strokes(peers[0]).contains(&19));

    // The hub loses its memory, and meanwhile both draw on.
    let address = server.end().await;
    until("end", peers, |peers| peers.iter().all(|it| !it.status().attended)).await;
    peers[0].perform(stroke(50));
    peers[1].perform(stroke(150));
    assert_eq!(peers[0].status().waiting, 1);
    let server = Server::start(address).await?;
    until("restoration", peers, |peers| same(peers, 44)).await;
    assert_eq!(peers[0].replica().digest(), peers[1].replica().digest());
    // What was there lies where it lay.
    let mut before = peers[0].replica().clone();
    before.truncate(42);
    assert_eq!(before.digest(), digest);
    assert_eq!(server.hub.head(&BOARD).map(|it| it.next.0), Some(44));
    Ok(())
}

#[tokio::test]
async fn each_sees_how_the_other_looks() -> Result<(), Error> {
    let server = Server::start((Ipv4Addr::LOCALHOST, 0).into()).await?;
    let (mut a, _node_a) = join(server.address, 1)?;
    let (mut b, node_b) = join(server.address, 2)?;
    let look =
        Appearance { name: "Bea".to_owned(), pointer: Some([1, 2]), ..Appearance::default() };
    b.appear(look.clone())?;
    let seen = async {
        loop {
            tokio::select! {
                told = a.next() => if let Ok(ToWindow::Present { appearance, .. }) = told {
                    break appearance;
                },
                _ = b.next() => {}
            }
        }
    };
    assert_eq!(soon("look", seen).await, Appearance { author: 2, ..look });
    drop((b, node_b));
    let gone = async { while !matches!(a.next().await, Ok(ToWindow::Gone(_))) {} };
    soon("end", gone).await;
    Ok(())
}

#[tokio::test]
async fn the_server_lets_nothing_in_but_operations() -> Result<(), Error> {
    let server = Server::start((Ipv4Addr::LOCALHOST, 0).into()).await?;
    let documents = server.hub.documents(None, DocumentsOptions::default());
    let mut publisher = documents.publish(BOARD)?;
    let receipt = publisher.publish(b"no operation").await?;
    assert!(soon("refusal", receipt.received()).await.is_err());
    let fields =
        DeltaFields { delta_type: DeltaType::application(259)?, ..DeltaFields::new(BOARD) };
    let receipt = publisher.publish_with(fields, &[0; 12]).await?;
    soon("receipt", receipt.received()).await?;
    let mut other = documents.publish(DocId([1; 16]))?;
    let refused = soon("refusal", async { other.publish(b"x").await?.received().await });
    assert!(refused.await.is_err());
    Ok(())
}
