//! Many that come back at once, beside a document that goes on.

use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};
use deltawire::prelude::*;
use hdrhistogram::Histogram;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::flow::{Publish, Subscribe};
use crate::harness::{Job, block_on};
use crate::links::{self, DOC, Kind, LinkedPublisher, LinkedSubscriber};
use crate::measure::{allow_open_files, histogram, milliseconds, note_since, now, seconds_since};
use crate::report::{Place, Table, metric};
use crate::role::Role;
use crate::server::Server;
use crate::stamp::{Order, Phase, Stamp};

static TABLE: Table = Table {
    title: "Reconnect storm",
    notes: "1,000 subscribers connect at once and read 1 MB each (1,000 deltas of 1,000 B), from a hub in memory, of 100 documents; meanwhile \
            another document goes on at 100 deltas of 128 B a second, with one reader; both ends of that have a thread of their own. Seconds from the first that connects until all have \
            all. All of them are one process, on the same cores as the hub's.",
    metrics: &[
        metric("s"),
        metric("MB/s"),
        metric("live p50 before, ms"),
        metric("p99"),
        metric("live p50 meanwhile, ms"),
        metric("p99"),
    ],
    baseline: None,
};

const DOCUMENTS: usize = 100;
const DELTAS: u64 = 1_000;
const LEN: usize = 1_000;
const LIVE_LEN: usize = 128;
const LIMIT: Duration = Duration::from_secs(120);

pub(crate) fn jobs(quick: bool) -> Vec<Job> {
    let subscribers = if quick { 100 } else { 1_000 };
    let quiet = Duration::from_millis(if quick { 500 } else { 3_000 });
    let job = |row, kind| {
        let place = Place { table: &TABLE, row, column: None };
        Job::new(place, move || block_on(LIMIT, run(kind, subscribers, quiet)))
    };
    vec![job("deltawire, TCP", Kind::Tcp), job("deltawire, WebSocket", Kind::WebSocket)]
}

fn document(index: usize) -> DocId {
    DocId([index as u8 + 100; 16])
}

async fn run(kind: Kind, subscribers: usize, quiet: Duration) -> anyhow::Result<Vec<f64>> {
    allow_open_files(4_096)?;
    let server = Server::play(&Role::Hub)?;
    let (node, url) = (kind.node()?, kind.url(&server)?);
    let documents = links::connect(&node, &url).await?;
    for index in 0..DOCUMENTS {
        let mut publisher = documents.publish(document(index))?;
        for number in 0..DELTAS {
            publisher.publish(&Stamp::now(number, Phase::Flow).payload(LEN)).await?;
        }
        publisher.flush().await?;
    }
    let (storm, is_storm) = watch::channel(State::Quiet);
    let live = thread::spawn({
        let url = url.clone();
        move || live(kind, &url, is_storm)
    });

    tokio::time::sleep(quiet).await;
    storm.send_replace(State::Storm);
    let (start, mut resuming) = (now(), JoinSet::new());
    for index in 0..subscribers {
        let (node, url) = (node.clone(), url.clone());
        resuming.spawn(async move {
            let documents = links::connect(&node, &url).await?;
            let doc_id = document(index % DOCUMENTS);
            let mut subscriber = LinkedSubscriber::new(documents, doc_id, LEN)?;
            let mut order = Order::default();
            while order.count() < DELTAS {
                order.check(subscriber.next().await?)?;
            }
            // They stay.
            anyhow::Ok(subscriber)
        });
    }
    let mut held = Vec::new();
    while let Some(resumed) = resuming.join_next().await {
        held.push(resumed??);
    }
    let took = seconds_since(start);
    ensure!(held.len() == subscribers, "some are missing");
    storm.send_replace(State::Over);
    let live = tokio::task::spawn_blocking(|| live.join()).await?;
    let (before, meanwhile) = live.ok().context("the live document's thread panicked")??;
    let bytes = (subscribers as u64 * DELTAS * LEN as u64) as f64;
    let [before, meanwhile] =
        [before, meanwhile].map(|it| [milliseconds(&it, 0.5), milliseconds(&it, 0.99)]);
    Ok(vec![took, bytes / 1e6 / took, before[0], before[1], meanwhile[0], meanwhile[1]])
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Quiet,
    Storm,
    Over,
}

/// Publishes to the live document and reads it, in a thread of its own, so that it does not wait behind those that resume
/// in this process: latencies before the storm and in it.
fn live(
    kind: Kind,
    url: &str,
    state: watch::Receiver<State>,
) -> anyhow::Result<(Histogram<u64>, Histogram<u64>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let node = kind.node()?;
        let documents = links::connect(&node, url).await?;
        let publisher = LinkedPublisher::new(&documents, DOC)?;
        let reader = LinkedSubscriber::new(links::connect(&node, url).await?, DOC, LIVE_LEN)?;
        let (published, read) = tokio::try_join!(publish(publisher, state), read_live(reader))?;
        let (before, meanwhile, read) = read;
        ensure!(read == published, "{published} were published to the live document, {read} read");
        Ok((before, meanwhile))
    })
}

/// Publishes to the live document, until the storm is over. Says how many there were.
async fn publish(
    mut publisher: LinkedPublisher,
    state: watch::Receiver<State>,
) -> anyhow::Result<u64> {
    let mut ticks = interval(Duration::from_millis(10));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut number = 0;
    loop {
        ticks.tick().await;
        ensure!(state.has_changed().is_ok(), "those that resume have failed");
        let phase = match *state.borrow() {
            State::Quiet => Phase::Flow,
            State::Storm => Phase::Paced,
            State::Over => Phase::End,
        };
        publisher.publish(&Stamp::now(number, phase).payload(LIVE_LEN)).await?;
        number += 1;
        if phase == Phase::End {
            return Ok(number);
        }
    }
}

/// Latencies before the storm and in it, and how many deltas there were.
async fn read_live(
    mut subscriber: LinkedSubscriber,
) -> anyhow::Result<(Histogram<u64>, Histogram<u64>, u64)> {
    let (mut before, mut meanwhile, mut order) = (histogram()?, histogram()?, Order::default());
    loop {
        let stamp = subscriber.next().await?;
        order.check(stamp)?;
        match stamp.phase {
            Phase::Flow => note_since(&mut before, stamp.sent),
            Phase::Paced => note_since(&mut meanwhile, stamp.sent),
            Phase::End => return Ok((before, meanwhile, order.count())),
        }
    }
}
