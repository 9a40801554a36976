//! Links over QUIC between nodes, over real sockets.

#![cfg(not(target_arch = "wasm32"))]

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use deltawire::link::runtime::BoxFuture;
use deltawire::quic::{Fingerprint, QuicCertificate, QuicError, QuicTrust};
use deltawire::signalling::{AuthorizationRequest, Authorizer, ClientOptions, Denial, Token};
use deltawire::{
    Backoff, BuildError, ConnectError, Identity, Link, LinkEnded, Node, NodeBuilder, NodeEvent,
    NodeLimits, QuicAdmission, ReconnectEvent, TransportErrorKind,
};
use deltawire_channels::session::Closed;
use deltawire_channels::{Delivery, Limits, Order, Peer, Receiver, Reliability};
use deltawire_framing::control::CloseCode;
use deltawire_framing::{DeltaFields, DocId};

const DOC: DocId = DocId([7; 16]);
const PATIENCE: Duration = Duration::from_secs(20);

type End = (Peer, Link);

fn listening(builder: NodeBuilder) -> NodeBuilder {
    builder.listen(SocketAddr::from(([127, 0, 0, 1], 0)))
}

fn server() -> Node {
    listening(Node::builder()).accept_quic(QuicAdmission::anyone()).build().unwrap()
}

fn client() -> Node {
    Node::builder().build().unwrap()
}

fn url(server: &Node) -> String {
    format!("quic://{}", server.addresses().next().unwrap())
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("no {what} in time"))
}

