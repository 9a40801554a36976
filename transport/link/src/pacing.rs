//! How much is on its way to a peer at a time: enough to fill the path, and no more.
//!
//! What lies in the transport's buffer can no longer be overtaken, costs it work, and overflows
//! small receive buffers when it leaves in one burst. So a link keeps only about as much there as
//! the path holds: its bandwidth × delay, measured as in BBR (Cardwell et al., *BBR:
//! Congestion-Based Congestion Control*, ACM Queue 14, 2016) from when what was written is
//! acknowledged. The transport's own congestion control still applies below.

mod train;
mod waiting;

use std::collections::VecDeque;
use std::time::Duration;

use self::train::Train;
use self::waiting::Waiting;
use crate::Queue;

/// Bounds of what is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacingLimits {
    /// What may always be on its way, bytes. Default: 56 KiB, three frames of the default length and
    /// short ones beside them. Four overflow the receive buffer of a browser.
    pub min: usize,
    /// The most, bytes. Default: 2 MiB, 100 Mbit/s over 160 ms.
    pub max: usize,
}

impl Default for PacingLimits {
    fn default() -> Self {
        Self { min: 56 << 10, max: 2 << 20 }
    }
}

/// As many times bandwidth × delay are on their way: what is more waits in queues.
const GAIN: f64 = 1.25;
/// The same while the rate still grows by a quarter in [`STARTUP_ROUNDS`].
const STARTUP_GAIN: f64 = 2.0;
/// The most that waits in queues, bytes: a path's own may be short, and SCTP is slow to get over
/// its overflow.
const MAX_EXCESS: f64 = 64.0 * 1024.0;
/// So much of what a [`Train`] tells is believed while the path's rate is searched for.
const TRAIN_TRUST: f64 = 0.85;
/// Above [`PacingLimits::min`] the most that waits in the transport, bytes: it leaves in a burst as soon as the
/// transport's own congestion control grows.
const MAX_WAITING: usize = 32 * 1024;
/// From this delay on it matters what waits in the transport.
const LONG_WAY: Duration = Duration::from_millis(5);
/// So many round trips without growth end the search for the path's rate.
const STARTUP_ROUNDS: u64 = 3;
/// Writes are spread over a round trip, at so many times the pace that would fill it.
const PACE: f64 = 1.2;
/// The highest rate of so many round trips counts.
const RATE_ROUNDS: u64 = 8;
/// The shortest delay of so long counts; then it is measured anew, with little on its way.
const DELAY_WINDOW: Duration = Duration::from_secs(10);
/// How long measuring anew lasts at most.
const PROBE: Duration = Duration::from_millis(300);
/// Acknowledged so late, something was lost and sent again after a time-out.
const STALL: Duration = Duration::from_millis(400);
/// Times of writes that are remembered.
const MAX_MARKS: usize = 128;
/// The shortest wait for a sender's pace: as short as timers of most runtimes are.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);
/// How far ahead of its pace a sender gets, or by [`PacingLimits::min`] if that is more.
const BURST: Duration = Duration::from_millis(2);

/// The measurements of one link, and what follows from them.
#[derive(Debug)]
pub(crate) struct Pacing {
    limits: PacingLimits,
    waiting: Waiting,
    cap: usize,
    written: u64,
    acknowledged: u64,
    acknowledged_at: Duration,
    marks: VecDeque<Mark>,
    rounds: u64,
    /// The round ends when this much is acknowledged.
    round_end: u64,
    /// The highest rate by round, bytes per second.
    rates: [f64; RATE_ROUNDS as usize],
    /// The rate that a path without limit would still exceed, and since which round it has not;
    /// `None` when the path's rate was found.
    startup: Option<(f64, u64)>,
    train: Train,
    /// Whether the transport says what waits in it.
    tells_waiting: bool,
    delay: Option<Duration>,
    delay_at: Duration,
    probe_until: Option<Duration>,
    /// Bytes that may be written at once; counted only above [`PacingLimits::min`].
    allowance: f64,
    allowance_at: Duration,
    stalls: u64,
}

/// A write, to be measured when it is acknowledged.
#[derive(Clone, Copy, Debug)]
struct Mark {
    position: u64,
    at: Duration,
    acknowledged: u64,
    acknowledged_at: Duration,
    /// Whether the path was left idle, so that the rate says nothing of it.
    idle: bool,
    /// Whether no more than [`PacingLimits::min`] was ahead of it.
    alone: bool,
}

