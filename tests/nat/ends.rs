//! The two nodes, each a process in a namespace.

use std::time::{Duration, Instant};

use deltawire::IceServer;
use deltawire::prelude::*;
use deltawire::webrtc::EngineKind;

/// What an end is told, in variables.
pub(crate) const URL: &str = "DELTAWIRE_TEST_URL";
pub(crate) const ADDRESS: &str = "DELTAWIRE_TEST_ADDRESS";
/// With spaces between: URLs, and behind each with @ the password.
pub(crate) const ICE_SERVERS: &str = "DELTAWIRE_TEST_ICE_SERVERS";
pub(crate) const ENGINE: &str = "DELTAWIRE_TEST_ENGINE";
/// For how long messages go there and back, in seconds.
pub(crate) const SECONDS: &str = "DELTAWIRE_TEST_SECONDS";

/// How long a link may take to open once there is an answer.
const PATIENCE: Duration = Duration::from_secs(4);

/// What goes there and back first, at once.
const BULK: usize = 100;
const LEN: usize = 10_000;

fn told(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

fn builder() -> NodeBuilder {
    let servers = told(ICE_SERVERS);
    let servers = servers.split_whitespace().map(|server| match server.split_once('@') {
        Some((url, password)) => {
            IceServer::new(url).with_credentials(crate::coturn::USER, password)
        }
        None => IceServer::new(server),
    });
    let engine = match &*told(ENGINE) {
        "str0m" => EngineKind::Str0m,
        _ => EngineKind::Lean,
    };
    Node::builder()
        .listen(format!("{}:0", told(ADDRESS)).parse().unwrap())
        .ice_servers(servers.collect::<Vec<_>>())
        .prefer_links(["webrtc"])
        .connect_timeout(PATIENCE)
        .engine(engine)
}

fn run(future: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future);
}

/// Sends back what comes, until it is killed.
pub(crate) fn accept() {
    run(async {
        let node = builder().build().unwrap();
        let url = told(URL);
        let events = async {
            loop {
                if let NodeEvent::IceServer(error) = node.event().await {
                    println!("{error}");
                }
            }
        };
        let echo = async {
            while let Some((mut peer, _link)) = node.accept().await {
                tokio::spawn(async move {
                    while let Ok(message) = peer.receive.next().await {
                        let payload = message.delta().unwrap().payload();
                        let sent = peer.send.send(DeltaFields::new(DocId([7; 16])), payload).await;
                        if sent.is_err() {
                            break;
                        }
                    }
                });
            }
        };
        tokio::select! {
            ended = node.accept_in_room(&url) => println!("{ended:?}"),
            () = echo => {}
            () = events => {}
        }
    });
}

/// Connects, has messages go there and back, and says how it went: `ok` with what was seen, or what went wrong.
pub(crate) fn connect() {
    run(async {
        let node = builder().build().unwrap();
        let begun = Instant::now();
        let (peer, link) = match node.connect(&told(URL)).await {
            Ok(connected) => connected,
            Err(error) => return println!("{error}"),
        };
        let opened = begun.elapsed();
        let Peer { mut send, mut receive, command } = peer;
        let begun = Instant::now();
        let sent = async {
            for number in 0..BULK {
                let message = vec![number as u8; LEN];
                send.send(DeltaFields::new(DocId([7; 16])), &message).await.unwrap();
            }
        };
        let came = async {
            for number in 0..BULK {
                let message = receive.next().await.unwrap();
                assert!(message.delta().unwrap().payload() == vec![number as u8; LEN]);
            }
        };
        tokio::join!(sent, came);
        let bulk = begun.elapsed();
        let until = Instant::now() + Duration::from_secs(told(SECONDS).parse().unwrap_or(0));
        let mut times = Vec::new();
        while times.len() < 20 || Instant::now() < until {
            let begun = Instant::now();
            send.send(DeltaFields::new(DocId([7; 16])), b"hello").await.unwrap();
            assert_eq!(receive.next().await.unwrap().delta().unwrap().payload(), b"hello");
            times.push(begun.elapsed());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        times.sort();
        let remote = link.remote_address().map_or("?".to_owned(), |it| it.ip().to_string());
        println!(
            "ok {:.2} {:.1} {:.2} {remote}",
            opened.as_secs_f64(),
            (BULK * LEN) as f64 / bulk.as_secs_f64() / 1e6,
            times[times.len() / 2].as_secs_f64() * 1e3,
        );
        link.close(CloseCode::NORMAL, "done");
        link.closed().await;
        drop((send, receive, command));
    });
}
