//! The byte ring: what is in it, when, and whose.

use deltawire_channels::ring::byte::{self, Consumer, Producer};
use deltawire_channels::ring::{CommitError, ReadError, ReserveError};
use deltawire_framing::{Channel, FrameHeader, Kind};
use loom::future::block_on;
use loom::thread;

/// A ring whose positions wrap around after 32 bytes, one message of [`commit`].
pub(crate) fn wrapping(capacity: usize) -> (Producer, Consumer) {
    byte::ring_at(capacity, 0_usize.wrapping_sub(32))
}

pub(crate) fn header(len: usize) -> FrameHeader {
    FrameHeader::whole(Kind::Opaque, Channel::Data, len).unwrap()
}

/// Commits 16 bytes of `byte`, which take up 32.
pub(crate) fn commit(producer: &mut Producer, byte: u8) {
    let mut grant = producer.try_reserve(16).unwrap();
    grant.body_mut().fill(byte);
    grant.commit(header(16)).unwrap();
}

pub(crate) fn commit_without_notify(producer: &mut Producer, byte: u8) {
    let mut grant = producer.try_reserve(16).unwrap();
    grant.body_mut().fill(byte);
    grant.commit_without_notify(header(16)).unwrap();
}

/// Waits for room and commits `len` bytes of `byte`.
fn write(producer: &mut Producer, byte: u8, len: usize) {
    let mut grant = block_on(producer.reserve(len)).unwrap();
    grant.body_mut().fill(byte);
    grant.commit(header(len)).unwrap();
}

/// Waits for a message and returns its bytes, which are all the same, and its length.
fn read(consumer: &mut Consumer) -> Option<(u8, usize)> {
    block_on(consumer.readable()).ok()?;
    let view = consumer.try_read().unwrap();
    let frame = view.frame();
    let body = frame.body();
    assert!(body.iter().all(|byte| *byte == body[0]));
    Some((body[0], body.len()))
}

pub(crate) fn messages_cross_the_wrap_in_order() {
    let (mut producer, mut consumer) = wrapping(64);
    let thread = thread::spawn(move || {
        for byte in 0..3 {
            write(&mut producer, byte, 16);
        }
    });
    for byte in 0..3 {
        assert_eq!(read(&mut consumer), Some((byte, 16)));
    }
    assert_eq!(read(&mut consumer), None);
    thread.join().unwrap();
}

pub(crate) fn full_then_not() {
    let (mut producer, mut consumer) = wrapping(64);
    commit(&mut producer, 1);
    commit(&mut producer, 2);
    let thread = thread::spawn(move || {
        assert_eq!(consumer.try_read().unwrap().frame().body(), [1; 16]);
        assert_eq!(consumer.try_read().unwrap().frame().body(), [2; 16]);
        consumer
    });
    match producer.try_reserve(16) {
        Ok(mut grant) => grant.body_mut().fill(3),
        Err(ReserveError::Full { needed, free }) => assert_eq!((needed, free), (32, 0)),
        Err(error) => panic!("{error}"),
    }
    drop(thread.join().unwrap());
    assert_eq!(producer.try_reserve(16).unwrap_err(), ReserveError::Closed);
}

pub(crate) fn a_dropped_grant_leaves_nothing() {
    let (mut producer, mut consumer) = byte::ring(64);
    let thread = thread::spawn(move || {
        let mut grant = producer.try_reserve(48).unwrap();
        grant.body_mut().fill(1);
        drop(grant);
        commit(&mut producer, 2);
    });
    assert_eq!(read(&mut consumer), Some((2, 16)));
    assert_eq!(read(&mut consumer), None);
    thread.join().unwrap();
}

pub(crate) fn drop_in_mid_grant() {
    let (mut producer, mut consumer) = wrapping(64);
    let thread = thread::spawn(move || {
        commit(&mut producer, 1);
        producer.try_reserve(16).unwrap().body_mut().fill(2);
    });
    assert_eq!(read(&mut consumer), Some((1, 16)));
    assert_eq!(read(&mut consumer), None);
    thread.join().unwrap();
}

