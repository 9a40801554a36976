//! One document to many readers in one process, beside `tokio::sync::broadcast`.
//!
//! Deliveries and one delta to all: everything runs on one thread, and both sides are polled by the same loop: what is compared is what
//! a delivery costs. The broadcast channel holds 1,024 messages, each an `Arc<[u8]>` that is made anew.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use deltawire::documents::{
    Everyone, Hub, HubOptions, Item, Start, SubscribeOptions, Subscription,
};
use deltawire::framing::DeltaFields;
use hdrhistogram::Histogram;
use tokio::runtime::Builder;
use tokio::sync::broadcast;

use crate::harness::Job;
use crate::links::DOC;
use crate::measure::{histogram, note_since};
use crate::report::{Place, Table, metric};
use crate::role::shared_runtime;
use crate::stamp::{Order, Phase, Stamp};

static DELIVERIES: Table = Table {
    title: "In one process: deliveries",
    notes: "Published in bursts of 16, each read by all readers before the next; one thread does both.",
    metrics: &[metric("million deliveries/s")],
    baseline: Some("deltawire"),
};

static ONE_TO_ALL: Table = Table {
    title: "In one process: one delta to all",
    notes: "128 B, from before it is published until the last reader has read it; one thread does both. Median of many.",
    metrics: &[metric("ms")],
    baseline: Some("deltawire"),
};

static LATENCY: Table = Table {
    title: "In one process: latency",
    notes: "From before a delta of 128 B is published until its reader has it, 1,000 a second. On one thread two tasks take turns; \
            on two the reader's thread is asleep and has to be woken.",
    metrics: &[metric("p50, µs"), metric("p99, µs")],
    baseline: Some("deltawire"),
};

/// Deltas that are published before all is read.
const BURST: usize = 16;

/// Messages that the broadcast channel holds.
const CAPACITY: usize = 1_024;

pub(crate) fn jobs(quick: bool) -> Vec<Job> {
    let mut jobs = Vec::new();
    let less = if quick { 20 } else { 1 };
    for (column, readers, len, deltas) in [
        ("1:1, 128 B", 1, 128, 1_600_000),
        ("1:4, 128 B", 4, 128, 400_000),
        ("1:100, 128 B", 100, 128, 32_000),
        ("1:4, 4 KiB", 4, 4_096, 80_000),
    ] {
        let deltas = deltas / less;
        let place = move |row| Place { table: &DELIVERIES, row, column: Some(column) };
        jobs.push(Job::new(place("deltawire"), move || {
            within(|| deliveries(&mut Ours::new(readers), len, deltas))
        }));
        jobs.push(Job::new(place("tokio broadcast"), move || {
            within(|| deliveries(&mut Theirs::new(readers), len, deltas))
        }));
    }
    let times = if quick { 3 } else { 51 };
    for (column, readers) in [("1,000 readers", 1_000), ("25,000 readers", 25_000)] {
        let place = move |row| Place { table: &ONE_TO_ALL, row, column: Some(column) };
        jobs.push(Job::new(place("deltawire"), move || {
            within(|| one_to_all(&mut Ours::new(readers), times))
        }));
        jobs.push(Job::new(place("tokio broadcast"), move || {
            within(|| one_to_all(&mut Theirs::new(readers), times))
        }));
    }
    let count = if quick { 200 } else { 2_000 };
    for (column, threads) in [("one thread", Threads::One), ("two threads", Threads::Two)] {
        let place = move |row| Place { table: &LATENCY, row, column: Some(column) };
        jobs.push(Job::new(place("deltawire"), move || latency::<Ours>(threads, count)));
        jobs.push(Job::new(place("tokio broadcast"), move || latency::<Theirs>(threads, count)));
    }
    jobs
}

/// Runs it where there is a runtime, which it does not wait for.
fn within(job: impl FnOnce() -> anyhow::Result<f64>) -> anyhow::Result<Vec<f64>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let _entered = runtime.enter();
    Ok(vec![job()?])
}

/// Those that read what one publishes to all.
trait FanOut {
    fn readers(&self) -> usize;
    fn publish(&mut self, payload: &[u8]) -> anyhow::Result<()>;
    /// Has each reader read all that there is; counts what they read. Each payload has to be so long.
    fn read_all(&mut self, len: usize) -> anyhow::Result<usize>;
}

