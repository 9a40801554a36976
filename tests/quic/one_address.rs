//! Links over QUIC to the address of a node's signalling, which says where they are and what opens them.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::header::CONTENT_LENGTH;
use axum::middleware::{self, Next};
use axum::response::Response;
use deltawire::channels::{Delivery, Order, Reliability};
use deltawire::signalling::{
    ClientOptions, OfferedLinks, SignallingClient, SignallingError, SignallingOptions,
    SignallingServer, Token, Tokens,
};
use deltawire::{
    Admission, Backoff, ConnectError, Identity, Node, NodeBuilder, ReconnectEvent,
    TransportErrorKind, axum,
};
use deltawire_framing::control::CloseCode;

use crate::lab::{client, listening, refusal, soon, url};

fn with_token(token: &str) -> NodeBuilder {
    let token = Some(Token::new(token).unwrap());
    Node::builder().signalling(ClientOptions { token, ..ClientOptions::default() })
}

/// Signalling that lets alice in.
fn guarded() -> SignallingOptions {
    let alice = (Token::new("alices").unwrap(), Identity::new("alice"));
    SignallingOptions {
        authorizer: Some(Arc::new(Tokens::new([alice]))),
        ..SignallingOptions::default()
    }
}

async fn serve(router: axum::Router) -> String {
    let server = SignallingServer::bind((Ipv4Addr::LOCALHOST, 0).into(), router).await.unwrap();
    let address = server.local_addr();
    tokio::spawn(server.serve(std::future::pending()));
    format!("http://{address}/webrtc")
}

async fn asked(url: &str, token: &str) -> OfferedLinks {
    let options =
        ClientOptions { token: Some(Token::new(token).unwrap()), ..ClientOptions::default() };
    SignallingClient::new(options).unwrap().links(url).await.unwrap()
}

