//! How much of what is on its way may wait in the path's queues.

use std::time::Duration;

use crate::Queue;

/// The least that is tried, bytes.
const STEP: usize = 64 << 10;
/// What so much is worth is measured for so long.
const TRIAL: Duration = Duration::from_millis(50);
/// What was found counts for so long, and twice as long after each time that more was worth nothing: it may have overflowed
/// a queue.
const REST: Duration = Duration::from_secs(2);
const LONGEST_REST: Duration = Duration::from_secs(60);
/// Twice as much may wait if it makes the path faster by this.
const WORTH_MORE: f64 = 1.05;
/// Half of it does if that leaves so much of the rate.
const WORTH_LESS: f64 = 0.97;

/// Finds out how much may wait: nobody knows what a path's queues hold between two hosts, nor whether anything is won
/// by filling them. Where a peer on the same host or on a fast network is woken for each batch, much is; where a line
/// takes what it takes, nothing is, and its queue may overflow.
#[derive(Debug)]
pub(super) struct Waiting {
    queue: Queue,
    allowed: usize,
    /// Of a path that was busy.
    search: Option<Box<Search>>,
}

#[derive(Debug)]
struct Search {
    trial: Option<Trial>,
    /// The next trial begins then, and is of more, or of less.
    rest: Duration,
    rest_until: Duration,
    more: bool,
    /// Since when, and from which byte on, the path was never left idle.
    since: Option<(Duration, u64)>,
}

/// Another allowance, tried to see what it is worth.
#[derive(Clone, Copy, Debug)]
struct Trial {
    /// What it was before, and the rate with that, bytes per second.
    before: usize,
    rate: f64,
}

impl Waiting {
    pub(super) fn new(queue: Queue) -> Self {
        Self { queue, allowed: queue.certain, search: None }
    }

    /// For how long it may wait on a path of this rate, bytes per second, and delay.
    pub(super) fn time(&self, rate: f64, delay: Duration) -> Duration {
        let most = self.queue.time.saturating_sub(delay);
        let bytes = self.allowed as f64 / rate.max(1.0);
        Duration::try_from_secs_f64(bytes).map_or(most, |time| time.min(most))
    }

    /// Notes that so many bytes were acknowledged altogether; `idle` if the path was not kept busy with them.
    pub(super) fn acknowledged(&mut self, position: u64, idle: bool, now: Duration) {
        if self.queue.most <= self.queue.certain || (idle && self.search.is_none()) {
            return;
        }
        let search = self.search.get_or_insert_default();
        let Some((since, from)) = search.since.filter(|_| !idle) else {
            search.since = Some((now, position));
            return;
        };
        let elapsed = now.saturating_sub(since);
        if elapsed >= TRIAL {
            search.since = Some((now, position));
            let rate = position.saturating_sub(from) as f64 / elapsed.as_secs_f64();
            self.allowed = search.judge(self.allowed, self.queue, rate, now);
        }
    }

    /// Something had to be sent again after a time-out: perhaps a queue overflowed.
    pub(super) fn stalled(&mut self, now: Duration) {
        self.allowed = (self.allowed / 2).max(self.queue.certain);
        if let Some(search) = &mut self.search {
            let rest = (2 * search.rest).min(LONGEST_REST);
            **search = Search { rest, rest_until: now + rest, ..Search::default() };
        }
    }
}

impl Default for Search {
    fn default() -> Self {
        Self { trial: None, rest: REST, rest_until: Duration::ZERO, more: true, since: None }
    }
}

impl Search {
    /// How much may wait from now on, when this rate was reached with what was allowed.
    fn judge(&mut self, allowed: usize, queue: Queue, rate: f64, now: Duration) -> usize {
        let Some(trial) = self.trial.take() else {
            return if now >= self.rest_until { self.begin(allowed, queue, rate) } else { allowed };
        };
        let grew = allowed > trial.before;
        let is_worth = rate >= trial.rate * if grew { WORTH_MORE } else { WORTH_LESS };
        if is_worth && grew && allowed < queue.most {
            // Perhaps still more is worth it.
            return self.begin(allowed, queue, rate);
        }
        if grew {
            self.rest = if is_worth { REST } else { (2 * self.rest).min(LONGEST_REST) };
        }
        self.more = !self.more;
        self.rest_until = now + self.rest;
        if is_worth { allowed } else { trial.before }
    }