pub(crate) fn drop_in_mid_view() {
    let (mut producer, mut consumer) = wrapping(64);
    commit(&mut producer, 1);
    let thread = thread::spawn(move || {
        let kept = consumer.read_ahead().unwrap();
        assert_eq!(consumer.bytes(&kept)[16..], [1; 16]);
    });
    let mut grant = producer.try_reserve(16);
    if let Ok(grant) = &mut grant {
        grant.body_mut().fill(2);
    }
    thread.join().unwrap();
    if let Ok(grant) = grant {
        assert_eq!(grant.commit(header(16)), Err(CommitError::Closed));
    }
    assert_eq!(producer.try_reserve(16).unwrap_err(), ReserveError::Closed);
}

pub(crate) fn skip_goes_along_with_its_message() {
    // 80 of 128 bytes, then 64 bytes that do not fit in the 48 behind them.
    let (mut producer, mut consumer) = byte::ring_at(128, 0_usize.wrapping_sub(128));
    let thread = thread::spawn(move || {
        write(&mut producer, 1, 64);
        write(&mut producer, 2, 48);
    });
    assert_eq!(read(&mut consumer), Some((1, 64)));
    assert_eq!(read(&mut consumer), Some((2, 48)));
    assert_eq!(read(&mut consumer), None);
    thread.join().unwrap();
}

/// A producer that waits for nothing but what was skipped, while what lies behind it is kept.
pub(crate) fn stepping_over_a_skip_wakes_a_parked_producer() {
    let (mut producer, mut consumer) = byte::ring(256);
    write(&mut producer, 1, 128);
    write(&mut producer, 2, 16);
    assert_eq!(read(&mut consumer), Some((1, 128)));
    write(&mut producer, 3, 80);
    assert_eq!(read(&mut consumer), Some((2, 16)));
    let thread = thread::spawn(move || write(&mut producer, 4, 80));
    let kept = consumer.read_ahead().unwrap();
    assert_eq!(read(&mut consumer), Some((4, 80)));
    assert_eq!(consumer.bytes(&kept)[16..], [3; 80]);
    consumer.release(kept);
    thread.join().unwrap();
}

pub(crate) fn a_message_of_the_whole_ring_waits_for_the_rest() {
    // All of the ring, while the write index is in its middle.
    let (mut producer, mut consumer) = wrapping(64);
    let thread = thread::spawn(move || {
        commit(&mut producer, 1);
        write(&mut producer, 2, 48);
    });
    assert_eq!(read(&mut consumer), Some((1, 16)));
    assert_eq!(read(&mut consumer), Some((2, 48)));
    assert_eq!(read(&mut consumer), None);
    thread.join().unwrap();
}

/// A page is 32 bytes here: one message, so each next one looks whether the ring is empty.
pub(crate) fn an_empty_ring_starts_again() {
    let (mut producer, mut consumer) = byte::ring_at(128, 0_usize.wrapping_sub(96));
    let thread = thread::spawn(move || {
        for byte in 1..4 {
            write(&mut producer, byte, 16);
        }
        producer
    });
    for byte in 1..4 {
        assert_eq!(read(&mut consumer), Some((byte, 16)));
    }
    let producer = thread.join().unwrap();
    assert_eq!((producer.queued_bytes(), consumer.queued_bytes()), (0, 0));
}

/// What is read ahead keeps the ring from starting again; what is counted never exceeds the ring.
pub(crate) fn a_ring_that_is_held_does_not_start_again() {
    let (mut producer, mut consumer) = byte::ring_at(128, 0_usize.wrapping_sub(64));
    commit(&mut producer, 1);
    let thread = thread::spawn(move || {
        let first = consumer.read_ahead().unwrap();
        let second = consumer.read_ahead();
        assert!(consumer.queued_bytes() <= 128);
        assert_eq!(consumer.bytes(&first)[16..], [1; 16]);
        if let Ok(second) = &second {
            assert_eq!(consumer.bytes(second)[16..], [2; 16]);
        }
        consumer.release(first);
        assert!(consumer.queued_bytes() <= 128);
        consumer
    });
    commit(&mut producer, 2);
    let third = producer.try_reserve(80).is_ok_and(|mut grant| {
        grant.body_mut().fill(3);
        grant.commit(header(80)).is_ok()
    });
    assert!(producer.queued_bytes() <= 128);
    drop((thread.join().unwrap(), third));
}

