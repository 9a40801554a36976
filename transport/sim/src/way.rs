//! One direction between two hosts: what [`Path`] says, done.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::time::Duration;

use super::host::Host;
use super::path::{Loss, Path, PathStats};
use super::random::Random;
use super::trace::{Fate, Trace};

/// How long a datagram that is to be overtaken waits for those that overtake it.
const HOLD: Duration = Duration::from_millis(50);

/// Milliseconds after which a path's bursts begin anew.
const FORGOTTEN: u128 = 10_000;

/// A datagram on its way.
#[derive(Clone, Debug)]
pub(super) struct Parcel {
    /// Whom it is for, and which way it goes.
    pub(super) to: Target,
    pub(super) way: usize,
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    pub(super) bytes: Vec<u8>,
    pub(super) damaged: bool,
}

/// Whom a datagram is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    /// An end of a link, by number.
    End(usize),
    /// A socket of a host.
    Socket(Host),
}

/// Everything that is on its way, by time of arrival.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    heap: BinaryHeap<Arrival>,
    count: u64,
}

#[derive(Debug)]
struct Arrival {
    at: Duration,
    number: u64,
    parcel: Parcel,
}

impl Ord for Arrival {
    /// The earliest is the greatest; of those at one time the one that was sent first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl PartialOrd for Arrival {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Arrival {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Arrival {}

impl Arrivals {
    fn push(&mut self, at: Duration, parcel: Parcel) {
        let number = self.count;
        self.count += 1;
        self.heap.push(Arrival { at, number, parcel });
    }

    pub(super) fn next(&self) -> Option<Duration> {
        self.heap.peek().map(|arrival| arrival.at)
    }

    pub(super) fn pop(&mut self, now: Duration) -> Option<Parcel> {
        self.next().filter(|at| *at <= now)?;
        self.heap.pop().map(|arrival| arrival.parcel)
    }
}

/// The state of one direction.
#[derive(Debug)]
pub(super) struct Direction {
    pub(super) path: Path,
    /// Whether somebody said what it is like, so that the default does not count.
    pub(super) said: bool,
    pub(super) stats: PathStats,
    random: Random,
    /// When everything before is through the bottleneck.
    free_at: Duration,
    /// Arrival of the one before: the order stays.
    last_arrival: Duration,
    /// Whether a burst of losses goes on, as of this millisecond.
    bad: bool,
    bad_as_of: u128,
    held: Vec<Held>,
}

/// A datagram that is to be overtaken.
#[derive(Debug)]
struct Held {
    parcel: Parcel,
    /// By so many more.
    left: u64,
    until: Duration,
}

impl Direction {
    pub(super) fn new(path: Path, random: Random) -> Self {
        Self {
            path,
            said: false,
            stats: PathStats::default(),
            random,
            free_at: Duration::ZERO,
            last_arrival: Duration::ZERO,
            bad: false,
            bad_as_of: 0,
            held: Vec::new(),
        }
    }

    /// Takes a datagram, and decides what becomes of it.
    pub(super) fn send(
        &mut self,
        mut parcel: Parcel,
        whole: bool,
        now: Duration,
        arrivals: &mut Arrivals,
        trace: &mut Trace,
    ) {
        let len = parcel.bytes.len();
        self.stats.sent += 1;
        self.stats.sent_bytes += len as u64;
        let fate = self.decide(len, whole, now);
        trace.parcel(now, parcel.way, len, fate);
        match fate {
            Fate::Arrives => {}
            Fate::Cut => return self.stats.cut += 1,
            Fate::TooLong => return self.stats.too_long += 1,
            Fate::Overflowed => return self.stats.overflowed += 1,
            Fate::Lost => return self.stats.lost += 1,
        }
        if self.random.chance(self.path.corrupt) {
            self.stats.corrupted += 1;
            parcel.damaged = true;
            for _ in 0..=self.random.below(3) {
                let bit = self.random.below(8 * len as u64);
                parcel.bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
            }
        }
        let copy = self.random.chance(self.path.duplicate).then(|| parcel.clone());
        if self.random.chance(self.path.reorder) && self.path.reorder_distance > 0 {
            self.stats.reordered += 1;
            let left = 1 + self.random.below(self.path.reorder_distance.into());
            let until = self.arrival(now) + HOLD;
            self.held.push(Held { parcel, left, until });
        } else {
            self.pass(parcel, now, arrivals);
        }
        if let Some(copy) = copy {
            self.stats.duplicated += 1;
            self.pass(copy, now, arrivals);
        }
    }

