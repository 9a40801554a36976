//! Who a peer is: asked for where it signals, known on its link, over when it is no longer valid.

use std::future::{pending, ready};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use deltawire::link::runtime::BoxFuture;
use deltawire::signalling::{
    AuthorizationRequest, Authorizer, ClientOptions, Denial, SignallingError, SignallingOptions,
    Token, Tokens,
};
use deltawire::{ConnectError, Identity, LinkEnded, Node};
use deltawire_channels::session::Closed;

use crate::nodes::{ANY_PORT, LOOPBACK, builder, serve_with, server, soon};

#[derive(Debug, PartialEq)]
struct Rights {
    may_write: bool,
}

fn with_token(token: Option<&str>) -> Node {
    let token = token.map(|token| Token::new(token).unwrap());
    let options = ClientOptions { token, patience: Duration::ZERO, ..ClientOptions::default() };
    builder().signalling(options).build().unwrap()
}

fn asking(authorizer: impl Authorizer) -> SignallingOptions {
    SignallingOptions { authorizer: Some(Arc::new(authorizer)), ..SignallingOptions::default() }
}

/// Status, and how long to wait.
async fn refused(url: &str, token: Option<&str>) -> (u16, String, Option<Duration>) {
    let client = with_token(token);
    match soon("a refusal", client.connect(url)).await.unwrap_err() {
        ConnectError::Signalling(SignallingError::Refused {
            status, problem, retry_after, ..
        }) => (status, problem.map(|problem| problem.detail).unwrap_or_default(), retry_after),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn links_know_whose_token_let_them_in() {
    let node = server();
    let alice = Identity::new("alice").with_claims(Rights { may_write: true });
    let bob = Identity::new("bob");
    let tokens = [(Token::new("a-secret").unwrap(), alice), (Token::new("b-secret").unwrap(), bob)];
    let (url, _serving) = serve_with(&node, ANY_PORT, asking(Tokens::new(tokens))).await;
    let mut held = Vec::new();
    for (token, subject, claims) in
        [("a-secret", "alice", Some(&Rights { may_write: true })), ("b-secret", "bob", None)]
    {
        let client = with_token(Some(token));
        let (peer, near) = soon("a link", client.connect(&url)).await.unwrap();
        let (there, far) = soon("a peer", node.accept()).await.unwrap();
        let identity = far.identity().unwrap();
        assert_eq!((identity.subject(), identity.claims::<Rights>()), (subject, claims));
        assert!(near.identity().is_none(), "nobody asked the server");
        assert_eq!(near.remote_address(), node.addresses().next());
        assert_eq!(far.remote_address().map(|address| address.ip()), Some(LOOPBACK));
        assert!(!format!("{identity:?}").contains("secret"));
        held.push((peer, there));
    }
    assert_eq!(refused(&url, None).await.0, 401);
    assert_eq!(refused(&url, Some("c-secret")).await.0, 401);
    assert_eq!(node.peers().len(), 2);
}

/// What was asked, as far as a test looks at it.
#[derive(Clone, Debug, Default)]
struct Scripted {
    asked: Arc<Mutex<Vec<String>>>,
}

impl Authorizer for Scripted {
    fn authorize<'a>(
        &'a self,
        request: AuthorizationRequest<'a>,
    ) -> BoxFuture<'a, Result<Identity, Denial>> {
        assert_eq!(request.address.ip(), LOOPBACK);
        assert!(request.headers.contains_key("content-type") || request.method == "DELETE");
        let (method, path) = (request.method, request.path);
        self.asked.lock().unwrap().push(format!("{method} {}", &path[..7]));
        let reason = || "not on this server".to_owned();
        match request.token() {
            Some("banned") => Box::pin(ready(Err(Denial::Forbidden { reason: reason() }))),
            Some("busy") => {
                let retry_after = Duration::from_secs(7);
                Box::pin(ready(Err(Denial::Unavailable { retry_after })))
            }
            Some("slow") => Box::pin(pending()),
            Some("guest") => {
                let guest = Identity::new("guest").valid_for(Duration::from_millis(300));
                Box::pin(ready(Ok(guest)))
            }
            Some(other) => Box::pin(ready(Ok(Identity::new(other)))),
            None => Box::pin(ready(Err(Denial::NoToken))),
        }
    }
}

