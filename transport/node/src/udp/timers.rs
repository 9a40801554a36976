//! When each connection has something to do.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::time::Duration;

/// Times by key. A connection's time changes with every datagram and mostly moves back, so an entry
/// that is too early stays, and is put off when it comes first: before anybody wakes for it.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(Duration, usize)>>,
    /// By key.
    timers: Vec<Timer>,
}

/// The timer of one connection.
#[derive(Clone, Copy, Debug, Default)]
struct Timer {
    /// When it is to fire.
    at: Option<Duration>,
    /// The earliest of its entries in the heap. Only this one counts.
    queued: Option<Duration>,
}

impl Timers {
    /// Sets the time of the connection with this key.
    pub(crate) fn set(&mut self, key: usize, at: Option<Duration>) {
        if key >= self.timers.len() {
            self.timers.resize(key + 1, Timer::default());
        }
        let Some(timer) = self.timers.get_mut(key) else { return };
        timer.at = at;
        if let Some(at) = at
            && timer.queued.is_none_or(|queued| at < queued)
        {
            timer.queued = Some(at);
            self.heap.push(Reverse((at, key)));
        }
    }

    /// The earliest time.
    pub(crate) fn next(&mut self) -> Option<Duration> {
        loop {
            let mut first = self.heap.peek_mut()?;
            let Reverse((queued, key)) = &mut *first;
            let timer = self.timers.get_mut(*key).filter(|timer| timer.queued == Some(*queued));
            let Some(timer) = timer else {
                PeekMut::pop(first);
                continue;
            };
            if timer.at == Some(*queued) {
                return timer.at;
            }
            // It was put off, or there is none any more.
            timer.queued = timer.at;
            match timer.at {
                Some(at) => *queued = at,
                None => {
                    PeekMut::pop(first);
                }
            }
        }
    }

    /// The next connection whose time has come.
    pub(crate) fn pop(&mut self, now: Duration) -> Option<usize> {
        self.next().filter(|at| *at <= now)?;
        let Reverse((_, key)) = self.heap.pop()?;
        if let Some(timer) = self.timers.get_mut(key) {
            timer.queued = None;
        }
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn due(timers: &mut Timers, now: Duration) -> Vec<usize> {
        std::iter::from_fn(|| timers.pop(now)).collect()
    }

    #[test]
    fn each_fires_once_at_its_latest_setting() {
        let mut timers = Timers::default();
        for (key, at) in [(0, 10), (1, 5), (2, 7), (1, 20), (2, 3), (2, 4)] {
            timers.set(key, Some(ms(at)));
        }
        assert!(due(&mut timers, ms(3)).is_empty());
        assert_eq!(due(&mut timers, ms(9)), [2]);
        assert_eq!(due(&mut timers, ms(10)), [0]);
        timers.set(0, None);
        assert!(due(&mut timers, ms(19)).is_empty());
        assert_eq!(due(&mut timers, ms(100)), [1]);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn nobody_wakes_for_a_time_that_was_put_off_or_is_none_any_more() {
        let mut timers = Timers::default();
        for (key, at) in [(0, 10), (1, 20), (2, 5), (0, 30)] {
            timers.set(key, Some(ms(at)));
        }
        timers.set(2, None);
        assert_eq!(timers.next(), Some(ms(20)));
        assert_eq!(timers.heap.len(), 2);
        timers.set(2, Some(ms(5)));
        assert_eq!(timers.next(), Some(ms(5)));
        assert_eq!(due(&mut timers, ms(100)), [2, 1, 0]);
    }

    #[test]
    fn a_time_that_is_put_off_a_thousand_times_takes_one_entry() {
        let mut timers = Timers::default();
        for at in 0..1_000 {
            timers.set(0, Some(ms(10 + at)));
        }
        assert_eq!(timers.heap.len(), 1);
    }
}
