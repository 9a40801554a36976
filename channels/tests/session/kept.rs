//! Messages that the application keeps.

#![allow(clippy::disallowed_types)] // only counts

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use deltawire_channels::{Message, TryNextError};
use deltawire_framing::{Channel, DeltaFields, DocId};

use crate::pipe::{Link, configs};

const TENTH: Duration = Duration::from_millis(100);

fn open() -> Link {
    let mut link = Link::new(configs(), 1);
    link.run_for(TENTH);
    link
}

fn fields() -> DeltaFields {
    DeltaFields::new(DocId([7; 16]))
}

fn is_aligned(message: &Message) -> bool {
    message.delta().unwrap().payload().as_ptr().addr().is_multiple_of(16)
}

/// Takes what has come.
fn take(link: &mut Link) -> Vec<Message> {
    let mut taken = Vec::new();
    while let Ok(message) = link.peer(1).receive.try_take() {
        taken.push(message);
    }
    taken
}

#[test]
fn what_is_kept_is_not_copied_and_takes_its_part_of_the_window() {
    let mut link = open();
    let mut sent = 0_u8;
    let mut kept: Vec<Message> = Vec::new();
    // Until nothing goes any more.
    loop {
        let before = sent;
        while link.peer(0).send.try_send(fields(), &[sent; 10_000]).is_ok() {
            sent += 1;
        }
        link.run_for(2 * TENTH);
        kept.extend(take(&mut link));
        if sent == before {
            break;
        }
    }
    let stats = link.ends[1].session.stats().data_received;
    assert_eq!(stats.copied_bytes, 0);
    let window = configs()[1].limits.data_window;
    // With both headers.
    assert_eq!(kept.len() as u64, window / (10_000 + 64));
    for (number, message) in kept.iter().enumerate() {
        assert_eq!(message.delta().unwrap().payload(), [number as u8; 10_000]);
    }
    // One of many is enough to keep the room of its own, and no more.
    let clones = kept.clone();
    let one = kept.swap_remove(50);
    drop((kept, clones));
    let mut rest = Vec::new();
    for _ in 0..4 {
        link.run_for(TENTH);
        rest.extend(take(&mut link));
    }
    assert!(rest.len() > 80, "{}", rest.len());
    assert_eq!(one.delta().unwrap().payload(), [50; 10_000]);
}

#[test]
fn who_drops_the_last_wakes_the_session() {
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let mut link = open();
    for _ in 0..2 {
        link.peer(0).send.try_send(fields(), &[1; 200_000]).unwrap();
        link.run_for(TENTH);
    }
    let kept = take(&mut link);
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(count.clone());
    while link.ends[1].session.poll_ready(&mut Context::from_waker(&waker)) {
        while link.ends[1].session.poll_transmit(1 << 20).is_some() {}
    }
    let thread = std::thread::spawn(move || {
        assert_eq!(kept.len(), 2);
        drop(kept);
    });
    thread.join().unwrap();
    assert_eq!(count.0.load(Ordering::SeqCst), 1, "one waker, taken by the first");
    let session = &mut link.ends[1].session;
    assert!(session.poll_ready(&mut Context::from_waker(&waker)), "a window is due");
    assert_eq!(session.stats().data_received.queued_bytes, 0);
}

#[test]
fn payloads_lie_at_multiples_of_16_whatever_the_transport_gives() {
    let mut link = open();
    for shift in 0..16 {
        // Several together; one in fragments; and while nobody reads, many that wait together.
        let lens = if shift % 2 == 0 { vec![5, 1, 33] } else { vec![100_000, 3] };
        for len in &lens {
            link.peer(0).send.try_send(fields(), &vec![9; *len]).unwrap();
        }
        let mut said = Vec::new();
        while let Some(message) = link.ends[0].session.poll_transmit(1 << 20) {
            let mut bytes = vec![0; shift];
            bytes.extend_from_slice(&message);
            said.push((message.channel(), Bytes::from(bytes).slice(shift..)));
        }
        let now = link.now;
        for (channel, bytes) in said {
            link.ends[1].session.handle_message(channel, bytes, now);
        }
        let taken = take(&mut link);
        assert_eq!(taken.len(), lens.len());
        assert!(taken.iter().all(is_aligned), "{shift}");
        drop(taken);
        link.run_for(TENTH);
    }
    for number in 0..3_000_u32 {
        link.peer(0).send.try_send(fields(), &number.to_le_bytes()).unwrap();
        if number % 3 == 0 {
            link.run_for(TENTH / 10);
        }
    }
    let mut taken = Vec::new();
    for _ in 0..10 {
        link.run_for(TENTH);
        taken.extend(take(&mut link));
    }
    assert_eq!(taken.len(), 3_000);
    assert!(taken.iter().all(is_aligned));
}

#[test]
fn what_is_kept_outlives_its_receiver_and_session() {
    let mut link = open();
    for byte in [1, 2] {
        link.peer(0).command.send.try_send_opaque(&[byte; 40]).unwrap();
    }
    link.run_for(TENTH);
    let first = link.peer(1).command.receive.try_take().unwrap();
    let copy = first.detach();
    link.ends[1].peer = None;
    drop(link);
    assert_eq!(first.frame().body(), [1; 40]);
    assert_eq!((copy.frame().channel(), copy.frame().body()), (Channel::Command, &[1; 40][..]));
}

/// Two came in one transport message; one was taken, and nobody reads the other.
#[test]
fn what_was_not_read_is_not_given_back_with_what_was_kept() {
    let mut link = open();
    for _ in 0..2 {
        link.peer(0).send.try_send(fields(), &[1; 100]).unwrap();
    }
    link.run_for(TENTH);
    assert_eq!(link.ends[1].session.stats().data_received.transport_messages, 1);
    let kept = link.peer(1).receive.try_take().unwrap();
    link.ends[1].peer = None;
    drop(kept);
    link.run_for(10 * TENTH);
    let lost = link.ends[0].session.undelivered();
    assert!(lost.unread >= 1, "{lost:?}");
}

#[test]
fn taking_and_reading_take_turns() {
    let mut link = open();
    for byte in 0..10 {
        link.peer(0).send.try_send(fields(), &[byte; 100]).unwrap();
    }
    link.run_for(TENTH);
    let receive = &mut link.peer(1).receive;
    let mut kept = Vec::new();
    for byte in 0..10 {
        if byte % 2 == 0 {
            kept.push(receive.try_take().unwrap());
        } else {
            let frame = receive.try_next().unwrap();
            assert_eq!(frame.delta().unwrap().payload(), [byte; 100]);
        }
    }
    assert_eq!(receive.try_take().unwrap_err(), TryNextError::Empty);
    for (message, byte) in kept.iter().zip([0, 2, 4, 6, 8]) {
        assert_eq!(message.delta().unwrap().payload(), [byte; 100]);
    }
}
