//! What is measured beside the yardstick (`tests/yardstick/`): `cargo xtask yardstick` asks the page
//! of either for one job after the other. The two define each figure alike.

use std::cell::Cell;
use std::collections::BTreeMap;

use deltawire::channels::Command;
use deltawire::prelude::*;
use futures_util::try_join;
use serde::{Deserialize, Serialize};

use crate::exercise::{self, Clock, RoundTrips};
use crate::service::{Error, Request};

/// What came of a job.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Measured {
    /// By name: 10⁶ bytes of payload a second, or microseconds.
    pub figures: BTreeMap<String, f64>,
    /// Why there are none.
    pub error: Option<String>,
}

impl Measured {
    /// Nothing could be measured.
    pub fn failed(error: Error) -> Self {
        Self { error: Some(error.to_string()), ..Self::default() }
    }

    fn of<const N: usize>(figures: [(&str, f64); N]) -> Self {
        let figures = figures.into_iter().map(|(name, figure)| (name.to_owned(), figure));
        Self { figures: figures.collect(), error: None }
    }
}

/// Does a job: `rate-` and the bytes of a message, `echo`, or `commands`. With `quick` a sixteenth
/// of it.
///
/// # Errors
///
/// When the link is gone, or there is no such job.
pub async fn measure(
    peer: &mut Peer,
    job: &str,
    quick: bool,
    clock: Clock,
) -> Result<Measured, Error> {
    let scale = if quick { 16 } else { 1 };
    match job.split_once('-') {
        Some(("rate", size)) => rate(peer, size.parse()?, scale, clock).await,
        None if job == "echo" => echo(peer, scale, clock).await,
        None if job == "commands" => commands(peer, scale, clock).await,
        _ => Err(format!("there is no {job}").into()),
    }
}

/// 10⁶ bytes a second, each way, once warm.
async fn rate(peer: &mut Peer, size: u32, scale: u64, clock: Clock) -> Result<Measured, Error> {
    let total = (if size < 16 << 10 { 8 << 20 } else { 32 << 20 }) / scale;
    exercise::throughput(peer, size, total / 4, clock, |_| ()).await?;
    let rate = exercise::throughput(peer, size, total, clock, |_| ()).await?;
    Ok(Measured::of([("up", rate.up), ("down", rate.down)]))
}

/// Round trips of 64 B, one after the other: microseconds.
async fn echo(peer: &mut Peer, scale: u64, clock: Clock) -> Result<Measured, Error> {
    let RoundTrips { p50, p99, .. } =
        exercise::round_trips(peer, 64, 5_000 / scale as u32, clock).await?;
    Ok(Measured::of([("p50", p50), ("p99", p99)]))
}

/// Round trips of a command alone, and beside deltas of 64 KiB one way, then the other:
/// microseconds.
async fn commands(peer: &mut Peer, scale: u64, clock: Clock) -> Result<Measured, Error> {
    let idle = command_round_trips(&mut peer.command, 200, || true, clock).await?;
    let up = exercise::commands_beside_bulk(peer, 300 / scale as u32, clock).await?;
    let Peer { command, send, receive } = peer;
    let (size, count) = (64_u32 << 10, 1_024 / scale as u32);
    let mut grant = send.reserve(8).await?;
    grant.payload_as_mut::<u32>()?.copy_from_slice(&[size, count]);
    let delta_type = Request::Generate.delta_type();
    grant.commit(DeltaFields { delta_type, ..DeltaFields::new(exercise::DOCUMENT) }, 8)?;
    let busy = Cell::new(true);
    let reading = async {
        for _ in 0..count {
            receive.next().await?;
        }
        busy.set(false);
        Ok::<_, Error>(())
    };
    let commands = command_round_trips(command, u32::MAX, || busy.get(), clock);
    let ((), down) = try_join!(reading, commands)?;
    Ok(Measured::of([
        ("idle-p50", idle.p50),
        ("up-p50", up.p50),
        ("up-p95", up.p95),
        ("down-p50", down.p50),
        ("down-p95", down.p95),
    ]))
}

/// At most so many, and as long as they are wanted.
async fn command_round_trips(
    command: &mut Command,
    rounds: u32,
    wanted: impl Fn() -> bool,
    clock: Clock,
) -> Result<RoundTrips, Error> {
    let mut times = Vec::new();
    while (times.len() as u32) < rounds && wanted() {
        let start = clock();
        command.send.reserve(64).await?.commit(DeltaFields::new(exercise::DOCUMENT), 64)?;
        command.receive.next().await?;
        times.push(clock().saturating_sub(start));
    }
    Ok(RoundTrips::of(times))
}
