//! Sessions between two real processes that go on over links which a real proxy kills, under bulk both ways.
//!
//! Not under libtest, because this program is also the server. `cargo test --test resumed -- --kills 200` kills more.

#[cfg(not(target_arch = "wasm32"))]
mod proxy;
#[cfg(not(target_arch = "wasm32"))]
mod server;

#[cfg(not(target_arch = "wasm32"))]
fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Ok(kind) = std::env::var(server::KIND) {
        return server::run(&kind);
    }
    if arguments.iter().any(|argument| argument == "--list") {
        return;
    }
    let kills = arguments.iter().skip_while(|argument| *argument != "--kills").nth(1);
    let kills = kills.map_or(20, |kills| kills.parse().expect("--kills takes a number"));
    for kind in ["tcp", "websocket"] {
        client::all_comes_once_and_in_order(kind, kills);
        println!("test all_comes_once_and_in_order ({kind}, {kills} kills) ... ok");
    }
}

#[cfg(target_arch = "wasm32")]
fn main() {}

#[cfg(not(target_arch = "wasm32"))]
mod client {
    use std::time::Duration;

    use deltawire::{Backoff, Link, LinkChange, Node};
    use deltawire_channels::{Receiver, Sender};
    use deltawire_framing::{DeltaFields, DocId};

    use crate::proxy::Proxy;
    use crate::server::Server;

    const PATIENCE: Duration = Duration::from_secs(120);

    /// The payload of a number.
    fn payload(number: u64) -> Vec<u8> {
        let len = match number % 7 {
            0 => 40_000,
            1..3 => 2_000,
            _ => 60,
        };
        let mut bytes = number.to_le_bytes().to_vec();
        bytes.extend((0..len + number % 100).map(|at| (at * 7 + number) as u8));
        bytes
    }

    async fn write(mut sender: Sender, done: tokio::sync::watch::Receiver<bool>) -> u64 {
        let mut number = 0;
        while !*done.borrow() {
            sender.send(DeltaFields::new(DocId([7; 16])), &payload(number)).await.unwrap();
            number += 1;
        }
        // The last one says so.
        sender.send(DeltaFields::new(DocId([7; 16])), &[]).await.unwrap();
        number
    }

    async fn read(receiver: &mut Receiver) -> u64 {
        let mut number = 0;
        loop {
            let message = receiver.next().await.unwrap();
            let echo = message.delta().unwrap().payload();
            if echo.is_empty() {
                return number;
            }
            assert_eq!(echo, payload(number), "each once, in order");
            number += 1;
        }
    }

    /// Kills links until so many were resumed.
    async fn kill(proxy: &Proxy, link: &Link, kills: u32) -> u32 {
        let mut changes = link.changes();
        let (mut resumed, mut random) = (0, 7_u64);
        while resumed < kills {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            tokio::time::sleep(Duration::from_millis(5 + (random >> 33) % 60)).await;
            proxy.kill();
            loop {
                match changes.next().await {
                    LinkChange::Resumed(_) => break,
                    LinkChange::Over(ended) => panic!("it is over: {ended}"),
                    _ => {}
                }
            }
            resumed += 1;
        }
        resumed
    }

    pub(crate) fn all_comes_once_and_in_order(kind: &str, kills: u32) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = Server::start(kind);
            let proxy = Proxy::before(server.address).await;
            let (first, longest) = (Duration::from_millis(5), Duration::from_millis(20));
            let backoff = Backoff { first, longest, ..Backoff::default() };
            let node =
                Node::builder().backoff(backoff).prefer_links(["websocket"]).build().unwrap();
            let (peer, link) = node.connect(&server.url(proxy.address)).await.unwrap();
            assert!(link.is_resumable());
            let (done, is_done) = tokio::sync::watch::channel(false);
            let mut receive = peer.receive;
            let whole = async {
                let (written, came, _) =
                    tokio::join!(write(peer.send, is_done), read(&mut receive), async {
                        kill(&proxy, &link, kills).await;
                        done.send(true).unwrap();
                    });
                assert_eq!(written, came);
                came
            };
            let waited = tokio::time::timeout(PATIENCE + Duration::from_secs(kills.into()), whole);
            let came = waited.await.expect("all comes in time");
            assert!(came > u64::from(kills), "{came} messages beside {kills} kills");
            assert_eq!(link.take_returned().len(), 0);
            node.shut_down(Duration::from_secs(5)).await;
        });
    }
}
