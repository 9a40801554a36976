//! Whether the peer is there, and how far away.

use core::time::Duration;

use deltawire_framing::control::{Ping, Pong, Role};

#[derive(Debug)]
pub(super) struct Liveness {
    start: Duration,
    last_heard: Duration,
    /// The last ping: its number, when it was sent, and whether it was answered.
    ping: Option<(u32, Duration, bool)>,
    pub(super) round_trip: Option<Duration>,
    pub(super) variation: Duration,
    /// Silence that means death; 0 never does.
    deadline: Duration,
    /// How often a busy peer is pinged.
    interval: Duration,
    /// How long a quiet peer is waited for before it is pinged.
    patience: Duration,
    /// Whether there was anything but control messages since the last ping.
    busy: bool,
}

impl Liveness {
    pub(super) fn new(now: Duration, idle_timeout: Duration, role: Role, heard: bool) -> Self {
        let interval = interval(idle_timeout);
        // A ping shows its receiver that the pinger is there, so one side is enough.
        let patience = match (role, heard) {
            (Role::Initiator, false) => interval,
            (Role::Acceptor, false) => interval.saturating_mul(3) / 2,
            (Role::Initiator, true) => interval.saturating_mul(7) / 2,
            (Role::Acceptor, true) => interval.saturating_mul(4),
        };
        Self {
            start: now,
            last_heard: now,
            ping: None,
            round_trip: None,
            variation: Duration::ZERO,
            deadline: if heard {
                idle_timeout.saturating_add(grace(idle_timeout))
            } else {
                idle_timeout
            },
            interval,
            patience,
            busy: true,
        }
    }

    /// The round trip is worth knowing anew.
    #[inline]
    pub(super) fn mark_busy(&mut self) {
        self.busy = true;
    }

    /// Pings at least so often while busy, from now on.
    pub(super) fn hurry(&mut self, interval: Duration) {
        // A close that waits for nothing is over before.
        self.interval = self.interval.min(interval.max(Duration::from_millis(1)));
        self.busy = true;
    }

    #[inline]
    pub(super) fn heard(&mut self, now: Duration) {
        self.last_heard = self.last_heard.max(now);
    }

    pub(super) fn is_dead(&self, now: Duration) -> bool {
        now >= self.dead_at()
    }

    fn dead_at(&self) -> Duration {
        if self.deadline.is_zero() {
            return Duration::MAX;
        }
        self.last_heard.saturating_add(self.deadline)
    }

    /// When the next ping is due. A busy link is pinged regularly, as the round trip changes; a
    /// quiet one when nothing was heard for a while.
    fn ping_at(&self) -> Duration {
        let last = self.ping.map_or(self.start, |(_, sent_at, _)| sent_at);
        let regular = last.saturating_add(self.interval);
        if self.busy { regular } else { regular.max(self.last_heard.saturating_add(self.patience)) }
    }

    pub(super) fn poll_timeout(&self) -> Duration {
        self.ping_at().min(self.dead_at())
    }

    /// The next ping, when it is due.
    pub(super) fn poll_ping(&mut self, now: Duration) -> Option<Ping> {
        (now >= self.ping_at()).then(|| self.ping(now))
    }

    /// A ping, now.
    pub(super) fn ping(&mut self, now: Duration) -> Ping {
        let id = self.ping.map_or(0, |(id, _, _)| id.wrapping_add(1));
        self.ping = Some((id, now, false));
        self.busy = false;
        Ping::new(id, u64::try_from(now.as_micros()).unwrap_or(u64::MAX))
    }

    /// Takes in the answer to the last ping. Others say nothing new.
    pub(super) fn handle_pong(&mut self, pong: &Pong, now: Duration) {
        let Some((id, sent_at, answered)) = &mut self.ping else { return };
        if *id != pong.id() || *answered {
            return;
        }
        *answered = true;
        let sample = now.saturating_sub(*sent_at);
        // RFC 6298, section 2.
        match &mut self.round_trip {
            None => {
                self.round_trip = Some(sample);
                self.variation = sample / 2;
            }
            Some(smoothed) => {
                self.variation = (self.variation * 3 + smoothed.abs_diff(sample)) / 4;
                *smoothed = (*smoothed * 7 + sample) / 8;
            }
        }
    }
}

/// How much longer than the time-out a peer is waited for whose transport is heard. Its checks are
/// so far apart (three seconds) that of a cut of two seconds that begins with one of them, nothing
/// is left of five: with this, what heals is heard in time.
fn grace(idle_timeout: Duration) -> Duration {
    idle_timeout / 8
}

/// How often a busy peer is pinged.
fn interval(idle_timeout: Duration) -> Duration {
    if idle_timeout.is_zero() { Duration::from_secs(1) } else { idle_timeout / 5 }
}
