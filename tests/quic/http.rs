//! Nodes that serve HTTP by themselves: one UDP port and one TCP port, and all kinds of links at them.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use deltawire::signalling::{BindError, ClientOptions, SignallingOptions, Token, Tokens};
use deltawire::{BuildError, Identity, Node, NodeBuilder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::lab::soon;

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn url(node: &Node) -> String {
    format!("http://{}/webrtc", node.http_address().unwrap())
}

fn preferring(kind: &str, token: Option<&str>) -> NodeBuilder {
    let token = token.map(|token| Token::new(token).unwrap());
    let options = ClientOptions { token, patience: Duration::ZERO, ..ClientOptions::default() };
    Node::builder().prefer_links([kind]).signalling(options)
}

#[tokio::test]
async fn all_kinds_of_links_come_to_one_port_of_each() {
    let node = Node::builder().listen(ANY).http(ANY).build().unwrap();
    for kind in ["quic", "websocket", "webrtc"] {
        let client = preferring(kind, None).build().unwrap();
        let (mut near, link) = soon("a link", client.connect(&url(&node))).await.unwrap();
        assert_eq!(link.kind(), kind);
        let (mut far, _far_link) = soon("a peer", node.accept()).await.unwrap();
        near.send.send_opaque(b"hello").await.unwrap();
        assert_eq!(soon("a message", far.receive.next()).await.unwrap().body(), b"hello");
    }
    // Whoever has nothing to say of it gets the best.
    let client = Node::builder().build().unwrap();
    let (_peer, link) = soon("a link", client.connect(&url(&node))).await.unwrap();
    assert_eq!(link.kind(), "quic");
}

#[tokio::test]
async fn who_may_come_holds_for_all_kinds() {
    let alice = (Token::new("alices").unwrap(), Identity::new("alice"));
    let options = SignallingOptions {
        authorizer: Some(Arc::new(Tokens::new([alice]))),
        ..SignallingOptions::default()
    };
    let node = Node::builder().listen(ANY).http_with(ANY, options).build().unwrap();
    for kind in ["quic", "websocket", "webrtc"] {
        let client = preferring(kind, Some("mallorys")).build().unwrap();
        let refused = soon("a refusal", client.connect(&url(&node))).await.unwrap_err();
        assert!(refused.to_string().contains("401"), "{kind}: {refused}");
        let client = preferring(kind, Some("alices")).build().unwrap();
        let (_peer, _link) = soon("a link", client.connect(&url(&node))).await.unwrap();
        let (_peer, link) = soon("a peer", node.accept()).await.unwrap();
        assert_eq!(link.identity().unwrap().subject(), "alice");
    }
    // Nor does anybody get past signalling.
    let udp = node.addresses().next().unwrap();
    let hash = node.quic_fingerprint().unwrap();
    let client = Node::builder().build().unwrap();
    let straight = format!("quic://{udp}#{hash}");
    soon("a refusal", client.connect(&straight)).await.unwrap_err();
}

/// What stands in front of signalling, such as a proxy that asks for something, must not be gone round.
#[tokio::test]
async fn beyond_this_machine_nobody_comes_who_did_not_signal() {
    let here = std::net::IpAddr::V4(Ipv4Addr::LOCALHOST);
    let everywhere = (Ipv4Addr::UNSPECIFIED, 0).into();
    let node = Node::builder().listen(everywhere).advertise([here]).http(ANY).build().unwrap();
    let client = preferring("quic", None).build().unwrap();
    let (_peer, link) = soon("a link", client.connect(&url(&node))).await.unwrap();
    assert_eq!(link.kind(), "quic");
    let port = node.addresses().next().unwrap().port();
    let straight = format!("quic://127.0.0.1:{port}#{}", node.quic_fingerprint().unwrap());
    let refused = soon("a refusal", client.connect(&straight)).await.unwrap_err();
    assert!(refused.to_string().contains("ticket"), "{refused}");
}

#[tokio::test]
async fn it_serves_for_as_long_as_the_node_is_there() {
    let node = Node::builder().http(ANY).build().unwrap();
    let address = node.http_address().unwrap();
    let taken = Node::builder().http(address).build().unwrap_err();
    assert!(matches!(taken, BuildError::Http(BindError::InUse { address: at }) if at == address));
    let gone = async || {
        while TcpStream::connect(address).is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    drop(node);
    soon("the end of a node that nobody has", gone()).await;

    let node = Node::builder().http(address).build().unwrap();
    let client = preferring("websocket", None).build().unwrap();
    let (_peer, _link) = soon("a link", client.connect(&url(&node))).await.unwrap();
    soon("the end", node.shut_down(Duration::from_secs(1))).await;
    soon("the end of a node that was shut down", gone()).await;
    assert_eq!(node.http_address(), Some(address));
}

fn note(noted: &Mutex<String>, who: char) {
    let mut noted = noted.lock().unwrap();
    if !noted.ends_with(who) {
        noted.push(who);
    }
}

/// Passes one TCP connection on, and notes who says something after the other was heard.
async fn turns(to: SocketAddr) -> (SocketAddr, Arc<Mutex<String>>) {
    let listener = TcpListener::bind(ANY).await.unwrap();
    let (address, turns) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(String::new())));
    let noted = turns.clone();
    tokio::spawn(async move {
        let (near, _) = listener.accept().await.unwrap();
        let far = tokio::net::TcpStream::connect(to).await.unwrap();
        let (near, far) = (near.into_split(), far.into_split());
        for (who, mut from, mut to) in [('c', near.0, far.1), ('s', far.0, near.1)] {
            let noted = noted.clone();
            tokio::spawn(async move {
                let mut buffer = vec![0; 64 << 10];
                while let Ok(len @ 1..) = from.read(&mut buffer).await {
                    // A path, so that whoever speaks without waiting is seen to.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    note(&noted, who);
                    to.write_all(&buffer[..len]).await.unwrap();
                }
            });
        }
    });
    (address, turns)
}

#[tokio::test]
async fn a_websocket_is_open_after_one_round_trip_beside_that_of_tcp() {
    let node = Node::builder().http(ANY).build().unwrap();
    let (proxy, turns) = turns(node.http_address().unwrap()).await;
    let client = Node::builder().build().unwrap();
    let url = format!("ws://{proxy}/webrtc");
    let (mut near, _link) = soon("a link", client.connect(&url)).await.unwrap();
    // Each `cs` is a round trip.
    let open = turns.lock().unwrap().clone();
    near.send.send_opaque(b"first").await.unwrap();
    let (mut far, _far_link) = soon("a peer", node.accept()).await.unwrap();
    assert_eq!(soon("a message", far.receive.next()).await.unwrap().body(), b"first");
    assert_eq!(open, "cs");
}
