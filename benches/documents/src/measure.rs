//! What is measured of processes and of times.

use std::fs;
use std::time::Duration;

use anyhow::{Context, ensure};
use hdrhistogram::Histogram;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds by the clock that all processes of this machine share.
pub(crate) fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// CPU time of a process so far, all its threads together, in steps of a clock tick (10 ms).
pub(crate) fn cpu_time(process: u32) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The program's name may have anything in it.
    let fields = stat.rsplit_once(')').context("no name in /proc/PID/stat")?.1;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || anyhow::Ok(fields.next().context("no times there")?.parse::<u64>()?);
    Ok((ticks()? + ticks()?) as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Bytes of a process that are in memory.
pub(crate) fn resident_bytes(process: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).context("no VmRSS")?;
    Ok(kib.trim().parse::<u64>()? << 10)
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

/// For nanoseconds of up to a minute.
pub(crate) fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000_000, 3)?)
}

/// Notes the time since then.
pub(crate) fn note_since(histogram: &mut Histogram<u64>, then: u64) {
    histogram.saturating_record(now().saturating_sub(then).max(1));
}

/// A quantile of nanoseconds, in ms.
pub(crate) fn milliseconds(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    if histogram.is_empty() {
        return f64::NAN;
    }
    histogram.value_at_quantile(quantile) as f64 / 1e6
}

/// Seconds since then.
pub(crate) fn seconds_since(then: u64) -> f64 {
    Duration::from_nanos(now() - then).as_secs_f64()
}