async fn join(client: &Node, server: &Node) -> (End, End) {
    let near = soon("link", client.connect(&url(server))).await.unwrap();
    (near, soon("peer", server.accept()).await.unwrap())
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    soon(what, async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Why a link was not to be had.
fn refusal(outcome: Result<End, ConnectError>) -> deltawire::TransportError {
    match outcome.unwrap_err() {
        ConnectError::Ended(LinkEnded::Transport(error)) => error,
        other => panic!("{other:?}"),
    }
}

const LENS: [usize; 8] = [0, 1, 1_000, 1_400, 16_000, 16_384, 70_000, 700_000];

async fn read(mut receiver: Receiver, count: usize) -> Receiver {
    for (number, len) in (0..count).map(|number| (number, LENS[number % LENS.len()])) {
        let message = receiver.next().await.unwrap();
        let delta = message.delta().unwrap();
        assert_eq!(delta.payload().len(), len, "{number}");
        assert!(delta.payload().iter().all(|byte| *byte == number as u8));
        if len > 0 && len.is_multiple_of(16) {
            assert!(delta.payload().as_ptr().addr().is_multiple_of(16), "{number}");
        }
    }
    receiver
}

#[tokio::test]
async fn messages_of_all_lengths_go_both_ways_in_order() {
    let (client, server) = (client(), server());
    let ((here, near), (there, _far)) = join(&client, &server).await;
    let count = 120;
    let send = move |mut sender: deltawire_channels::Sender| async move {
        for (number, len) in (0..count).map(|number| (number, LENS[number % LENS.len()])) {
            sender.send(DeltaFields::new(DOC), &vec![number as u8; len]).await.unwrap();
        }
        sender
    };
    let sending = [tokio::spawn(send(here.send)), tokio::spawn(send(there.send))];
    let reading =
        [tokio::spawn(read(here.receive, count)), tokio::spawn(read(there.receive, count))];
    let mut kept = (Vec::new(), Vec::new());
    for task in sending {
        kept.0.push(soon("sending", task).await.unwrap());
    }
    for task in reading {
        kept.1.push(soon("reading", task).await.unwrap());
    }
    let stats = near.stats();
    assert_eq!(near.remote_address(), server.addresses().next());
    assert!(stats.datagrams_sent > 0 && stats.bytes_sent > 1_000_000, "{stats:?}");
    assert!(stats.datagrams_received > 0 && stats.bytes_received > 1_000_000, "{stats:?}");
}

#[tokio::test]
async fn ten_thousand_mixed_messages_arrive_in_order() {
    let (client, server) = (client(), server());
    let ((mut here, _near), (mut there, _far)) = join(&client, &server).await;
    let lens = [0, 5, 64, 200, 1_500, 9_000];
    let sending = tokio::spawn(async move {
        for number in 0..10_000_u32 {
            let mut payload = vec![0; 4 + lens[number as usize % lens.len()]];
            payload[..4].copy_from_slice(&number.to_le_bytes());
            let sender = if number % 10 == 3 { &mut here.command.send } else { &mut here.send };
            sender.send(DeltaFields::new(DOC), &payload).await.unwrap();
        }
        here
    });
    let numbers = |commands: bool| (0..10_000_u32).filter(move |it| (it % 10 == 3) == commands);
    let number = |message: &deltawire_framing::Frame<'_>| {
        let payload = message.delta().unwrap().payload();
        u32::from_le_bytes(payload[..4].try_into().unwrap())
    };
    let mut commands = there.command.receive;
    let reading = tokio::spawn(async move {
        for expected in numbers(true) {
            assert_eq!(number(&commands.next().await.unwrap()), expected);
        }
        commands
    });
    for expected in numbers(false) {
        assert_eq!(number(&soon("delta", there.receive.next()).await.unwrap()), expected);
    }
    soon("commands", reading).await.unwrap();
    soon("sending", sending).await.unwrap();
}

#[tokio::test]
async fn who_does_not_read_stops_the_sender_and_commands_get_through() {
    let (client, server) = (client(), server());
    let ((mut here, near), (mut there, _far)) = join(&client, &server).await;
    let mut accepted = 0_u64;
    let full = tokio::time::timeout(Duration::from_millis(500), async {
        loop {
            here.send.send(DeltaFields::new(DOC), &[1; 10_000]).await.unwrap();
            accepted += 1;
        }
    });
    assert!(full.await.is_err(), "it waits");
    let limits = Limits::default();
    let most = limits.send_ring as u64 + limits.max_data_window;
    assert!(accepted * 10_000 < 2 * most, "{accepted}");
    for _ in 0..100 {
        here.command.send.send(DeltaFields::new(DOC), b"now").await.unwrap();
        let command = soon("command", there.command.receive.next()).await.unwrap();
        assert_eq!(command.delta().unwrap().payload(), b"now");
    }
    for _ in 0..accepted {
        soon("delta", there.receive.next()).await.unwrap();
    }
    assert!(near.ended().is_none());
}

#[tokio::test]
async fn a_close_delivers_what_was_committed() {
    for closes_there in [false, true] {
        let (client, server) = (client(), server());
        let ((mut here, near), (mut there, far)) = join(&client, &server).await;
        for _ in 0..50 {
            here.send.send(DeltaFields::new(DOC), &[1; 5_000]).await.unwrap();
            there.send.send(DeltaFields::new(DOC), &[2; 5_000]).await.unwrap();
        }
        let (closer, other) = if closes_there { (&far, &near) } else { (&near, &far) };
        closer.close(CloseCode::NORMAL, "done");
        for receiver in [&mut here.receive, &mut there.receive] {
            let mut read = 0;
            while soon("delta", receiver.next()).await.is_ok() {
                read += 1;
            }
            assert_eq!(read, 50);
        }
        let ended = soon("end", closer.closed()).await;
        assert!(
            matches!(ended, LinkEnded::Session(Closed::ByUs { complete: true, .. })),
            "{ended:?}"
        );
        let ended = soon("end", other.closed()).await;
        assert!(
            matches!(ended, LinkEnded::Session(Closed::ByPeer { complete: true, .. })),
            "{ended:?}"
        );
        until("room", || client.peers().is_empty() && server.peers().is_empty()).await;
    }
}

#[tokio::test]
async fn closes_that_cross_deliver_too() {
    for _ in 0..10 {
        let (client, server) = (client(), server());
        let ((mut here, near), (mut there, far)) = join(&client, &server).await;
        here.send.send(DeltaFields::new(DOC), &[1; 500_000]).await.unwrap();
        there.send.send(DeltaFields::new(DOC), &[2; 500_000]).await.unwrap();
        near.close(CloseCode::NORMAL, "a");
        far.close(CloseCode::NORMAL, "b");
        for receiver in [&mut here.receive, &mut there.receive] {
            assert_eq!(
                soon("delta", receiver.next()).await.unwrap().delta().unwrap().payload().len(),
                500_000
            );
            assert!(soon("end", receiver.next()).await.is_err());
        }
        for link in [near, far] {
            let ended = soon("end", link.closed()).await;
            assert!(
                matches!(ended, LinkEnded::Session(Closed::ByUs { complete: true, .. })),
                "{ended:?}"
            );
        }
        let begun = std::time::Instant::now();
        until("room", || client.peers().is_empty() && server.peers().is_empty()).await;
        assert!(begun.elapsed() < Duration::from_secs(2), "nobody waits for a time-out");
    }
}

#[tokio::test]
async fn a_node_that_shuts_down_delivers_and_ends_all() {
    let (client, server) = (client(), server());
    let mut ends = Vec::new();
    for _ in 0..3 {
        ends.push(join(&client, &server).await);
    }
    for ((near, _), (far, _)) in &mut ends {
        for _ in 0..30 {
            near.send.send(DeltaFields::new(DOC), &[1; 10_000]).await.unwrap();
            far.send.send(DeltaFields::new(DOC), &[1; 10_000]).await.unwrap();
        }
    }
    let reading = async {
        for ((near, _), (far, _)) in &mut ends {
            for receiver in [&mut near.receive, &mut far.receive] {
                let mut read = 0;
                while receiver.next().await.is_ok() {
                    read += 1;
                }
                assert_eq!(read, 30);
            }
        }
    };
    let (stopped, ()) =
        soon("end", async { tokio::join!(server.shut_down(PATIENCE), reading) }).await;
    assert!(stopped.is_complete() && server.peers().is_empty(), "{stopped:?}");
    let refused = refusal(soon("refusal", client.connect(&url(&server))).await);
    assert_eq!(refused.kind(), TransportErrorKind::Refused);
}

#[tokio::test]
async fn two_links_between_the_same_nodes_are_two() {
    let (client, server) = (client(), server());
    let (mut first, mut first_far) = join(&client, &server).await;
    let (mut second, mut second_far) = join(&client, &server).await;
    for (near, text) in [(&mut first.0, "first"), (&mut second.0, "second")] {
        near.send.send(DeltaFields::new(DOC), text.as_bytes()).await.unwrap();
    }
    for (far, text) in [(&mut first_far.0, "first"), (&mut second_far.0, "second")] {
        let message = soon("delta", far.receive.next()).await.unwrap();
        assert_eq!(message.delta().unwrap().payload(), text.as_bytes());
    }
    first.1.close(CloseCode::NORMAL, "");
    soon("end", first_far.1.closed()).await;
    assert!(second.1.ended().is_none() && second_far.1.ended().is_none());
}

#[tokio::test]
async fn webrtc_and_quic_share_a_port() {
    let (client, server) = (client(), server());
    let offer = client.offer([127, 0, 0, 1].into()).unwrap();
    let answer = server.answer(offer.sdp()).await.unwrap();
    let (webrtc, _) = soon("link", offer.finish(&answer)).await.unwrap();
    let (webrtc_far, _) = soon("peer", server.accept()).await.unwrap();
    let ((quic, _), (quic_far, _)) = join(&client, &server).await;
    let (mut near, mut far) = ([webrtc, quic], [webrtc_far, quic_far]);
    for (near, far) in near.iter_mut().zip(&mut far) {
        for _ in 0..50 {
            near.send.send(DeltaFields::new(DOC), &[1; 10_000]).await.unwrap();
            far.send.send(DeltaFields::new(DOC), &[1; 10_000]).await.unwrap();
        }
    }
    for peer in near.iter_mut().chain(&mut far) {
        for _ in 0..50 {
            soon("delta", peer.receive.next()).await.unwrap();
        }
    }
    assert_eq!(server.addresses().count(), 1);
}

#[test]
fn a_runtime_that_is_killed_is_missed() {
    let limits = Limits { idle_timeout: Duration::from_millis(500), ..Limits::default() };
    let here = tokio::runtime::Runtime::new().unwrap();
    let there = tokio::runtime::Runtime::new().unwrap();
    let server = {
        let _entered = there.enter();
        listening(Node::builder().limits(limits))
            .accept_quic(QuicAdmission::anyone())
            .build()
            .unwrap()
    };
    let address = url(&server);
    here.block_on(async {
        let client = Node::builder().limits(limits).build().unwrap();
        let (mut peer, link) = soon("link", client.connect(&address)).await.unwrap();
        let far = soon("peer", server.accept()).await.unwrap();
        there.shutdown_background();
        let _ = peer.send.try_reserve(10);
        let ended = soon("end", link.closed()).await;
        assert!(matches!(ended, LinkEnded::Session(Closed::Error(_))), "{ended:?}");
        // What moved the other end is gone, and it says so.
        assert_eq!(soon("end", far.1.closed()).await, LinkEnded::Stopped);
    });
}

fn pem(label: &str, der: &[u8]) -> String {
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

#[tokio::test]
async fn only_a_server_that_is_trusted_is_connected_to() {
    let server = server();
    let came = server.quic_fingerprint().unwrap();
    let trusting = |trust| Node::builder().quic_trust(trust).build().unwrap();
    let right = trusting(QuicTrust::default().pin(came));
    join(&right, &server).await;

    let wrong = trusting(QuicTrust::default().pin(Fingerprint([1; 32])));
    let error = refusal(soon("refusal", wrong.connect(&url(&server))).await);
    assert_eq!(error.kind(), TransportErrorKind::Identity);
    assert_eq!(error.downcast_ref(), Some(&QuicError::WrongPin { came, pins: 1 }));
    assert!(error.to_string().contains(&came.to_string()), "{error}");

    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let chain = pem("CERTIFICATE", made.cert.der());
    let certificate =
        QuicCertificate::from_pem(&chain, &pem("PRIVATE KEY", &made.signing_key.serialize_der()));
    let certificate = certificate.unwrap();
    let named = listening(Node::builder())
        .accept_quic(QuicAdmission::anyone())
        .quic_certificate(certificate)
        .build()
        .unwrap();
    let authority = trusting(QuicTrust::default().authorities(&chain).unwrap());
    join(&authority, &named).await;
    let error = refusal(soon("refusal", authority.connect(&url(&server))).await);
    assert!(matches!(error.downcast_ref(), Some(QuicError::Untrusted { .. })), "{error}");
}

fn with_token(token: &str) -> Node {
    let token = Some(Token::new(token).unwrap());
    Node::builder().signalling(ClientOptions { token, ..ClientOptions::default() }).build().unwrap()
}

#[tokio::test]
async fn only_who_has_a_token_is_let_in_and_is_known() {
    let tokens = [("a", "alice"), ("b", "bob")]
        .map(|(token, name)| (Token::new(token).unwrap(), Identity::new(name)));
    let server =
        listening(Node::builder()).accept_quic(QuicAdmission::tokens(tokens)).build().unwrap();
    let mut ends = Vec::new();
    for (token, name) in [("a", "alice"), ("b", "bob")] {
        let (near, far) = join(&with_token(token), &server).await;
        assert_eq!(far.1.identity().unwrap().subject(), name);
        ends.push((near, far));
    }
    for (node, reason) in
        [(with_token("ab"), "the token is wrong"), (client(), "a token is needed")]
    {
        let error = refusal(soon("refusal", node.connect(&url(&server))).await);
        assert_eq!(error.kind(), TransportErrorKind::Refused);
        assert_eq!(error.to_string(), format!("the peer refused: {reason}"));
        assert!(node.peers().is_empty());
    }
    assert_eq!(server.peers().len(), 2);
}

#[derive(Debug)]
struct Slow;

impl Authorizer for Slow {
    fn authorize<'a>(
        &'a self,
        request: AuthorizationRequest<'a>,
    ) -> BoxFuture<'a, Result<Identity, Denial>> {
        assert_eq!((request.method.as_str(), request.path), ("CONNECT", QuicAdmission::PATH));
        assert!(request.address.ip().is_loopback());
        let token = request.token().map(str::to_owned);
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            match token.as_deref() {
                Some("guest") => Ok(Identity::new("guest").valid_for(Duration::from_millis(300))),
                Some(_) => Err(Denial::Forbidden { reason: "not you".to_owned() }),
                None => Err(Denial::NoToken),
            }
        })
    }
}

