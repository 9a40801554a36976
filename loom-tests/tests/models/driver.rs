//! What drivers are woken by: no waking of a connection and nothing that was asked for is missed.

use std::task::Poll;

use deltawire_channels::waking::{Credit, Flag, ReadyQueue};
use loom::future::{AtomicWaker, block_on};
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;

/// What a connection has to do, without any order of its own: the queue has to see to that.
type Work = Arc<AtomicUsize>;

fn work() -> Work {
    Arc::new(AtomicUsize::new(0))
}

/// One thread rings twice while the driver answers: it sees all that was there before each ring.
pub(crate) fn one_that_is_woken_again_is_answered_again() {
    let queue = ReadyQueue::new(1);
    let handle = queue.handle(0);
    let (waker, work) = (handle.waker().clone(), work());
    let theirs = work.clone();
    let thread = thread::spawn(move || {
        for done in 1..3 {
            theirs.store(done, Ordering::Relaxed);
            waker.wake_by_ref();
        }
    });
    block_on(core::future::poll_fn(|context| {
        queue.register(context.waker());
        while queue.pop().is_some() {
            handle.rearm();
            if work.load(Ordering::Relaxed) == 2 {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }));
    thread.join().unwrap();
}

/// Two connections ring at a time where there is a place for one.
pub(crate) fn one_without_a_place_is_answered() {
    let queue = ReadyQueue::new(1);
    let ours = [0, 1].map(|key| queue.handle(key));
    let works = [work(), work()];
    let threads = [0, 1].map(|key: usize| {
        let (waker, work) = (ours[key].waker().clone(), works[key].clone());
        thread::spawn(move || {
            work.store(1, Ordering::Relaxed);
            waker.wake();
        })
    });
    let mut done = [false; 2];
    block_on(core::future::poll_fn(|context| {
        queue.register(context.waker());
        let mut due = [false; 2];
        while let Some(key) = queue.pop() {
            due[key] = true;
        }
        if queue.take_overflow() {
            due = [true; 2];
        }
        for key in 0..2 {
            if due[key] {
                ours[key].rearm();
                done[key] |= works[key].load(Ordering::Relaxed) == 1;
            }
        }
        if done == [true; 2] { Poll::Ready(()) } else { Poll::Pending }
    }));
    for thread in threads {
        thread.join().unwrap();
    }
}

/// As `Link::close` asks its driver: behind a lock, with a flag that spares the driver the lock.
pub(crate) fn what_is_asked_for_is_done() {
    let (state, asked) = (Arc::new(Mutex::new(0)), Arc::new(Flag::default()));
    let driver = Arc::new(AtomicWaker::new());
    let (their_state, their_flag, waker) = (state.clone(), asked.clone(), driver.clone());
    let thread = thread::spawn(move || {
        for _ in 0..2 {
            let mut state = their_state.lock().unwrap();
            *state += 1;
            their_flag.raise();
            drop(state);
            waker.wake();
        }
    });
    block_on(core::future::poll_fn(|context| {
        driver.register_by_ref(context.waker());
        if asked.take() && *state.lock().unwrap() == 2 {
            return Poll::Ready(());
        }
        Poll::Pending
    }));
    thread.join().unwrap();
}

/// Who finds the flag raised sees what was written before, and one of two is told to be the first.
pub(crate) fn a_flag_hands_over_what_came_before() {
    let (flag, work) = (Arc::new(Flag::default()), [work(), work()]);
    let threads = work.clone().map(|work| {
        let flag = flag.clone();
        thread::spawn(move || {
            work.store(1, Ordering::Relaxed);
            flag.raise()
        })
    });
    let early = flag.is_raised();
    let seen = work.iter().map(|work| work.load(Ordering::Relaxed)).sum::<usize>();
    assert!(!early || seen >= 1);
    let firsts = threads.map(|thread| thread.join().unwrap());
    assert_eq!(firsts.iter().filter(|first| **first).count(), 1);
    assert!(flag.take() && !flag.take() && !flag.is_raised());
}

/// Two threads give back what they held: who collects gets all of it, and sees what they did before.
pub(crate) fn what_is_given_back_is_collected() {
    let credit = Arc::new(Credit::new());
    let done = [0, 1].map(|_| Arc::new(AtomicUsize::new(0)));
    let threads = [0, 1].map(|index: usize| {
        let (credit, done) = (credit.clone(), done[index].clone());
        thread::spawn(move || {
            done.store(1, Ordering::Relaxed);
            credit.give_back(index + 1);
        })
    });
    let mut collected = 0;
    block_on(core::future::poll_fn(|context| {
        credit.register(context.waker());
        collected += credit.collect();
        if collected == 3 { Poll::Ready(()) } else { Poll::Pending }
    }));
    assert!(done.iter().all(|done| done.load(Ordering::Relaxed) == 1));
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}
