//! Subscribers that do not read, beside others that do.

use std::time::Duration;

use anyhow::ensure;
use deltawire::documents::{SlowPolicy, Start};
use deltawire::framing::documents::{Subscribe as Body, SubscribeFields};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use zerocopy::IntoBytes;

use crate::flow::{Publish, Subscribe};
use crate::harness::{Job, block_on};
use crate::links::{self, DOC, Kind, LinkedPublisher, LinkedSubscriber};
use crate::measure::{histogram, milliseconds, note_since};
use crate::report::{Place, Table, metric};
use crate::role::Role;
use crate::server::Server;
use crate::stamp::{Order, Phase, Stamp};

static TABLE: Table = Table {
    title: "Slow neighbour",
    notes: "deltawire over TCP, one document, 200 deltas of 2 KiB a second for 6 s. Those that are stalled subscribe and then read nothing from \
            their links, so that the hub's window to them is full after 1 MiB, and it has more for them. Memory: how much the hub's process \
            grew meanwhile, the document itself included, of which it keeps all.",
    metrics: &[metric("p50, ms"), metric("p99, ms"), metric("hub's memory grew, MiB")],
    baseline: Some("deltawire, 90 read"),
};

const LEN: usize = 2_048;
const RATE: u32 = 200;
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn jobs(quick: bool) -> Vec<Job> {
    // More than the window holds in any case.
    let deltas = if quick { 1_000 } else { 1_200 };
    let job = |row, readers, stalled| {
        let place = Place { table: &TABLE, row, column: None };
        Job::new(place, move || block_on(LIMIT, run(readers, stalled, deltas)))
    };
    vec![
        job("deltawire, 90 read", 90, 0),
        job("deltawire, 90 read, 10 are stalled", 90, 10),
        job("deltawire, 100 read", 100, 0),
    ]
}

async fn run(readers: usize, stalled: usize, deltas: u64) -> anyhow::Result<Vec<f64>> {
    let server = Server::play(&Role::Hub)?;
    let (node, url) = (Kind::Tcp.node()?, Kind::Tcp.url(&server)?);
    let documents = links::connect(&node, &url).await?;
    let mut publisher = LinkedPublisher::new(&documents, DOC)?;
    let mut reading = JoinSet::new();
    for _ in 0..readers {
        let documents = links::connect(&node, &url).await?;
        reading.spawn(read(LinkedSubscriber::new(documents, DOC, LEN)?, deltas));
    }
    let mut held = links::connect_all(&node, &url, stalled).await?;
    for (peer, _) in &mut held {
        let body = Body::new(SubscribeFields {
            id: 0,
            doc_id: DOC,
            start: Start::Oldest,
            policy: SlowPolicy::Block,
            presence: false,
        });
        peer.command.send.send_document(body.as_bytes()).await?;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let before = server.resident_bytes()?;
    let mut ticks = interval(Duration::from_secs(1) / RATE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for number in 0..deltas {
        ticks.tick().await;
        publisher.publish(&Stamp::now(number, Phase::Paced).payload(LEN)).await?;
    }
    let mut latencies = histogram()?;
    while let Some(read) = reading.join_next().await {
        latencies.add(read??)?;
    }
    let grown = server.resident_bytes()? as f64 - before as f64;
    for (_, link) in &held {
        let received = link.stats().session.data_received.bytes;
        let all = deltas * LEN as u64;
        ensure!(link.ended().is_none(), "a stalled subscriber was cut off: {:?}", link.ended());
        ensure!(received > 100_000, "a stalled subscriber has not subscribed: {received} bytes");
        ensure!(
            received < all * 3 / 4,
            "a stalled subscriber was not stalled: {received} of {all}"
        );
    }
    let latency = |quantile| milliseconds(&latencies, quantile);
    Ok(vec![latency(0.5), latency(0.99), grown / f64::from(1 << 20)])
}

async fn read(
    mut subscriber: LinkedSubscriber,
    deltas: u64,
) -> anyhow::Result<hdrhistogram::Histogram<u64>> {
    let (mut order, mut latencies) = (Order::default(), histogram()?);
    while order.count() < deltas {
        let stamp = subscriber.next().await?;
        note_since(&mut latencies, stamp.sent);
        order.check(stamp)?;
    }
    Ok(latencies)
}
