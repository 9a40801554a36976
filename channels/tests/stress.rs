//! Two threads and a million messages, or as many as `DELTAWIRE_STRESS` says, every one checked.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

use std::env;
use std::thread;

use deltawire_channels::ring::{byte, slot};
use deltawire_framing::{Channel, FrameHeader, Kind};
use pollster::block_on;

fn count() -> u64 {
    match env::var("DELTAWIRE_STRESS") {
        Ok(count) => count.parse().expect("DELTAWIRE_STRESS is a number of messages"),
        Err(_) => 1_000_000,
    }
}

/// Body length of a message: mostly small, now and then large, the same on both sides.
fn body_len(number: u64) -> usize {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    match mixed % 64 {
        0 => 8 + mixed as usize % 2_000,
        _ => 8 + mixed as usize % 56,
    }
}

#[test]
fn values_arrive_in_order_however_they_are_sent() {
    let count = count();
    let (mut producer, mut consumer) = slot::ring_at::<u64>(50, usize::MAX - 1_000);
    let writer = thread::spawn(move || {
        let mut next = 0;
        while next < count {
            match next % 5 {
                0 => {
                    let mut batch = next..count.min(next + 20);
                    block_on(producer.ready()).unwrap();
                    next += producer.push_batch(&mut batch).unwrap() as u64;
                    continue;
                }
                1 => {
                    while producer.try_push_without_notify(next).is_err() {
                        block_on(producer.ready()).unwrap();
                    }
                }
                _ => block_on(producer.push(next)).unwrap(),
            }
            next += 1;
        }
    });
    let mut next = 0;
    while let Some(value) = block_on(consumer.pop()) {
        assert_eq!(value, next);
        next += 1;
        if next % 3 == 0 {
            for value in consumer.pop_batch(10) {
                assert_eq!(value, next);
                next += 1;
            }
        } else if let Ok(value) = consumer.try_pop_without_notify() {
            assert_eq!(value, next);
            next += 1;
        }
    }
    assert_eq!(next, count);
    writer.join().unwrap();
}

#[test]
fn messages_arrive_whole_and_in_order_however_they_are_read() {
    let count = count();
    let (mut producer, mut consumer) = byte::ring_at(4_096, 0_usize.wrapping_sub(65_536));
    let writer = thread::spawn(move || {
        for number in 0..count {
            let len = body_len(number);
            let mut grant = block_on(producer.reserve(len)).unwrap();
            let body = grant.body_mut();
            body.fill(number as u8);
            body[..8].copy_from_slice(&number.to_le_bytes());
            let header = FrameHeader::whole(Kind::Opaque, Channel::Data, len).unwrap();
            if number % 3 == 0 {
                grant.commit(header).unwrap();
            } else {
                grant.commit_without_notify(header).unwrap();
            }
        }
    });
    let mut next = 0;
    // Waking costs microseconds, so the consumer parks now and then only.
    let mut empty = 0;
    loop {
        if consumer.is_empty() {
            empty += 1;
            if empty % 64 != 0 {
                thread::yield_now();
                continue;
            }
            if block_on(consumer.readable()).is_err() {
                break;
            }
        }
        match next % 4 {
            0 => {
                if let Some(run) = consumer.read_run(300) {
                    for frame in run.frames() {
                        check(frame.unwrap().body(), &mut next);
                    }
                    continue;
                }
                // Longer than that: alone.
                check(consumer.try_read().unwrap().frame().body(), &mut next);
            }
            1 => {
                let first = consumer.read_ahead().unwrap();
                let second = consumer.read_ahead();
                check(&consumer.bytes(&first)[FrameHeader::SIZE..], &mut next);
                if let Ok(second) = second {
                    check(&consumer.bytes(&second)[FrameHeader::SIZE..], &mut next);
                    consumer.release_without_notify(second);
                }
                consumer.release(first);
            }
            _ => {
                let view = consumer.try_read().unwrap();
                check(&view[FrameHeader::SIZE..], &mut next);
                view.release_without_notify();
            }
        }
    }
    assert_eq!(next, count);
    writer.join().unwrap();
}

fn check(body: &[u8], next: &mut u64) {
    assert_eq!(body.len(), body_len(*next));
    assert_eq!(body[..8], next.to_le_bytes());
    // Compared at once: this test is run unoptimized, too.
    let expected = [*next as u8; 2_048];
    assert_eq!(body[8..], expected[8..body.len()]);
    *next += 1;
}
