//! How long to wait before the next attempt.

use std::time::Duration;

/// Waits between attempts to connect: each twice as long as the one before, up to a limit, and
/// shortened at random by up to half, so that many peers of a server that restarts do not come back
/// all at once ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first wait. Default: 250 ms.
    pub first: Duration,
    /// The longest. Default: 30 s.
    pub longest: Duration,
    /// Attempts that may fail in a row before the connection is given up; `None`: as many as it
    /// takes, the default.
    pub max_attempts: Option<u32>,
    /// How long a link has to be up for the waits to begin anew: after one that ends sooner they
    /// go on where they were, so that a server which accepts and then closes is not asked ever
    /// again at once. Default: 10 s.
    pub settled: Duration,
    /// The longest wait that a server can ask for, by `Retry-After`. Default: 5 min.
    pub longest_asked: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(250),
            longest: Duration::from_secs(30),
            max_attempts: None,
            settled: Duration::from_secs(10),
            longest_asked: Duration::from_secs(300),
        }
    }
}

impl Backoff {
    /// How long to wait after so many attempts failed in a row, at least one; `None` when that is
    /// enough. `random` is any number.
    #[must_use]
    pub fn wait(&self, failed: u32, random: u64) -> Option<Duration> {
        let is_enough = self.max_attempts.is_some_and(|max| failed >= max);
        (!is_enough).then(|| self.wait_of(failed, random))
    }

    fn wait_of(&self, step: u32, random: u64) -> Duration {
        let doublings = step.saturating_sub(1).min(31);
        let whole = self.first.saturating_mul(1 << doublings).min(self.longest);
        whole - part_of(whole / 2, random)
    }
}

/// A part of a time at random.
pub(crate) fn part_of(time: Duration, random: u64) -> Duration {
    time / 1_024 * (random % 1_024) as u32
}

/// Where a connection stands with its waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attempts {
    /// Those that failed in a row.
    failed: u32,
    /// Those that failed, and links that did not last, in a row.
    step: u32,
}

impl Attempts {
    /// An attempt failed. How long to wait, and at least as long as the server asks; `None` when
    /// it is enough.
    pub(crate) fn failed(
        &mut self,
        backoff: &Backoff,
        asked: Option<Duration>,
        random: u64,
    ) -> Option<Duration> {
        self.failed = self.failed.saturating_add(1);
        self.step = self.step.saturating_add(1);
        if backoff.max_attempts.is_some_and(|max| self.failed >= max) {
            return None;
        }
        let wait = backoff.wait_of(self.step, random);
        let Some(asked) = asked else { return Some(wait) };
        // All that were refused together would come back together: later at random, never sooner.
        let asked = asked.min(backoff.longest_asked);
        Some(wait.max(asked.saturating_add(part_of(wait, random))))
    }

    /// An attempt succeeded.
    pub(crate) fn succeeded(&mut self) {
        self.failed = 0;
    }

    /// A link that was up for so long has ended. How long to wait.
    pub(crate) fn ended(&mut self, backoff: &Backoff, was_up: Duration, random: u64) -> Duration {
        self.step = if was_up >= backoff.settled { 1 } else { self.step.saturating_add(1) };
        backoff.wait_of(self.step, random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit() {
        let backoff = Backoff { max_attempts: Some(40), ..Backoff::default() };
        let waits: Vec<_> = (1..10).filter_map(|failed| backoff.wait(failed, 0)).collect();
        let expected = [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000];
        assert_eq!(waits, expected.map(Duration::from_millis));
        assert_eq!(backoff.wait(39, 0), Some(backoff.longest));
        assert_eq!(backoff.wait(40, 0), None);
    }

    #[test]
    fn jitter_takes_up_to_half() {
        let backoff = Backoff::default();
        for failed in 1..50 {
            let whole = backoff.wait(failed, 0).unwrap();
            for random in 0..2_048 {
                let wait = backoff.wait(failed, random).unwrap();
                assert!(wait <= whole && wait >= whole / 2);
            }
        }
    }

    #[test]
    fn links_that_do_not_last_are_failures_but_for_giving_up() {
        let backoff = Backoff { max_attempts: Some(3), ..Backoff::default() };
        let mut attempts = Attempts::default();
        let short = backoff.settled - Duration::from_nanos(1);
        let waits: Vec<_> = (0..6)
            .map(|_| {
                attempts.succeeded();
                attempts.ended(&backoff, short, 0)
            })
            .collect();
        assert_eq!(waits, [250, 500, 1_000, 2_000, 4_000, 8_000].map(Duration::from_millis));
        // The waits go on where they were; attempts that fail are counted from here.
        assert_eq!(attempts.failed(&backoff, None, 0), Some(Duration::from_secs(16)));
        assert_eq!(attempts.failed(&backoff, None, 0), Some(Duration::from_secs(30)));
        let mut other = attempts;
        assert_eq!(attempts.failed(&backoff, None, 0), None);
        // A link that lasted begins anew.
        other.succeeded();
        assert_eq!(other.ended(&backoff, backoff.settled, 0), backoff.first);
        assert_eq!(other.failed(&backoff, None, 0), Some(2 * backoff.first));
    }

    #[test]
    fn a_server_is_not_asked_before_it_says_nor_waited_for_for_ever() {
        let backoff = Backoff::default();
        for random in 0..2_048 {
            let wait = |asked| Attempts::default().failed(&backoff, Some(asked), random).unwrap();
            let asked = Duration::from_secs(7);
            assert!(wait(asked) >= asked && wait(asked) <= asked + backoff.first);
            assert!(wait(Duration::ZERO) >= backoff.first / 2);
            let longest = wait(Duration::MAX);
            assert!(longest >= backoff.longest_asked);
            assert!(longest <= backoff.longest_asked + backoff.first);
        }
    }
}
