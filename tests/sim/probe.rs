//! What the checks send, and what they measure.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use deltawire::sim::{Clock, Path, Simulation};
use deltawire_channels::{Receiver, Sender};
use deltawire_framing::{DeltaFields, DocId};

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// 100 Mbit/s.
pub(crate) const RATE: u64 = 12_500_000;

/// The path that most checks use, at this round trip.
pub(crate) fn path(round_trip: Duration) -> Path {
    Path { latency: round_trip / 2, rate: Some(RATE), ..Path::default() }
}

/// How long messages took, from when they were committed until they were read.
#[derive(Clone, Default)]
pub(crate) struct Latencies(Rc<RefCell<Vec<Duration>>>, Rc<Cell<Duration>>);

impl Latencies {
    pub(crate) fn clear(&self) {
        self.0.borrow_mut().clear();
    }

    /// When what was read last was committed.
    pub(crate) fn latest(&self) -> Duration {
        self.1.get()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.borrow().len()
    }

    /// The shortest time that this share of the messages did not exceed.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let mut all = self.0.borrow().clone();
        all.sort();
        let index = (share * all.len() as f64).ceil() as usize;
        all.get(index.max(1) - 1).copied().unwrap_or(Duration::MAX)
    }
}

/// Sends deltas of this length for ever, as fast as they are taken.
pub(crate) async fn flood(mut sender: Sender, len: usize) {
    while let Ok(grant) = sender.reserve(len).await {
        if grant.commit(DeltaFields::new(DocId([7; 16])), len).is_err() {
            return;
        }
    }
}

/// Sends a delta of 64 bytes that says when, at this interval for ever.
pub(crate) async fn tick(mut sender: Sender, interval: Duration, clock: Clock) {
    let mut next = clock.now();
    while let Ok(mut grant) = sender.reserve(64).await {
        let now = clock.now().as_nanos() as u64;
        grant.payload_mut()[..8].copy_from_slice(&now.to_le_bytes());
        if grant.commit(DeltaFields::new(DocId([7; 16])), 64).is_err() {
            return;
        }
        next += interval;
        clock.sleep_until(next).await;
    }
}

/// Reads for ever, and notes how long what a [`tick`] sent has taken.
pub(crate) async fn time(mut receiver: Receiver, latencies: Latencies, clock: Clock) {
    while let Ok(frame) = receiver.next().await {
        let Ok(delta) = frame.delta() else { return };
        let sent = u64::from_le_bytes(delta.payload()[..8].try_into().unwrap());
        let sent = Duration::from_nanos(sent);
        latencies.0.borrow_mut().push(clock.now() - sent);
        latencies.1.set(sent);
    }
}

/// Bytes that were read.
#[derive(Clone, Default)]
pub(crate) struct Count(Rc<Cell<u64>>);

impl Count {
    pub(crate) fn take(&self) -> u64 {
        self.0.take()
    }
}

/// Reads for ever, and counts.
pub(crate) async fn count(mut receiver: Receiver, count: Count) {
    while let Ok(frame) = receiver.next().await {
        let len = frame.as_bytes().len() as u64;
        count.0.update(|sum| sum + len);
    }
}

/// Milliseconds, for tables.
pub(crate) fn ms(duration: Duration) -> String {
    format!("{:.1}", duration.as_secs_f64() * 1e3)
}

/// Keeps something as long as the simulation lives.
pub(crate) fn keep<T: 'static>(sim: &mut Simulation, kept: T) {
    sim.spawn(async move {
        std::future::pending::<()>().await;
        drop(kept);
    });
}

pub(crate) fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}
