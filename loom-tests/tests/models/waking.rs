//! No wake-up is lost: whoever waits is woken, on both sides of both rings. A lost one shows as a
//! deadlock, which loom reports.

#![allow(clippy::disallowed_types)] // only counts

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use deltawire_channels::ring::byte;
use loom::future::block_on;
use loom::thread;

use crate::byte::{commit, commit_without_notify, header, wrapping as byte_ring};
use crate::slot::wrapping as slot_ring;

pub(crate) fn consumer_waits_for_a_value() {
    let (mut producer, mut consumer) = slot_ring(1);
    let thread = thread::spawn(move || {
        producer.try_push(7).unwrap();
        producer
    });
    assert_eq!(block_on(consumer.pop()), Some(7));
    drop(thread.join().unwrap());
}

pub(crate) fn producer_waits_for_a_slot() {
    let (mut producer, mut consumer) = slot_ring(1);
    producer.try_push(1).unwrap();
    let thread = thread::spawn(move || {
        assert_eq!(consumer.try_pop(), Ok(1));
        consumer
    });
    assert_eq!(block_on(producer.push(2)), Ok(()));
    assert_eq!(thread.join().unwrap().try_pop(), Ok(2));
}

pub(crate) fn consumer_waits_for_a_message() {
    let (mut producer, mut consumer) = byte_ring(64);
    let thread = thread::spawn(move || {
        commit(&mut producer, 7);
        producer
    });
    assert_eq!(block_on(consumer.readable()), Ok(()));
    assert_eq!(consumer.try_read().unwrap().frame().body(), [7; 16]);
    drop(thread.join().unwrap());
}

pub(crate) fn producer_waits_for_room() {
    let (mut producer, mut consumer) = byte_ring(64);
    commit(&mut producer, 1);
    commit(&mut producer, 2);
    let thread = thread::spawn(move || {
        assert_eq!(consumer.try_read().unwrap().frame().body(), [1; 16]);
        consumer
    });
    drop(block_on(producer.reserve(16)).unwrap());
    drop(thread.join().unwrap());
}

pub(crate) fn quiet_values_and_one_wake() {
    let (mut producer, mut consumer) = slot_ring(2);
    let thread = thread::spawn(move || {
        producer.try_push_without_notify(1).unwrap();
        producer.try_push_without_notify(2).unwrap();
        producer.notify();
        producer
    });
    assert_eq!(block_on(consumer.pop()), Some(1));
    assert_eq!(block_on(consumer.pop()), Some(2));
    drop(thread.join().unwrap());
}

pub(crate) fn quiet_messages_and_one_wake() {
    let (mut producer, mut consumer) = byte_ring(64);
    let thread = thread::spawn(move || {
        commit_without_notify(&mut producer, 1);
        commit_without_notify(&mut producer, 2);
        producer.notify();
        producer
    });
    let mut frames = 0;
    while frames < 2 {
        block_on(consumer.readable()).unwrap();
        frames += consumer.read_run(64).unwrap().frame_count();
    }
    assert_eq!(frames, 2);
    drop(thread.join().unwrap());
}

pub(crate) fn quiet_releases_and_one_wake() {
    let (mut producer, mut consumer) = byte::ring(64);
    commit(&mut producer, 1);
    commit(&mut producer, 2);
    let thread = thread::spawn(move || {
        consumer.try_read().unwrap().release_without_notify();
        let second = consumer.read_ahead().unwrap();
        consumer.release_without_notify(second);
        consumer.notify();
        consumer
    });
    // All of the ring: only once both are released.
    drop(block_on(producer.reserve(48)).unwrap());
    drop(thread.join().unwrap());
}

pub(crate) fn quiet_sides_never_sleep_both() {
    let (mut producer, mut consumer) = slot_ring(1);
    let thread = thread::spawn(move || {
        producer.try_push_without_notify(1).unwrap();
        // Parks, while the consumer may be parked for the value before it.
        block_on(producer.ready()).unwrap();
        producer.try_push_without_notify(2).unwrap();
    });
    assert_eq!(block_on(consumer.pop()), Some(1));
    assert_eq!(block_on(consumer.pop()), Some(2));
    thread.join().unwrap();
}

pub(crate) fn wakers_are_replaced_while_woken() {
    let (mut producer, mut consumer) = slot_ring(2);
    let thread = thread::spawn(move || {
        // Each yield saves loom a preemption: the error that this is after takes several.
        producer.notify();
        thread::yield_now();
        producer.notify();
        thread::yield_now();
        producer.try_push(7).unwrap();
        producer
    });
    let counters = [(); 3].map(|()| Arc::new(Counter::default()));
    let mut popped = None;
    for counter in &counters {
        let waker = Waker::from(Arc::clone(counter));
        if let Poll::Ready(value) = consumer.poll_pop(&mut Context::from_waker(&waker)) {
            popped = value;
            break;
        }
        thread::yield_now();
    }
    let popped = popped.or_else(|| block_on(consumer.pop()));
    assert_eq!(popped, Some(7));
    drop(thread.join().unwrap());
    drop(consumer);
    for counter in counters {
        assert!(counter.0.load(Ordering::Relaxed) <= 1, "one park, one wake");
        assert_eq!(Arc::strong_count(&counter), 1, "no waker is kept");
    }
}

pub(crate) fn close_wakes_the_consumer() {
    let (producer, mut consumer) = slot_ring::<u8>(1);
    let thread = thread::spawn(move || drop(producer));
    assert_eq!(block_on(consumer.pop()), None);
    thread.join().unwrap();
}

pub(crate) fn close_wakes_the_producer() {
    let (mut producer, mut consumer) = byte::ring(64);
    producer.try_reserve(48).unwrap().commit(header(48)).unwrap();
    let thread = thread::spawn(move || {
        consumer.close();
        consumer
    });
    block_on(producer.reserve(16)).unwrap_err();
    drop(thread.join().unwrap());
}

#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
