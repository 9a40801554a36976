//! Two threads, side by side: how fast a cache line gets from one core to the other changes from
//! second to second on a shared machine, several times over. So the contenders take turns, and the
//! median of many short turns is what counts.

use std::hint::{black_box, spin_loop};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// Turns of each contender. Odd, so that there is a median.
const TURNS: usize = 41;

/// A name, and what carries so many messages from one thread to another and says how long it took.
pub(crate) type Contender = (&'static str, fn(u64) -> Duration);

/// Prints median and best time of each contender for one of `count` messages, and how many bytes a
/// second that is for messages of `len` bytes.
pub(crate) fn compare(title: &str, len: usize, count: u64, contenders: &[Contender]) {
    // `cargo test --benches` only wants to see that it runs.
    let (turns, count) = match std::env::args().any(|argument| argument == "--test") {
        true => (1, 100),
        false => (TURNS, count),
    };
    let mut times = vec![Vec::with_capacity(turns); contenders.len()];
    for _ in 0..turns {
        for ((_, run), times) in contenders.iter().zip(&mut times) {
            times.push(run(count).as_nanos() as f64 / count as f64);
        }
    }
    println!("\n{title}: median, best, at the median");
    for ((name, _), times) in contenders.iter().zip(&mut times) {
        times.sort_by(f64::total_cmp);
        let (median, best) = (times[turns / 2], times[0]);
        let rate = len as f64 / median * 1_000.0;
        println!("  {name:28}{median:9.1} ns {best:9.1} ns {rate:9.0} MB/s");
    }
}

/// Runs both at the same time and measures until both are done.
pub(crate) fn run(producer: impl FnOnce() + Send, consumer: impl FnOnce()) -> Duration {
    let barrier = Barrier::new(2);
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            barrier.wait();
            producer();
        });
        barrier.wait();
        let start = Instant::now();
        consumer();
        thread.join().expect("the producer does not panic");
        start.elapsed()
    })
}

/// Tries until there is an answer.
#[inline]
pub(crate) fn until<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let mut failed = 0_u32;
    loop {
        if let Some(done) = attempt() {
            return done;
        }
        failed += 1;
        if failed.is_multiple_of(128) {
            thread::yield_now();
        } else {
            spin_loop();
        }
    }
}

/// Lets nothing be optimized away.
#[inline]
pub(crate) fn see<T>(value: T) {
    black_box(value);
}