#[tokio::test]
async fn an_application_decides_and_its_identities_run_out() {
    let admission = QuicAdmission::authorizer(Arc::new(Slow));
    let server = listening(Node::builder()).accept_quic(admission).build().unwrap();
    let ((_peer, near), (_far_peer, far)) = join(&with_token("guest"), &server).await;
    assert_eq!(far.identity().unwrap().subject(), "guest");
    let ended = soon("end", near.closed()).await;
    assert!(matches!(ended, LinkEnded::Session(Closed::ByPeer { .. })), "{ended:?}");
    let error = refusal(soon("refusal", with_token("other").connect(&url(&server))).await);
    assert_eq!(error.to_string(), "the peer refused: not you");
}

#[tokio::test]
async fn limits_of_a_node_hold() {
    let limits = NodeLimits { max_per_address: 2, ..NodeLimits::default() };
    let server = listening(Node::builder().node_limits(limits))
        .accept_quic(QuicAdmission::anyone())
        .build()
        .unwrap();
    let client = client();
    let _first = join(&client, &server).await;
    let (_second_near, second) = join(&client, &server).await;
    let error = refusal(soon("refusal", client.connect(&url(&server))).await);
    assert_eq!(error.kind(), TransportErrorKind::Refused);
    assert!(error.to_string().contains("max_per_address"), "{error}");
    second.1.close(CloseCode::NORMAL, "");
    until("room", || server.peers().len() == 1).await;
    join(&client, &server).await;
}

