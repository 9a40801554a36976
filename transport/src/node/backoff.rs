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
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(250),
            longest: Duration::from_secs(30),
            max_attempts: None,
        }
    }
}

impl Backoff {
    /// How long to wait after so many attempts failed in a row, at least one; `None` when that is
    /// enough. `random` is any number.
    #[must_use]
    pub fn wait(&self, failed: u32, random: u64) -> Option<Duration> {
        if self.max_attempts.is_some_and(|max| failed >= max) {
            return None;
        }
        let doublings = failed.saturating_sub(1).min(31);
        let whole = self.first.saturating_mul(1 << doublings).min(self.longest);
        let jitter = (random % 1_024) as u32;
        Some(whole - whole / 2 * jitter / 1_024)
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
}
