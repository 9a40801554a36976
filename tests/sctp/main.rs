//! Links by SCTP over UDP between nodes, over real sockets.

#![cfg(not(target_arch = "wasm32"))]

mod hostile;
mod lab;
mod transfer;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use deltawire::link::runtime::BoxFuture;
use deltawire::signalling::{AuthorizationRequest, Authorizer, Denial, Token};
use deltawire::{
    Admission, Backoff, BuildError, CapacityError, ConnectError, Identity, LinkEnded, Node,
    NodeLimits, ReconnectEvent, TransportErrorKind,
};
use deltawire_framing::control::CloseCode;

use crate::lab::{accepting, client, join, refusal, server, soon, until, url, with_token};

#[tokio::test]
async fn what_is_not_encrypted_stays_on_this_machine() {
    let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let refused = Node::builder().accept_sctp(everywhere, Admission::anyone()).build();
    assert!(matches!(refused, Err(BuildError::Unencrypted { address }) if address == everywhere));
    let allowed = Node::builder().allow_unencrypted(true);
    let node = allowed.accept_sctp(everywhere, Admission::anyone()).build().unwrap();
    let port = node.sctp_address().unwrap().port();
    soon("link", client().connect(&format!("sctp://127.0.0.1:{port}"))).await.unwrap();
    for host in ["192.0.2.1", "[2001:db8::1]"] {
        let outcome = soon("error", client().connect(&format!("sctp://{host}:1"))).await;
        let named = matches!(&outcome, Err(ConnectError::Unencrypted { scheme: "sctp", .. }));
        assert!(named, "{outcome:?}");
    }
    for wrong in ["sctp://localhost", "sctp://localhost:1/path", "sctp:localhost:1"] {
        let outcome = soon("error", client().connect(wrong)).await;
        assert!(matches!(outcome, Err(ConnectError::Address { .. })), "{outcome:?}");
    }
}

#[tokio::test]
async fn nobody_there_and_a_port_in_use_are_named() {
    let taken = server().sctp_address().unwrap();
    let held = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap();
    match Node::builder().accept_sctp(address, Admission::anyone()).build().unwrap_err() {
        BuildError::Listen { address: named, .. } => assert_eq!(named, address),
        other => panic!("{other}"),
    }
    let client = Node::builder().connect_timeout(Duration::from_millis(300)).build().unwrap();
    for nobody in [address, taken] {
        let outcome = soon("end", client.connect(&format!("sctp://{nobody}"))).await;
        let late = matches!(outcome, Err(ConnectError::Ended(LinkEnded::NotReached(_))));
        assert!(late, "{outcome:?}");
    }
}

#[tokio::test]
async fn only_who_has_a_token_is_let_in_and_is_known() {
    let tokens = [("a", "alice"), ("b", "bob")]
        .map(|(token, name)| (Token::new(token).unwrap(), Identity::new(name)));
    let server = accepting(Node::builder(), Admission::tokens(tokens));
    let mut ends = Vec::new();
    for (token, name) in [("a", "alice"), ("b", "bob")] {
        let (near, far) = join(&with_token(token), &server).await;
        assert_eq!((near.1.kind(), far.1.kind()), ("sctp", "sctp"));
        assert_eq!(far.1.identity().unwrap().subject(), name);
        ends.push((near, far));
    }
    for (node, reason) in
        [(with_token("ab"), "the token is wrong"), (client(), "a token is needed")]
    {
        let begun = Instant::now();
        let error = refusal(soon("refusal", node.connect(&url(&server))).await);
        assert_eq!(error.kind(), TransportErrorKind::Refused);
        assert_eq!(error.to_string(), format!("the peer refused: {reason}"));
        assert!(node.peers().is_empty() && begun.elapsed() < Duration::from_secs(1));
    }
    assert_eq!(server.peers().len(), 2);
}

#[tokio::test]
async fn both_families_reach_who_listens_everywhere() {
    let everywhere = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    if std::net::UdpSocket::bind("[::1]:0").is_err() {
        eprintln!("skipped: there is no IPv6 here");
        return;
    }
    let server =
        Node::builder().allow_unencrypted(true).accept_sctp(everywhere, Admission::anyone());
    let server = server.build().unwrap();
    let port = server.sctp_address().unwrap().port();
    let client = client();
    for host in ["127.0.0.1", "[::1]", "localhost"] {
        let url = format!("sctp://{host}:{port}");
        let (_near, link) = soon("link", client.connect(&url)).await.unwrap();
        let (_far, there) = soon("peer", server.accept()).await.unwrap();
        assert_eq!(link.remote_address().unwrap().port(), port);
        let from = there.remote_address().unwrap().ip();
        assert!(from.is_loopback() && from.is_ipv4() == link.remote_address().unwrap().is_ipv4());
    }
}

#[derive(Debug)]
struct Asked;

impl Authorizer for Asked {
    fn authorize<'a>(
        &'a self,
        request: AuthorizationRequest<'a>,
    ) -> BoxFuture<'a, Result<Identity, Denial>> {
        assert_eq!((request.method.as_str(), request.path), ("CONNECT", "sctp"));
        assert!(request.address.ip().is_loopback());
        let token = request.token().map(str::to_owned);
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            match token.as_deref() {
                Some("guest") => Ok(Identity::new("guest")),
                Some("never") => std::future::pending().await,
                Some(_) => Err(Denial::Forbidden { reason: "not you".to_owned() }),
                None => Err(Denial::NoToken),
            }
        })
    }
}

#[tokio::test]
async fn an_application_decides() {
    let server = accepting(Node::builder(), Admission::authorizer(Arc::new(Asked)));
    let (_near, far) = join(&with_token("guest"), &server).await;
    assert_eq!(far.1.identity().unwrap().subject(), "guest");
    for (token, reason) in [("other", "not you"), ("never", "it took too long to decide")] {
        let error = refusal(soon("refusal", with_token(token).connect(&url(&server))).await);
        assert_eq!(error.to_string(), format!("the peer refused: {reason}"));
    }
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
async fn who_was_refused_takes_no_place_of_others() {
    let limits = NodeLimits { max_pending: 2, max_pending_per_address: 2, ..NodeLimits::default() };
    let token = (Token::new("a").unwrap(), Identity::new("alice"));
    let server = accepting(Node::builder().node_limits(limits), Admission::tokens([token]));
    let wrong = with_token("wrong");
    for _ in 0..100 {
        refusal(soon("refusal", wrong.connect(&url(&server))).await);
    }
    join(&with_token("a"), &server).await;
}

#[tokio::test]
async fn an_address_has_its_share() {
    let limits = NodeLimits { max_per_address: 2, ..NodeLimits::default() };
    let server = accepting(Node::builder().node_limits(limits), Admission::anyone());
    let node = client();
    let _first = join(&node, &server).await;
    let _second = join(&node, &server).await;
    let error = refusal(soon("refusal", node.connect(&url(&server))).await);
    let limit = CapacityError::OfAddress { limit: 2 };
    assert_eq!(error.to_string(), format!("the peer refused: {limit}"));
    until("link", || server.peers().len() == 2).await;
}