    /// Whether it arrives. Takes its place in the queue, whatever becomes of it behind that.
    fn decide(&mut self, len: usize, whole: bool, now: Duration) -> Fate {
        if self.path.cut {
            return Fate::Cut;
        }
        if len > self.path.mtu && !whole {
            return Fate::TooLong;
        }
        if let Some(rate) = self.path.rate {
            let rate = rate.max(1);
            let waiting = self.free_at.saturating_sub(now).as_nanos() * u128::from(rate);
            let waiting = (waiting / 1_000_000_000) as usize;
            if waiting > 0 && waiting + len > self.path.queue {
                return Fate::Overflowed;
            }
            self.stats.longest_queue = self.stats.longest_queue.max(waiting + len);
            let takes = Duration::from_nanos(len as u64 * 1_000_000_000 / rate);
            self.free_at = self.free_at.max(now) + takes;
        }
        let lost = match self.path.loss {
            Loss::None => false,
            Loss::Independent(probability) => self.random.chance(probability),
            Loss::Bursts { good, bad } => self.is_bad(good, bad, now),
        };
        if lost { Fate::Lost } else { Fate::Arrives }
    }

    /// Whether a burst goes on now: in each millisecond it may begin or end.
    fn is_bad(&mut self, good: Duration, bad: Duration, now: Duration) -> bool {
        let passed = now.as_millis() - self.bad_as_of;
        self.bad_as_of = now.as_millis();
        // What was so long ago says nothing any more.
        for _ in 0..passed.min(FORGOTTEN) {
            let lasts = if self.bad { bad } else { good }.as_millis().max(1);
            self.bad ^= self.random.chance(1.0 / lasts as f64);
        }
        self.bad
    }

    /// When a datagram arrives that has just gone through the bottleneck.
    fn arrival(&mut self, now: Duration) -> Duration {
        let jitter = self.path.jitter.as_nanos().min(u128::from(u64::MAX - 1)) as u64;
        let jitter = Duration::from_nanos(self.random.below(jitter + 1));
        self.free_at.max(now) + self.path.latency + jitter
    }

    fn pass(&mut self, parcel: Parcel, now: Duration, arrivals: &mut Arrivals) {
        self.last_arrival = self.arrival(now).max(self.last_arrival);
        arrivals.push(self.last_arrival, parcel);
        self.held.iter_mut().for_each(|held| held.left -= 1);
        self.release(|held| held.left == 0, arrivals);
    }

    /// Lets go on what is due, and what is due because of that: it overtakes those that were sent
    /// before.
    fn release(&mut self, due: impl Fn(&Held) -> bool, arrivals: &mut Arrivals) {
        while let Some(place) = self.held.iter().position(|held| due(held) || held.left == 0) {
            let released = self.held.remove(place);
            arrivals.push(self.last_arrival, released.parcel);
            let before = self.held.iter_mut().take(place);
            before.for_each(|held| held.left = held.left.saturating_sub(1));
        }
    }

    /// When something that was held back goes on although it was not overtaken by enough.
    pub(super) fn next_release(&self) -> Option<Duration> {
        self.held.iter().map(|held| held.until).min()
    }

    pub(super) fn release_late(&mut self, now: Duration, arrivals: &mut Arrivals) {
        if self.next_release().is_some_and(|at| at <= now) {
            self.last_arrival = self.last_arrival.max(now);
            self.release(|held| held.until <= now, arrivals);
        }
    }
}