#[tokio::test]
async fn quic_is_the_best_that_native_nodes_have() {
    let node = listening(Node::builder()).accept_quic(Admission::ticket()).build().unwrap();
    let http = serve(node.router(guarded())).await;
    let alice = with_token("alices").build().unwrap();
    for _ in 0..3 {
        let (_peer, near) = soon("link", alice.connect(&http)).await.unwrap();
        let (_far_peer, far) = soon("peer", node.accept()).await.unwrap();
        assert_eq!((near.kind(), far.kind()), ("quic", "quic"));
        assert_eq!(far.identity().map(Identity::subject), Some("alice"));
    }
    // Who is let in by no ticket is let in by no token either, here.
    let error = refusal(soon("refusal", alice.connect(&url(&node))).await);
    assert_eq!(error.to_string(), "the peer refused: a ticket of its signalling is needed");
    let mallory = with_token("mallorys").build().unwrap();
    match soon("refusal", mallory.connect(&http)).await.unwrap_err() {
        ConnectError::Signalling(SignallingError::Refused { status: 401, .. }) => {}
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_ticket_opens_one_link() {
    for admission in [Admission::ticket(), Admission::anyone()] {
        let node = listening(Node::builder()).accept_quic(admission).build().unwrap();
        let http = serve(node.router(guarded())).await;
        let offered = asked(&http, "alices").await;
        let (link, ticket) = (offered.links.first().unwrap(), offered.ticket.as_deref().unwrap());
        let port = node.addresses().next().unwrap().port();
        let hash = node.quic_fingerprint().unwrap();
        assert_eq!(link.url.as_deref(), Some(&*format!("quic://:{port}#{hash}")));
        let with = |ticket: &str| format!("quic://127.0.0.1:{port}?ticket={ticket}#{hash}");
        let stranger = client();
        let (_peer, _near) = soon("link", stranger.connect(&with(ticket))).await.unwrap();
        let (_far_peer, far) = soon("peer", node.accept()).await.unwrap();
        assert_eq!(far.identity().map(Identity::subject), Some("alice"));
        for wrong in [ticket, "", "alices", &"0".repeat(32), &"x".repeat(2_000)] {
            let error = refusal(soon("refusal", stranger.connect(&with(wrong))).await);
            assert_eq!(error.kind(), TransportErrorKind::Refused);
            assert!(error.to_string().contains("the ticket is none, was used"), "{error}");
        }
        assert_eq!(node.peers().len(), 1);
    }
}

#[tokio::test]
async fn signalling_that_asks_for_nothing_gives_no_tickets() {
    let node = listening(Node::builder()).accept_quic(Admission::anyone()).build().unwrap();
    let http = serve(node.router(SignallingOptions::default())).await;
    let (_peer, near) = soon("link", client().connect(&http)).await.unwrap();
    assert_eq!(near.kind(), "quic");
    // What a node asks for by itself is shown as to an address of its own.
    let tokens = [(Token::new("bobs").unwrap(), Identity::new("bob"))];
    let node = listening(Node::builder()).accept_quic(Admission::tokens(tokens)).build().unwrap();
    let http = serve(node.router(SignallingOptions::default())).await;
    let (_peer, near) =
        soon("link", with_token("bobs").build().unwrap().connect(&http)).await.unwrap();
    assert_eq!(near.kind(), "quic");
    let (_far_peer, far) = soon("peer", node.accept()).await.unwrap();
    assert_eq!(far.identity().map(Identity::subject), Some("bob"));
    // And who is not let in there has another kind.
    let (_peer, near) = soon("link", client().connect(&http)).await.unwrap();
    assert_eq!(near.kind(), "websocket");
}

/// A router that tells `from` where it would tell `to`.
fn telling(router: axum::Router, from: String, to: String) -> axum::Router {
    let tell = move |request: Request, next: Next| {
        let (from, to) = (from.clone(), to.clone());
        async move {
            let (mut head, body) = next.run(request).await.into_parts();
            let body = to_bytes(body, 1 << 16).await.unwrap();
            let Ok(text) = std::str::from_utf8(&body) else {
                return Response::from_parts(head, Body::from(body));
            };
            head.headers.remove(CONTENT_LENGTH);
            Response::from_parts(head, Body::from(text.replace(&from, &to)))
        }
    };
    router.layer(middleware::from_fn(tell))
}

#[tokio::test]
async fn where_quic_does_not_get_through_another_kind_does() {
    let node = listening(Node::builder()).accept_quic(Admission::ticket()).build().unwrap();
    let port = format!("quic://:{}", node.addresses().next().unwrap().port());
    // A firewall says nothing; where nobody listens, the system does.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (hash, other) = (node.quic_fingerprint().unwrap().to_string(), "ab".repeat(32));
    for (from, to) in [
        (port.clone(), format!("quic://:{silent_port}")),
        (port, format!("quic://:{nobody}")),
        (hash, other),
    ] {
        let router = telling(node.router(guarded()), from, to.clone());
        let http = serve(router).await;
        let alice = with_token("alices").build().unwrap();
        let (_peer, near) = soon("link", alice.connect(&http)).await.unwrap();
        let (_far_peer, far) = soon("peer", node.accept()).await.unwrap();
        assert_eq!((near.kind(), far.kind()), ("websocket", "websocket"), "{to}");
        // What was given up is no link, and leaves nothing behind.
        assert_eq!(alice.peers().len(), 1, "{to}");
        near.close(CloseCode::NORMAL, "that is all");
        crate::lab::until("ends", || alice.peers().is_empty() && node.peers().is_empty()).await;
    }
}

#[tokio::test]
async fn what_is_offered_at_another_host_is_passed_over() {
    let node = listening(Node::builder()).accept_quic(Admission::ticket()).build().unwrap();
    let router = telling(node.router(guarded()), "quic://:".into(), "quic://127.0.0.2:".into());
    let http = serve(router).await;
    let alice = with_token("alices").build().unwrap();
    let (_peer, near) = soon("link", alice.connect(&http)).await.unwrap();
    assert_eq!(near.kind(), "websocket");
}

#[tokio::test]
async fn a_hash_in_an_address_is_what_counts() {
    let node = listening(Node::builder()).accept_quic(Admission::anyone()).build().unwrap();
    let (right, wrong) = (node.quic_fingerprint().unwrap().to_string(), "ab".repeat(32));
    let client = client();
    let (_peer, _link) =
        soon("link", client.connect(&format!("{}#{wrong},{right}", url(&node)))).await.unwrap();
    let error = refusal(soon("refusal", client.connect(&format!("{}#{wrong}", url(&node)))).await);
    assert_eq!(error.kind(), TransportErrorKind::Identity);
}

#[tokio::test]
async fn deltas_that_may_get_lost_go_by_what_can_lose_them() {
    for (order, kind) in [(Order::Unordered, "quic"), (Order::Ordered, "webrtc")] {
        let lossy = Delivery { order, reliability: Reliability::MaxRetransmits(0) };
        let node = listening(Node::builder())
            .accept_quic(Admission::anyone())
            .delivery(lossy, Delivery::default())
            .build()
            .unwrap();
        let http = serve(node.router(SignallingOptions::default())).await;
        let client = Node::builder().delivery(lossy, Delivery::default()).build().unwrap();
        let (_peer, near) = soon("link", client.connect(&http)).await.unwrap();
        assert_eq!(near.kind(), kind);
    }
}

#[tokio::test]
async fn a_kept_connection_asks_anew() {
    let node = listening(Node::builder()).accept_quic(Admission::ticket()).build().unwrap();
    let http = serve(node.router(guarded())).await;
    let backoff = Backoff { first: Duration::from_millis(10), ..Backoff::default() };
    let client = with_token("alices").backoff(backoff).build().unwrap();
    let mut kept = client.keep_connected(&http);
    for _ in 0..3 {
        let up = soon("link", kept.next()).await.unwrap();
        let ReconnectEvent::Up(_peer, near) = up else { panic!("{up:?}") };
        assert_eq!(near.kind(), "quic");
        let (_far_peer, far) = soon("peer", node.accept()).await.unwrap();
        far.close(CloseCode::NORMAL, "once more");
        let down = soon("end", kept.next()).await.unwrap();
        assert!(matches!(down, ReconnectEvent::Down { retry_after: Some(_), .. }), "{down:?}");
    }
}
