//! Who is let in, and from where.

use std::time::Duration;

use deltawire::signalling::{ClientOptions, SignallingClient, SignallingOptions, Token, Tokens};
use deltawire::webtransport::Origins;
use deltawire::{Admission, Identity, Node, NodeLimits};
use web_transport_proto::ConnectError;
use web_transport_proto::http::StatusCode;

use crate::carried::Carried;
use crate::lab::{PATH, at, browser, join, listening, signalling, soon, until};

/// What an answer that is no session says.
fn status<T>(asked: Result<T, ConnectError>) -> u16 {
    match asked.map(drop) {
        Err(ConnectError::WrongStatus(Some(status))) => StatusCode::as_u16(&status),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let node = listening().accept_webtransport(Admission::anyone()).webtransport_path("/links");
    let node = node.build().unwrap();
    for path in ["/", PATH, "/link", "/links/", "/links/.."] {
        assert_eq!(status(browser(&node).await.ask(path, &[]).await), 404, "{path}");
    }
    browser(&node).await.ask("/links?a=b", &[]).await.unwrap();
    until("room", || node.peers().len() == 1).await;
}

#[tokio::test]
async fn pages_of_other_origins_are_refused() {
    let listed = Origins::Listed(vec!["https://a.org".to_owned()]);
    for (origins, theirs, may) in [
        (Origins::SameHost, "http://127.0.0.1:8080", true),
        (Origins::SameHost, "https://a.org", false),
        (Origins::SameHost, "null", false),
        (listed.clone(), "https://a.org", true),
        (listed.clone(), "http://127.0.0.1:1", true),
        (listed, "https://b.org", false),
        (Origins::Any, "https://b.org", true),
    ] {
        let node = listening().accept_webtransport(Admission::anyone());
        let node = node.webtransport_origins(origins).build().unwrap();
        let asked = browser(&node).await.ask(PATH, &[("origin", theirs)]).await;
        match may {
            true => drop(asked.unwrap()),
            false => assert_eq!(status(asked), 403, "{theirs}"),
        }
    }
}

fn with_token(token: &str) -> SignallingClient {
    let token = Some(Token::new(token).unwrap());
    SignallingClient::new(ClientOptions { token, ..ClientOptions::default() }).unwrap()
}

#[tokio::test]
async fn a_ticket_of_signalling_lets_in_once_as_who_got_it() {
    let node = listening().accept_webtransport(Admission::ticket()).build().unwrap();
    let alice = (Token::new("a").unwrap(), Identity::new("alice"));
    let authorizer = Some(std::sync::Arc::new(Tokens::new([alice])) as _);
    let url = signalling(&node, SignallingOptions { authorizer, ..Default::default() }).await;
    let offered = with_token("a").links(&url).await.unwrap();
    let link = offered.links.iter().find(|link| link.kind == "webtransport").unwrap();
    let [hash] = node.webtransport_fingerprints()[..] else { panic!("one certificate") };
    let url = format!("wt://:{}{PATH}#{hash}", at(&node).port());
    assert_eq!(link.url.as_deref(), Some(url.as_str()));
    // Before what was there before, which older clients take.
    let kinds: Vec<_> = offered.links.iter().map(|link| link.kind.as_str()).collect();
    assert_eq!(kinds, ["webtransport", "websocket", "webrtc"]);

    let path = format!("{PATH}?ticket={}", offered.ticket.unwrap());
    let client = Node::builder().build().unwrap();
    let (_near, (_peer, far)) = join(&client, &node, &path).await;
    assert_eq!(far.identity().unwrap().subject(), "alice");
    assert_eq!(status(browser(&node).await.ask(&path, &[]).await), 403, "it was used");
    let wrong = format!("{PATH}?ticket={}", "0".repeat(32));
    assert_eq!(status(browser(&node).await.ask(&wrong, &[]).await), 403);
    assert_eq!(status(browser(&node).await.ask(PATH, &[]).await), 403, "there is none");
    assert_eq!(node.peers().len(), 1);
}

#[tokio::test]
async fn a_ticket_opens_one_link_of_each_kind() {
    let node = listening().accept_webtransport(Admission::ticket()).build().unwrap();
    let token = Some(Token::new("a").unwrap());
    let url = signalling(&node, SignallingOptions { token, ..Default::default() }).await;
    let ticket = with_token("a").links(&url).await.unwrap().ticket.unwrap();
    let websocket = format!("{}?ticket={ticket}", url.replacen("http", "ws", 1));
    let client = Node::builder().build().unwrap();
    soon("link", client.connect(&websocket)).await.unwrap();
    // The other way was tried beside it: what became of one is nothing to the other.
    let path = format!("{PATH}?ticket={ticket}");
    assert!(browser(&node).await.ask(&path, &[]).await.is_ok());
    assert_eq!(status(browser(&node).await.ask(&path, &[]).await), 403);
    assert!(soon("refusal", client.connect(&websocket)).await.is_err());
}

#[tokio::test]
async fn clients_that_are_no_pages_may_show_a_token() {
    let alice = (Token::new("a").unwrap(), Identity::new("alice"));
    let node = listening().accept_webtransport(Admission::tokens([alice])).build().unwrap();
    let ask = |field: &'static str| {
        let node = &node;
        async move { browser(node).await.ask(PATH, &[("authorization", field)]).await }
    };
    let session = ask("Bearer a").await.unwrap();
    let client = Node::builder().build().unwrap();
    let _near = soon("link", client.attach(Carried::over(session).await)).await.unwrap();
    let (_peer, far) = soon("peer", node.accept()).await.unwrap();
    assert_eq!(far.identity().unwrap().subject(), "alice");
    for field in ["Bearer b", "Basic a", "Bearer"] {
        assert_eq!(status(ask(field).await), 403, "{field}");
    }
}

