use std::fmt;

use anyhow::ensure;

use crate::Sample;

/// What the samples say. The first fifth of them does not count: allocators, pools and caches fill
/// then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Summary {
    /// Where the line begins that fits the memory best: seconds, bytes.
    pub(crate) start: (f64, f64),
    /// Where it ends.
    pub(crate) end: (f64, f64),
    /// Median round trip of the first half, microseconds.
    round_trip_before: f64,
    /// Of the second half.
    round_trip_after: f64,
}

/// By how much memory may grow on the way along the line: this share of what it was…
const MAX_GROWTH: f64 = 0.1;

/// …or so many bytes, if that is more.
const MAX_GROWTH_BYTES: f64 = 8e6;

impl Summary {
    pub(crate) fn of(samples: &[Sample]) -> Self {
        let counted = &samples[samples.len() / 5..];
        let (first, last) = (counted[0].at, counted[counted.len() - 1].at);
        let (slope, level) = fit(counted);
        let (before, after) = counted.split_at(counted.len() / 2);
        Self {
            start: (first, level + slope * first),
            end: (last, level + slope * last),
            round_trip_before: median_round_trip(before),
            round_trip_after: median_round_trip(after),
        }
    }

    /// Bytes an hour.
    fn slope(&self) -> f64 {
        (self.end.1 - self.start.1) / (self.end.0 - self.start.0) * 3_600.0
    }

    /// Memory may not grow. How latency drifts is only told: other programs move it too.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let grown = self.end.1 - self.start.1;
        let allowed = (self.start.1 * MAX_GROWTH).max(MAX_GROWTH_BYTES);
        ensure!(
            grown <= allowed,
            "memory grew by {:.1} MB; {:.1} MB are allowed",
            grown / 1e6,
            allowed / 1e6
        );
        Ok(())
    }
}

/// Least squares of memory over time: slope and level at 0.
fn fit(samples: &[Sample]) -> (f64, f64) {
    let count = samples.len() as f64;
    let mean = |of: fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (at, resident) = (mean(|it| it.at), mean(|it| it.resident));
    let sum = |of: &dyn Fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>();
    let together = sum(&|it| (it.at - at) * (it.resident - resident));
    let spread = sum(&|it| (it.at - at).powi(2));
    let slope = if spread > 0.0 { together / spread } else { 0.0 };
    (slope, resident - slope * at)
}

fn median_round_trip(samples: &[Sample]) -> f64 {
    let mut times: Vec<f64> = samples.iter().filter_map(|it| it.round_trip).collect();
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { start, end, round_trip_before, round_trip_after } = self;
        write!(
            f,
            "memory {:.1} MB → {:.1} MB ({:+.1} MB an hour); round trip p50 {round_trip_before:.0} \
             µs in the first half, {round_trip_after:.0} µs in the second ({:+.0} %)",
            start.1 / 1e6,
            end.1 / 1e6,
            self.slope() / 1e6,
            (round_trip_after / round_trip_before - 1.0) * 100.0
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(resident: impl Fn(f64) -> f64) -> Vec<Sample> {
        let at = (0..1_000).map(f64::from);
        at.map(|at| Sample { at, resident: resident(at), round_trip: Some(50.0) }).collect()
    }

    #[test]
    fn a_leak_is_seen() {
        let summary = Summary::of(&samples(|at| 5e7 + 2e4 * at));
        assert!((summary.slope() - 2e4 * 3_600.0).abs() < 1.0, "{summary}");
        assert!(summary.check().is_err());
    }

    #[test]
    fn a_warm_up_and_noise_are_not_leaks() {
        let noise = |at: f64| (at * 12.9898).sin() * 3e6;
        let summary = Summary::of(&samples(|at| 5e7 * (at / 100.0).min(1.0) + noise(at)));
        summary.check().unwrap();
    }
}