pub(crate) fn read_ahead_released_out_of_order() {
    let (mut producer, mut consumer) = wrapping(64);
    commit(&mut producer, 1);
    commit(&mut producer, 2);
    let thread = thread::spawn(move || write(&mut producer, 3, 16));
    let first = consumer.read_ahead().unwrap();
    let second = consumer.read_ahead().unwrap();
    consumer.release(second);
    assert_eq!(consumer.bytes(&first)[16..], [1; 16]);
    consumer.release(first);
    assert_eq!(read(&mut consumer), Some((3, 16)));
    thread.join().unwrap();
}

pub(crate) fn written_over_then_released() {
    let (mut producer, mut consumer) = wrapping(64);
    let thread = thread::spawn(move || {
        write(&mut producer, 1, 48);
        write(&mut producer, 2, 16);
    });
    block_on(consumer.readable()).unwrap();
    consumer.try_read().unwrap().bytes_mut().fill(0xff);
    assert_eq!(read(&mut consumer), Some((2, 16)));
    assert_eq!(read(&mut consumer), None);
    thread.join().unwrap();
}

pub(crate) fn close_races_with_commit() {
    let (mut producer, mut consumer) = wrapping(64);
    let thread = thread::spawn(move || {
        let mut committed = 0;
        for byte in 1..3 {
            match producer.try_reserve(16) {
                Ok(mut grant) => {
                    grant.body_mut().fill(byte);
                    match grant.commit(header(16)) {
                        Ok(()) => committed += 1,
                        Err(error) => assert_eq!(error, CommitError::Closed),
                    }
                }
                Err(error) => assert_eq!(error, ReserveError::Closed),
            }
        }
        committed
    });
    consumer.close();
    let early = usize::from(consumer.try_read().is_ok());
    let committed = thread.join().unwrap();
    let late = (0..3).filter(|_| consumer.try_read().is_ok()).count();
    assert_eq!(early + late, committed);
    assert_eq!(consumer.try_read().unwrap_err(), ReadError::Closed);
}

/// What was committed is there at the last look; what comes too late for it is refused.
pub(crate) fn a_commit_is_in_time_or_refused() {
    let (mut producer, mut consumer) = wrapping(64);
    let thread = thread::spawn(move || {
        let mut grant = producer.try_reserve(16).ok()?;
        grant.body_mut().fill(1);
        grant.commit(header(16)).ok()
    });
    consumer.seal();
    let last_look = consumer.try_read().is_ok();
    let committed = thread.join().unwrap().is_some();
    assert!(last_look || !committed);
}

pub(crate) fn leftovers_are_readable_after_close() {
    let (mut producer, mut consumer) = wrapping(64);
    let thread = thread::spawn(move || {
        commit_without_notify(&mut producer, 1);
        commit_without_notify(&mut producer, 2);
    });
    let mut read = 0;
    for _ in 0..3 {
        match consumer.try_read() {
            Ok(view) => {
                read += view.frame().body()[0];
                view.release_without_notify();
            }
            Err(ReadError::Closed) => assert_eq!(read, 3),
            Err(_) => {}
        }
    }
    thread.join().unwrap();
}

/// What was read before the end is not refused.
pub(crate) fn a_commit_that_was_read_is_not_refused() {
    let (mut producer, mut consumer) = wrapping(64);
    let thread = thread::spawn(move || {
        let mut grant = producer.try_reserve(16).ok()?;
        grant.body_mut().fill(1);
        grant.commit(header(16)).ok()
    });
    let read = consumer.try_read().is_ok();
    consumer.seal();
    let committed = thread.join().unwrap().is_some();
    assert!(committed || !read);
}
