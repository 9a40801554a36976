//! Links between nodes that meet in a room, over real sockets.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use deltawire::RoomError;
use deltawire::channels::session::Closed;
use deltawire::prelude::*;
use deltawire::signalling::{RoomLimits, SignallingOptions, SignallingServer};
use tokio::task::JoinHandle;
use tokio::time::timeout;

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Waits, but not for ever.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(Duration::from_secs(30), future).await {
        Ok(value) => value,
        Err(_) => panic!("waited 30 s for {what}"),
    }
}

/// A node that has rooms and no sockets, and where it signals.
async fn relay(options: SignallingOptions) -> (Node, String) {
    let node = Node::builder().build().unwrap();
    let rooms = options.rooms.or(Some(RoomLimits::default()));
    let router = node.router(SignallingOptions { rooms, ..options });
    let server = SignallingServer::bind(ANY_PORT, router).await.unwrap();
    let url = format!("http://{}/webrtc", server.local_addr());
    tokio::spawn(server.serve(std::future::pending()));
    (node, url)
}

/// A node that accepts in a room.
fn acceptor(builder: NodeBuilder, room: &str) -> (Node, JoinHandle<Result<(), RoomError>>) {
    let node = builder.listen(ANY_PORT).build().unwrap();
    let (accepting, room) = (node.clone(), room.to_owned());
    (node, tokio::spawn(async move { accepting.accept_in_room(&room).await }))
}

/// Sends messages of several sizes there and back.
async fn echo(near: &mut Peer, far: &mut Peer) {
    for len in [1, 1_000, 70_000, 1_000_000] {
        let bytes: Vec<_> = (0..len).map(|at: u32| at as u8).collect();
        send(near, far, &bytes).await;
        send(far, near, &bytes).await;
    }
}

async fn send(from: &mut Peer, to: &mut Peer, bytes: &[u8]) {
    let sent = from.send.send(DeltaFields::new(DocId([7; 16])), bytes);
    let received = async {
        let message = to.receive.next().await.unwrap();
        assert_eq!(message.delta().unwrap().payload(), bytes);
    };
    let (sent, ()) = soon("a message", async { tokio::join!(sent, received) }).await;
    sent.unwrap();
}

#[tokio::test]
async fn nodes_meet_in_a_room() {
    let (relay, url) = relay(SignallingOptions::default()).await;
    let room = format!("{url}/rooms/a-room");
    let (acceptor, accepting) = acceptor(Node::builder(), &room);
    let connector = Node::builder().build().unwrap();
    for closes in [0, 1] {
        let ((mut near, near_link), (mut far, far_link)) = soon("a link", async {
            let (near, far) = tokio::join!(connector.connect(&room), acceptor.accept());
            (near.unwrap(), far.unwrap())
        })
        .await;
        assert_eq!((near_link.kind(), far_link.kind()), ("webrtc", "webrtc"));
        echo(&mut near, &mut far).await;
        let links = [&near_link, &far_link];
        links[closes].close(CloseCode::NORMAL, "done");
        for link in links {
            let ended = soon("the end", link.closed()).await;
            assert!(
                matches!(ended, LinkEnded::Session(Closed::ByUs { .. } | Closed::ByPeer { .. })),
                "{ended}"
            );
        }
    }
    assert!(relay.peers().is_empty(), "nothing goes by it but offers");
    acceptor.shut_down(Duration::from_secs(5)).await;
    soon("who accepts", accepting).await.unwrap().unwrap();
}
