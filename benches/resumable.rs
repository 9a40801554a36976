//! What it costs that sessions outlive their links: bulk one way over loopback with and without, in turn.
//!
//! `cargo bench -p deltawire --features quic,tcp --bench resumable`

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use deltawire::prelude::*;
use deltawire::signalling::{SignallingOptions, SignallingServer};
use deltawire::{Admission, SessionsLimits};

const KINDS: [&str; 4] = ["webrtc", "quic", "tcp", "websocket"];

/// Bytes of a payload, and of all payloads of a round.
const SIZES: [(usize, usize); 4] =
    [(64, 4 << 20), (1_024, 16 << 20), (16_000, 32 << 20), (200_000, 32 << 20)];

const ROUNDS: usize = 24;

/// A link, and what it needs.
struct Pair {
    _nodes: [Node; 2],
    _links: [Link; 2],
    near: Peer,
    far: Peer,
}

async fn pair(kind: &str, resume: Option<SessionsLimits>) -> Pair {
    let any = (Ipv4Addr::LOCALHOST, 0).into();
    let builder = || Node::builder().resume(resume);
    let (server, url) = match kind {
        "tcp" => {
            let node = builder().accept_tcp(any, Admission::anyone()).build().unwrap();
            let url = format!("tcp://{}", node.tcp_address().unwrap());
            (node, url)
        }
        "quic" => {
            let node = builder().listen(any).accept_quic(Admission::anyone()).build().unwrap();
            let url = format!("quic://{}", node.addresses().next().unwrap());
            (node, url)
        }
        _ => {
            let node = builder().listen(any).build().unwrap();
            let router = node.router(SignallingOptions::default());
            let server = SignallingServer::bind(any, router).await.unwrap();
            let url = format!("http://{}/webrtc", server.local_addr());
            tokio::spawn(server.serve(std::future::pending()));
            (node, url)
        }
    };
    // Of those that an address does not name.
    let preferred = if kind == "websocket" { "websocket" } else { "webrtc" };
    let client = builder().prefer_links([preferred]).build().unwrap();
    let (near, link) = client.connect(&url).await.unwrap();
    let (far, far_link) = server.accept().await.unwrap();
    // Until the ticket is there.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(link.is_resumable(), resume.is_some());
    Pair { _nodes: [client, server], _links: [link, far_link], near, far }
}

/// Megabytes of payload a second.
async fn bulk(pair: &mut Pair, len: usize, total: usize) -> f64 {
    let count = total / len;
    let Pair { near, far, .. } = pair;
    let started = Instant::now();
    let sending = async {
        for _ in 0..count {
            let grant = near.send.reserve(len).await.unwrap();
            grant.commit(DeltaFields::new(DocId([1; 16])), len).unwrap();
        }
    };
    let receiving = async {
        for _ in 0..count {
            far.receive.next().await.unwrap();
        }
        far.receive.release();
    };
    tokio::join!(sending, receiving);
    (count * len) as f64 / started.elapsed().as_secs_f64() / 1e6
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

fn main() {
    // `cargo test --benches` only asks whether it runs.
    let rounds = if std::env::args().any(|it| it == "--bench") { ROUNDS } else { 1 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!("| | payload, bytes | without, MB/s | with, MB/s | median of the rounds' ratios |");
    println!("|---|---|---|---|---|");
    runtime.block_on(async {
        for kind in KINDS {
            let mut pairs =
                [pair(kind, None).await, pair(kind, Some(SessionsLimits::default())).await];
            for (len, total) in SIZES {
                let (mut rates, mut ratios) = ([Vec::new(), Vec::new()], Vec::new());
                for round in 0..rounds {
                    let mut of_round = [0.0; 2];
                    for turn in 0..2 {
                        let which = (turn + round) % 2;
                        of_round[which] = bulk(&mut pairs[which], len, total).await;
                        rates[which].push(of_round[which]);
                    }
                    ratios.push(of_round[1] / of_round[0]);
                }
                let [without, with] = rates.map(median);
                println!("| {kind} | {len} | {without:.0} | {with:.0} | {:.2} |", median(ratios));
            }
        }
    });
}
