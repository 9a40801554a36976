//! Publishes to many, no faster than the slowest of them reads.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::ensure;
use hdrhistogram::Histogram;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::measure::{histogram, milliseconds, note_since, now, seconds_since};
use crate::server::Server;
use crate::stamp::{Order, Phase, Stamp};

/// Bytes of a payload.
pub(crate) const LEN: usize = 128;

/// Publishes to all subscribers.
pub(crate) trait Publish: Send {
    /// Publishes a copy; it may wait for others until [`flush`](Self::flush).
    fn publish(&mut self, payload: &[u8]) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// Sends what waits.
    fn flush(&mut self) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// Reads what was published.
pub(crate) trait Subscribe: Send + 'static {
    /// The next delivery.
    fn next(&mut self) -> impl Future<Output = anyhow::Result<Stamp>> + Send;
}

/// For how long there is what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) warm_up: Duration,
    pub(crate) flow: Duration,
    pub(crate) paced: Duration,
}

impl Times {
    pub(crate) fn new(quick: bool) -> Self {
        let [warm_up, flow, paced] = if quick { [50, 200, 300] } else { [300, 2_000, 2_000] };
        let of = Duration::from_millis;
        Self { warm_up: of(warm_up), flow: of(flow), paced: of(paced) }
    }
}

/// Deltas a second where their latency is measured.
const RATE: u64 = 1_000;

/// How far the publisher may be ahead of the slowest subscriber, deltas.
const WINDOW: u32 = 2_048;

/// After how many deltas a subscriber says how far it is.
const STEP: u64 = 64;

/// How far subscribers are.
struct Pace {
    subscribers: usize,
    room: Semaphore,
    /// How many have done each step, from the first that some have not.
    steps: Mutex<(u64, VecDeque<usize>)>,
}

impl Pace {
    fn new(subscribers: usize) -> Arc<Self> {
        let (room, steps) = (Semaphore::new(WINDOW as usize), Mutex::default());
        Arc::new(Self { subscribers, room, steps })
    }

    /// A subscriber has had so many.
    fn note(&self, count: u64) {
        if !count.is_multiple_of(STEP) {
            return;
        }
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, done) = &mut *steps;
        let index = (count / STEP - 1 - *first) as usize;
        if done.len() <= index {
            done.resize(index + 1, 0);
        }
        done[index] += 1;
        while done.front() == Some(&self.subscribers) {
            done.pop_front();
            *first += 1;
            self.room.add_permits(STEP as usize);
        }
    }
}

/// Publishes while counting.
struct Source<'a, P> {
    publisher: &'a mut P,
    pace: Arc<Pace>,
    payload: Vec<u8>,
    count: u64,
}

impl<P: Publish> Source<'_, P> {
    async fn publish(&mut self, phase: Phase) -> anyhow::Result<()> {
        // With the time for which it waits for room.
        let stamp = Stamp::now(self.count, phase);
        match self.pace.room.try_acquire() {
            Ok(permit) => permit.forget(),
            Err(_) => {
                self.publisher.flush().await?;
                self.pace.room.acquire().await?.forget();
            }
        }
        stamp.write(&mut self.payload);
        self.count += 1;
        self.publisher.publish(&self.payload).await
    }

    /// Publishes as much as goes in this time.
    async fn flow(&mut self, time: Duration) -> anyhow::Result<()> {
        let start = now();
        while seconds_since(start) < time.as_secs_f64() {
            for _ in 0..STEP {
                self.publish(Phase::Flow).await?;
            }
        }
        self.all_read().await
    }

    /// Publishes at a rate. Says whether it could be kept.
    async fn paced(&mut self, time: Duration) -> anyhow::Result<bool> {
        let mut ticks = interval(Duration::from_secs(1) / RATE as u32);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let steps = (time.as_secs_f64() * RATE as f64 / STEP as f64).ceil() as u64;
        let start = now();
        for _ in 0..steps * STEP {
            ticks.tick().await;
            self.publish(Phase::Paced).await?;
            self.publisher.flush().await?;
        }
        self.all_read().await?;
        Ok(seconds_since(start) < 1.2 * (steps * STEP) as f64 / RATE as f64)
    }

    /// Waits until everybody has read everything.
    async fn all_read(&mut self) -> anyhow::Result<()> {
        self.publisher.flush().await?;
        drop(self.pace.room.acquire_many(WINDOW).await?);
        Ok(())
    }
}

/// Deliveries a second, the server's CPU seconds for a million, p50 and p99 at a rate, and its CPU seconds for a million there.
pub(crate) async fn measure<S: Subscribe>(
    server: &Server,
    mut publisher: impl Publish,
    subscribers: Vec<S>,
    times: Times,
) -> anyhow::Result<Vec<f64>> {
    let readers = subscribers.len();
    let pace = Pace::new(readers);
    let mut reading = JoinSet::new();
    for subscriber in subscribers {
        reading.spawn(read(subscriber, pace.clone()));
    }
    let mut source = Source { publisher: &mut publisher, pace, payload: vec![7; LEN], count: 0 };
    let publishing = async {
        source.flow(times.warm_up).await?;
        let (cpu, start, before) = (server.cpu_time()?, now(), source.count);
        source.flow(times.flow).await?;
        let (took, flow_cpu) = (seconds_since(start), server.cpu_time()? - cpu);
        let deliveries = (source.count - before) as f64 * readers as f64;
        let (cpu, before) = (server.cpu_time()?, source.count);
        let kept = source.paced(times.paced).await?;
        let paced_cpu = server.cpu_time()? - cpu;
        let paced = (source.count - before) as f64 * readers as f64;
        source.publish(Phase::End).await?;
        source.publisher.flush().await?;
        let figures = [deliveries / took, 1e6 * flow_cpu / deliveries, 1e6 * paced_cpu / paced];
        anyhow::Ok((figures, kept, source.count))
    };
    let reading = async {
        let (mut all, mut counts) = (histogram()?, Vec::new());
        while let Some(read) = reading.join_next().await {
            let (histogram, count) = read??;
            all.add(histogram)?;
            counts.push(count);
        }
        anyhow::Ok((all, counts))
    };
    let ((figures, kept, count), (latencies, counts)) = tokio::try_join!(publishing, reading)?;
    ensure!(counts.len() == readers && counts.iter().all(|it| *it == count), "some are missing");
    let [deliveries, flow_cpu, paced_cpu] = figures;
    let latency = |quantile| if kept { milliseconds(&latencies, quantile) } else { f64::NAN };
    Ok(vec![deliveries, flow_cpu, latency(0.5), latency(0.99), paced_cpu])
}

/// Reads until the last; gives latencies, and how many there were.
async fn read(
    mut subscriber: impl Subscribe,
    pace: Arc<Pace>,
) -> anyhow::Result<(Histogram<u64>, u64)> {
    let (mut order, mut latencies) = (Order::default(), histogram()?);
    loop {
        let stamp = subscriber.next().await?;
        order.check(stamp)?;
        match stamp.phase {
            Phase::Flow => {}
            Phase::Paced => note_since(&mut latencies, stamp.sent),
            Phase::End => return Ok((latencies, order.count())),
        }
        pace.note(order.count());
    }
}