    /// Tries another allowance.
    fn begin(&mut self, before: usize, queue: Queue, rate: f64) -> usize {
        let Queue { certain, most, .. } = queue;
        self.more = before == certain || (self.more && before < most);
        self.trial = Some(Trial { before, rate });
        let other = if self.more { before.saturating_mul(2).max(STEP) } else { before / 2 };
        if other < STEP { certain } else { other.clamp(certain, most) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE: Queue = Queue { time: Duration::from_millis(2), certain: 0, most: 512 << 10 };

    /// The allowances of so many seconds on a path whose rate depends on them.
    fn run(waiting: &mut Waiting, rate: impl Fn(usize) -> f64, seconds: u32) -> Vec<usize> {
        let (mut now, mut position, mut seen) = (Duration::ZERO, 0.0, Vec::new());
        for _ in 0..seconds * 1_000 {
            now += Duration::from_millis(1);
            position += rate(waiting.allowed) / 1e3;
            waiting.acknowledged(position as u64, false, now);
            seen.push(waiting.allowed);
        }
        seen
    }

    #[test]
    fn as_much_waits_as_makes_a_path_faster() {
        let mut waiting = Waiting::new(QUEUE);
        // Twice as fast with 256 KiB, and no faster beyond.
        let seen = run(&mut waiting, |len| 1e8 * (1.0 + len.min(256 << 10) as f64 / 262_144.0), 20);
        let settled = seen[1_000..].iter().filter(|len| **len == 256 << 10).count();
        assert!(settled > 17_000, "{settled}");
        assert!(seen.iter().all(|len| *len <= QUEUE.most));
    }

    #[test]
    fn nothing_waits_where_nothing_is_won() {
        let mut waiting = Waiting::new(QUEUE);
        let seen = run(&mut waiting, |_| 1.25e8, 20);
        let waits = seen.iter().filter(|len| **len > 0).count();
        // At 0, 2, 6 and 14 s.
        assert!(waits < 5 * 51, "{waits}");
    }

    #[test]
    fn less_waits_when_it_is_worth_nothing_any_more() {
        let mut waiting = Waiting::new(QUEUE);
        run(&mut waiting, |len| 1e8 + len as f64 * 1e3, 5);
        assert_eq!(waiting.allowed, QUEUE.most);
        waiting.search.as_mut().unwrap().rest_until = Duration::ZERO;
        let seen = run(&mut waiting, |_| 1e8, 60);
        assert!(seen[50_000..].iter().all(|len| *len <= 64 << 10), "{}", waiting.allowed);
    }

    #[test]
    fn what_is_certain_waits_at_once_and_nothing_is_tried() {
        let certain = Queue { certain: usize::MAX, most: usize::MAX, ..QUEUE };
        let mut waiting = Waiting::new(certain);
        assert_eq!(waiting.time(1e8, Duration::ZERO), QUEUE.time);
        let seen = run(&mut waiting, |_| 1e8, 5);
        assert!(seen.iter().all(|len| *len == usize::MAX));
    }

    #[test]
    fn a_stall_halves_it() {
        let mut waiting = Waiting::new(QUEUE);
        waiting.allowed = 256 << 10;
        waiting.stalled(Duration::ZERO);
        assert_eq!(waiting.allowed, 128 << 10);
        assert_eq!(
            waiting.time(1e8, Duration::ZERO),
            Duration::from_micros(1_310) + Duration::from_nanos(720)
        );
        assert_eq!(waiting.time(1e8, Duration::from_millis(2)), Duration::ZERO);
    }
}
