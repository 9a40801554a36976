//! The slot ring against a queue that is obviously right, under random operations.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;

use deltawire_channels::ring::{PopError, PushError, RingClosed, slot};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Operation {
    Push,
    PushQuiet,
    PushBatch(usize),
    Pop,
    PopQuiet,
    /// Asks for so many, and takes so many of them.
    PopBatch(usize, usize),
    CloseProducer,
    CloseConsumer,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        10 => Just(Operation::Push),
        5 => Just(Operation::PushQuiet),
        5 => (0_usize..12).prop_map(Operation::PushBatch),
        10 => Just(Operation::Pop),
        5 => Just(Operation::PopQuiet),
        5 => (0_usize..12, 0_usize..12).prop_map(|(max, take)| Operation::PopBatch(max, take)),
        1 => Just(Operation::CloseProducer),
        1 => Just(Operation::CloseConsumer),
    ]
}

proptest! {
    // The failing input is printed in full.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn behaves_as_a_bounded_queue(
        capacity in 1_usize..10,
        below_wrap in 0_usize..20,
        operations in prop::collection::vec(operation(), 0..200),
    ) {
        let position = usize::MAX - below_wrap;
        // Boxed, so that a value that is dropped twice or never shows.
        let (mut producer, mut consumer) = slot::ring_at(capacity, position);
        let mut model = VecDeque::new();
        let mut closed = false;
        let mut values = (0_u64..).map(Box::new);
        for operation in operations {
            match operation {
                Operation::Push | Operation::PushQuiet => {
                    let value = values.next().unwrap();
                    let expected = if closed {
                        Err(PushError::Closed(value.clone()))
                    } else if model.len() == capacity {
                        Err(PushError::Full(value.clone()))
                    } else {
                        model.push_back(value.clone());
                        Ok(())
                    };
                    let pushed = match operation {
                        Operation::Push => producer.try_push(value),
                        _ => producer.try_push_without_notify(value),
                    };
                    prop_assert_eq!(pushed, expected);
                }
                Operation::PushBatch(count) => {
                    let batch: Vec<_> = values.by_ref().take(count).collect();
                    let mut left = batch.clone().into_iter();
                    let pushed = producer.push_batch(&mut left);
                    if closed {
                        prop_assert_eq!(pushed, Err(RingClosed(())));
                        prop_assert_eq!(left.len(), count);
                    } else {
                        let taken = count.min(capacity - model.len());
                        prop_assert_eq!(pushed, Ok(taken));
                        prop_assert_eq!(left.as_slice(), &batch[taken..]);
                        model.extend(batch.into_iter().take(taken));
                    }
                }
                Operation::Pop | Operation::PopQuiet => {
                    let expected = model.pop_front().ok_or(match closed {
                        true => PopError::Closed,
                        false => PopError::Empty,
                    });
                    let popped = match operation {
                        Operation::Pop => consumer.try_pop(),
                        _ => consumer.try_pop_without_notify(),
                    };
                    prop_assert_eq!(popped, expected);
                }
                Operation::PopBatch(max, take) => {
                    let mut batch = consumer.pop_batch(max);
                    prop_assert_eq!(batch.len(), max.min(model.len()));
                    let popped: Vec<_> = batch.by_ref().take(take).collect();
                    let left = batch.len();
                    drop(batch);
                    let expected: Vec<_> = model.drain(..max.min(take).min(model.len())).collect();
                    prop_assert_eq!(&popped, &expected);
                    prop_assert!(left <= model.len());
                }
                Operation::CloseProducer => {
                    producer.close();
                    closed = true;
                }
                Operation::CloseConsumer => {
                    consumer.close();
                    closed = true;
                }
            }
            prop_assert_eq!(producer.len(), model.len());
            prop_assert_eq!(consumer.len(), model.len());
            prop_assert_eq!(consumer.is_closed(), closed);
        }
        let batch: Vec<_> = consumer.pop_batch(usize::MAX).collect();
        prop_assert_eq!(batch, model.into_iter().collect::<Vec<_>>());
    }
}
