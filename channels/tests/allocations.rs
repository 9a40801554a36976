//! A ring takes its memory when it is first used, in one piece, and nothing more.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

use std::task::{Context, Poll, Waker};

use allocation_counter::measure;
use deltawire_channels::ring::{byte, slot};
use deltawire_framing::{Channel, FrameHeader, Kind};

#[test]
fn a_slot_ring_allocates_its_slots() {
    let (mut producer, mut consumer) = slot::ring::<u64>(10);
    let mut context = Context::from_waker(Waker::noop());
    let allocations = measure(|| {
        for _ in 0..100 {
            assert!(consumer.poll_pop(&mut context).is_pending());
            producer.try_push(1).unwrap();
            producer.try_push_without_notify(2).unwrap();
            assert_eq!(producer.push_batch(&mut (3..100)), Ok(8));
            assert!(producer.poll_ready(&mut context).is_pending());
            producer.try_push(0).unwrap_err();
            assert_eq!(consumer.poll_pop(&mut context), Poll::Ready(Some(1)));
            assert_eq!(consumer.try_pop_without_notify(), Ok(2));
            assert_eq!(consumer.pop_batch(10).sum::<u64>(), (3..11).sum());
        }
    });
    assert_eq!((allocations.count_total, allocations.bytes_total), (1, 16 * 8));
}

#[test]
fn a_byte_ring_allocates_for_what_is_read_ahead() {
    let (mut producer, mut consumer) = byte::ring(256);
    let mut context = Context::from_waker(Waker::noop());
    let header = FrameHeader::whole(Kind::Opaque, Channel::Data, 20).unwrap();
    let allocations = measure(|| {
        for _ in 0..100 {
            assert!(consumer.poll_readable(&mut context).is_pending());
            for _ in 0..2 {
                producer.try_reserve(20).unwrap().commit(header).unwrap();
                producer.try_reserve(20).unwrap().commit_without_notify(header).unwrap();
            }
            assert!(producer.poll_reserve(&mut context, 200).is_pending());
            drop(consumer.try_read().unwrap());
            let ahead = consumer.read_ahead().unwrap();
            while consumer.read_run(100).is_some() {}
            consumer.release(ahead);
            drop(producer.try_reserve(20).unwrap());
        }
    });
    assert_eq!((allocations.count_total, allocations.bytes_total), (1, 8));
}