#[tokio::test]
async fn a_node_takes_nobody_unless_it_is_told_to() {
    let quiet = listening(Node::builder()).build().unwrap();
    assert_eq!(quiet.quic_fingerprint(), None);
    let client = Node::builder().connect_timeout(Duration::from_millis(300)).build().unwrap();
    let outcome = soon("end", client.connect(&url(&quiet))).await;
    assert!(matches!(outcome, Err(ConnectError::Ended(LinkEnded::NotReached(_)))), "{outcome:?}");
    let nowhere = Node::builder().accept_quic(QuicAdmission::anyone()).build();
    assert!(matches!(nowhere, Err(BuildError::AcceptNowhere)));
    let outcome = client.connect("quic://nobody:here").await;
    assert!(matches!(outcome, Err(ConnectError::Address { .. })), "{outcome:?}");
}

#[tokio::test]
async fn what_a_link_cannot_do_is_refused_by_name() {
    let server = server();
    let lossy = Delivery { order: Order::Unordered, reliability: Reliability::MaxRetransmits(0) };
    let client = Node::builder().delivery(lossy, Delivery::default()).build().unwrap();
    let error = refusal(soon("refusal", client.connect(&url(&server))).await);
    assert_eq!(error.kind(), TransportErrorKind::Unsupported);
    assert!(client.peers().is_empty());
}

