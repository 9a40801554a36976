//! One address for every kind of link: what is chosen, what it falls back to, and who is let in.

#![cfg(not(target_arch = "wasm32"))]

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::header::{ACCEPT, UPGRADE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use deltawire::channels::{Delivery, Order, Reliability};
use deltawire::signalling::{
    ClientOptions, Cors, OfferedLinks, SignallingClient, SignallingError, SignallingOptions,
    SignallingServer, Token, Tokens,
};
use deltawire::{
    BuildError, ConnectError, Identity, Node, NodeBuilder, NodeLimits, ReconnectEvent, axum,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(20);

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("no {what} in time"))
}

/// A node that accepts, and its address.
async fn serve(options: SignallingOptions) -> (Node, SocketAddr) {
    let node = Node::builder().listen((Ipv4Addr::LOCALHOST, 0).into()).build().unwrap();
    let router = node.router(options);
    (node, serve_router(router).await)
}

async fn serve_router(router: Router) -> SocketAddr {
    let server = SignallingServer::bind((Ipv4Addr::LOCALHOST, 0).into(), router).await.unwrap();
    let address = server.local_addr();
    tokio::spawn(server.serve(std::future::pending()));
    address
}

fn client() -> NodeBuilder {
    Node::builder()
}

fn with_token(token: &str) -> ClientOptions {
    ClientOptions { token: Some(Token::new(token).unwrap()), ..Default::default() }
}

fn http(address: SocketAddr) -> String {
    format!("http://{address}/webrtc")
}

/// Connects, and gives the kinds that both sides say that their link is of.
async fn kinds(node: &Node, client: &Node, url: &str) -> (&'static str, &'static str) {
    let (_near_peer, near) = soon("link", client.connect(url)).await.unwrap();
    let (_far_peer, far) = soon("peer", node.accept()).await.unwrap();
    (near.kind(), far.kind())
}

#[tokio::test]
async fn the_best_that_both_have_is_taken() {
    let (node, address) = serve(SignallingOptions::default()).await;
    let url = http(address);
    let both = |kind| (kind, kind);
    assert_eq!(kinds(&node, &client().build().unwrap(), &url).await, both("websocket"));
    let webrtc = client().prefer_links(["webrtc"]).build().unwrap();
    assert_eq!(kinds(&node, &webrtc, &url).await, both("webrtc"));
    let webrtc_first = client().prefer_links(["webrtc", "websocket"]).build().unwrap();
    assert_eq!(kinds(&node, &webrtc_first, &url).await, both("webrtc"));
    // An address that names a kind.
    let ws = format!("ws://{address}/webrtc");
    assert_eq!(kinds(&node, &webrtc, &ws).await, both("websocket"));
    match client().prefer_links(["quick"]).build().unwrap_err() {
        BuildError::LinkKind { name, known } => {
            assert_eq!(name, "quick");
            assert!(known.ends_with("websocket, webrtc"), "{known}");
        }
        other => panic!("{other}"),
    }
}

/// What a proxy does that does not know WebSocket.
async fn without_upgrades(request: Request, next: Next) -> Response {
    if request.headers().contains_key(UPGRADE) {
        return (StatusCode::BAD_GATEWAY, "no upgrades here").into_response();
    }
    next.run(request).await
}

/// What a server does that takes offers of WebRTC, and nothing else.
async fn offers_only(request: Request, next: Next) -> Response {
    let accepts = |headers: &HeaderMap| headers.get(ACCEPT).cloned();
    match accepts(request.headers()) {
        Some(accept) if accept.to_str().is_ok_and(|accept| accept.contains("json,")) => {
            StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response()
        }
        _ => next.run(request).await,
    }
}

