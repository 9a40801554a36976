//! What it costs to open a link.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::Context;
use deltawire::prelude::*;
use deltawire::signalling::{Rate, ServerLimits, SignallingOptions, SignallingServer};
use quinn::TransportConfig;

use crate::deltawire_pair::{self, LOOPBACK};
use crate::harness::{Job, Links};
use crate::measure::cpu_time;
use crate::plan::{self, LIMIT};
use crate::quinn_pair::Quic;
use crate::report::{Place, Table, metric};
use crate::webrtc_rs;

static TABLE: Table = Table {
    title: "Set-up of a link",
    notes: "From nothing to peers that have heard of each other, one after the other, both ends \
            together; all links stay open meanwhile. deltawire: they have said hello; the nodes' \
            certificates are made before, as is quinn's. quinn: its endpoints are there, a stream \
            has been opened, and a word went each way. webrtc-rs: peer connections with sockets \
            and certificates of their own, until a data channel is open at both ends; its ICE \
            looks every 200 ms what to do next, which cannot be set.",
    metrics: &[metric("CPU, ms"), metric("wall, ms")],
    baseline: Some("deltawire, offer and answer"),
};

pub(crate) fn jobs(quick: bool) -> [Job; 4] {
    let count = if quick { 10 } else { 100 };
    let job = |row, run: fn(u32, &Links) -> anyhow::Result<Vec<f64>>| {
        let place = Place { table: &TABLE, row, column: None };
        plan::job(place, move |links| run(count, links))
    };
    [
        job("deltawire, offer and answer", |count, links| {
            deltawire_pair::run(false, LIMIT, run(count, false, links))
        }),
        job("deltawire, by HTTP", |count, links| {
            deltawire_pair::run(false, LIMIT, run(count, true, links))
        }),
        job("webrtc-rs", |count, _| {
            // Each takes half a second.
            let connect = async || webrtc_rs::connect(["messages"]).await;
            deltawire_pair::run(false, LIMIT, each(count / 10, connect))
        }),
        job("quinn", |count, _| {
            deltawire_pair::run(false, LIMIT, async {
                let quic = Quic::bind(TransportConfig::default())?;
                let connect = async || quic.connect().await?.messages().await;
                each(count, connect).await
            })
        }),
    ]
}

/// Opens so many links, one after the other.
async fn each<L>(
    count: u32,
    connect: impl AsyncFn() -> anyhow::Result<L>,
) -> anyhow::Result<Vec<f64>> {
    let mut open = Vec::new();
    let (start, cpu) = (Instant::now(), cpu_time());
    for _ in 0..count {
        open.push(connect().await?);
    }
    Ok(costs(count, start, cpu))
}

/// CPU time and time since then, in milliseconds a link.
fn costs(count: u32, start: Instant, cpu: Duration) -> Vec<f64> {
    let milliseconds = |time: Duration| 1e3 * time.as_secs_f64() / f64::from(count);
    vec![milliseconds(cpu_time() - cpu), milliseconds(start.elapsed())]
}

async fn run(count: u32, http: bool, links: &Links) -> anyhow::Result<Vec<f64>> {
    let initiator = Node::builder().prefer_links(["webrtc"]).build()?;
    let acceptor = Node::builder().prefer_links(["webrtc"]).listen((LOOPBACK, 0).into()).build()?;
    let url = if http { Some(serve(&acceptor).await?) } else { None };
    let mut open = Vec::new();
    let (start, cpu) = (Instant::now(), cpu_time());
    for _ in 0..count {
        let alice = match &url {
            Some(url) => initiator.connect(url).await?,
            None => {
                let offer = initiator.offer(LOOPBACK)?;
                let answer = acceptor.answer(offer.sdp()).await?;
                offer.finish(&answer).await?
            }
        };
        links.watch("initiator", &alice.1);
        let bob = acceptor.accept().await.context("the acceptor shut down")?;
        links.watch("acceptor", &bob.1);
        open.push((alice, bob));
    }
    Ok(costs(count, start, cpu))
}

/// Serves a node's signalling as long as the runtime lives, to who asks as often as they like.
pub(crate) async fn serve(node: &Node) -> anyhow::Result<String> {
    let rate = Rate { refill: Duration::ZERO, ..Rate::default() };
    let router = node.router(SignallingOptions { rate, ..SignallingOptions::default() });
    let server = SignallingServer::bind((Ipv4Addr::LOCALHOST, 0).into(), router).await?;
    let url = format!("http://{}/webrtc", server.local_addr());
    // As many WebSockets as somebody opens.
    let many = 1 << 16;
    let limits = ServerLimits {
        max_connections: many,
        max_connections_per_address: many,
        ..ServerLimits::default()
    };
    let server = server.with_limits(limits);
    tokio::spawn(server.serve(std::future::pending()));
    Ok(url)
}
