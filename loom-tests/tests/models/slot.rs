//! The slot ring: what is in it, and when.

use deltawire_channels::ring::slot::{self, Consumer, Producer};
use deltawire_channels::ring::{PopError, PushError};
use loom::future::block_on;
use loom::sync::Arc;
use loom::thread;

/// A ring whose second position is beyond `usize::MAX`.
pub(crate) fn wrapping<T>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    slot::ring_at(capacity, usize::MAX)
}

pub(crate) fn values_cross_the_wrap_in_order() {
    let (mut producer, mut consumer) = wrapping(2);
    let thread = thread::spawn(move || {
        for value in 0..3 {
            block_on(producer.push(value)).unwrap();
        }
    });
    for value in 0..3 {
        assert_eq!(block_on(consumer.pop()), Some(value));
    }
    assert_eq!(block_on(consumer.pop()), None);
    thread.join().unwrap();
}

pub(crate) fn full_gives_the_value_back() {
    let (mut producer, mut consumer) = wrapping(1);
    producer.try_push(Arc::new(1)).unwrap();
    let thread = thread::spawn(move || consumer.try_pop().map(|value| *value));
    let second = producer.try_push_without_notify(Arc::new(2));
    assert_eq!(thread.join().unwrap(), Ok(1));
    match second {
        Ok(()) => {}
        Err(PushError::Full(value) | PushError::Closed(value)) => assert_eq!(*value, 2),
        Err(_) => unreachable!(),
    }
}

pub(crate) fn empty_then_not() {
    let (mut producer, mut consumer) = wrapping(1);
    let thread = thread::spawn(move || {
        producer.try_push_without_notify(Arc::new(1)).unwrap();
        producer
    });
    let first = consumer.try_pop();
    let producer = thread.join().unwrap();
    match first {
        Ok(value) => {
            assert_eq!(*value, 1);
            assert_eq!(consumer.try_pop().unwrap_err(), PopError::Empty);
        }
        Err(error) => {
            assert_eq!(error, PopError::Empty);
            assert_eq!(consumer.try_pop().map(|value| *value), Ok(1));
        }
    }
    drop(producer);
}

pub(crate) fn close_races_with_push() {
    let (mut producer, mut consumer) = wrapping(2);
    let thread = thread::spawn(move || {
        let mut taken = 0;
        for value in [1, 2] {
            match producer.try_push(Arc::new(value)) {
                Ok(()) => taken += value,
                Err(PushError::Closed(given_back)) => assert_eq!(*given_back, value),
                Err(error) => panic!("{error}"),
            }
        }
        assert!(producer.is_closed() || taken == 3);
        taken
    });
    consumer.close();
    let first = consumer.try_pop().map_or(0, |value| *value);
    let taken = thread.join().unwrap();
    let mut popped = first;
    while let Ok(value) = consumer.try_pop() {
        popped += *value;
    }
    assert_eq!(popped, taken);
    assert_eq!(consumer.try_pop().unwrap_err(), PopError::Closed);
}

pub(crate) fn leftovers_are_readable_after_close() {
    let (mut producer, mut consumer) = wrapping(2);
    let thread = thread::spawn(move || {
        producer.try_push_without_notify(1).unwrap();
        producer.try_push_without_notify(2).unwrap();
    });
    let mut popped = 0;
    for _ in 0..3 {
        match consumer.try_pop_without_notify() {
            Ok(value) => popped += value,
            Err(PopError::Closed) => assert_eq!(popped, 3),
            Err(_) => {}
        }
    }
    thread.join().unwrap();
}

pub(crate) fn values_are_dropped_once() {
    // Loom counts the references of its `Arc`: one too many or too few fails the model.
    let value = Arc::new(());
    let (mut producer, mut consumer) = wrapping(2);
    let (first, second) = (Arc::clone(&value), Arc::clone(&value));
    let thread = thread::spawn(move || {
        let _ = producer.try_push(first);
        let _ = producer.try_push(second);
    });
    let popped = consumer.try_pop();
    drop(consumer);
    thread.join().unwrap();
    drop(popped);
    assert_eq!(Arc::strong_count(&value), 1);
}

pub(crate) fn batches_arrive_together() {
    let (mut producer, mut consumer) = wrapping(2);
    let thread = thread::spawn(move || {
        let mut values = 0..3;
        while !values.is_empty() {
            block_on(producer.ready()).unwrap();
            producer.push_batch(&mut values).unwrap();
        }
    });
    let mut popped = Vec::new();
    while let Some(value) = block_on(consumer.pop()) {
        popped.push(value);
        popped.extend(consumer.pop_batch(2));
    }
    assert_eq!(popped, [0, 1, 2]);
    thread.join().unwrap();
}

pub(crate) fn a_batch_that_is_cut_short_keeps_the_rest() {
    let (mut producer, mut consumer) = wrapping(2);
    assert_eq!(producer.push_batch(&mut [1, 2].map(Arc::new).into_iter()), Ok(2));
    let thread = thread::spawn(move || {
        block_on(producer.push(Arc::new(3))).unwrap();
    });
    assert_eq!(consumer.pop_batch(2).next().map(|value| *value), Some(1));
    assert_eq!(block_on(consumer.pop()).map(|value| *value), Some(2));
    assert_eq!(block_on(consumer.pop()).map(|value| *value), Some(3));
    thread.join().unwrap();
}