#[tokio::test]
async fn who_begins_and_says_nothing_frees_its_place() {
    let limits = NodeLimits { max_pending_per_address: 2, ..NodeLimits::default() };
    let node = listening()
        .node_limits(limits)
        .connect_timeout(Duration::from_millis(600))
        .accept_webtransport(Admission::anyone())
        .build()
        .unwrap();
    // They say their settings, and never what they want.
    let quiet = [browser(&node).await, browser(&node).await];
    let hashes = node.webtransport_fingerprints();
    let full = soon("refusal", async {
        // A third is accepted by QUIC, as far as its address has to be proven, and then has no place.
        match crate::browser::connect(at(&node), hashes, b"h3").await {
            Ok((connection, _endpoint)) => connection.closed().await,
            Err(error) => error,
        }
    })
    .await;
    assert!(!matches!(full, quinn::ConnectionError::TimedOut), "{full}");
    for browser in &quiet {
        let (code, reason) = browser.closed().await;
        assert_eq!((code, reason.as_str()), (0x10b, "it took too long"));
    }
    browser(&node).await.ask(PATH, &[]).await.unwrap();
}

#[tokio::test]
async fn who_was_refused_takes_no_place_of_others() {
    let limits = NodeLimits { max_pending: 2, max_pending_per_address: 2, ..NodeLimits::default() };
    let node = listening().node_limits(limits).accept_webtransport(Admission::anyone());
    let node = node.build().unwrap();
    let begun = std::time::Instant::now();
    let mut refused = Vec::new();
    for _ in 0..6 {
        let browser = browser(&node).await;
        refused.push(browser.connection.clone());
        assert_eq!(status(browser.ask("/nowhere", &[]).await), 404);
    }
    browser(&node).await.ask(PATH, &[]).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1), "they are still told: {:?}", begun.elapsed());
    for connection in refused {
        soon("end", connection.closed()).await;
    }
}

#[tokio::test]
async fn a_session_whose_link_never_opens_frees_its_place() {
    let node = listening().connect_timeout(Duration::from_millis(300));
    let node = node.accept_webtransport(Admission::anyone()).build().unwrap();
    let session = browser(&node).await.ask(PATH, &[]).await.unwrap();
    until("place", || node.peers().len() == 1).await;
    soon("end", session.browser.connection.closed()).await;
    until("room", || node.peers().is_empty()).await;
}