impl Pacing {
    pub(crate) fn new(limits: PacingLimits) -> Self {
        Self {
            cap: limits.min,
            limits,
            waiting: Waiting::new(Queue::default()),
            written: 0,
            acknowledged: 0,
            acknowledged_at: Duration::ZERO,
            marks: VecDeque::new(),
            rounds: 0,
            round_end: 0,
            rates: [0.0; RATE_ROUNDS as usize],
            startup: Some((0.0, 0)),
            train: Train::default(),
            tells_waiting: false,
            delay: None,
            delay_at: Duration::ZERO,
            probe_until: None,
            allowance: 0.0,
            allowance_at: Duration::ZERO,
            stalls: 0,
        }
    }

    /// So much may wait in the path's queues.
    pub(crate) fn set_queue(&mut self, queue: Queue) {
        self.waiting = Waiting::new(queue);
    }

    #[cfg(test)]
    fn with_queue(mut self, queue: Queue) -> Self {
        self.set_queue(queue);
        self
    }

    /// Bytes that may be on their way now.
    pub(crate) fn cap(&self) -> usize {
        if self.probe_until.is_some() { self.limits.min } else { self.cap }
    }

    /// Shortest time from write to acknowledgement that was seen lately.
    pub(crate) fn delay(&self) -> Option<Duration> {
        self.delay
    }

    /// Bytes per second that the path takes.
    pub(crate) fn rate(&self) -> f64 {
        self.rates.iter().copied().fold(0.0, f64::max)
    }

    /// How often something had to be sent again after a time-out.
    pub(crate) fn stalls(&self) -> u64 {
        self.stalls
    }

    /// How much may be written while `buffered` are not acknowledged, and so many of them `waiting` in the transport, if it
    /// tells.
    pub(crate) fn budget(
        &mut self,
        buffered: usize,
        waiting: Option<usize>,
        now: Duration,
    ) -> usize {
        self.end_probe(now);
        // Over a short way a burst is over at once, and what is only not handed on yet counts as waiting too.
        let waiting = waiting.filter(|_| self.delay.is_some_and(|delay| delay >= LONG_WAY));
        self.tells_waiting = waiting.is_some();
        let mut room = self.cap().saturating_sub(buffered);
        if self.cap() <= self.limits.min {
            return room;
        }
        match waiting {
            // One frame, however long.
            Some(0) => room = room.min(self.limits.min),
            Some(waiting) => room = room.min(MAX_WAITING.saturating_sub(waiting)),
            None => {}
        }
        self.fill_allowance(now);
        room.min(self.allowance as usize)
    }

