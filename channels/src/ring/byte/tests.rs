use std::mem;
use std::task::{Context, Waker};

use deltawire_framing::{Channel, FrameHeader, Kind};
use zerocopy::{IntoBytes, TryFromBytes};

use super::{Consumer, MIN_CAPACITY, Producer, ring, ring_at, room_for};
use crate::ring::{CommitError, ReadError, ReserveError};

fn header(len: usize) -> FrameHeader {
    FrameHeader::whole(Kind::Opaque, Channel::Data, len).unwrap()
}

fn write(producer: &mut Producer, byte: u8, len: usize) {
    let mut grant = producer.try_reserve(len).unwrap();
    grant.body_mut().fill(byte);
    grant.commit(header(len)).unwrap();
}

fn read(consumer: &mut Consumer) -> (u8, usize) {
    let view = consumer.try_read().unwrap();
    let frame = view.frame();
    (frame.body()[0], frame.body().len())
}

/// Leaves the ring empty, its positions a whole ring further, and what looks like a frame at every
/// step.
fn soil(producer: &mut Producer, consumer: &mut Consumer) {
    write(producer, 0, producer.capacity() - FrameHeader::SIZE);
    let mut view = consumer.try_read().unwrap();
    for step in view.bytes_mut().chunks_exact_mut(FrameHeader::SIZE) {
        step.copy_from_slice(header(1).as_bytes());
    }
}

#[test]
fn the_largest_message_fills_the_ring() {
    let (mut producer, mut consumer) = ring(MIN_CAPACITY);
    write(&mut producer, 1, 48);
    assert_eq!(consumer.queued_bytes(), 64);
    assert_eq!(read(&mut consumer), (1, 48));
    let too_large = |needed| ReserveError::TooLarge { needed, capacity: 64 };
    assert_eq!(producer.try_reserve(49).unwrap_err(), too_large(65));
    let endless = producer.try_reserve(usize::MAX).unwrap_err();
    assert_eq!(endless, too_large(usize::MAX));
}

#[test]
fn a_message_of_the_whole_ring_fits_wherever_the_ring_stands() {
    for start in (0..256).step_by(16) {
        let (mut producer, mut consumer) = ring_at(256, start);
        for _ in 0..3 {
            write(&mut producer, 7, 240);
            assert_eq!(read(&mut consumer), (7, 240));
        }
    }
}

#[test]
fn a_message_of_the_whole_ring_waits_until_all_is_released() {
    let (mut producer, mut consumer) = ring(256);
    write(&mut producer, 1, 16);
    let kept = consumer.read_ahead().unwrap();
    let full = producer.try_reserve(240).unwrap_err();
    assert_eq!(full, ReserveError::Full { needed: 224 + 256, free: 224 });
    assert_eq!(consumer.bytes(&kept)[16..], [1; 16]);
    consumer.release(kept);
    write(&mut producer, 2, 240);
    assert_eq!(read(&mut consumer), (2, 240));
}

#[test]
fn a_message_never_wraps() {
    let (mut producer, mut consumer) = ring(256);
    soil(&mut producer, &mut consumer);
    write(&mut producer, 1, 128);
    write(&mut producer, 2, 16);
    assert_eq!(read(&mut consumer), (1, 128));
    // 80 bytes are left before the end, 112 are needed.
    write(&mut producer, 3, 96);
    assert_eq!(consumer.queued_bytes(), 32 + 80 + 112);
    assert_eq!(producer.queued_bytes(), 32 + 80 + 112);
    assert_eq!(read(&mut consumer), (2, 16));
    assert_eq!(consumer.peek_len(), Some(112));
    assert_eq!(read(&mut consumer), (3, 96));
    assert_eq!(consumer.queued_bytes(), 0);
}

/// Where in the ring a message of 100 bytes is written.
fn place(producer: &mut Producer) -> usize {
    let mut grant = producer.try_reserve(100).unwrap();
    let place = grant.body_mut().as_ptr() as usize;
    grant.body_mut().fill(7);
    grant.commit(header(100)).unwrap();
    place
}

