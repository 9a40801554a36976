//! The byte ring against a queue that is obviously right, under random operations.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;

use deltawire_channels::ring::byte::{self, Ahead};
use deltawire_channels::ring::{ReadError, ReserveError};
use deltawire_framing::{Channel, FrameHeader, Kind};
use proptest::prelude::*;
use zerocopy::IntoBytes;

#[derive(Clone, Debug)]
enum Operation {
    /// Reserves so many bytes and commits so many of them, at least one.
    Write(usize, usize),
    /// Reserves so many bytes and drops the grant.
    Reserve(usize),
    Read,
    /// Reads, and writes over what was read.
    ReadOver,
    ReadRun(usize),
    ReadAhead,
    /// Releases the one of this index that was read ahead, counted around.
    Release(usize),
    Close,
}

fn operation() -> impl Strategy<Value = Operation> {
    let len = prop_oneof![4 => 1_usize..40, 2 => 1_usize..300, 1 => 1_usize..5_000];
    prop_oneof![
        12 => (len.clone(), 0_usize..300).prop_map(|(reserve, less)| Operation::Write(reserve, less)),
        2 => len.prop_map(Operation::Reserve),
        6 => Just(Operation::Read),
        2 => Just(Operation::ReadOver),
        4 => (16_usize..300).prop_map(Operation::ReadRun),
        4 => Just(Operation::ReadAhead),
        6 => (0_usize..8).prop_map(Operation::Release),
        1 => Just(Operation::Close),
    ]
}

fn header(len: usize) -> FrameHeader {
    FrameHeader::whole(Kind::Opaque, Channel::Data, len).unwrap()
}

/// A frame whose body tells it from others.
fn frame(number: usize, len: usize) -> Vec<u8> {
    let mut bytes = header(len).as_bytes().to_vec();
    bytes.extend((0..len).map(|at| (number * 31 + at) as u8));
    bytes
}

proptest! {
    // The failing input is printed in full.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn behaves_as_a_bounded_queue_of_frames(
        capacity in prop::sample::select(vec![64_usize, 128, 256, 512, 8_192]),
        below_wrap in 1_usize..40,
        operations in prop::collection::vec(operation(), 0..200),
    ) {
        let position = 0_usize.wrapping_sub(below_wrap * 16);
        let (mut producer, mut consumer) = byte::ring_at(capacity, position);
        let mut model: VecDeque<Vec<u8>> = VecDeque::new();
        let mut ahead: Vec<(Ahead, Vec<u8>)> = Vec::new();
        let mut closed = false;
        for (number, operation) in operations.into_iter().enumerate() {
            match operation {
                Operation::Write(reserve, less) => {
                    let was_empty = producer.is_empty();
                    match producer.try_reserve(reserve) {
                        Ok(mut grant) => {
                            prop_assert!(!closed);
                            prop_assert_eq!(grant.body_mut().len(), reserve);
                            let frame = frame(number, reserve.saturating_sub(less).max(1));
                            let len = frame.len() - FrameHeader::SIZE;
                            grant.body_mut().fill(0xee);
                            grant.body_mut()[..len].copy_from_slice(&frame[FrameHeader::SIZE..]);
                            prop_assert_eq!(grant.commit(header(len)), Ok(()));
                            model.push_back(frame);
                        }
                        Err(error) => check_refusal(error, reserve, capacity, closed, was_empty)?,
                    }
                }
                Operation::Reserve(reserve) => {
                    if let Ok(mut grant) = producer.try_reserve(reserve) {
                        grant.body_mut().fill(0xee);
                    }
                }
                Operation::Read => match consumer.try_read() {
                    Ok(view) => {
                        let expected = model.pop_front().unwrap();
                        prop_assert_eq!(&view[..], &expected[..]);
                        prop_assert_eq!(view.frame().as_bytes(), &expected[..]);
                    }
                    Err(error) => check_empty(error, &model, closed)?,
                },
                Operation::ReadOver => {
                    if let Ok(mut view) = consumer.try_read() {
                        prop_assert_eq!(view.bytes_mut(), &model.pop_front().unwrap()[..]);
                        view.bytes_mut().fill(0xff);
                        view.release_without_notify();
                    }
                }
                Operation::ReadRun(max_len) => {
                    let next = consumer.peek_len();
                    prop_assert_eq!(next, model.front().map(Vec::len));
                    match consumer.read_run(max_len) {
                        Some(run) => {
                            prop_assert!(run.len() <= max_len);
                            let mut walked = 0;
                            for frame in run.frames() {
                                let expected = model.pop_front().unwrap();
                                prop_assert_eq!(frame.unwrap().as_bytes(), &expected[..]);
                                walked += 1;
                            }
                            prop_assert_eq!(run.frame_count(), walked);
                        }
                        None => prop_assert!(next.is_none_or(|len| len > max_len)),
                    }
                }
                Operation::ReadAhead => match consumer.read_ahead() {
                    Ok(message) => {
                        let expected = model.pop_front().unwrap();
                        prop_assert_eq!(message.len(), expected.len());
                        ahead.push((message, expected));
                    }
                    Err(error) => check_empty(error, &model, closed)?,
                },
                Operation::Release(index) => {
                    if !ahead.is_empty() {
                        let (message, expected) = ahead.remove(index % ahead.len());
                        prop_assert_eq!(consumer.bytes_mut(&message), &expected[..]);
                        consumer.release(message);
                    }
                }
                Operation::Close => {
                    producer.close();
                    closed = true;
                }
            }
            for (message, expected) in &ahead {
                prop_assert_eq!(consumer.bytes(message), &expected[..]);
            }
            let held: usize = model.iter().chain(ahead.iter().map(|(_, frame)| frame))
                .map(|frame| frame.len().next_multiple_of(16))
                .sum();
            prop_assert!((held..=capacity).contains(&consumer.queued_bytes()));
            prop_assert_eq!(producer.queued_bytes(), consumer.queued_bytes());
        }
        for (message, expected) in ahead {
            prop_assert_eq!(consumer.bytes(&message), &expected[..]);
            consumer.release_without_notify(message);
        }
        for expected in model {
            prop_assert_eq!(&consumer.try_read().unwrap()[..], &expected[..]);
        }
        prop_assert!(consumer.is_empty());
        prop_assert_eq!(consumer.queued_bytes(), 0);
        if !closed {
            // The largest message fits, wherever the ring stands.
            prop_assert!(producer.try_reserve(capacity - FrameHeader::SIZE).is_ok());
        }
    }
}

fn check_refusal(
    error: ReserveError,
    body_len: usize,
    capacity: usize,
    closed: bool,
    is_empty: bool,
) -> Result<(), TestCaseError> {
    match error {
        ReserveError::Closed => prop_assert!(closed),
        ReserveError::TooLarge { needed, .. } => {
            prop_assert_eq!(needed, body_len + FrameHeader::SIZE);
            prop_assert!(needed > capacity);
        }
        ReserveError::Full { needed, free } => {
            prop_assert!(needed > free);
            prop_assert!(!is_empty, "an empty ring takes all that fits it");
        }
        other => panic!("{other}"),
    }
    Ok(())
}

fn check_empty(
    error: ReadError,
    model: &VecDeque<Vec<u8>>,
    closed: bool,
) -> Result<(), TestCaseError> {
    prop_assert!(model.is_empty());
    prop_assert_eq!(error == ReadError::Closed, closed);
    Ok(())
}
