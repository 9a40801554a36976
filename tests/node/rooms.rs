//! Nodes that meet in a room of a third one's.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{delete, post};

use deltawire::channels::session::Closed;
use deltawire::prelude::*;
use deltawire::signalling::{
    ClientOptions, RoomLimits, SignallingError, SignallingOptions, SignallingServer, Token,
};
use deltawire::webrtc::EngineKind;
use deltawire::{AnswerError, Backoff, ConnectError, NodeLimits, PeerState, RoomError};
use tokio::task::JoinHandle;

use crate::nodes::{
    ANY_PORT, LOOPBACK, builder, client, deserted, listening, serve_with, server, soon, until,
};

/// A node that has rooms and no sockets, where its rooms are, and what serves them.
async fn relay(options: SignallingOptions) -> (Node, String, JoinHandle<()>) {
    let node = client();
    let rooms = options.rooms.or(Some(RoomLimits::default()));
    let options = SignallingOptions { rooms, ..options };
    let (url, serving) = serve_with(&node, ANY_PORT, options).await;
    (node, format!("{url}/rooms"), serving)
}

/// Has a node accept in a room.
fn accept(node: &Node, room: &str) -> JoinHandle<Result<(), RoomError>> {
    let (node, room) = (node.clone(), room.to_owned());
    tokio::spawn(async move { node.accept_in_room(&room).await })
}