#[test]
fn an_empty_ring_starts_again_at_its_start() {
    let (mut producer, mut consumer) = ring_at(1 << 20, 0_usize.wrapping_sub(3 << 20));
    let first = place(&mut producer);
    assert_eq!(read(&mut consumer), (7, 100));
    for _ in 0..100_000 {
        assert!(place(&mut producer) - first < 4_096);
        assert_eq!(read(&mut consumer), (7, 100));
        assert_eq!((producer.queued_bytes(), consumer.queued_bytes()), (0, 0));
    }
}

#[test]
fn a_ring_that_holds_something_goes_on_where_it_is() {
    let (mut producer, mut consumer) = ring(1 << 16);
    let first = place(&mut producer);
    let kept = consumer.read_ahead().unwrap();
    let mut farthest = first;
    for _ in 0..100 {
        farthest = place(&mut producer);
        assert_eq!(read(&mut consumer), (7, 100));
    }
    assert_eq!(farthest, first + 100 * 128);
    // All of it is given back at once, and one that is dropped on the way changes nothing.
    consumer.release(kept);
    drop(producer.try_reserve(1 << 15).unwrap());
    assert_eq!((producer.queued_bytes(), consumer.queued_bytes()), (0, 0));
    assert_eq!(consumer.try_read().unwrap_err(), ReadError::Empty);
    assert_eq!(place(&mut producer), first);
    assert_eq!((producer.queued_bytes(), consumer.queued_bytes()), (128, 128));
    assert_eq!(read(&mut consumer), (7, 100));
}

#[test]
fn gaps_are_zero() {
    let (mut producer, mut consumer) = ring(128);
    soil(&mut producer, &mut consumer);
    // Reserves more than it uses, and soils that, too.
    let mut grant = producer.try_reserve(16).unwrap();
    grant.body_mut().fill(0xff);
    grant.commit(header(3)).unwrap();
    write(&mut producer, 2, 16);
    let run = consumer.read_run(1_000).unwrap();
    assert_eq!(run.frame_count(), 2);
    assert_eq!(run[16..19], [0xff; 3]);
    assert_eq!(run[19..32], [0; 13]);
    assert_eq!(run.len(), 64);
}

#[test]
fn a_header_has_to_fit_its_grant() {
    let (mut producer, mut consumer) = ring(128);
    let grant = producer.try_reserve(5).unwrap();
    let error = grant.commit(header(6)).unwrap_err();
    let expected = CommitError::Length { message_len: 6, reserved: 5 };
    assert_eq!(error, expected);

    let mut bytes = [0; 16];
    bytes[..3].copy_from_slice(&[1, 3, 1]);
    bytes[8] = 20;
    bytes[14] = 2;
    let fragment = FrameHeader::try_read_from_bytes(&bytes).unwrap();
    let error = producer.try_reserve(20).unwrap().commit(fragment);
    assert_eq!(error, Err(CommitError::Fragment { index: 0, count: 2 }));

    bytes[8] = 0;
    bytes[14] = 1;
    let empty = FrameHeader::try_read_from_bytes(&bytes).unwrap();
    let error = producer.try_reserve(20).unwrap().commit_without_notify(empty);
    assert!(matches!(error, Err(CommitError::Length { .. })));
    assert_eq!(consumer.try_read().unwrap_err(), ReadError::Empty);
}

#[test]
fn runs_end_at_the_limit_and_at_the_end_of_the_ring() {
    let (mut producer, mut consumer) = ring(128);
    for byte in 0..4 {
        write(&mut producer, byte, 10);
    }
    assert!(consumer.read_run(25).is_none());
    assert_eq!(consumer.read_run(57).unwrap().frame_count(), 1);
    assert_eq!(consumer.read_run(58).unwrap().frame_count(), 2);
    write(&mut producer, 5, 10);
    write(&mut producer, 6, 10);
    assert_eq!(consumer.read_run(1_000).unwrap().len(), 26);
    let run = consumer.read_run(1_000).unwrap();
    let bytes: Vec<u8> = run.frames().map(|frame| frame.unwrap().body()[0]).collect();
    assert_eq!(bytes, [5, 6]);
}