#[tokio::test]
async fn a_kept_connection_comes_back() {
    let server = server();
    let backoff = Backoff { first: Duration::from_millis(10), ..Backoff::default() };
    let client = Node::builder().backoff(backoff).build().unwrap();
    let mut kept = client.keep_connected(&url(&server));
    for _ in 1..=3 {
        let up = soon("link", kept.next()).await.unwrap();
        let ReconnectEvent::Up(_peer, _) = up else { panic!("{up:?}") };
        let (peer, far) = soon("peer", server.accept()).await.unwrap();
        far.close(CloseCode::NORMAL, "once more");
        let down = soon("end", kept.next()).await.unwrap();
        assert!(matches!(down, ReconnectEvent::Down { retry_after: Some(_), .. }), "{down:?}");
        drop(peer);
    }
}

#[tokio::test]
async fn garbage_changes_nothing() {
    let (client, server) = (client(), server());
    let ((mut here, _near), (mut there, _far)) = join(&client, &server).await;
    let address = server.addresses().next().unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut state = 1_u64;
    for round in 0..5_000_usize {
        let bytes: Vec<u8> = (0..round % 1_400)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 33) as u8
            })
            .collect();
        let _ = socket.send_to(&bytes, address);
    }
    here.send.send(DeltaFields::new(DOC), b"still").await.unwrap();
    let message = soon("delta", there.receive.next()).await.unwrap();
    assert_eq!(message.delta().unwrap().payload(), b"still");
    assert_eq!(server.peers().len(), 1);
}

#[tokio::test]
async fn who_begins_and_says_nothing_frees_its_place() {
    let limits = NodeLimits { max_pending_per_address: 2, ..NodeLimits::default() };
    let server = listening(Node::builder().node_limits(limits))
        .connect_timeout(Duration::from_millis(400))
        .accept_quic(QuicAdmission::authorizer(Arc::new(Never)))
        .build()
        .unwrap();
    let (one, two, three) = (client(), client(), client());
    let address = url(&server);
    let (first, second) = tokio::join!(one.connect(&address), two.connect(&address));
    for outcome in [first, second] {
        let error = refusal(outcome);
        assert!(error.to_string().contains("took too long"), "{error}");
    }
    let error = refusal(soon("refusal", three.connect(&address)).await);
    assert!(error.to_string().contains("took too long"), "{error}");
    let mut ups = 0;
    while let Ok(event) = tokio::time::timeout(Duration::from_millis(50), server.event()).await {
        ups += usize::from(matches!(event, NodeEvent::Up { .. }));
    }
    assert_eq!(ups, 0);
}

#[derive(Debug)]
struct Never;

impl Authorizer for Never {
    fn authorize<'a>(
        &'a self,
        _: AuthorizationRequest<'a>,
    ) -> BoxFuture<'a, Result<Identity, Denial>> {
        Box::pin(std::future::pending())
    }
}
