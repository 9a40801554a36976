//! Who is let in.

use std::sync::Arc;
use std::time::Duration;

use deltawire::link::runtime::BoxFuture;
use deltawire::signalling::{AuthorizationRequest, Authorizer, ClientOptions, Denial, Token};
use deltawire::{Admission, Identity, LinkEnded, Node, NodeEvent, NodeLimits, TransportErrorKind};
use deltawire_channels::session::Closed;
use deltawire_framing::control::CloseCode;

use crate::lab::{client, join, listening, refusal, soon, until, url};

fn with_token(token: &str) -> Node {
    let token = Some(Token::new(token).unwrap());
    Node::builder().signalling(ClientOptions { token, ..ClientOptions::default() }).build().unwrap()
}

#[tokio::test]
async fn only_who_has_a_token_is_let_in_and_is_known() {
    let tokens = [("a", "alice"), ("b", "bob")]
        .map(|(token, name)| (Token::new(token).unwrap(), Identity::new(name)));
    let server = listening(Node::builder()).accept_quic(Admission::tokens(tokens)).build().unwrap();
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
        assert_eq!((request.method.as_str(), request.path), ("CONNECT", "quic"));
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
    let admission = Admission::authorizer(Arc::new(Slow));
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
        .accept_quic(Admission::anyone())
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
async fn who_begins_and_says_nothing_frees_its_place() {
    let limits = NodeLimits { max_pending_per_address: 2, ..NodeLimits::default() };
    let server = listening(Node::builder().node_limits(limits))
        .connect_timeout(Duration::from_millis(400))
        .accept_quic(Admission::authorizer(Arc::new(Never)))
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

/// Says no in every way that there is.
#[derive(Debug)]
struct Denies;

impl Authorizer for Denies {
    fn authorize<'a>(
        &'a self,
        request: AuthorizationRequest<'a>,
    ) -> BoxFuture<'a, Result<Identity, Denial>> {
        let denial = match request.token() {
            None => Denial::NoToken,
            Some("banned") => Denial::Forbidden { reason: "banned".to_owned() },
            Some("later") => Denial::Unavailable { retry_after: Duration::from_secs(7) },
            Some(_) => Denial::WrongToken,
        };
        Box::pin(std::future::ready(Err(denial)))
    }
}

#[tokio::test]
async fn each_denial_says_why_and_leaves_nothing() {
    let server = listening(Node::builder())
        .accept_quic(Admission::authorizer(Arc::new(Denies)))
        .build()
        .unwrap();
    for (node, reason) in [
        (client(), "a token is needed"),
        (with_token("wrong"), "the token is wrong"),
        (with_token("banned"), "banned"),
        (with_token("later"), "it cannot be decided now: try again in 7 s"),
    ] {
        let error = refusal(soon("refusal", node.connect(&url(&server))).await);
        assert_eq!(error.kind(), TransportErrorKind::Refused);
        assert_eq!(error.to_string(), format!("the peer refused: {reason}"));
        assert!(node.peers().is_empty() && server.peers().is_empty());
    }
}

#[tokio::test]
async fn who_was_refused_takes_no_place_of_others() {
    let limits = NodeLimits { max_pending: 2, max_pending_per_address: 2, ..NodeLimits::default() };
    let token = Token::new("right").unwrap();
    let server = listening(Node::builder().node_limits(limits))
        .accept_quic(Admission::tokens([(token, Identity::new("it"))]))
        .build()
        .unwrap();
    let begun = std::time::Instant::now();
    for _ in 0..10 {
        let error = refusal(soon("refusal", client().connect(&url(&server))).await);
        assert_eq!(error.to_string(), "the peer refused: a token is needed");
    }
    join(&with_token("right"), &server).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "they are still told: {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_decision_does_not_keep_the_socket_of_a_node_that_is_gone() {
    let server = listening(Node::builder())
        .accept_quic(Admission::authorizer(Arc::new(Never)))
        .build()
        .unwrap();
    let address = server.addresses().next().unwrap();
    let client = client();
    let url = url(&server);
    let connecting = client.connect(&url);
    let asked = tokio::time::timeout(Duration::from_millis(200), connecting).await;
    assert!(asked.is_err(), "it is being decided");
    drop(server);
    // The decision takes 5 s, and nobody waits for it.
    let begun = std::time::Instant::now();
    until("socket", || std::net::UdpSocket::bind(address).is_ok()).await;
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}
