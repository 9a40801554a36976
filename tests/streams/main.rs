//! Links over TCP and Unix sockets between nodes, over real sockets.

#![cfg(unix)]

mod lab;
mod tcp;
mod unix;

use std::sync::Arc;
use std::time::{Duration, Instant};

use deltawire::link::runtime::BoxFuture;
use deltawire::signalling::{AuthorizationRequest, Authorizer, Denial, Token};
use deltawire::stream::preface::MAGIC;
use deltawire::{
    Admission, ConnectError, Identity, LinkEnded, Node, NodeEvent, NodeLimits, TransportErrorKind,
};
use deltawire_framing::DeltaFields;
use deltawire_framing::control::CloseCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::lab::{DOC, KINDS, Served, client, refusal, soon, until, with_token};

#[tokio::test]
async fn only_who_has_a_token_is_let_in_and_is_known() {
    for kind in KINDS {
        let tokens = [("a", "alice"), ("b", "bob")]
            .map(|(token, name)| (Token::new(token).unwrap(), Identity::new(name)));
        let served = Served::new(kind, Node::builder(), Admission::tokens(tokens));
        let mut ends = Vec::new();
        for (token, name) in [("a", "alice"), ("b", "bob")] {
            let (near, far) = served.join(&with_token(token)).await;
            assert_eq!((near.1.kind(), far.1.kind()), (kind, kind));
            assert_eq!(far.1.identity().unwrap().subject(), name);
            ends.push((near, far));
        }
        for (node, reason) in
            [(with_token("ab"), "the token is wrong"), (client(), "a token is needed")]
        {
            let error = refusal(soon("refusal", node.connect(&served.url)).await);
            assert_eq!(error.kind(), TransportErrorKind::Refused);
            assert_eq!(error.to_string(), format!("the peer refused: {reason}"));
            assert!(node.peers().is_empty());
        }
        assert_eq!(served.node.peers().len(), 2);
    }
}

#[derive(Debug)]
struct Asked(&'static str);

impl Authorizer for Asked {
    fn authorize<'a>(
        &'a self,
        request: AuthorizationRequest<'a>,
    ) -> BoxFuture<'a, Result<Identity, Denial>> {
        assert_eq!((request.method.as_str(), request.path), ("CONNECT", self.0));
        assert_eq!(request.address.ip().is_loopback(), self.0 == "tcp");
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
    for kind in KINDS {
        let admission = Admission::authorizer(Arc::new(Asked(kind)));
        let served = Served::new(kind, Node::builder(), admission);
        let (_near, far) = served.join(&with_token("guest")).await;
        assert_eq!(far.1.identity().unwrap().subject(), "guest");
        let error = refusal(soon("refusal", with_token("other").connect(&served.url)).await);
        assert_eq!(error.to_string(), "the peer refused: not you");
        let error = refusal(soon("refusal", with_token("never").connect(&served.url)).await);
        assert_eq!(error.to_string(), "the peer refused: it took too long to decide");
    }
}

#[tokio::test]
async fn who_says_nothing_takes_a_place_for_a_while_and_no_more() {
    for kind in KINDS {
        let limits = NodeLimits { max_pending: 2, ..NodeLimits::default() };
        let builder = Node::builder().node_limits(limits);
        let builder = builder.connect_timeout(Duration::from_millis(500));
        let served = Served::new(kind, builder, Admission::anyone());
        let mut silent = [served.raw().await, served.raw().await];
        until("places", || served.node.peers().is_empty()).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        let error = refusal(soon("refusal", client().connect(&served.url)).await);
        assert_eq!(error.kind(), TransportErrorKind::Refused);
        assert!(error.to_string().contains("max_pending"), "{error}");
        // One says something now and then, which is no token.
        for (number, byte) in MAGIC.iter().take(8).enumerate() {
            let _ = silent[0].write_all(&[*byte]).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            if number > 6 {
                served.join(&client()).await;
            }
        }
        for stream in &mut silent {
            let mut answer = Vec::new();
            soon("end", stream.read_to_end(&mut answer)).await.unwrap();
            assert!(answer.ends_with(b"it took too long"), "{answer:?}");
        }
        while let Ok(event) =
            tokio::time::timeout(Duration::from_millis(20), served.node.event()).await
        {
            assert!(!matches!(event, NodeEvent::Down { ended: LinkEnded::NotReached(_), .. }));
        }
    }
}

#[tokio::test]
async fn another_protocol_is_hung_up_on_at_once() {
    for kind in KINDS {
        let served = Served::new(kind, Node::builder(), Admission::anyone());
        for says in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\0", &[MAGIC.as_slice(), &[255; 4]].concat()]
        {
            let mut stream = served.raw().await;
            stream.write_all(says).await.unwrap();
            let begun = Instant::now();
            let mut answer = Vec::new();
            let _ = soon("end", stream.read_to_end(&mut answer)).await;
            assert!(answer.is_empty() && begun.elapsed() < Duration::from_secs(2), "{answer:?}");
        }
        served.join(&client()).await;
    }
}

#[tokio::test]
async fn a_server_of_another_protocol_is_named() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let answering = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"220 mail.example.org ESMTP\r\n").await.unwrap();
        stream
    });
    let error = refusal(soon("error", client().connect(&url)).await);
    assert_eq!(error.kind(), TransportErrorKind::Protocol);
    drop(answering.await);
    // Who answers nothing is given up.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{}", silent.local_addr().unwrap());
    let node = Node::builder().connect_timeout(Duration::from_millis(200)).build().unwrap();
    let outcome = soon("end", node.connect(&url)).await;
    assert!(matches!(outcome, Err(ConnectError::Ended(LinkEnded::NotReached(_)))), "{outcome:?}");
    assert!(node.peers().is_empty());
}

#[tokio::test]
async fn a_node_that_shuts_down_or_is_gone_listens_no_more_and_its_links_live_on() {
    for kind in KINDS {
        let served = Served::new(kind, Node::builder(), Admission::anyone());
        let (near, far) = served.join(&client()).await;
        let stopped = soon("end", async {
            let (stopped, _) =
                tokio::join!(served.node.shut_down(Duration::from_secs(5)), near.1.closed());
            stopped
        });
        assert!(stopped.await.is_complete());
        drop((near, far));
        until("nobody", || !served.is_there()).await;

        let served = Served::new(kind, Node::builder(), Admission::anyone());
        let ((mut near, link), (mut far, _far_link)) = served.join(&client()).await;
        let Served { node, url, place } = served;
        drop(node);
        let gone = Served { node: client(), url, place };
        until("nobody", || !gone.is_there()).await;
        assert_eq!(link.ended(), None);
        near.send.send(DeltaFields::new(DOC), b"still").await.unwrap();
        let message = soon("delta", far.receive.next()).await.unwrap();
        assert_eq!(message.delta().unwrap().payload(), b"still");
        link.close(CloseCode::NORMAL, "");
    }
}

#[tokio::test]
async fn stats_say_what_kind_it_is_and_where_the_peer_is() {
    let served = Served::new("tcp", Node::builder(), Admission::anyone());
    let (near, far) = served.join(&client()).await;
    assert_eq!(near.1.remote_address(), served.node.tcp_address());
    assert!(far.1.remote_address().is_some_and(|from| from.ip().is_loopback()));
    let served = Served::new("unix", Node::builder(), Admission::anyone());
    let (near, far) = served.join(&client()).await;
    assert_eq!((near.1.remote_address(), far.1.remote_address()), (None, None));
    assert_eq!(near.1.stats().kind, "unix");
}
