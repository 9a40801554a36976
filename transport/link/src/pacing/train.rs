//! How fast a path is, from how close acknowledgements lie.

use std::time::Duration;

/// So many bytes tell how fast the path lets them through.
const LEAST_BYTES: u64 = 16 * 1024;
/// The least time that they take, or clocks are too coarse for them.
const LEAST_TIME: Duration = Duration::from_micros(200);

/// Acknowledgements that come one upon the other, as of a packet train (Jain and Routhier, *Packet Trains*, IEEE JSAC 4,
/// 1986): the path spreads what was sent faster than it lets through.
#[derive(Debug, Default)]
pub(super) struct Train {
    began: Duration,
    /// What was acknowledged when it began.
    from: u64,
    latest: Duration,
    /// The highest that was measured, bytes per second.
    rate: f64,
}

impl Train {
    /// The highest that was measured, bytes per second; 0 before that.
    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    /// Notes that so much is acknowledged, over a path of this delay.
    pub(super) fn measure(&mut self, acknowledged: u64, delay: Option<Duration>, now: Duration) {
        let pause = now.saturating_sub(self.latest);
        self.latest = now;
        let together = delay.is_some_and(|delay| pause <= delay / 16);
        // What comes at the same time was read at the same time: it begins with all of that.
        if !together || now == self.began {
            (self.began, self.from) = (now, acknowledged);
            return;
        }
        let bytes = acknowledged.saturating_sub(self.from);
        let time = now.saturating_sub(self.began);
        if bytes >= LEAST_BYTES && time >= LEAST_TIME {
            self.rate = self.rate.max(bytes as f64 / time.as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Duration = Duration::from_micros(1);
    const DELAY: Option<Duration> = Some(Duration::from_millis(20));

    #[test]
    fn what_comes_together_tells_the_rate_and_pauses_do_not_count() {
        let mut train = Train::default();
        // Two runs of 20 of 1,200 bytes, one each 100 µs: 12 MB/s, and 20 ms between them.
        for number in 0..40_u32 {
            let pause = Duration::from_millis(20) * (number / 20);
            let now = Duration::from_secs(1) + pause + 100 * US * number;
            train.measure(u64::from(number + 1) * 1_200, DELAY, now);
        }
        assert!((11.9e6..12.1e6).contains(&train.rate()), "{}", train.rate());
    }

    #[test]
    fn what_is_read_at_once_or_is_too_little_tells_nothing() {
        let mut train = Train::default();
        for number in 0..40 {
            train.measure(number * 1_200, DELAY, Duration::from_secs(1));
        }
        for number in 0..10 {
            let now = Duration::from_secs(2) + 100 * US * number as u32;
            train.measure(48_000 + number * 1_200, DELAY, now);
        }
        assert_eq!(train.rate(), 0.0);
        train.measure(200_000, None, Duration::from_secs(3));
        train.measure(300_000, None, Duration::from_secs(3) + 300 * US);
        assert_eq!(train.rate(), 0.0, "nothing is known of the path");
    }
}
