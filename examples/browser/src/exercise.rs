//! What a client does with the [service](crate::service): the same code in a browser's worker and
//! in a native process.

use std::cell::Cell;
use std::time::Duration;

use deltawire::prelude::*;
use futures_util::try_join;
use serde::{Deserialize, Serialize};

use crate::service::{Error, Request, limits};

/// The document that all of this is about.
pub(crate) const DOCUMENT: DocId = DocId([7; 16]);

/// A clock: time since any fixed start.
pub type Clock = fn() -> Duration;

/// Whether something works.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Check {
    /// What.
    pub name: String,
    /// Whether it does.
    pub passed: bool,
    /// How, or why not.
    pub detail: String,
}

impl Check {
    /// From how it went.
    pub fn new(name: &str, result: Result<String, Error>) -> Self {
        let passed = result.is_ok();
        let detail = result.unwrap_or_else(|error| error.to_string());
        Self { name: name.to_owned(), passed, detail }
    }
}

/// Round-trip times, microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct RoundTrips {
    /// How many were measured.
    pub rounds: u32,
    /// Half were no longer.
    pub p50: f64,
    /// One in twenty was longer.
    pub p95: f64,
    /// One in a hundred was longer.
    pub p99: f64,
}

impl RoundTrips {
    pub(crate) fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let quantile = |share: f64| {
            let index = (times.len() as f64 * share) as usize;
            let time = times.get(index.min(times.len().saturating_sub(1)));
            time.map_or(0.0, |time| time.as_secs_f64() * 1e6)
        };
        let rounds = u32::try_from(times.len()).unwrap_or(u32::MAX);
        Self { rounds, p50: quantile(0.5), p95: quantile(0.95), p99: quantile(0.99) }
    }
}

/// How fast messages of one size go, in 10⁶ bytes of payload a second.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Rate {
    /// Payload of a message, bytes.
    pub size: u32,
    /// To the server.
    pub up: f64,
    /// From the server.
    pub down: f64,
}

/// A text goes there and comes back in capitals; read in place on both sides.
///
/// # Errors
///
/// When the link is gone, or another text comes.
pub async fn shout(peer: &mut Peer, text: &str) -> Result<String, Error> {
    let mut grant = peer.send.reserve(text.len()).await?;
    grant.payload_mut().copy_from_slice(text.as_bytes());
    let delta_type = Request::Shout.delta_type();
    grant.commit(DeltaFields { delta_type, ..DeltaFields::new(DOCUMENT) }, text.len())?;
    let frame = peer.receive.next().await?;
    let answer = std::str::from_utf8(frame.delta()?.payload())?;
    if answer != text.to_ascii_uppercase() {
        return Err(format!("{text:?} came back as {answer:?}").into());
    }
    Ok(answer.to_owned())
}

/// Messages of every size go there and back.
///
/// # Errors
///
/// When the link is gone, or one comes back changed.
pub async fn sizes(peer: &mut Peer, sizes: &[usize]) -> Result<String, Error> {
    for (&size, seed) in sizes.iter().zip(0_u8..) {
        let mut grant = peer.send.reserve(size).await?;
        grant.payload_mut().iter_mut().zip(pattern(seed)).for_each(|(byte, value)| *byte = value);
        grant.commit(DeltaFields::new(DOCUMENT), size)?;
        let frame = peer.receive.next().await?;
        let delta = frame.delta()?;
        delta.verify_checksum()?;
        let payload = delta.payload();
        if payload.len() != size || payload.iter().zip(pattern(seed)).any(|(a, b)| *a != b) {
            return Err(format!("{size} bytes came back changed ({})", payload.len()).into());
        }
    }
    Ok(format!("{} sizes, all bytes compared", sizes.len()))
}

/// Many messages on both channels at once: each channel's come back whole and in order.
///
/// # Errors
///
/// When the link is gone, or one is missing, out of order or changed.
pub async fn mixed(peer: &mut Peer, count: u32) -> Result<String, Error> {
    let Peer { command, send, receive } = peer;
    let len = |number: u32| 1 + (number as usize * 7_919) % 3_000;
    let sending = async {
        for number in 0..count {
            let sender = if number % 3 == 0 { &mut command.send } else { &mut *send };
            let len = len(number);
            let mut grant = sender.reserve(len).await?;
            let pattern = pattern(number as u8);
            grant.payload_mut().iter_mut().zip(pattern).for_each(|(byte, value)| *byte = value);
            grant.commit(DeltaFields { sequence: number, ..DeltaFields::new(DOCUMENT) }, len)?;
        }
        Ok::<_, Error>(())
    };
    let commands = expect(&mut command.receive, (0..count).filter(|number| number % 3 == 0), len);
    let deltas = expect(receive, (0..count).filter(|number| number % 3 != 0), len);
    let ((), commands, deltas) = try_join!(sending, commands, deltas)?;
    Ok(format!("{commands} commands and {deltas} deltas came back in order, unchanged"))
}

async fn expect(
    receive: &mut Receiver,
    numbers: impl Iterator<Item = u32>,
    len: impl Fn(u32) -> usize,
) -> Result<u32, Error> {
    let mut count = 0;
    for number in numbers {
        let frame = receive.next().await?;
        let delta = frame.delta()?;
        delta.verify_checksum()?;
        let same = delta.payload().iter().zip(pattern(number as u8)).all(|(a, b)| *a == b);
        if delta.sequence() != number || delta.payload().len() != len(number) || !same {
            let (found, len) = (delta.sequence(), delta.payload().len());
            return Err(format!("instead of message {number}, {found} came: {len} bytes").into());
        }
        count += 1;
    }
    Ok(count)
}