#[test]
fn a_leaked_view_is_given_back_with_the_next() {
    let (mut producer, mut consumer) = ring(128);
    write(&mut producer, 1, 16);
    write(&mut producer, 2, 16);
    let mut view = consumer.try_read().unwrap();
    view.bytes_mut().fill(0xff);
    mem::forget(view);
    assert_eq!(consumer.queued_bytes(), 64);
    assert_eq!(read(&mut consumer), (2, 16));
    assert_eq!(consumer.queued_bytes(), 0);
}

#[test]
fn views_wait_for_what_was_read_ahead_of_them() {
    let (mut producer, mut consumer) = ring(128);
    for byte in 0..4 {
        write(&mut producer, byte, 16);
    }
    let first = consumer.read_ahead().unwrap();
    assert_eq!(read(&mut consumer), (1, 16));
    let third = consumer.read_ahead().unwrap();
    assert_eq!(consumer.queued_bytes(), 128);
    consumer.release(first);
    assert_eq!(consumer.queued_bytes(), 64);
    consumer.bytes_mut(&third)[16..].fill(9);
    assert_eq!(consumer.bytes(&third)[16..], [9; 16]);
    assert_eq!(read(&mut consumer), (3, 16));
    assert_eq!(consumer.queued_bytes(), 64);
    consumer.release(third);
    assert_eq!(consumer.queued_bytes(), 0);
}

#[test]
#[should_panic(expected = "the message was read from this ring")]
fn a_message_of_another_ring_is_not_released() {
    let (mut producer, mut consumer) = ring(64);
    write(&mut producer, 1, 16);
    let (_producer, mut other) = ring(64);
    other.release(consumer.read_ahead().unwrap());
}

#[test]
#[should_panic(expected = "the range is the reader's")]
fn a_message_of_another_ring_is_not_read() {
    let (mut producer, mut consumer) = ring(64);
    write(&mut producer, 1, 16);
    let (_producer, other) = ring(64);
    let _ = other.bytes(&consumer.read_ahead().unwrap());
}

#[test]
#[should_panic(expected = "the frame was written over")]
fn a_frame_that_was_written_over_is_none() {
    let (mut producer, mut consumer) = ring(64);
    write(&mut producer, 1, 16);
    let mut view = consumer.try_read().unwrap();
    view.bytes_mut().fill(0xff);
    let _ = view.frame();
}

#[test]
fn what_is_left_can_be_read_after_close() {
    let (mut producer, mut consumer) = ring(128);
    write(&mut producer, 1, 16);
    consumer.close();
    assert!(producer.is_closed() && consumer.is_closed());
    assert_eq!(producer.try_reserve(1).unwrap_err(), ReserveError::Closed);
    assert_eq!(read(&mut consumer), (1, 16));
    assert_eq!(consumer.try_read().unwrap_err(), ReadError::Closed);
    let mut context = Context::from_waker(Waker::noop());
    assert!(consumer.poll_readable(&mut context).is_ready());
    assert!(producer.poll_reserve(&mut context, 1).is_ready());
}

#[test]
fn memory_is_aligned_to_lines() {
    let (mut producer, _consumer) = ring(4_096);
    let body = producer.try_reserve(48).unwrap().body_mut().as_ptr();
    assert_eq!((body as usize - FrameHeader::SIZE) % 64, 0);
}

#[test]
fn room_is_counted_in_steps() {
    assert_eq!([0, 1, 16, 17].map(room_for), [16, 32, 32, 48]);
}

