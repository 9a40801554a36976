//! When each connection has something to do.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// Times by key. A connection's time changes with every datagram and mostly moves back, so an entry
/// that is too early stays and is put off when it is due.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Duration, usize)>>,
}

/// What a connection remembers of its timer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timer {
    /// When it is to fire.
    at: Option<Duration>,
    /// The earliest of its entries in the heap.
    queued: Option<Duration>,
}

impl Timers {
    /// Sets the time of the connection with this key.
    pub(super) fn set(&mut self, key: usize, timer: &mut Timer, at: Option<Duration>) {
        timer.at = at;
        let Some(at) = at else { return };
        if timer.queued.is_none_or(|queued| at < queued) {
            timer.queued = Some(at);
            self.heap.push(Reverse((at, key)));
        }
    }

    /// The earliest time, perhaps of a connection that has put it off.
    pub(super) fn next(&self) -> Option<Duration> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// The next connection with an entry that is due; whether it really is, [`Timer::fire`] says.
    pub(super) fn pop(&mut self, now: Duration) -> Option<(Duration, usize)> {
        let Reverse((at, _)) = self.heap.peek()?;
        if *at > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }
}

impl Timer {
    /// Whether it is time, when an entry of `queued` came up. Puts it off if not.
    pub(super) fn fire(
        &mut self,
        key: usize,
        queued: Duration,
        now: Duration,
        all: &mut Timers,
    ) -> bool {
        if self.queued != Some(queued) {
            // A later entry than the one that counts.
            return false;
        }
        self.queued = None;
        if self.at.is_some_and(|at| at <= now) {
            return true;
        }
        all.set(key, self, self.at);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn due(timers: &mut Timers, list: &mut [Timer], now: Duration) -> Vec<usize> {
        let mut due = Vec::new();
        while let Some((at, key)) = timers.pop(now) {
            if list[key].fire(key, at, now, timers) {
                due.push(key);
            }
        }
        due
    }

    #[test]
    fn each_fires_once_at_its_latest_setting() {
        let mut timers = Timers::default();
        let mut list = [Timer::default(); 3];
        for (key, at) in [(0, 10), (1, 5), (2, 7), (1, 20), (2, 3), (2, 4)] {
            timers.set(key, &mut list[key], Some(ms(at)));
        }
        assert_eq!(timers.next(), Some(ms(3)));
        assert!(due(&mut timers, &mut list, ms(3)).is_empty());
        assert_eq!(due(&mut timers, &mut list, ms(9)), [2]);
        assert_eq!(due(&mut timers, &mut list, ms(10)), [0]);
        timers.set(0, &mut list[0], None);
        assert!(due(&mut timers, &mut list, ms(19)).is_empty());
        assert_eq!(due(&mut timers, &mut list, ms(100)), [1]);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn a_time_that_is_put_off_a_thousand_times_takes_one_entry() {
        let mut timers = Timers::default();
        let mut timer = Timer::default();
        for at in 0..1_000 {
            timers.set(0, &mut timer, Some(ms(10 + at)));
        }
        assert_eq!(timers.heap.len(), 1);
    }
}