/// Bytes that are not the same at any two places nearby.
fn pattern(seed: u8) -> impl Iterator<Item = u8> {
    (0_u32..).map(move |index| (index.wrapping_mul(2_654_435_761) >> 24) as u8 ^ seed)
}

/// Round trips, one after the other.
///
/// # Errors
///
/// When the link is gone.
pub async fn round_trips(
    peer: &mut Peer,
    size: usize,
    rounds: u32,
    clock: Clock,
) -> Result<RoundTrips, Error> {
    let mut times = Vec::new();
    let warm_up = rounds / 10;
    for round in 0..warm_up + rounds {
        let start = clock();
        peer.send.reserve(size).await?.commit(DeltaFields::new(DOCUMENT), size)?;
        peer.receive.next().await?;
        if round >= warm_up {
            times.push(clock().saturating_sub(start));
        }
    }
    Ok(RoundTrips::of(times))
}

/// Round trips of commands while deltas are sent as fast as they go.
///
/// # Errors
///
/// When the link is gone.
pub async fn commands_beside_bulk(
    peer: &mut Peer,
    rounds: u32,
    clock: Clock,
) -> Result<RoundTrips, Error> {
    let Peer { command, send, receive } = peer;
    let done = Cell::new(false);
    let size = 64 << 10;
    let bulk = async {
        let fields = DeltaFields { checksum: Checksum::Absent, ..DeltaFields::new(DOCUMENT) };
        let delta_type = Request::Count.delta_type();
        while !done.get() {
            let fields = DeltaFields { delta_type, sequence: 1, ..fields };
            send.reserve(size).await?.commit(fields, size)?;
        }
        send.reserve(1).await?.commit(DeltaFields { delta_type, ..fields }, 1)?;
        receive.next().await?;
        Ok::<_, Error>(())
    };
    let commands = async {
        let mut times = Vec::new();
        for _ in 0..rounds {
            let start = clock();
            command.send.reserve(64).await?.commit(DeltaFields::new(DOCUMENT), 64)?;
            command.receive.next().await?;
            times.push(clock().saturating_sub(start));
        }
        done.set(true);
        Ok(times)
    };
    let ((), times) = try_join!(bulk, commands)?;
    Ok(RoundTrips::of(times))
}

/// Asks for many deltas and reads none of them until `stall` is over: what is `held` then must be
/// within the window. Then reads them all.
///
/// # Errors
///
/// When the link is gone, more is held, or something is missing.
pub async fn stalled_reader(
    peer: &mut Peer,
    stall: impl Future<Output = ()>,
    held: impl Fn() -> u64,
) -> Result<String, Error> {
    let (size, count) = (256_u32 << 10, 256_u32);
    let mut grant = peer.send.reserve(8).await?;
    grant.payload_as_mut::<u32>()?.copy_from_slice(&[size, count]);
    let delta_type = Request::Generate.delta_type();
    grant.commit(DeltaFields { delta_type, ..DeltaFields::new(DOCUMENT) }, 8)?;
    stall.await;
    let (held, window) = (held(), limits().data_window);
    if held > window || held < window / 2 {
        return Err(format!("{held} bytes wait, the window is {window}").into());
    }
    for left in (0..count).rev() {
        let frame = peer.receive.next().await?;
        let delta = frame.delta()?;
        if delta.sequence() != left || delta.payload().len() != size as usize {
            return Err(format!("{left} more should follow, not {}", delta.sequence()).into());
        }
    }
    let asked = u64::from(size) * u64::from(count);
    Ok(format!("{held} of {asked} bytes waited, within the window of {window}; then all came"))
}

/// Sends about so many bytes, as messages of this size, then has as many sent. `progress` is told
/// how much of it is done, from 0 to 1. Checksums are off: SCTP has its own.
///
/// # Errors
///
/// When the link is gone, or another number of bytes arrived.
pub async fn throughput(
    peer: &mut Peer,
    size: u32,
    total: u64,
    clock: Clock,
    mut progress: impl FnMut(f64),
) -> Result<Rate, Error> {
    let count = u32::try_from(total / u64::from(size)).unwrap_or(u32::MAX).max(1);
    let bytes = u64::from(count) * u64::from(size);
    let start = clock();
    let fields = DeltaFields { checksum: Checksum::Absent, ..DeltaFields::new(DOCUMENT) };
    for left in (0..count).rev() {
        let grant = peer.send.reserve(size as usize).await?;
        let delta_type = Request::Count.delta_type();
        grant.commit(DeltaFields { delta_type, sequence: left, ..fields }, size as usize)?;
        if left % 64 == 0 {
            progress(0.5 * f64::from(count - left) / f64::from(count));
        }
    }
    let counted = peer.receive.next().await?.delta()?.payload_as::<u64>()?.to_vec();
    if counted != [u64::from(count), bytes] {
        return Err(format!("{count} messages of {size} bytes were sent, {counted:?} came").into());
    }
    let turned = clock();
    let mut grant = peer.send.reserve(8).await?;
    grant.payload_as_mut::<u32>()?.copy_from_slice(&[size, count]);
    let delta_type = Request::Generate.delta_type();
    grant.commit(DeltaFields { delta_type, ..fields }, 8)?;
    for left in (0..count).rev() {
        let frame = peer.receive.next().await?;
        let delta = frame.delta()?;
        let first = delta.payload().first();
        if delta.sequence() != left
            || delta.payload().len() != size as usize
            || first != Some(&(left as u8))
        {
            return Err(format!("{left} more should follow, not {}", delta.sequence()).into());
        }
        if left % 64 == 0 {
            progress(1.0 - 0.5 * f64::from(left) / f64::from(count));
        }
    }
    let rate = |time: Duration| bytes as f64 / time.as_secs_f64().max(1e-9) / 1e6;
    let ended = clock();
    Ok(Rate { size, up: rate(turned - start), down: rate(ended - turned) })
}
