//! How long commands take while bulk goes the same way as fast as it can.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use deltawire::prelude::*;
use hdrhistogram::Histogram;
use quinn::TransportConfig;
use tokio::time::{MissedTickBehavior, interval};

use crate::deltawire_pair::{self, Channel, End};
use crate::harness::{Job, Links};
use crate::measure::{PING, histogram, microseconds, nanoseconds};
use crate::messages::{Messages, flood};
use crate::quinn_pair::Quic;
use crate::report::{Place, Table, metric};
use crate::streams::{self, Kind};
use crate::{deltawire_quic, deltawire_sctp, plan, webrtc_rs, websocket};

static TABLE: Table = Table {
    title: "Commands under bulk",
    notes: "A command of 64 B each 10 ms, from when it is committed to when the peer's application \
            has it, while messages of 64 KiB fill the same direction; and on the same link before \
            that, idle. deltawire: deltas and commands, over WebRTC, and by SCTP without encryption. webrtc-rs: two data channels. quinn: two \
            streams, that of the commands of higher priority, with its default windows.",
    metrics: &[
        metric("p50, µs"),
        metric("p95, µs"),
        metric("max, µs"),
        metric("bulk, MB/s"),
        metric("idle p50, µs"),
        metric("idle round trip p50, µs"),
    ],
    baseline: Some("deltawire"),
};

const BULK_MESSAGE: usize = 64 << 10;
const EVERY: Duration = Duration::from_millis(10);
const LIMIT: Duration = Duration::from_secs(60);

/// What commands say beside when they were sent.
const IDLE: u8 = 0;
const BULK: u8 = 1;
const END: u8 = 2;

/// How much is measured.
#[derive(Clone, Copy)]
struct Plan {
    /// Commands on an idle link.
    idle: usize,
    /// Bytes of bulk beside which commands go, and for how long at most.
    total: u64,
    time: Duration,
}

pub(crate) fn jobs(quick: bool) -> [Job; 8] {
    let plan = match quick {
        true => Plan { idle: 20, total: 64_000_000, time: Duration::from_secs(1) },
        false => Plan { idle: 100, total: 1_000_000_000, time: Duration::from_secs(15) },
    };
    [
        job("deltawire", move |links| {
            run(async move {
                let builder = || Node::builder().prefer_links(["webrtc"]);
                deltawire(plan, deltawire_pair::connect(builder(), builder(), links).await?).await
            })
        }),
        job("deltawire, QUIC", move |links| {
            run(async move { deltawire(plan, deltawire_quic::connect(0, links).await?).await })
        }),
        job("deltawire, WebSocket", move |links| {
            run(async move { deltawire(plan, websocket::connect(0, links).await?).await })
        }),
        job("deltawire, TCP", move |links| {
            run(async move { deltawire(plan, streams::connect(Kind::Tcp, 0, links).await?).await })
        }),
        job("deltawire, Unix", move |links| {
            run(async move { deltawire(plan, streams::connect(Kind::Unix, 0, links).await?).await })
        }),
        job("deltawire, SCTP", move |links| {
            run(async move { deltawire(plan, deltawire_sctp::connect(0, links).await?).await })
        }),
        job("webrtc-rs", move |_| run(webrtc_rs(plan))),
        job("quinn", move |_| run(quinn(plan))),
    ]
}

fn job(
    row: &'static str,
    run: impl Fn(&Links) -> anyhow::Result<Vec<f64>> + Send + Sync + 'static,
) -> Job {
    Job { limit: LIMIT, ..plan::job(Place { table: &TABLE, row, column: None }, run) }
}

fn run(job: impl Future<Output = anyhow::Result<Vec<f64>>>) -> anyhow::Result<Vec<f64>> {
    deltawire_pair::run(false, LIMIT, job)
}

