//! Links over WebTransport into a node, over real sockets, from a client that is not this project's. Browsers themselves
//! are tried by the page: `cargo xtask links --browser chromium`.

#![cfg(not(target_arch = "wasm32"))]

mod admission;
mod browser;
mod carried;
mod hostile;
mod lab;
mod transfer;

use deltawire::quic::{Fingerprint, QuicCertificate};
use deltawire::{Admission, BuildError, ConnectError, Node};

use crate::lab::{PATH, at, browser, join, listening, server};

#[tokio::test]
async fn one_port_has_bare_quic_and_browsers_and_each_sees_its_certificate() {
    let node = listening().accept_quic(Admission::anyone());
    let node = node.accept_webtransport(Admission::anyone()).build().unwrap();
    let hashes = node.webtransport_fingerprints();
    assert_eq!(hashes.len(), 1);
    assert_ne!(node.quic_fingerprint(), hashes.first().copied());
    let client = Node::builder().build().unwrap();
    let ((_, near), (_, far)) = join(&client, &node, PATH).await;
    assert_eq!((near.kind(), far.kind()), ("webtransport", "webtransport"));
    let (_peer, bare) = client.connect(&format!("quic://{}", at(&node))).await.unwrap();
    assert_eq!(bare.kind(), "quic");
    // Neither for who speaks something else.
    for protocol in [&b"http/1.1"[..], b"deltawire/2"] {
        assert!(browser::connect(at(&node), hashes.clone(), protocol).await.is_err());
    }
}

#[tokio::test]
async fn another_certificate_is_not_believed() {
    let node = server();
    let wrong = browser::connect(at(&node), vec![Fingerprint([1; 32])], b"h3").await;
    assert!(wrong.is_err());
    let own = QuicCertificate::generate().unwrap();
    let hash = own.fingerprint();
    let node = listening().accept_webtransport(Admission::anyone()).webtransport_certificate(own);
    let node = node.build().unwrap();
    // An authority vouches for it, so nobody is told.
    assert_eq!(node.webtransport_fingerprints(), []);
    browser::connect(at(&node), vec![hash], b"h3").await.unwrap();
}

#[tokio::test]
async fn a_node_takes_no_browsers_unless_it_is_told_to() {
    let node = listening().accept_quic(Admission::anyone()).build().unwrap();
    assert_eq!(node.webtransport_fingerprints(), []);
    let hash = node.quic_fingerprint().unwrap();
    assert!(browser::connect(at(&node), vec![hash], b"h3").await.is_err());
    let nowhere = Node::builder().accept_webtransport(Admission::anyone()).build();
    assert!(matches!(nowhere, Err(BuildError::AcceptNowhere)));
    for path in ["", "links", "/a b", "/a?b", "/a#b", "/a{b}", "/a/../b", "/."] {
        let builder = listening().accept_webtransport(Admission::anyone()).webtransport_path(path);
        let refused = builder.build();
        assert!(matches!(refused, Err(BuildError::WebTransportPath { .. })), "{path}");
    }
    // Natively nobody connects.
    let outcome = Node::builder().build().unwrap().connect("wt://127.0.0.1:1/deltawire").await;
    assert!(matches!(outcome, Err(ConnectError::NoKind { .. })), "{outcome:?}");
}

#[tokio::test]
async fn what_a_browser_says_beside_its_link_changes_nothing() {
    let node = server();
    let client = Node::builder().build().unwrap();
    let mut browser = browser(&node).await;
    // A frame that is not known, streams of types that are not, and a datagram.
    browser.control.write_all(&[0x21, 3, 1, 2, 3]).await.unwrap();
    for _ in 0..10 {
        let mut stream = browser.connection.open_uni().await.unwrap();
        stream.write_all(&[0x21, 1, 2, 3]).await.unwrap();
        stream.stopped().await.unwrap();
    }
    browser.connection.send_datagram(vec![0; 100].into()).unwrap();
    assert!(browser.is_quiet().await);
    let session = browser.ask(PATH, &[]).await.unwrap();
    let carried = carried::Carried::over(session).await;
    let (_peer, link) = lab::soon("link", client.attach(carried)).await.unwrap();
    assert_eq!(link.kind(), "webtransport");
}
