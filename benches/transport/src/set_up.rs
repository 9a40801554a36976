//! What it costs to open a link.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::Context;
use deltawire::prelude::*;
use deltawire::signalling::{Rate, SignallingOptions, SignallingServer};

use crate::deltawire_pair::{self, LOOPBACK};
use crate::harness::{Job, Links};
use crate::measure::cpu_time;
use crate::plan::{self, LIMIT};
use crate::report::{Place, Table, metric};

static TABLE: Table = Table {
    title: "Set-up of a link",
    notes: "From nothing to peers that have said hello, one after the other, both ends together; \
            all links stay open meanwhile. The nodes' certificates are made before.",
    metrics: &[metric("CPU, ms"), metric("wall, ms")],
};

pub(crate) fn jobs(quick: bool) -> impl Iterator<Item = Job> {
    let ways = [("deltawire, offer and answer", false), ("deltawire, by HTTP", true)];
    ways.into_iter().map(move |(row, http)| {
        let place = Place { table: &TABLE, row, column: None };
        plan::job(place, move |links| {
            let count = if quick { 10 } else { 100 };
            deltawire_pair::run(false, LIMIT, run(count, http, links))
        })
    })
}

async fn run(count: u32, http: bool, links: &Links) -> anyhow::Result<Vec<f64>> {
    let initiator = Node::builder().build()?;
    let acceptor = Node::builder().listen((LOOPBACK, 0).into()).build()?;
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
    let milliseconds = |time: Duration| 1e3 * time.as_secs_f64() / f64::from(count);
    Ok(vec![milliseconds(cpu_time() - cpu), milliseconds(start.elapsed())])
}

/// Serves a node's signalling as long as the runtime lives, to who asks as often as they like.
pub(crate) async fn serve(node: &Node) -> anyhow::Result<String> {
    let rate = Rate { refill: Duration::ZERO, ..Rate::default() };
    let router = node.router(SignallingOptions { rate, ..SignallingOptions::default() });
    let server = SignallingServer::bind((Ipv4Addr::LOCALHOST, 0).into(), router).await?;
    let url = format!("http://{}/webrtc", server.local_addr());
    tokio::spawn(server.serve(std::future::pending()));
    Ok(url)
}