/// Millions of deliveries a second.
fn deliveries(fan_out: &mut impl FanOut, len: usize, deltas: usize) -> anyhow::Result<f64> {
    let mut payload = vec![7; len];
    let mut number = 0;
    // Readers may have something to hear before.
    let mut rounds = |fan_out: &mut dyn FnMut(&[u8]) -> anyhow::Result<()>| {
        for _ in 0..BURST {
            Stamp { number, phase: Phase::Flow, sent: 0 }.write(&mut payload);
            number += 1;
            fan_out(&payload)?;
        }
        anyhow::Ok(())
    };
    let mut read = 0;
    let warm_up = deltas / BURST / 10;
    for _ in 0..warm_up {
        rounds(&mut |payload| fan_out.publish(payload))?;
        read += fan_out.read_all(len)?;
    }
    let (before, start) = (read, Instant::now());
    for _ in 0..deltas / BURST {
        rounds(&mut |payload| fan_out.publish(payload))?;
        read += fan_out.read_all(len)?;
    }
    let took = start.elapsed();
    let expected = (warm_up + deltas / BURST) * BURST * fan_out.readers();
    ensure!(read == expected, "{read} were read, not {expected}");
    Ok((read - before) as f64 / took.as_secs_f64() / 1e6)
}

/// Milliseconds until all have one delta, for which all wait.
fn one_to_all(fan_out: &mut impl FanOut, times: usize) -> anyhow::Result<f64> {
    let mut took = Vec::new();
    ensure!(fan_out.read_all(128)? == 0, "there was something before");
    for number in 0..times as u64 {
        let payload = Stamp { number, phase: Phase::Flow, sent: 0 }.payload(128);
        let start = Instant::now();
        fan_out.publish(&payload)?;
        let read = fan_out.read_all(128)?;
        took.push(start.elapsed().as_secs_f64() * 1e3);
        ensure!(read == fan_out.readers(), "{read} were read");
    }
    took.sort_by(f64::total_cmp);
    Ok(took[times / 2])
}

struct Ours {
    hub: Hub,
    readers: Vec<(Subscription, Order)>,
}

impl Ours {
    fn new(readers: usize) -> Self {
        let hub = Hub::in_memory(HubOptions::default(), Everyone, shared_runtime());
        let readers = (0..readers).map(|_| (subscribe(&hub), Order::default())).collect();
        Self { hub, readers }
    }
}

fn subscribe(hub: &Hub) -> Subscription {
    let options = SubscribeOptions { start: Start::Latest, ..SubscribeOptions::default() };
    hub.subscribe(DOC, options)
}

/// The stamp of a delta, if it is one.
fn stamp_of(item: &Item, len: usize) -> anyhow::Result<Option<Stamp>> {
    match item {
        Item::Delta { message, .. } => Ok(Some(Stamp::read(message.delta()?.payload(), len)?)),
        Item::Gap(gap) => bail!("a gap: {gap:?}"),
        _ => Ok(None),
    }
}

impl FanOut for Ours {
    fn readers(&self) -> usize {
        self.readers.len()
    }

    fn publish(&mut self, payload: &[u8]) -> anyhow::Result<()> {
        self.hub.append(DeltaFields::new(DOC), payload)?;
        Ok(())
    }

    fn read_all(&mut self, len: usize) -> anyhow::Result<usize> {
        let mut context = Context::from_waker(Waker::noop());
        let mut read = 0;
        for (reader, order) in &mut self.readers {
            while let Poll::Ready(item) = reader.poll_next(&mut context) {
                if let Some(stamp) = stamp_of(&item?, len)? {
                    order.check(stamp)?;
                    read += 1;
                }
            }
        }
        Ok(read)
    }
}

type Payload = std::sync::Arc<[u8]>;

struct Theirs {
    sender: broadcast::Sender<Payload>,
    readers: Vec<(broadcast::Receiver<Payload>, Order)>,
}

impl Theirs {
    fn new(readers: usize) -> Self {
        let (sender, _) = broadcast::channel(CAPACITY);
        let readers = (0..readers).map(|_| (sender.subscribe(), Order::default())).collect();
        Self { sender, readers }
    }
}