async fn deltawire(plan: Plan, ends: [End; 2]) -> anyhow::Result<Vec<f64>> {
    let [alice, bob] = ends.map(|end| {
        let Peer { command, send, receive } = end.peer;
        (Channel { send: command.send, receive: command.receive }, Channel { send, receive })
    });
    measure([alice.0, bob.0], [alice.1, bob.1], plan).await
}

async fn webrtc_rs(plan: Plan) -> anyhow::Result<Vec<f64>> {
    let [commands, bulk] = webrtc_rs::connect(["commands", "bulk"]).await?;
    measure(commands, bulk, plan).await
}

/// With quinn's default windows: that of a stream is an eighth of what the connection may hold, so
/// bulk never takes the commands' room.
async fn quinn(plan: Plan) -> anyhow::Result<Vec<f64>> {
    let link = Quic::bind(TransportConfig::default())?.connect().await?;
    let commands = link.messages().await?;
    for end in &commands {
        end.go_first()?;
    }
    measure(commands, link.messages().await?, plan).await
}

async fn measure<M: Messages>(
    [mut commands, taken]: [M; 2],
    [bulk, mut arriving]: [M; 2],
    plan: Plan,
) -> anyhow::Result<Vec<f64>> {
    let start = Instant::now();
    let delays = tokio::spawn(take_commands(taken, start));

    let mut round_trips = histogram()?;
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for _ in 0..plan.idle {
        ticks.tick().await;
        let sent = Instant::now();
        commands.send(&command(IDLE, start)).await?;
        commands.next().await?.context("the link ended")?;
        round_trips.saturating_record(nanoseconds(sent.elapsed()));
    }

    let bulk = tokio::spawn(flood(bulk, BULK_MESSAGE));
    let counting = tokio::spawn(async move {
        let (since, mut bytes) = (Instant::now(), 0);
        while bytes < plan.total && since.elapsed() < plan.time {
            let payload = arriving.next().await?.context("the link ended")?;
            ensure!(payload.len() == BULK_MESSAGE, "a message of another length");
            bytes += payload.len() as u64;
        }
        let rate = bytes as f64 / 1e6 / since.elapsed().as_secs_f64();
        // The link stays until the commands are through.
        anyhow::Ok((rate, arriving))
    });
    while !counting.is_finished() {
        ticks.tick().await;
        commands.send(&command(BULK, start)).await?;
    }
    bulk.abort();
    let (rate, arriving) = counting.await??;
    commands.send(&command(END, start)).await?;
    let (idle, under_bulk) = delays.await??;
    drop((commands, arriving));
    ensure!(!under_bulk.is_empty(), "the bulk was through before a command");
    Ok(vec![
        microseconds(&under_bulk, 0.5),
        microseconds(&under_bulk, 0.95),
        microseconds(&under_bulk, 1.0),
        rate,
        microseconds(&idle, 0.5),
        microseconds(&round_trips, 0.5),
    ])
}

/// When it was sent, and under which circumstances.
fn command(kind: u8, start: Instant) -> [u8; PING] {
    let mut payload = [0; PING];
    payload[..8].copy_from_slice(&nanoseconds(start.elapsed()).to_le_bytes());
    payload[8] = kind;
    payload
}

/// Measures how long commands took, until the last: idle ones, which it sends back, and those under
/// bulk.
async fn take_commands(
    mut commands: impl Messages,
    start: Instant,
) -> anyhow::Result<(Histogram<u64>, Histogram<u64>)> {
    let mut delays = (histogram()?, histogram()?);
    while let Some(payload) = commands.next().await? {
        let now = nanoseconds(start.elapsed());
        let command: [u8; PING] = payload.try_into().context("a command of another length")?;
        let (sent, kind) = (command.first_chunk().context("a short command")?, command[8]);
        let delay = now.saturating_sub(u64::from_le_bytes(*sent));
        match kind {
            IDLE => {
                delays.0.saturating_record(delay);
                commands.send(&command).await?;
            }
            BULK => delays.1.saturating_record(delay),
            _ => break,
        }
    }
    Ok(delays)
}