#[test]
fn capacities_are_powers_of_two_within_limits() {
    for capacity in [0, 32, 63, 65, 96, 1 << 31, usize::MAX] {
        assert!(std::panic::catch_unwind(|| ring(capacity)).is_err());
    }
}

#[test]
fn what_is_kept_can_be_read_again_wherever_the_ring_stands() {
    let mut seed = 1_u64;
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % below
    };
    for capacity in [64, 128, 1_024, 65_536] {
        for start in [0, capacity / 2, 0_usize.wrapping_sub(capacity)] {
            let (longest, run) = (capacity.min(3_000) as u64, (capacity as u64 / 4).max(200));
            let (mut producer, mut consumer) = ring_at(capacity, start);
            consumer.keep();
            // Numbers of messages: the next to write, to read, to acknowledge; and their lengths.
            let (mut written, mut next, mut acknowledged) = (0_u64, 0_u64, 0_u64);
            let mut lens = Vec::new();
            for _ in 0..20_000 {
                match random(9) {
                    0..3 => {
                        let len = 1 + random(longest - 16) as usize;
                        if let Ok(mut grant) = producer.try_reserve(len) {
                            grant.body_mut().fill(written as u8);
                            grant.commit(header(len)).unwrap();
                            lens.push(len);
                            written += 1;
                        }
                    }
                    3..5 => match consumer.try_read() {
                        Ok(view) => {
                            let len = lens[next as usize];
                            assert_eq!(view.frame().body(), vec![next as u8; len]);
                            next += 1;
                        }
                        Err(error) => assert_eq!((error, next), (ReadError::Empty, written)),
                    },
                    5 => {
                        if let Some(run) = consumer.read_run(1 + random(run) as usize) {
                            for frame in run.frames() {
                                let body = frame.unwrap().body();
                                assert_eq!(body, vec![next as u8; lens[next as usize]]);
                                next += 1;
                            }
                        }
                    }
                    6 => {
                        let kept = &lens[acknowledged as usize..next as usize];
                        let bytes: usize = kept.iter().map(|len| room_for(*len)).sum();
                        assert_eq!(consumer.kept_bytes(), bytes);
                        let count = random(kept.len() as u64 + 1);
                        let first = kept.iter().take(count as usize);
                        let len = first.map(|len| room_for(*len)).sum::<usize>();
                        // Where no frame ends.
                        assert!(!consumer.acknowledge(len + 1));
                        assert!(consumer.acknowledge(len));
                        acknowledged += count;
                    }
                    7 => {
                        assert_eq!(consumer.read_again(), next - acknowledged);
                        next = acknowledged;
                    }
                    _ => {
                        let mut number = acknowledged;
                        consumer.look_through(|frame| {
                            let body = &frame[FrameHeader::SIZE..];
                            assert_eq!(body, vec![number as u8; lens[number as usize]]);
                            number += 1;
                        });
                        assert_eq!(number, written);
                    }
                }
            }
            assert!(acknowledged > 100, "{acknowledged} of {written}");
        }
    }
}

#[test]
fn a_message_read_ahead_is_read_again_whole() {
    let (mut producer, mut consumer) = ring(256);
    consumer.keep();
    write(&mut producer, 1, 48);
    write(&mut producer, 2, 48);
    assert_eq!(read(&mut consumer), (1, 48));
    let ahead = consumer.read_ahead().unwrap();
    consumer.forget(ahead);
    assert_eq!(consumer.read_again(), 2);
    assert_eq!(read(&mut consumer), (1, 48));
    assert!(!consumer.acknowledge(48) && !consumer.acknowledge(80));
    assert!(consumer.acknowledge(64));
    assert_eq!(read(&mut consumer), (2, 48));
    assert_eq!(consumer.queued_bytes(), 64);
    assert!(!consumer.acknowledge(128) && consumer.acknowledge(64));
    assert_eq!((consumer.queued_bytes(), consumer.kept_bytes()), (0, 0));
}
