//! When to ask a peer that is not heard whether it is there.

use std::time::{Duration, Instant};

/// How long a peer is waited for before it is asked, and again between one question and the next.
const PATIENCE: Duration = Duration::from_millis(400);

/// Whether the peer answers.
///
/// QUIC asks by its probe timeouts, of which one is twice as long as the one before (RFC 9002, section 6.2.4): after a path was cut
/// for 3 s, the next could be as far away. A packet each 400 ms is no load for a path that may be congested.
#[derive(Debug, Default)]
pub(crate) struct Silence {
    /// When something was sent, or the peer asked, since it was last heard.
    since: Option<Instant>,
}

impl Silence {
    /// Something of the peer's came.
    pub(crate) fn heard(&mut self) {
        self.since = None;
    }

    /// Something was sent.
    pub(crate) fn sent(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// When the peer is asked next, of whom a round trip takes so long.
    pub(crate) fn next_timeout(&self, round_trip: Duration) -> Option<Instant> {
        Some(self.since? + PATIENCE.max(2 * round_trip))
    }

    /// Whether the peer is to be asked now; notes that it was.
    pub(crate) fn take_due(&mut self, round_trip: Duration, now: Instant) -> bool {
        let due = self.next_timeout(round_trip).is_some_and(|at| at <= now);
        if due {
            self.since = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_answer_is_asked_again_and_who_answers_is_not() {
        let (mut silence, start) = (Silence::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        let near = Duration::from_millis(20);
        assert_eq!(silence.next_timeout(near), None);
        silence.sent(at(0));
        silence.sent(at(300));
        assert_eq!(silence.next_timeout(near), Some(at(400)));
        assert!(!silence.take_due(near, at(399)) && silence.take_due(near, at(400)));
        assert_eq!(silence.next_timeout(near), Some(at(800)));
        assert_eq!(silence.next_timeout(Duration::from_millis(300)), Some(at(1_000)));
        silence.heard();
        assert!(!silence.take_due(near, at(10_000)));
    }
}