/// The ends of a link: of who connects, and of who accepts.
async fn meet(connector: &Node, room: &str, acceptor: &Node) -> [(Peer, Link); 2] {
    let both = async { tokio::join!(connector.connect(room), acceptor.accept()) };
    let (near, far) = soon("a link", both).await;
    [near.unwrap(), far.unwrap()]
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
async fn nodes_meet_in_a_room_and_either_closes() {
    for engine in [EngineKind::Lean, EngineKind::Str0m] {
        let (relay, rooms, _serving) = relay(SignallingOptions::default()).await;
        let room = format!("{rooms}/a-room");
        let acceptor = listening(Node::builder().engine(engine));
        let accepting = accept(&acceptor, &room);
        let connector = Node::builder().engine(engine).build().unwrap();
        for closer in [0, 1] {
            let [(mut near, near_link), (mut far, far_link)] =
                meet(&connector, &room, &acceptor).await;
            assert_eq!((near_link.kind(), far_link.kind()), ("webrtc", "webrtc"));
            echo(&mut near, &mut far).await;
            let links = [&near_link, &far_link];
            links[closer].close(CloseCode::NORMAL, "done");
            for link in links {
                let ended = soon("the end", link.closed()).await;
                let in_order = matches!(
                    ended,
                    LinkEnded::Session(
                        Closed::ByUs { complete: true, .. } | Closed::ByPeer { complete: true, .. }
                    )
                );
                assert!(in_order, "{ended}");
            }
        }
        assert!(relay.peers().is_empty(), "nothing goes by it but offers");
        acceptor.shut_down(Duration::from_secs(5)).await;
        soon("who accepts", accepting).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn many_meet_in_many_rooms() {
    let (_relay, rooms, _serving) = relay(SignallingOptions::default()).await;
    let connector = client();
    let mut links = Vec::new();
    for number in 0..3 {
        let room = format!("{rooms}/room-{number}");
        let acceptor = server();
        let accepting = accept(&acceptor, &room);
        // All at once.
        let connecting = (0..5).map(|_| {
            let (connector, room) = (connector.clone(), room.clone());
            tokio::spawn(async move { connector.connect(&room).await })
        });
        for connecting in connecting.collect::<Vec<_>>() {
            links.push(soon("a link", connecting).await.unwrap().unwrap());
        }
        for _ in 0..5 {
            links.push(soon("a peer", acceptor.accept()).await.unwrap());
        }
        accepting.abort();
    }
    assert_eq!(links.len(), 30);
    assert!(links.iter().all(|(_, link)| link.ended().is_none()));
}

/// Who accepts comes later than who connects, and goes before the link does.
#[tokio::test]
async fn an_offer_waits_for_who_accepts_and_links_outlive_accepting() {
    let (_relay, rooms, _serving) = relay(SignallingOptions::default()).await;
    let room = format!("{rooms}/later");
    let (connector, acceptor) = (client(), server());
    let later = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let accepting = accept(&acceptor, &room);
        let far = soon("a peer", acceptor.accept()).await.unwrap();
        accepting.abort();
        far
    };
    let (near, (mut far, _)) = tokio::join!(connector.connect(&room), later);
    let (mut near, _link) = near.unwrap();
    echo(&mut near, &mut far).await;
    // Nobody accepts any more: its patience says how long it is tried.
    let options = ClientOptions { patience: Duration::ZERO, ..ClientOptions::default() };
    let impatient = builder().signalling(options).build().unwrap();
    match soon("a refusal", impatient.connect(&room)).await {
        Err(ConnectError::Signalling(SignallingError::Refused {
            status: 503, problem, ..
        })) => {
            assert!(problem.unwrap().kind.ends_with("nobody-accepts"));
        }
        other => panic!("{other:?}"),
    }
}

/// A session goes on over another link by the same room.
#[tokio::test]
async fn a_session_goes_on_by_its_room() {
    let (_relay, rooms, _serving) = relay(SignallingOptions::default()).await;
    let room = format!("{rooms}/again");
    let acceptor = listening(Node::builder());
    let _accepting = accept(&acceptor, &room);
    let connector = Node::builder().build().unwrap();
    let [(mut near, link), (mut far, _)] = meet(&connector, &room, &acceptor).await;
    until("a ticket to go on with", || link.is_resumable()).await;
    echo(&mut near, &mut far).await;
    link.migrate();
    echo(&mut near, &mut far).await;
    assert!(link.ended().is_none());
}

#[tokio::test]
async fn a_server_that_is_away_is_waited_for_and_a_wrong_token_is_not() {
    let backoff = Backoff { first: Duration::from_millis(20), ..Backoff::default() };
    let acceptor = listening(builder().backoff(backoff));
    let (socket, away) = deserted();
    let room = format!("{away}/rooms/a");
    let accepting = accept(&acceptor, &room);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!accepting.is_finished());
    let address = socket.local_addr().unwrap();
    drop(socket);
    let rooms = Some(RoomLimits::default());
    let options = SignallingOptions { rooms, ..SignallingOptions::default() };
    let relay = client();
    let _serving = serve_with(&relay, address, options).await;
    let _ends = meet(&client(), &room, &acceptor).await;
    accepting.abort();

    let token = Some(Token::new("right").unwrap());
    let (_relay, rooms, _serving) =
        self::relay(SignallingOptions { token, ..SignallingOptions::default() }).await;
    for room in [format!("{rooms}/a"), format!("{rooms}/a b"), "ftp://a/b".to_owned()] {
        match soon("a refusal", acceptor.accept_in_room(&room)).await {
            Err(RoomError::Signalling(
                SignallingError::Refused { status: 401, .. } | SignallingError::Url { .. },
            )) => {}
            other => panic!("{room}: {other:?}"),
        }
    }
    match client().accept_in_room(&room).await {
        Err(RoomError::Answer(AnswerError::NotListening)) => {}
        other => panic!("{other:?}"),
    }
    let few = Backoff { max_attempts: Some(2), ..backoff };
    let (_socket, away) = deserted();
    let given_up = listening(builder().backoff(few)).accept_in_room(&away).await;
    assert!(matches!(given_up, Err(RoomError::Signalling(SignallingError::Unreachable { .. }))));
}

/// Of a node that is full the one who connects is told, and comes back.
#[tokio::test]
async fn a_full_node_refuses_offers_and_takes_them_later() {
    let (_relay, rooms, _serving) = relay(SignallingOptions::default()).await;
    let room = format!("{rooms}/full");
    let limits = NodeLimits { max_peers: 1, ..NodeLimits::default() };
    let acceptor = listening(builder().node_limits(limits));
    let _accepting = accept(&acceptor, &room);
    let connector = client();
    let [_near, (_far, far_link)] = meet(&connector, &room, &acceptor).await;
    let impatient = ClientOptions { patience: Duration::ZERO, ..ClientOptions::default() };
    let impatient = builder().signalling(impatient).build().unwrap();
    match soon("a refusal", impatient.connect(&room)).await {
        Err(ConnectError::Signalling(SignallingError::Refused {
            status: 503, problem, ..
        })) => {
            assert!(problem.unwrap().kind.ends_with("not-taken"));
        }
        other => panic!("{other:?}"),
    }
    far_link.close(CloseCode::NORMAL, "done");
    soon("the end", far_link.closed()).await;
    let _ends = meet(&connector, &room, &acceptor).await;
}

/// A server that says at once that no offer came, and one that hands out what is none.
#[tokio::test]
async fn a_server_that_keeps_no_rule_is_asked_on_in_peace() {
    let counts = [(); 2].map(|()| Arc::new(Mutex::new(0)));
    let count = |count: &Arc<Mutex<u32>>| {
        let count = count.clone();
        move || {
            *count.lock().unwrap() += 1;
            std::future::ready(StatusCode::NO_CONTENT)
        }
    };
    let rubbish = || {
        let headers = [("content-type", "application/sdp"), ("location", "/rubbish/offers/1")];
        std::future::ready((headers, "v=0\r\nx"))
    };
    let router = Router::new()
        .route("/empty/offers", post(count(&counts[0])))
        .route("/rubbish/offers", post(rubbish))
        .route("/rubbish/offers/1", delete(count(&counts[1])))
        .route("/other/offers", post(|| std::future::ready("hello")));
    let server = SignallingServer::bind(ANY_PORT, router).await.unwrap();
    let url = format!("http://{}", server.local_addr());
    tokio::spawn(server.serve(std::future::pending()));
    let acceptor = self::server();
    let accepting = ["empty", "rubbish"].map(|name| accept(&acceptor, &format!("{url}/{name}")));
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let [asked, refused] = counts.map(|count| *count.lock().unwrap());
    assert!((1..=2).contains(&asked), "asked {asked} times");
    assert!(refused > 0);
    assert!(accepting.iter().all(|accepting| !accepting.is_finished()));
    assert!(acceptor.peers().is_empty());
    match acceptor.accept_in_room(&format!("{url}/other")).await {
        Err(RoomError::Signalling(SignallingError::NotAnAnswer { .. })) => {}
        other => panic!("{other:?}"),
    }
    accepting.iter().for_each(JoinHandle::abort);
}

/// Offers that lead nowhere: who accepts gives them up, and takes others meanwhile.
#[tokio::test]
async fn who_never_comes_is_given_up() {
    let (_relay, rooms, _serving) = relay(SignallingOptions::default()).await;
    let room = format!("{rooms}/nobody");
    let acceptor = listening(builder().connect_timeout(Duration::from_secs(2)));
    let _accepting = accept(&acceptor, &room);
    let connector = client();
    let signaller = deltawire::signalling::SignallingClient::new(ClientOptions::default()).unwrap();
    for _ in 0..4 {
        let offer = connector.offer(LOOPBACK).unwrap();
        let answered = signaller.offer(&room, offer.sdp()).await.unwrap();
        assert!(!answered.sdp.contains("ice-lite"), "both check: {}", answered.sdp);
    }
    let connecting = |node: &Node| {
        node.peers().iter().filter(|peer| peer.state == PeerState::Connecting).count()
    };
    assert_eq!(connecting(&acceptor), 4);
    let _ends = meet(&connector, &room, &acceptor).await;
    until("nobody is waited for", || connecting(&acceptor) == 0).await;
    assert_eq!(acceptor.peers().len(), 1);
}
