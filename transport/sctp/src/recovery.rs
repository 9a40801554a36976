//! When to send again what is not acknowledged, sooner than SCTP does by itself.
//!
//! SCTP waits a second for an acknowledgement, then twice as long, and so on (RFC 9260, section 6.3.1), also
//! where a round trip takes a millisecond; and a path that was cut for four seconds is found whole again after
//! seven. Here the first wait is shorter, and ends as soon as something is heard of a peer that was silent.

use std::time::Duration;

/// The shortest wait: a peer may put off an acknowledgement by 200 ms, and some timers are coarse.
const LEAST: Duration = Duration::from_millis(400);

/// The longest.
const MOST: Duration = Duration::from_secs(3);

/// So long nothing came, and what comes then is a sign that the path is back.
const SILENCE: Duration = Duration::from_millis(300);

/// One link's. Where messages are given up rather than sent again often, it does nothing: a wait that was too
/// short would lose what the network did not.
#[derive(Debug, Default)]
pub struct Recovery {
    /// Whether it does anything.
    reliable: bool,
    /// When to send again, if anything is in flight.
    at: Option<Duration>,
    /// How often that was done since the last acknowledgement.
    tries: u32,
    heard_at: Duration,
    in_flight: usize,
}

impl Recovery {
    /// Of a link on which nothing may get lost, or something.
    #[must_use]
    pub fn new(reliable: bool) -> Self {
        Self { reliable, ..Self::default() }
    }

    /// Whether no message is ever given up.
    pub fn is_reliable(&self) -> bool {
        self.reliable
    }

    /// Notes how much is in flight, and the round trip.
    pub fn note(&mut self, in_flight: usize, round_trip: Option<Duration>, now: Duration) {
        let before = std::mem::replace(&mut self.in_flight, in_flight);
        if in_flight == 0 {
            (self.at, self.tries) = (None, 0);
        } else if in_flight < before || self.at.is_none() {
            self.tries = 0;
            // As long as nothing is known of the path, SCTP's own second is right.
            // Once something was sent again, SCTP's own timer is far off.
            let known = round_trip.or(self.at.map(|_| Duration::ZERO));
            self.at = known.filter(|_| self.reliable).map(|it| now + wait(it));
        }
    }

    /// Notes that something came of the peer. Says whether to send again.
    pub fn hear(&mut self, now: Duration) -> bool {
        let silent = now.saturating_sub(std::mem::replace(&mut self.heard_at, now));
        let again = silent >= SILENCE && self.tries > 0;
        if again {
            self.at = Some(now + LEAST);
        }
        again
    }

    /// Notes that the path is another one. Says whether to send again what is in flight.
    pub fn begin_anew(&mut self, now: Duration) -> bool {
        self.tries = 0;
        self.at = self.at.map(|_| now + LEAST);
        self.at.is_some()
    }

    /// Lets time pass. Says whether to send again.
    pub fn handle_timeout(&mut self, round_trip: Option<Duration>, now: Duration) -> bool {
        let due = self.at.is_some_and(|at| at <= now);
        if due {
            self.tries += 1;
            let patience = wait(round_trip.unwrap_or(MOST)) * 2_u32.pow(self.tries.min(8));
            self.at = Some(now + patience.min(MOST));
        }
        due
    }

    /// When to let time pass.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.at
    }
}

fn wait(round_trip: Duration) -> Duration {
    (2 * round_trip + Duration::from_millis(250)).max(LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn waits_are_short_at_first_and_grow() {
        let mut recovery = Recovery::new(true);
        assert_eq!(recovery.poll_timeout(), None);
        recovery.note(100, Some(20 * MS), 1_000 * MS);
        recovery.note(300, Some(20 * MS), 1_300 * MS);
        let mut sent = Vec::new();
        while sent.len() < 6 {
            let now = recovery.poll_timeout().unwrap();
            assert!(!recovery.handle_timeout(Some(20 * MS), now - MS));
            assert!(recovery.handle_timeout(Some(20 * MS), now));
            sent.push(now.as_millis());
        }
        assert_eq!(sent, [1_400, 2_200, 3_800, 6_800, 9_800, 12_800]);
        recovery.note(200, Some(20 * MS), 13_000 * MS);
        assert_eq!(recovery.poll_timeout(), Some(13_400 * MS));
        recovery.note(0, Some(20 * MS), 13_001 * MS);
        assert_eq!(recovery.poll_timeout(), None);
        recovery.note(1, Some(500 * MS), 14_000 * MS);
        assert_eq!(recovery.poll_timeout(), Some(15_250 * MS));
    }

    #[test]
    fn a_sign_of_life_after_a_silence_ends_the_wait() {
        let mut recovery = Recovery::new(true);
        assert!(!recovery.hear(Duration::ZERO));
        recovery.note(100, Some(MS), 1_000 * MS);
        assert!(!recovery.hear(1_350 * MS), "nothing was found missing");
        assert!(recovery.handle_timeout(Some(MS), 1_400 * MS));
        assert!(!recovery.hear(1_410 * MS), "it was not silent");
        assert!(recovery.handle_timeout(Some(MS), 2_200 * MS));
        assert!(recovery.hear(3_000 * MS));
        assert!(!recovery.hear(3_001 * MS));
    }

    #[test]
    fn where_nothing_is_known_or_messages_are_given_up_it_waits_for_sctp() {
        for (reliable, round_trip) in [(true, None), (false, Some(MS))] {
            let mut recovery = Recovery::new(reliable);
            recovery.note(100, round_trip, 1_000 * MS);
            recovery.note(50, round_trip, 2_000 * MS);
            assert_eq!(recovery.poll_timeout(), None);
            assert!(!recovery.handle_timeout(round_trip, 9_000 * MS) && !recovery.hear(9_000 * MS));
        }
    }
}
