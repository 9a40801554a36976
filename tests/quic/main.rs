//! Links over QUIC between nodes, over real sockets.

#![cfg(not(target_arch = "wasm32"))]

mod addresses;
mod admission;
mod forged;
mod http;
mod lab;
mod one_address;
mod transfer;

use std::net::UdpSocket;
use std::time::Duration;

use base64::Engine as _;
use deltawire::quic::{Fingerprint, QuicCertificate, QuicError, QuicTrust};
use deltawire::{
    Admission, Backoff, BuildError, ConnectError, LinkEnded, Node, ReconnectEvent,
    TransportErrorKind,
};
use deltawire_channels::{Delivery, Order, Reliability};
use deltawire_framing::DeltaFields;
use deltawire_framing::control::CloseCode;

use crate::lab::{DOC, client, join, listening, refusal, server, soon, url};

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
        .accept_quic(Admission::anyone())
        .quic_certificate(certificate)
        .build()
        .unwrap();
    let authority = trusting(QuicTrust::default().authorities(&chain).unwrap());
    join(&authority, &named).await;
    let error = refusal(soon("refusal", authority.connect(&url(&server))).await);
    assert!(matches!(error.downcast_ref(), Some(QuicError::Untrusted { .. })), "{error}");
}

#[tokio::test]
async fn a_node_takes_nobody_unless_it_is_told_to() {
    let quiet = listening(Node::builder()).build().unwrap();
    assert_eq!(quiet.quic_fingerprint(), None);
    let client = Node::builder().connect_timeout(Duration::from_millis(300)).build().unwrap();
    let outcome = soon("end", client.connect(&url(&quiet))).await;
    assert!(matches!(outcome, Err(ConnectError::Ended(LinkEnded::NotReached(_)))), "{outcome:?}");
    let nowhere = Node::builder().accept_quic(Admission::anyone()).build();
    assert!(matches!(nowhere, Err(BuildError::AcceptNowhere)));
    let outcome = client.connect("quic://nobody:here").await;
    assert!(matches!(outcome, Err(ConnectError::Address { .. })), "{outcome:?}");
}

#[tokio::test]
async fn what_a_link_cannot_do_is_refused_by_name() {
    let server = server();
    let lossy = Delivery { order: Order::Ordered, reliability: Reliability::MaxRetransmits(0) };
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