    /// When [`budget`](Self::budget), just asked, is larger without an acknowledgement.
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        let missing = self.limits.min as f64 / 2.0 - self.allowance;
        let paced = self.cap() > self.limits.min && missing > 0.0 && self.marks.len() > 1;
        let refill = paced.then(|| {
            let wait = Duration::from_secs_f64(missing / self.pace());
            self.allowance_at + wait.max(SHORTEST_WAIT)
        });
        [refill, self.probe_until].into_iter().flatten().min()
    }

    /// Counts what was written while `buffered` were not acknowledged, `idle` if the peer could
    /// have been sent more.
    pub(crate) fn wrote(&mut self, len: usize, buffered: usize, idle: bool, now: Duration) {
        self.written += len as u64;
        self.allowance -= len as f64;
        if self.marks.len() < MAX_MARKS {
            // Nothing was on its way: the time before says nothing of the path.
            let acknowledged_at = if buffered == 0 { now } else { self.acknowledged_at };
            self.marks.push_back(Mark {
                position: self.written,
                at: now,
                acknowledged: self.acknowledged,
                acknowledged_at,
                idle,
                alone: buffered <= self.limits.min,
            });
        }
    }

    /// Measures what was acknowledged, when `buffered` bytes are left that were not.
    pub(crate) fn acknowledge(&mut self, buffered: usize, now: Duration) {
        let acknowledged = self.written.saturating_sub(buffered as u64);
        if acknowledged <= self.acknowledged {
            return;
        }
        self.acknowledged = acknowledged;
        self.acknowledged_at = now;
        self.train.measure(acknowledged, self.delay, now);
        let mut latest = None;
        while self.marks.front().is_some_and(|mark| mark.position <= acknowledged) {
            let Some(mark) = self.marks.pop_front() else { break };
            if mark.alone || self.delay.is_none() {
                self.measure_delay(now.saturating_sub(mark.at), now);
            }
            latest = Some(mark);
        }
        let Some(mark) = latest else { return };
        // What is sent while there is little to send says nothing of the path, nor does it make
        // older.
        if acknowledged >= self.round_end && !mark.idle {
            self.rounds += 1;
            self.round_end = self.written;
            self.rates[(self.rounds % RATE_ROUNDS) as usize] = 0.0;
        }
        self.measure_rate(mark, now);
        self.waiting.acknowledged(acknowledged, mark.idle || self.startup.is_some(), now);
        self.adapt(now.saturating_sub(mark.at), now);
    }

    fn measure_delay(&mut self, delay: Duration, now: Duration) {
        let expired = now >= self.delay_at + DELAY_WINDOW;
        if self.delay.is_none_or(|least| delay <= least) || (expired && self.probe_until.is_some())
        {
            self.delay = Some(delay);
            self.delay_at = now;
            self.probe_until = None;
        }
    }

    fn measure_rate(&mut self, mark: Mark, now: Duration) {
        let elapsed = now.saturating_sub(mark.acknowledged_at).max(now.saturating_sub(mark.at));
        let delivered = self.acknowledged.saturating_sub(mark.acknowledged);
        let rate = delivered as f64 / elapsed.as_secs_f64().max(1e-6);
        if !mark.idle || rate > self.rate() {
            let newest = &mut self.rates[(self.rounds % RATE_ROUNDS) as usize];
            *newest = newest.max(rate);
        }
    }

    fn adapt(&mut self, delay: Duration, now: Duration) {
        let PacingLimits { min, max } = self.limits;
        let Some(least) = self.delay else { return };
        if delay > STALL.max(4 * least) {
            self.stalls += 1;
            self.rates = [0.0; RATE_ROUNDS as usize];
            self.train = Train::default();
            self.marks.clear();
            self.cap = (self.cap / 2).max(min);
            self.waiting.stalled(now);
            return;
        }
        let least_secs = self.fill_time();
        let product = self.rate() * least_secs;
        let mut target = product + ((self.gain() - 1.0) * product).min(MAX_EXCESS);
        if self.startup.is_some() && self.tells_waiting {
            // What the path lets through does not wait in its queue, unless the transport sends it in one burst.
            let through = TRAIN_TRUST * self.train.rate() * least_secs;
            target = target.max(through.min(STARTUP_GAIN * product));
        }
        self.cap = (target as usize).clamp(min, max.max(min)).min(2 * self.cap);
        self.end_probe(now);
        let expired = now >= self.delay_at + DELAY_WINDOW;
        if self.probe_until.is_none() && self.cap > min && expired {
            self.probe_until = Some(now + PROBE.max(2 * least));
        }
    }

    fn end_probe(&mut self, now: Duration) {
        if self.probe_until.is_some_and(|until| now >= until) {
            // Nothing was measured in time: what is known stays.
            self.probe_until = None;
            self.delay_at = now;
        }
    }

    fn gain(&mut self) -> f64 {
        let (rate, rounds) = (self.rate(), self.rounds);
        let Some((found, since)) = &mut self.startup else { return GAIN };
        if rate >= 1.25 * *found {
            (*found, *since) = (rate, rounds);
        } else if rounds >= *since + STARTUP_ROUNDS {
            self.startup = None;
            return GAIN;
        }
        STARTUP_GAIN
    }

    /// How long what is on its way takes at the path's rate, seconds: its delay, and as long as may wait in its queues.
    fn fill_time(&self) -> f64 {
        let least = self.delay.unwrap_or_default();
        (least + self.waiting.time(self.rate(), least)).as_secs_f64()
    }

    /// Bytes per second that are written.
    fn pace(&self) -> f64 {
        PACE * self.cap as f64 / self.fill_time().max(1e-6)
    }

    fn fill_allowance(&mut self, now: Duration) {
        let elapsed = now.saturating_sub(self.allowance_at).as_secs_f64();
        let pace = self.pace();
        let most = (pace * BURST.as_secs_f64()).max(self.limits.min as f64);
        self.allowance = (self.allowance + pace * elapsed).min(most);
        self.allowance_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path of a rate and a delay whose queue holds what does not fit: what is written is
    /// acknowledged when it is through.
    struct Path {
        rate: f64,
        delay: Duration,
        free_at: Duration,
        on_its_way: VecDeque<(Duration, usize)>,
    }

    impl Path {
        fn new(rate: f64, delay: Duration) -> Self {
            Self { rate, delay, free_at: Duration::ZERO, on_its_way: VecDeque::new() }
        }

        fn write(&mut self, len: usize, now: Duration) {
            let start = self.free_at.max(now);
            self.free_at = start + Duration::from_secs_f64(len as f64 / self.rate);
            self.on_its_way.push_back((self.free_at + self.delay, len));
        }

        fn buffered(&mut self, now: Duration) -> usize {
            while self.on_its_way.front().is_some_and(|(at, _)| *at <= now) {
                self.on_its_way.pop_front();
            }
            self.on_its_way.iter().map(|(_, len)| len).sum()
        }
    }

    /// Sends as much as it may for so long; gives bytes per second, and the caps of the last half.
    fn run(path: &mut Path, flight: &mut Pacing, from: Duration, until: Duration) -> (f64, usize) {
        let (mut now, mut sent, mut highest) = (from, 0, 0);
        while now < until {
            now += Duration::from_micros(50);
            let mut buffered = path.buffered(now);
            flight.acknowledge(buffered, now);
            loop {
                let len = flight.budget(buffered, Some(0), now).min(16_384);
                if len < 1_000 {
                    break;
                }
                flight.wrote(len, buffered, false, now);
                path.write(len, now);
                buffered += len;
                sent += len;
            }
            if now > (from + until) / 2 {
                highest = highest.max(flight.cap());
            }
        }
        (sent as f64 / (until - from).as_secs_f64(), highest)
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn paths_are_filled_and_not_flooded() {
        for (rate, delay_ms) in [(12.5e6, 1), (12.5e6, 20), (12.5e6, 100), (1.25e6, 50), (2e8, 0)] {
            let mut path = Path::new(rate, Duration::from_millis(delay_ms));
            let mut flight = Pacing::new(PacingLimits { max: 8 << 20, ..PacingLimits::default() });
            run(&mut path, &mut flight, Duration::ZERO, 3 * SECOND);
            let (reached, cap) = run(&mut path, &mut flight, 3 * SECOND, 30 * SECOND);
            assert!(reached > 0.9 * rate, "{rate} at {delay_ms} ms: {reached}");
            let product = rate * delay_ms as f64 / 1e3;
            assert!((cap as f64) < 3.0 * product + 64e3, "{rate} at {delay_ms} ms: {cap}");
        }
    }

    #[test]
    fn a_path_that_loses_nothing_may_have_a_queue() {
        let queue = Queue { time: Duration::from_millis(2), certain: usize::MAX, most: usize::MAX };
        let mut path = Path::new(1e8, Duration::from_millis(1));
        let mut flight = Pacing::new(PacingLimits::default()).with_queue(queue);
        let (_, cap) = run(&mut path, &mut flight, Duration::ZERO, 3 * SECOND);
        assert!((200_000..350_000).contains(&cap), "{cap}");
        // No more than it holds.
        let mut path = Path::new(1e8, Duration::from_millis(1));
        let short = Queue { certain: 20_000, most: 20_000, ..queue };
        let mut flight = Pacing::new(PacingLimits::default()).with_queue(short);
        let (_, cap) = run(&mut path, &mut flight, Duration::ZERO, 3 * SECOND);
        assert!((100_000..200_000).contains(&cap), "{cap}");
        // Where the path itself holds more, that is all.
        let mut path = Path::new(1.25e6, Duration::from_millis(100));
        let mut flight = Pacing::new(PacingLimits::default()).with_queue(queue);
        let (_, cap) = run(&mut path, &mut flight, Duration::ZERO, 3 * SECOND);
        assert!(cap < 3 * 125_000 + 64_000, "{cap}");
    }

    #[test]
    fn a_path_that_slows_down_is_followed() {
        let mut path = Path::new(12.5e6, Duration::from_millis(20));
        let mut flight = Pacing::new(PacingLimits::default());
        run(&mut path, &mut flight, Duration::ZERO, 5 * SECOND);
        assert!(flight.cap() > 300_000, "{}", flight.cap());
        path.rate = 1.25e6;
        let (_, cap) = run(&mut path, &mut flight, 5 * SECOND, 20 * SECOND);
        assert!(cap < 150_000, "{cap}");
    }

    #[test]
    fn a_path_is_not_forgotten_while_there_is_little_to_send() {
        let mut path = Path::new(12.5e6, Duration::from_millis(20));
        let mut flight = Pacing::new(PacingLimits::default());
        run(&mut path, &mut flight, Duration::ZERO, 3 * SECOND);
        let known = flight.cap();
        for millisecond in 0..30_000 {
            let now = 3 * SECOND + Duration::from_millis(millisecond);
            let buffered = path.buffered(now);
            flight.acknowledge(buffered, now);
            if millisecond % 50 == 0 {
                flight.wrote(100, buffered, true, now);
                path.write(100, now);
            }
        }
        assert!(flight.cap() >= known / 2, "{} of {known}", flight.cap());
    }

    #[test]
    fn little_of_a_flight_waits_in_queues() {
        for delay_ms in [20, 100, 150] {
            let delay = Duration::from_millis(delay_ms);
            let mut path = Path::new(12.5e6, delay);
            let mut flight = Pacing::new(PacingLimits::default());
            let mut most = Duration::ZERO;
            for step in 1..100 {
                let now = step * Duration::from_millis(100);
                run(&mut path, &mut flight, now - Duration::from_millis(100), now);
                most = most.max(path.free_at.saturating_sub(now));
            }
            // And what may be written at once.
            let bytes = most.as_secs_f64() * 12.5e6;
            assert!(bytes < 128.0 * 1024.0, "{bytes} at {delay_ms} ms");
        }
    }

    #[test]
    fn one_frame_goes_where_nothing_waits_however_long() {
        let (mut path, mut flight) =
            (Path::new(12.5e6, Duration::from_millis(20)), Pacing::new(PacingLimits::default()));
        run(&mut path, &mut flight, Duration::ZERO, 3 * SECOND);
        let (min, later) = (PacingLimits::default().min, 3 * SECOND + Duration::from_millis(50));
        flight.acknowledge(path.buffered(later), later);
        assert!(flight.cap() > 4 * min);
        assert_eq!(flight.budget(0, None, later), min);
        assert_eq!(flight.budget(0, Some(0), later), min);
        assert_eq!(flight.budget(min, Some(1), later), MAX_WAITING - 1);
        assert_eq!(flight.budget(min, Some(min), later), 0);
    }

    #[test]
    fn a_long_path_is_filled_within_a_second() {
        let mut path = Path::new(12.5e6, Duration::from_millis(100));
        let mut flight = Pacing::new(PacingLimits::default());
        run(&mut path, &mut flight, Duration::ZERO, SECOND);
        let (reached, _) = run(&mut path, &mut flight, SECOND, 2 * SECOND);
        assert!(reached > 0.9 * 12.5e6, "{reached}");
    }

    /// A time-out that is over already would have the driver go round in circles.
    #[test]
    fn time_outs_lie_ahead() {
        let mut path = Path::new(12.5e6, Duration::from_millis(20));
        let mut flight = Pacing::new(PacingLimits::default());
        let mut probed = false;
        for step in 0..300_000 {
            let now = step * Duration::from_micros(100);
            let mut buffered = path.buffered(now);
            flight.acknowledge(buffered, now);
            while flight.budget(buffered, Some(0), now) >= 16_384 {
                flight.wrote(16_384, buffered, false, now);
                path.write(16_384, now);
                buffered += 16_384;
            }
            probed |= flight.probe_until.is_some();
            assert!(flight.poll_timeout().is_none_or(|at| at > now), "at {now:?}");
        }
        assert!(probed);
    }

    #[test]
    fn a_quiet_sender_keeps_the_least_flight() {
        let mut path = Path::new(12.5e6, Duration::from_millis(20));
        let mut flight = Pacing::new(PacingLimits::default());
        for millisecond in 0..20_000 {
            let now = Duration::from_millis(millisecond);
            let buffered = path.buffered(now);
            flight.acknowledge(buffered, now);
            assert!(flight.budget(buffered, Some(0), now) >= 1_000);
            if millisecond % 30 == 0 {
                flight.wrote(1_000, buffered, true, now);
                path.write(1_000, now);
            }
        }
        assert_eq!(flight.cap(), PacingLimits::default().min);
        assert_eq!(flight.stalls(), 0);
    }
}