#[tokio::test]
async fn what_does_not_open_is_fallen_back_from_and_what_does_is_remembered() {
    let (node, _) = serve(SignallingOptions::default()).await;
    let tried = Arc::new(Mutex::new(0));
    let count = {
        let tried = tried.clone();
        move |request: Request, next: Next| {
            if request.headers().contains_key(UPGRADE) {
                *tried.lock().unwrap() += 1;
            }
            next.run(request)
        }
    };
    let router = node.router(SignallingOptions::default());
    let router = router.layer(middleware::from_fn(without_upgrades));
    let address = serve_router(router.layer(middleware::from_fn(count))).await;
    let client = client().build().unwrap();
    for _ in 0..3 {
        let found = kinds(&node, &client, &http(address)).await;
        assert_eq!(found, ("webrtc", "webrtc"));
    }
    assert_eq!(*tried.lock().unwrap(), 1, "what opened was tried first from then on");
    match soon("error", client.connect(&format!("ws://{address}/webrtc"))).await.unwrap_err() {
        ConnectError::Signalling(SignallingError::Refused { status: 502, .. }) => {}
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_server_that_only_signals_gets_an_offer() {
    let (node, _) = serve(SignallingOptions::default()).await;
    let router = node.router(SignallingOptions::default());
    let address = serve_router(router.layer(middleware::from_fn(offers_only))).await;
    let client = client().build().unwrap();
    assert_eq!(kinds(&node, &client, &http(address)).await, ("webrtc", "webrtc"));
}

#[tokio::test]
async fn a_kind_that_cannot_deliver_as_asked_is_passed_over_or_named() {
    let lossy = Delivery { order: Order::Unordered, reliability: Reliability::MaxRetransmits(0) };
    let node = Node::builder()
        .listen((Ipv4Addr::LOCALHOST, 0).into())
        .delivery(lossy, Delivery::default())
        .build()
        .unwrap();
    let address = serve_router(node.router(SignallingOptions::default())).await;
    let lossy = client().delivery(lossy, Delivery::default()).build().unwrap();
    assert_eq!(kinds(&node, &lossy, &http(address)).await, ("webrtc", "webrtc"));
    let error = soon("error", lossy.connect(&format!("ws://{address}/webrtc"))).await.unwrap_err();
    assert!(error.to_string().contains("WebRTC can"), "{error}");
}

#[tokio::test]
async fn when_nothing_opens_each_kind_says_why() {
    // Nobody listens by UDP, and no upgrade gets through.
    let node = Node::builder().build().unwrap();
    let router = node.router(SignallingOptions::default());
    let address = serve_router(router.layer(middleware::from_fn(without_upgrades))).await;
    let client = client().build().unwrap();
    match soon("error", client.connect(&http(address))).await.unwrap_err() {
        ConnectError::Signalling(SignallingError::Refused { status: 502, .. }) => {}
        other => panic!("{other}"),
    }
    // One that offers both, of which neither opens.
    let blocked = |request: Request, next: Next| async move {
        let is_question = request.headers().get(ACCEPT).is_some_and(|accept| {
            accept.to_str().is_ok_and(|accept| accept.contains("application/json"))
        });
        if is_question { next.run(request).await } else { StatusCode::BAD_GATEWAY.into_response() }
    };
    let (node, _) = serve(SignallingOptions::default()).await;
    let router = node.router(SignallingOptions::default());
    let address = serve_router(router.layer(middleware::from_fn(blocked))).await;
    let error = soon("error", client.connect(&http(address))).await.unwrap_err();
    let ConnectError::NoLink { tried } = &error else { panic!("{error}") };
    let names: Vec<_> = tried.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(names, ["websocket", "webrtc"]);
    assert!(error.to_string().contains("502"), "{error}");
}

#[tokio::test]
async fn nobody_who_is_not_asked_for_is_let_in() {
    let alice = (Token::new("alices").unwrap(), Identity::new("alice"));
    let authorizer = Some(Arc::new(Tokens::new([alice])) as _);
    let options = SignallingOptions { authorizer, ..Default::default() };
    let (node, address) = serve(options).await;
    let client = client().signalling(with_token("alices")).build().unwrap();
    for url in [http(address), format!("ws://{address}/webrtc")] {
        let (_peer, near) = soon("link", client.connect(&url)).await.unwrap();
        let (_far_peer, far) = soon("peer", node.accept()).await.unwrap();
        assert_eq!(near.kind(), "websocket");
        assert_eq!(far.identity().map(Identity::subject), Some("alice"));
        assert_eq!(far.remote_address().map(|address| address.ip().is_loopback()), Some(true));
    }
    let mallory = Node::builder().signalling(with_token("mallorys")).build().unwrap();
    for url in [http(address), format!("ws://{address}/webrtc")] {
        match soon("refusal", mallory.connect(&url)).await.unwrap_err() {
            ConnectError::Signalling(SignallingError::Refused { status: 401, .. }) => {}
            other => panic!("{other}"),
        }
    }
}

/// Opens a WebSocket by hand, and gives the head of what is answered.
async fn open(address: SocketAddr, path: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4_096];
    let len = soon("answer", stream.read(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer[..len]).into_owned()
}

const PROTOCOL: &str = "Sec-WebSocket-Protocol: deltawire.1\r\n";

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

#[tokio::test]
async fn a_ticket_opens_one_websocket() {
    let token = Token::new("secret").unwrap();
    let options = SignallingOptions { token: Some(token), ..Default::default() };
    let (_node, address) = serve(options).await;
    let asking = SignallingClient::new(with_token("secret")).unwrap();
    let offered = asking.links(&http(address)).await.unwrap();
    let kinds: Vec<_> = offered.links.iter().map(|link| link.kind.as_str()).collect();
    assert_eq!(kinds, ["websocket", "webrtc"]);
    let path = format!("/webrtc?ticket={}", offered.ticket.unwrap());
    assert_eq!(status(&open(address, &path, PROTOCOL).await), "101");
    let again = open(address, &path, PROTOCOL).await;
    assert_eq!(status(&again), "401");
    assert!(again.contains("was used"), "{again}");
    for path in ["/webrtc", "/webrtc?ticket=", "/webrtc?ticket=00000000000000000000000000000000"] {
        assert_eq!(status(&open(address, path, PROTOCOL).await), "401", "{path}");
    }
    // It lets nobody do anything else.
    let ticket = asking.links(&http(address)).await.unwrap().ticket.unwrap();
    let stranger = SignallingClient::new(ClientOptions::default()).unwrap();
    let url = format!("{}?ticket={ticket}", http(address));
    match stranger.links(&url).await.unwrap_err() {
        SignallingError::Refused { status: 401, .. } => {}
        other => panic!("{other}"),
    }
    // Where nobody is asked for anything there is none.
    let (_node, address) = serve(SignallingOptions::default()).await;
    let offered = stranger.links(&http(address)).await.unwrap();
    assert_eq!(offered.ticket, None);
    assert_ne!(offered, OfferedLinks::webrtc());
}

#[tokio::test]
async fn pages_of_other_origins_open_nothing_unless_they_may() {
    let friend = "https://friend.example";
    let cors = Cors::origins([friend]).unwrap();
    let (_node, address) = serve(SignallingOptions { cors, ..Default::default() }).await;
    let from = |origin: &str| format!("{PROTOCOL}Origin: {origin}\r\n");
    let own = format!("http://{address}");
    for (origin, expected) in [
        (own.as_str(), "101"),
        (friend, "101"),
        ("https://foe.example", "403"),
        ("null", "403"),
        ("https://friend.example.foe.example", "403"),
    ] {
        let answer = open(address, "/webrtc", &from(origin)).await;
        assert_eq!(status(&answer), expected, "{origin}: {answer}");
    }
}

#[tokio::test]
async fn what_opens_no_websocket_is_told_why() {
    let (node, address) = serve(SignallingOptions::default()).await;
    let answer = open(address, "/webrtc", "").await;
    assert_eq!(status(&answer), "400");
    assert!(answer.contains("must name deltawire.1"), "{answer}");
    assert!(answer.to_lowercase().contains("sec-websocket-version: 13"), "{answer}");
    assert_eq!(status(&open(address, "/elsewhere", PROTOCOL).await), "404");
    assert!(node.peers().is_empty());
    node.shut_down(Duration::from_millis(100)).await;
    assert_eq!(status(&open(address, "/webrtc", PROTOCOL).await), "503");
}

#[tokio::test]
async fn what_is_not_encrypted_stays_on_this_machine() {
    let url = "ws://192.0.2.1:9/webrtc";
    match client().build().unwrap().connect(url).await.unwrap_err() {
        ConnectError::Unencrypted { scheme: "ws", host } => assert_eq!(host, "192.0.2.1"),
        other => panic!("{other}"),
    }
    let options = ClientOptions { timeout: Duration::from_millis(50), ..Default::default() };
    let told = client().allow_unencrypted(true).signalling(options).build().unwrap();
    match told.connect(url).await.unwrap_err() {
        ConnectError::Signalling(_) => {}
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_kept_connection_of_a_node_that_shuts_down_is_over() {
    let (_node, address) = serve(SignallingOptions::default()).await;
    for url in [http(address), "http://127.0.0.1:9/webrtc".to_owned()] {
        let client = client().build().unwrap();
        client.shut_down(Duration::from_millis(100)).await;
        let mut kept = client.keep_connected(&url);
        match soon("failure", kept.next()).await {
            Some(ReconnectEvent::Failed { retry_after: None, error }) => {
                assert!(error.to_string().contains("shutting down"), "{error}");
            }
            other => panic!("{other:?}"),
        }
        assert!(soon("end", kept.next()).await.is_none());
    }
}

#[tokio::test]
async fn a_token_goes_nowhere_else() {
    let asked = Arc::new(Mutex::new(0));
    let elsewhere = {
        let asked = asked.clone();
        Router::new().fallback(move || async move {
            *asked.lock().unwrap() += 1;
            StatusCode::FORBIDDEN
        })
    };
    let elsewhere = serve_router(elsewhere).await;
    for (kind, scheme) in [("websocket", "ws"), ("webrtc", "http")] {
        let links = format!(r#"[{{"kind":"{kind}","url":"{scheme}://{elsewhere}/x"}}]"#);
        let document = format!(r#"{{"ticket":"0","links":{links}}}"#);
        let offering = Router::new().fallback(move || async move { document });
        let address = serve_router(offering).await;
        let client = client().signalling(with_token("secret")).build().unwrap();
        let error = soon("error", client.connect(&http(address))).await.unwrap_err();
        assert!(matches!(error, ConnectError::NothingInCommon), "{error}");
    }
    assert_eq!(*asked.lock().unwrap(), 0);
}

#[tokio::test]
async fn a_websocket_follows_nobody() {
    let redirecting = Router::new().fallback(|| async {
        (StatusCode::TEMPORARY_REDIRECT, [("location", "http://192.0.2.1:9/webrtc")])
    });
    let address = serve_router(redirecting).await;
    let connecting = client().build().unwrap();
    let url = format!("ws://{address}/webrtc?ticket=secret");
    let error = soon("error", connecting.connect(&url)).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("307") && !text.contains("secret"), "{text}");
}

/// A node that has no room for now is asked again, though the ticket was used up.
#[tokio::test]
async fn who_has_a_token_comes_in_when_there_is_room_again() {
    let token = Token::new("secret").unwrap();
    let limits = NodeLimits { max_pending: 1, ..NodeLimits::default() };
    let node = Node::builder().node_limits(limits).build().unwrap();
    let options = SignallingOptions { token: Some(token), ..Default::default() };
    let address = serve_router(node.router(options)).await;
    // Who opened one and says nothing.
    let mut pending = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "GET /webrtc HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{PROTOCOL}\
         Authorization: Bearer secret\r\n\r\n"
    );
    pending.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    pending.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(500)).await;
        drop(pending);
    });
    let client = client().signalling(with_token("secret")).build().unwrap();
    let (_peer, link) = soon("link", client.connect(&http(address))).await.unwrap();
    assert_eq!(link.kind(), "websocket");
}
