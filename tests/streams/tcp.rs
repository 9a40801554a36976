//! What is of TCP alone.

use std::net::{Ipv4Addr, SocketAddr};

use deltawire::{Admission, BuildError, CapacityError, ConnectError, Node, NodeLimits};

use crate::lab::{Served, client, refusal, soon};

#[tokio::test]
async fn what_is_not_encrypted_stays_on_this_machine() {
    let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let refused = Node::builder().accept_tcp(everywhere, Admission::anyone()).build();
    assert!(matches!(refused, Err(BuildError::Unencrypted { address }) if address == everywhere));
    let allowed = Node::builder().allow_unencrypted(true);
    let node = allowed.accept_tcp(everywhere, Admission::anyone()).build().unwrap();
    let port = node.tcp_address().unwrap().port();
    soon("link", client().connect(&format!("tcp://localhost:{port}"))).await.unwrap();
    for host in ["192.0.2.1", "[2001:db8::1]"] {
        let outcome = soon("error", client().connect(&format!("tcp://{host}:1"))).await;
        let named = matches!(&outcome, Err(ConnectError::Unencrypted { scheme: "tcp", .. }));
        assert!(named, "{outcome:?}");
    }
    for wrong in ["tcp://localhost", "tcp://localhost:1/path", "tcp:localhost:1"] {
        let outcome = soon("error", client().connect(wrong)).await;
        assert!(matches!(outcome, Err(ConnectError::Address { .. })), "{outcome:?}");
    }
}

#[tokio::test]
async fn nobody_there_and_a_port_in_use_are_named() {
    let served = Served::new("tcp", Node::builder(), Admission::anyone());
    let address = served.node.tcp_address().unwrap();
    match Node::builder().accept_tcp(address, Admission::anyone()).build().unwrap_err() {
        BuildError::ListenStream { address: named, source } => {
            assert_eq!(named, format!("tcp://{address}"));
            assert_eq!(source.kind(), std::io::ErrorKind::AddrInUse);
        }
        other => panic!("{other}"),
    }
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    match soon("error", client().connect(&format!("tcp://{nobody}"))).await.unwrap_err() {
        ConnectError::Stream { source, .. } => {
            assert_eq!(source.kind(), std::io::ErrorKind::ConnectionRefused);
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn an_address_has_its_share() {
    let limits = NodeLimits { max_per_address: 2, ..NodeLimits::default() };
    let served = Served::new("tcp", Node::builder().node_limits(limits), Admission::anyone());
    let node = client();
    let _first = served.join(&node).await;
    let _second = served.join(&node).await;
    let error = refusal(soon("refusal", node.connect(&served.url)).await);
    let limit = CapacityError::OfAddress { limit: 2 };
    assert_eq!(error.to_string(), format!("the peer refused: {limit}"));
}