#[tokio::test]
async fn each_denial_is_told_as_what_it_is() {
    let node = server();
    let authorizer = Scripted::default();
    let mut options = asking(authorizer.clone());
    options.authorize_timeout = Duration::from_millis(100);
    let (url, _serving) = serve_with(&node, ANY_PORT, options).await;
    assert_eq!(refused(&url, None).await.0, 401);
    assert_eq!(refused(&url, Some("banned")).await, (403, "not on this server".to_owned(), None));
    let (status, _, retry_after) = refused(&url, Some("busy")).await;
    assert_eq!((status, retry_after), (503, Some(Duration::from_secs(7))));
    let began = Instant::now();
    let (status, _, retry_after) = refused(&url, Some("slow")).await;
    assert_eq!((status, retry_after), (503, Some(Duration::from_secs(1))));
    assert!(began.elapsed() < Duration::from_secs(20));
    assert!(node.peers().is_empty());
    let asked = authorizer.asked.lock().unwrap();
    assert_eq!(
        asked[..],
        ["POST /webrtc", "POST /webrtc", "POST /webrtc", "POST /webrtc"].map(|it| it.to_owned())
    );
}

/// It is asked for hanging up too: who has an id but no token changes nothing.
#[tokio::test]
async fn nobody_hangs_up_without_being_let_in() {
    let node = server();
    let authorizer = Scripted::default();
    let (url, _serving) = serve_with(&node, ANY_PORT, asking(authorizer.clone())).await;
    let options = |token: Option<&str>| ClientOptions {
        token: token.map(|token| Token::new(token).unwrap()),
        ..ClientOptions::default()
    };
    let alice = deltawire::signalling::SignallingClient::new(options(Some("alice"))).unwrap();
    let other = deltawire::signalling::SignallingClient::new(options(None)).unwrap();
    let offering = builder().build().unwrap();
    let offer = offering.offer(LOOPBACK).unwrap();
    let answered = soon("an answer", alice.offer(&url, offer.sdp())).await.unwrap();
    let resource = answered.resource.unwrap();
    assert!(soon("a refusal", other.hang_up(&resource)).await.is_err());
    assert_eq!(node.peers().len(), 1);
    let (_peer, link) = soon("a link", offer.finish(&answered.sdp)).await.unwrap();
    soon("it to hang up", alice.hang_up(&resource)).await.unwrap();
    soon("the end", link.closed()).await;
    assert_eq!(authorizer.asked.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_link_ends_when_its_identity_is_no_longer_valid() {
    let node = server();
    let (url, _serving) = serve_with(&node, ANY_PORT, asking(Scripted::default())).await;
    let guest = with_token(Some("guest"));
    let (_here, near) = soon("a link", guest.connect(&url)).await.unwrap();
    let (mut there, far) = soon("a peer", node.accept()).await.unwrap();
    let member = with_token(Some("member"));
    let (_member, stays) = soon("a link", member.connect(&url)).await.unwrap();
    // What was committed before is delivered.
    let (fields, doc) = (deltawire_framing::DeltaFields::new, deltawire_framing::DocId([7; 16]));
    there.send.send(fields(doc), b"in time").await.unwrap();
    match soon("the end", near.closed()).await {
        LinkEnded::Session(Closed::ByPeer { reason, complete, .. }) => {
            assert_eq!(reason, "the peer's identity is no longer valid");
            assert!(!complete || near.undelivered() == deltawire::Undelivered::default());
        }
        other => panic!("{other:?}"),
    }
    let ended = soon("the end", far.closed()).await;
    assert!(matches!(ended, LinkEnded::Session(Closed::ByUs { .. })), "{ended:?}");
    assert!(stays.ended().is_none());
}
