//! When what was written, roughly: for telling what is not older than so long.

use std::collections::VecDeque;
use std::time::Duration;

use crate::position::LogPosition;

/// Into how many parts the time is divided for which it is known.
const PARTS: u64 = 64;

/// Since when items were written, from some positions on; at most two more than [`PARTS`] are remembered.
#[derive(Debug, Default)]
pub(crate) struct Times {
    known: VecDeque<(u64, LogPosition)>,
}

impl Times {
    /// What is at `at` or behind was written at `wall` or later, microseconds.
    pub(crate) fn note(&mut self, wall: u64, at: LogPosition, keep: Duration) {
        let keep = micros(keep);
        if self.known.back().is_none_or(|(last, _)| last.saturating_add(keep / PARTS) <= wall) {
            self.known.push_back((wall, at));
            self.forget(wall, keep);
        }
    }

    /// What is in front of it was written longer than `keep` before `wall`.
    pub(crate) fn since(&mut self, wall: u64, keep: Duration) -> LogPosition {
        let keep = micros(keep);
        self.forget(wall, keep);
        self.known.front().map_or(LogPosition(0), |(_, at)| *at)
    }

    /// Forgets all but the last that is old enough, and those behind it.
    fn forget(&mut self, wall: u64, keep: u64) {
        while self.known.get(1).is_some_and(|(next, _)| next.saturating_add(keep) <= wall) {
            self.known.pop_front();
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_young_is_known_to_a_part_of_the_time_and_bounded() {
        const KEEP: Duration = Duration::from_secs(640);
        let mut times = Times::default();
        assert_eq!(times.since(5, KEEP), LogPosition(0));
        // An item a second.
        for second in 1..10_000 {
            times.note(second * 1_000_000, LogPosition(second), KEEP);
            let since = times.since(second * 1_000_000, KEEP).0;
            // Nothing that is young is taken for old; what is old by less than a part, or two, may be taken for young.
            let exact = second.saturating_sub(639);
            assert!(since <= exact.max(1) && since + 20 > exact, "{second}: {since}");
            assert!(times.known.len() <= PARTS as usize + 2);
        }
        // A clock that went on while nothing was written.
        assert!(times.since(20_000 * 1_000_000, KEEP).0 > 9_980);
        assert_eq!(times.known.len(), 1);
    }
}
