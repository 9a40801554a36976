use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use deltawire::channels::Peer;
use deltawire::framing::{DeltaFields, DocId};
use deltawire::signalling::{SignallingOptions, SignallingServer, TrustedProxies};
use deltawire::{Link, LinkEnded, Node};

use crate::haproxy::Proxy;

const DOC: DocId = DocId([3; 16]);

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let patience = Duration::from_secs(20);
    tokio::time::timeout(patience, future).await.unwrap_or_else(|_| panic!("no {what} in time"))
}

/// A node that accepts, and where its signalling is.
async fn serve(options: SignallingOptions) -> (Node, SocketAddr) {
    let node =
        Node::builder().resume(None).listen((Ipv4Addr::LOCALHOST, 0).into()).build().unwrap();
    let trusted = options.trusted_proxies.clone();
    let router = node.router(options);
    let server = SignallingServer::bind((Ipv4Addr::LOCALHOST, 0).into(), router).await.unwrap();
    let server = server.with_trusted_proxies(trusted);
    let address = server.local_addr();
    tokio::spawn(server.serve(std::future::pending()));
    (node, address)
}

async fn connect(node: &Node, proxy: &Proxy) -> ((Peer, Link), (Peer, Link)) {
    let client = Node::builder().resume(None).build().unwrap();
    let url = format!("http://{}/webrtc", proxy.address);
    let near = soon("link", client.connect(&url)).await.unwrap();
    let far = soon("peer", node.accept()).await.unwrap();
    assert_eq!(near.1.kind(), far.1.kind());
    (near, far)
}

/// What a proxy holds back would show as commands that come late, or not at all.
pub(crate) async fn messages_and_commands_get_through() {
    const DELTAS: usize = 2_000;
    let (node, address) = serve(SignallingOptions::default()).await;
    let proxy = Proxy::start(address, "");
    let ((here, near), (there, _far)) = connect(&node, &proxy).await;
    assert_eq!(near.kind(), "websocket");
    let Peer { mut send, mut command, receive: _here } = here;
    let Peer { mut receive, command: mut far_command, send: _there } = there;
    let sending = tokio::spawn(async move {
        for number in 0..DELTAS {
            let payload = vec![number as u8; number * 37 % 40_000];
            send.send(DeltaFields::new(DOC), &payload).await.unwrap();
        }
        send
    });
    let asking = async {
        for number in 0..100_u8 {
            let asked = async {
                command.send.send(DeltaFields::new(DOC), &[number]).await.unwrap();
                let came = far_command.receive.next().await.unwrap();
                assert_eq!(came.delta().unwrap().payload(), [number]);
            };
            soon("command", asked).await;
        }
    };
    let receiving = async {
        for number in 0..DELTAS {
            let frame = soon("delta", receive.next()).await.unwrap();
            let payload = frame.delta().unwrap().payload();
            assert_eq!(payload.len(), number * 37 % 40_000);
            assert!(payload.iter().all(|byte| *byte == number as u8), "{number}");
        }
    };
    tokio::join!(asking, receiving);
    soon("end of sending", sending).await.unwrap();
}

pub(crate) async fn who_is_known_only_by_a_trusted_proxy_is_named() {
    let claims = "http-request set-header X-Forwarded-For 198.51.100.7";
    let remote = |link: &Link| link.remote_address().map(|address| address.ip());
    for (proxies, expected) in [
        (TrustedProxies::none(), IpAddr::from(Ipv4Addr::LOCALHOST)),
        (TrustedProxies::x_forwarded_for(["127.0.0.1"]).unwrap(), [198, 51, 100, 7].into()),
    ] {
        let options = SignallingOptions { trusted_proxies: proxies, ..Default::default() };
        let (node, address) = serve(options).await;
        let proxy = Proxy::start(address, claims);
        let (_near, (_peer, far)) = connect(&node, &proxy).await;
        assert_eq!(remote(&far), Some(expected));
    }
}

pub(crate) async fn without_upgrades_there_is_another_way() {
    let (node, address) = serve(SignallingOptions::default()).await;
    let proxy = Proxy::start(address, "http-request del-header Upgrade");
    let (near, _far) = connect(&node, &proxy).await;
    assert_eq!(near.1.kind(), "webrtc");
}

pub(crate) async fn a_proxy_that_is_killed_ends_its_links() {
    let (node, address) = serve(SignallingOptions::default()).await;
    let mut proxy = Proxy::start(address, "");
    let ((_here, near), (_there, far)) = connect(&node, &proxy).await;
    proxy.kill();
    assert_eq!(soon("end", near.closed()).await, LinkEnded::HungUp);
    assert_eq!(soon("end", far.closed()).await, LinkEnded::HungUp);
}
