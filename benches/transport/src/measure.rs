//! What is measured of this process, of a flow of messages, and of round trips.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hdrhistogram::Histogram;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

/// CPU time of this process so far, all its threads together.
pub(crate) fn cpu_time() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap_or_default()
}

/// Bytes of this process that are in memory.
pub(crate) fn resident_bytes() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).context("no VmRSS")?;
    Ok(kib.trim().parse::<u64>()? << 10)
}

/// Keeps this thread, and those that it will start, to one core.
pub(crate) fn stay_on_one_core() -> anyhow::Result<()> {
    let allowed = sched_getaffinity(None)?;
    let last = (0..CpuSet::MAX_CPU).rfind(|core| allowed.is_set(*core)).context("no core")?;
    let mut one = CpuSet::new();
    one.set(last);
    sched_setaffinity(None, &one).context("a thread cannot be kept to one core")
}

/// Makes sure that this process may open so many files.
pub(crate) fn allow_open_files(count: u64) -> anyhow::Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= count) {
        return Ok(());
    }
    ensure!(
        maximum.is_none_or(|maximum| maximum >= count),
        "{count} open files are needed and {} allowed: raise `ulimit -Hn`",
        maximum.unwrap_or_default()
    );
    setrlimit(Resource::Nofile, Rlimit { current: Some(count), maximum })
        .with_context(|| format!("{count} open files are not allowed: raise `ulimit -n`"))
}

/// How a flow of messages is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OneWay {
    /// Bytes of a message.
    pub(crate) size: usize,
    pub(crate) warm_up: Duration,
    /// The flow is measured for so long, or until so much has come.
    pub(crate) time: Duration,
    pub(crate) max_bytes: u64,
}

/// What was measured of a flow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    size: usize,
    pub(crate) bytes: u64,
    elapsed: Duration,
    cpu: Duration,
}

impl Flow {
    pub(crate) fn messages_per_second(&self) -> f64 {
        self.bytes as f64 / self.size as f64 / self.elapsed.as_secs_f64()
    }

    pub(crate) fn megabytes_per_second(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.elapsed.as_secs_f64()
    }

    pub(crate) fn cpu_seconds_per_gigabyte(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e9 / self.bytes.max(1) as f64
    }
}

/// Counts what comes.
#[derive(Debug)]
pub(crate) struct Meter {
    plan: OneWay,
    /// When the stage began: the warm-up, then what counts.
    since: Instant,
    cpu: Duration,
    warm: bool,
    bytes: u64,
    /// What came since the clock was last looked at; short messages count as longer.
    unchecked: usize,
    /// What has come of a message that comes in pieces.
    pieces: Vec<u8>,
}

/// What messages are made of.
pub(crate) const FILL: u8 = 7;

/// How much may come before the clock is looked at.
const UNCHECKED: usize = 32 << 10;

impl Meter {
    pub(crate) fn start(plan: OneWay) -> Self {
        Self {
            plan,
            since: Instant::now(),
            cpu: Duration::ZERO,
            warm: false,
            bytes: 0,
            unchecked: 0,
            pieces: Vec::new(),
        }
    }

    /// Counts a message, or puts it together from its pieces, and sees that it is what was sent, as
    /// far as its length and a few of its bytes tell; gives the result when it was enough.
    #[inline]
    pub(crate) fn message(&mut self, piece: &[u8]) -> anyhow::Result<Option<Flow>> {
        let size = self.plan.size;
        if piece.len() == size {
            check(piece)?;
            return Ok(self.count(size));
        }
        self.pieces.extend_from_slice(piece);
        let len = self.pieces.len();
        ensure!(!piece.is_empty() && len <= size, "{len} bytes came of a message of {size}");
        if len < size {
            return Ok(None);
        }
        check(&self.pieces)?;
        self.pieces.clear();
        Ok(self.count(size))
    }

    /// Counts so many bytes; gives the result when it was enough.
    #[inline]
    pub(crate) fn count(&mut self, bytes: usize) -> Option<Flow> {
        self.bytes += bytes as u64;
        self.unchecked += bytes.max(1_024);
        if self.unchecked < UNCHECKED { None } else { self.check() }
    }

    fn check(&mut self) -> Option<Flow> {
        self.unchecked = 0;
        let elapsed = self.since.elapsed();
        let OneWay { size, warm_up, time, max_bytes } = self.plan;
        if self.warm && (elapsed >= time || self.bytes >= max_bytes) {
            return Some(Flow { size, bytes: self.bytes, elapsed, cpu: cpu_time() - self.cpu });
        }
        if !self.warm && elapsed >= warm_up {
            (self.warm, self.bytes) = (true, 0);
            (self.since, self.cpu) = (Instant::now(), cpu_time());
        }
        None
    }
}

/// Looks at its beginning, its middle and its end.
fn check(message: &[u8]) -> anyhow::Result<()> {
    let places = [0, message.len() / 2, message.len().saturating_sub(1)];
    let right = places.iter().all(|place| message.get(*place) == Some(&FILL));
    ensure!(right, "a message came that is not what was sent");
    Ok(())
}

/// Bytes of a message that goes there and back.
pub(crate) const PING: usize = 64;

/// How round trips are measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PingPong {
    pub(crate) warm_up: u64,
    /// So many are measured, or as many as this time allows.
    pub(crate) count: u64,
    pub(crate) time: Duration,
    /// Whether all threads share a core.
    pub(crate) one_core: bool,
}

/// Counts round trips, one after the other.
#[derive(Debug)]
pub(crate) struct RoundTrips {
    plan: PingPong,
    done: u64,
    since: Instant,
    sent: Instant,
    histogram: Histogram<u64>,
}

impl RoundTrips {
    /// The first one starts now.
    pub(crate) fn start(plan: PingPong) -> anyhow::Result<Self> {
        let now = Instant::now();
        Ok(Self { plan, done: 0, since: now, sent: now, histogram: histogram()? })
    }

    /// One came back, and the next starts now; gives the result when it was enough.
    pub(crate) fn came_back(&mut self, message: &[u8]) -> anyhow::Result<Option<Histogram<u64>>> {
        let now = Instant::now();
        let len = message.len();
        ensure!(len == PING, "{len} bytes came back of a message of {PING}");
        check(message)?;
        if self.done >= self.plan.warm_up {
            self.histogram.saturating_record(nanoseconds(now - self.sent));
        }
        self.done += 1;
        let enough = self.histogram.len() >= self.plan.count
            || (now - self.since >= self.plan.time && !self.histogram.is_empty());
        self.sent = now;
        Ok(enough.then(|| self.histogram.clone()))
    }
}

/// For nanoseconds of up to a minute.
pub(crate) fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000_000, 3)?)
}

pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

pub(crate) fn microseconds(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1e3
}
