//! How long commands take while deltas go the same way as fast as they can.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use deltawire::channels::Command;
use deltawire::prelude::*;
use hdrhistogram::Histogram;
use tokio::time::{MissedTickBehavior, interval};

use crate::deltawire_pair::{self, connect, next, send, send_until_closed};
use crate::harness::{Job, Links};
use crate::measure::{PING, histogram, microseconds, nanoseconds};
use crate::plan;
use crate::report::{Place, Table, metric};

static TABLE: Table = Table {
    title: "Commands under bulk",
    notes: "A command of 64 B each 10 ms, from when it is committed to when the peer's application \
            has it, while deltas of 64 KiB fill the same direction; and on the same link before \
            that, idle.",
    metrics: &[
        metric("p50, µs"),
        metric("p95, µs"),
        metric("max, µs"),
        metric("deltas, MB/s"),
        metric("idle p50, µs"),
        metric("idle round trip p50, µs"),
    ],
};

const DELTA: usize = 64 << 10;
const EVERY: Duration = Duration::from_millis(10);
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn job(quick: bool) -> Job {
    let place = Place { table: &TABLE, row: "deltawire", column: None };
    let (idle, total) = if quick { (20, 64_000_000) } else { (100, 1_000_000_000) };
    let run = move |links: &Links| deltawire_pair::run(false, LIMIT, run(idle, total, links));
    Job { limit: LIMIT, ..plan::job(place, run) }
}

/// What commands say beside when they were sent.
const IDLE: u8 = 0;
const BULK: u8 = 1;

async fn run(idle: usize, total: u64, links: &Links) -> anyhow::Result<Vec<f64>> {
    let start = Instant::now();
    let [alice, bob] = connect(Node::builder(), Node::builder(), links).await?;
    let Peer { command: mut commands, send: deltas, receive } = alice.peer;
    let Peer { command: taken, send: unused, receive: mut arriving } = bob.peer;
    let delays = tokio::spawn(take_commands(taken, start));

    let mut round_trips = histogram()?;
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for _ in 0..idle {
        ticks.tick().await;
        let sent = Instant::now();
        send(&mut commands.send, &command(IDLE, start)).await?;
        next(&mut commands.receive).await?.context("the link ended")?;
        round_trips.saturating_record(nanoseconds(sent.elapsed()));
    }

    let bulk = tokio::spawn(send_until_closed(deltas, DELTA));
    let counting = tokio::spawn(async move {
        let (since, mut bytes) = (Instant::now(), 0);
        while bytes < total {
            let payload = next(&mut arriving).await?.context("the link ended")?;
            bytes += payload.len() as u64;
        }
        anyhow::Ok(bytes as f64 / 1e6 / since.elapsed().as_secs_f64())
    });
    while !counting.is_finished() {
        ticks.tick().await;
        send(&mut commands.send, &command(BULK, start)).await?;
    }
    let rate = counting.await??;
    drop((commands, receive, unused));
    bulk.abort();
    let (idle, under_bulk) = delays.await??;
    ensure!(!under_bulk.is_empty(), "the deltas were through before a command");
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

/// Measures how long commands took, until no more come: idle ones, which it sends back, and those
/// under bulk.
async fn take_commands(
    mut commands: Command,
    start: Instant,
) -> anyhow::Result<(Histogram<u64>, Histogram<u64>)> {
    let mut delays = (histogram()?, histogram()?);
    while let Some(payload) = next(&mut commands.receive).await? {
        let now = nanoseconds(start.elapsed());
        let sent = payload.first_chunk().context("a short command")?;
        let delay = now.saturating_sub(u64::from_le_bytes(*sent));
        if payload.get(8) == Some(&BULK) {
            delays.1.saturating_record(delay);
        } else {
            delays.0.saturating_record(delay);
            send(&mut commands.send, payload).await?;
        }
    }
    Ok(delays)
}