impl FanOut for Theirs {
    fn readers(&self) -> usize {
        self.readers.len()
    }

    fn publish(&mut self, payload: &[u8]) -> anyhow::Result<()> {
        self.sender.send(Payload::from(payload)).ok().context("nobody reads")?;
        Ok(())
    }

    fn read_all(&mut self, len: usize) -> anyhow::Result<usize> {
        let mut context = Context::from_waker(Waker::noop());
        let mut read = 0;
        for (reader, order) in &mut self.readers {
            loop {
                let next = pin!(reader.recv()).poll(&mut context);
                let Poll::Ready(payload) = next else { break };
                order.check(Stamp::read(&payload?, len)?)?;
                read += 1;
            }
        }
        Ok(read)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Threads {
    One,
    Two,
}

/// One reader, and what publishes to it from another thread.
trait Pair: 'static {
    type Publisher: Send + 'static;
    type Reader: Send + 'static;
    fn pair() -> (Self::Publisher, Self::Reader);
    fn publish(publisher: &Self::Publisher, payload: &[u8]) -> anyhow::Result<()>;
    fn next(reader: &mut Self::Reader) -> impl Future<Output = anyhow::Result<Stamp>> + Send;
}

impl Pair for Ours {
    type Publisher = Hub;
    type Reader = Subscription;

    fn pair() -> (Hub, Subscription) {
        let hub = Hub::in_memory(HubOptions::default(), Everyone, shared_runtime());
        let reader = subscribe(&hub);
        (hub, reader)
    }

    fn publish(hub: &Hub, payload: &[u8]) -> anyhow::Result<()> {
        hub.append(DeltaFields::new(DOC), payload)?;
        Ok(())
    }

    async fn next(reader: &mut Subscription) -> anyhow::Result<Stamp> {
        loop {
            let item = poll_fn(|context| reader.poll_next(context)).await?;
            if let Some(stamp) = stamp_of(&item, 128)? {
                return Ok(stamp);
            }
        }
    }
}

impl Pair for Theirs {
    type Publisher = broadcast::Sender<Payload>;
    type Reader = broadcast::Receiver<Payload>;

    fn pair() -> (Self::Publisher, Self::Reader) {
        broadcast::channel(CAPACITY)
    }

    fn publish(sender: &Self::Publisher, payload: &[u8]) -> anyhow::Result<()> {
        sender.send(Payload::from(payload)).ok().context("nobody reads")?;
        Ok(())
    }

    async fn next(reader: &mut Self::Reader) -> anyhow::Result<Stamp> {
        Stamp::read(&reader.recv().await?, 128)
    }
}

/// p50 and p99, µs.
fn latency<P: Pair>(threads: Threads, count: u64) -> anyhow::Result<Vec<f64>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let period = Duration::from_millis(1);
    let latencies = runtime.block_on(async {
        let (publisher, reader) = P::pair();
        let reading = tokio::spawn(read::<P>(reader, count));
        match threads {
            Threads::One => {
                for number in 0..count {
                    tokio::time::sleep(period).await;
                    let payload = Stamp::now(number, Phase::Paced).payload(128);
                    P::publish(&publisher, &payload)?;
                }
                reading.await?
            }
            Threads::Two => {
                let (done, publishing) = mpsc::channel::<()>();
                let thread = thread::spawn(move || {
                    for number in 0..count {
                        thread::sleep(period);
                        let payload = Stamp::now(number, Phase::Paced).payload(128);
                        P::publish(&publisher, &payload)?;
                    }
                    // What it publishes with stays until everything was read.
                    let _ = publishing.recv();
                    anyhow::Ok(())
                });
                let latencies = reading.await?;
                drop(done);
                thread.join().ok().context("the publisher panicked")??;
                latencies
            }
        }
    })?;
    Ok([0.5, 0.99].map(|it| latencies.value_at_quantile(it) as f64 / 1e3).to_vec())
}

async fn read<P: Pair>(mut reader: P::Reader, count: u64) -> anyhow::Result<Histogram<u64>> {
    let (mut order, mut latencies) = (Order::default(), histogram()?);
    while order.count() < count {
        let stamp = P::next(&mut reader).await?;
        note_since(&mut latencies, stamp.sent);
        order.check(stamp)?;
    }
    Ok(latencies)
}
