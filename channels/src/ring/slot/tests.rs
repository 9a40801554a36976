use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use super::ring;
use crate::ring::{PopError, PushError, RingClosed};

#[test]
fn holds_exactly_its_capacity() {
    for capacity in 1..10 {
        let (mut producer, mut consumer) = ring(capacity);
        for value in 0..capacity {
            assert_eq!(producer.try_push(value), Ok(()));
        }
        assert_eq!(producer.try_push(99), Err(PushError::Full(99)));
        assert_eq!((producer.capacity(), producer.len()), (capacity, capacity));
        assert_eq!(consumer.pop_batch(99).last(), Some(capacity - 1));
        assert!(producer.is_empty() && consumer.is_empty());
    }
}

#[test]
fn a_batch_of_unknown_length_finds_the_room_that_there_is() {
    let (mut producer, mut consumer) = ring(2);
    for _ in 0..3 {
        assert_eq!(producer.push_batch(&mut (0..9).filter(|value| value % 2 == 1)), Ok(2));
        assert_eq!(consumer.pop_batch(9).collect::<Vec<_>>(), [1, 3]);
    }
}

#[test]
fn what_is_left_can_be_read_after_close() {
    let (mut producer, mut consumer) = ring(2);
    producer.try_push(1).unwrap();
    consumer.close();
    assert_eq!(producer.try_push(2), Err(PushError::Closed(2)));
    assert_eq!(producer.push_batch(&mut (2..3)), Err(RingClosed(())));
    assert_eq!(pollster::block_on(producer.push(3)), Err(RingClosed(3)));
    assert_eq!(consumer.try_pop(), Ok(1));
    assert_eq!(consumer.try_pop(), Err(PopError::Closed));
    assert_eq!(pollster::block_on(consumer.pop()), None);
}

#[test]
fn values_that_are_left_are_dropped_with_the_ring() {
    let value = Rc::new(());
    let (mut producer, mut consumer) = ring(4);
    for _ in 0..4 {
        producer.try_push(Rc::clone(&value)).unwrap();
    }
    drop(consumer.try_pop());
    drop(producer);
    assert_eq!(Rc::strong_count(&value), 4);
    drop(consumer);
    assert_eq!(Rc::strong_count(&value), 1);
}

#[test]
fn a_leaked_batch_leaks_its_values_and_no_others() {
    let value = Rc::new(());
    let (mut producer, mut consumer) = ring(4);
    for _ in 0..4 {
        producer.try_push(Rc::clone(&value)).unwrap();
    }
    let mut batch = consumer.pop_batch(3);
    drop(batch.next());
    mem::forget(batch);
    assert!(consumer.try_pop().is_ok());
    assert_eq!(consumer.try_pop().unwrap_err(), PopError::Empty);
    drop((producer, consumer));
    assert_eq!(Rc::strong_count(&value), 1 + 2);
}

#[test]
fn a_batch_survives_a_panic_in_its_closure() {
    let value = Rc::new(());
    let (mut producer, mut consumer) = ring(4);
    for _ in 0..4 {
        producer.try_push(Rc::clone(&value)).unwrap();
    }
    let mut seen = 0;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        consumer.pop_batch(4).for_each(|_| {
            seen += 1;
            assert!(seen < 2, "enough");
        });
    }));
    assert!(outcome.is_err());
    assert_eq!(consumer.len(), 2);
    drop((producer, consumer));
    assert_eq!(Rc::strong_count(&value), 1);
}

#[test]
fn an_iterator_that_panics_publishes_nothing() {
    let (mut producer, mut consumer) = ring(4);
    let mut values = (0..4).inspect(|value| assert!(*value < 2, "enough"));
    let outcome = catch_unwind(AssertUnwindSafe(|| producer.push_batch(&mut values)));
    assert!(outcome.is_err());
    assert_eq!(consumer.try_pop(), Err(PopError::Empty));
    producer.try_push(7).unwrap();
    assert_eq!(consumer.try_pop(), Ok(7));
}

#[test]
fn values_of_no_size_are_counted() {
    let (mut producer, mut consumer) = ring(3);
    assert_eq!(producer.push_batch(&mut [(); 5].into_iter()), Ok(3));
    assert_eq!(consumer.pop_batch(5).count(), 3);
}

#[test]
#[should_panic(expected = "at least 1 value")]
fn a_ring_holds_something() {
    let _ = ring::<u8>(0);
}
