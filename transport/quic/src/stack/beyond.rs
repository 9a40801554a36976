//! What goes beyond the congestion window: a datagram at a time, where nothing else would move again for seconds.
//!
//! - **An acknowledgement that is owed.** It counts for nothing (RFC 9002, section 7), and quinn-proto 0.11 holds it back all the
//!   same while data waits that may not be on its way yet. Where what both sides have sent got lost, as on a path that was cut,
//!   each would wait for the other's timers, of which one is twice as long as the one before. quinn-proto lets none go alone, so
//!   some data goes with it: no more often than acknowledgements may be put off.
//! - **A question whether the peer is there**: see [`Silence`].

use std::time::{Duration, Instant};

use quinn_proto::{ConnectionStats, FrameStats};

use crate::silence::Silence;

/// How long an acknowledgement may be put off (RFC 9000, section 18.2).
const ACK_DELAY: Duration = Duration::from_millis(25);

/// Datagrams that go beyond the window before the peer acknowledges something: one that never does gets no more.
const MAX_UNANSWERED: u32 = 32;

/// How much goes beyond the window of one connection, and when.
#[derive(Debug, Default)]
pub(super) struct Beyond {
    silence: Silence,
    /// Whether something came since it was last asked what is owed for it.
    heard: bool,
    /// Acknowledgements that were sent, and other frames.
    acknowledgements: u64,
    questions: u64,
    /// Frames of the peer's that had come when one was last sent, and when that was.
    acknowledged: u64,
    acknowledged_at: Option<Instant>,
    /// When one that is owed goes.
    owes_at: Option<Instant>,
    /// Acknowledgements of the peer's.
    answers: u64,
    unanswered: u32,
}

impl Beyond {
    /// Something of the peer's came.
    pub(super) fn heard(&mut self) {
        self.heard = true;
        self.silence.heard();
    }

    /// Something was sent.
    pub(super) fn sent(&mut self, stats: &ConnectionStats, now: Instant) {
        let acknowledgements = stats.frame_tx.acks;
        if std::mem::replace(&mut self.acknowledgements, acknowledgements) != acknowledgements {
            self.acknowledged = to_acknowledge(&stats.frame_rx);
            self.acknowledged_at = Some(now);
            self.owes_at = None;
        }
        // What is not acknowledged is no question.
        let questions = to_acknowledge(&stats.frame_tx);
        if std::mem::replace(&mut self.questions, questions) != questions {
            self.silence.sent(now);
        }
    }

    /// When there is something to ask, or to acknowledge.
    pub(super) fn next_timeout(&self, round_trip: Duration) -> Option<Instant> {
        self.silence.next_timeout(round_trip).into_iter().chain(self.owes_at).min()
    }

    /// Whether the peer is to be asked now.
    pub(super) fn asks(&mut self, round_trip: Duration, now: Instant) -> bool {
        self.silence.take_due(round_trip, now)
    }

    /// Whether the peer waits for an acknowledgement that is not sent.
    pub(super) fn owes(
        &mut self,
        stats: &ConnectionStats,
        round_trip: Duration,
        now: Instant,
    ) -> bool {
        let waited = self.owes_at.is_some_and(|at| at <= now);
        if !std::mem::take(&mut self.heard) && !waited {
            return false;
        }
        let owes = to_acknowledge(&stats.frame_rx) > self.acknowledged;
        let wait = ACK_DELAY.max(round_trip / 4);
        let at = self.acknowledged_at.map_or(now, |at| at + wait);
        self.owes_at = Some(at).filter(|at| owes && *at > now);
        owes && at <= now
    }

    /// Whether a datagram may go beyond the window; notes that one does.
    pub(super) fn take(&mut self, stats: &ConnectionStats, now: Instant) -> bool {
        let answers = stats.frame_rx.acks;
        if std::mem::replace(&mut self.answers, answers) != answers {
            self.unanswered = 0;
        }
        let may = self.unanswered < MAX_UNANSWERED;
        self.unanswered += u32::from(may);
        self.acknowledged_at = Some(now);
        may
    }
}

/// Frames that whoever gets them is to acknowledge.
fn to_acknowledge(frames: &FrameStats) -> u64 {
    frames.crypto
        + frames.datagram
        + frames.immediate_ack
        + frames.max_data
        + frames.max_stream_data
        + frames.max_streams_bidi
        + frames.max_streams_uni
        + frames.new_connection_id
        + frames.ping
        + frames.reset_stream
        + frames.retire_connection_id
        + frames.stop_sending
        + frames.stream
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEAR: Duration = Duration::from_millis(20);

    fn at(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn what_is_not_acknowledged_asks_nothing() {
        let (mut beyond, mut stats) = (Beyond::default(), ConnectionStats::default());
        let start = Instant::now();
        stats.frame_tx.acks = 1;
        beyond.sent(&stats, start);
        assert_eq!(beyond.next_timeout(NEAR), None);
        stats.frame_tx.ping = 1;
        beyond.sent(&stats, start);
        assert_eq!(beyond.next_timeout(NEAR), Some(at(start, 400)));
        beyond.heard();
        assert_eq!(beyond.next_timeout(NEAR), None);
    }

    #[test]
    fn an_acknowledgement_is_owed_once_and_not_at_once() {
        let (mut beyond, mut stats) = (Beyond::default(), ConnectionStats::default());
        let start = Instant::now();
        stats.frame_tx.acks = 1;
        beyond.sent(&stats, start);
        stats.frame_rx.ping = 1;
        assert!(!beyond.owes(&stats, NEAR, at(start, 100)), "nobody was heard");
        beyond.heard();
        assert!(!beyond.owes(&stats, NEAR, at(start, 10)));
        assert_eq!(beyond.next_timeout(NEAR), Some(at(start, 25)));
        assert!(beyond.owes(&stats, NEAR, at(start, 25)) && beyond.take(&stats, at(start, 25)));
        stats.frame_tx.acks = 2;
        beyond.sent(&stats, at(start, 25));
        beyond.heard();
        assert!(!beyond.owes(&stats, NEAR, at(start, 1_000)), "it was acknowledged");
        assert_eq!(beyond.next_timeout(NEAR), None);
        // An acknowledgement of the peer's is none that is owed one.
        stats.frame_rx.acks = 1;
        beyond.heard();
        assert!(!beyond.owes(&stats, NEAR, at(start, 2_000)));
    }

    #[test]
    fn who_acknowledges_nothing_gets_no_more() {
        let (mut beyond, mut stats) = (Beyond::default(), ConnectionStats::default());
        let now = Instant::now();
        for _ in 0..MAX_UNANSWERED {
            assert!(beyond.take(&stats, now));
        }
        assert!(!beyond.take(&stats, now));
        stats.frame_rx.acks = 1;
        assert!(beyond.take(&stats, now));
    }
}
