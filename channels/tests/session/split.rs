//! Receivers that share a source.

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use deltawire_channels::ring::byte;
use deltawire_channels::{MAX_HANDED_OVER, Receiver, Sender, SplitError, TryNextError};
use deltawire_framing::control::CloseCode;
use deltawire_framing::{Channel, DeltaFields, DocId, Kind};

use crate::pipe::{Link, configs};

const TENTH: Duration = Duration::from_millis(100);

fn open() -> Link {
    let mut link = Link::new(configs(), 1);
    link.run_for(TENTH);
    link
}

fn fields(sequence: u32) -> DeltaFields {
    DeltaFields { sequence, ..DeltaFields::new(DocId([7; 16])) }
}

fn pair() -> (Sender, Receiver) {
    let (producer, consumer) = byte::ring(1 << 20);
    (Sender::new(producer, Channel::Data), Receiver::from_ring(consumer))
}

/// A request of version 1 with this payload.
fn send_request(sender: &mut Sender, id: u32, payload: &[u8]) {
    let mut grant = sender.try_reserve_request(16 + payload.len()).unwrap();
    let body = grant.body_mut();
    body[..16].fill(0);
    body[0] = 1;
    body[4..8].copy_from_slice(&id.to_le_bytes());
    body[16..].copy_from_slice(payload);
    grant.commit(16 + payload.len()).unwrap();
}

fn requests(receiver: &mut Receiver) -> Vec<u32> {
    std::iter::from_fn(|| receiver.try_take().ok())
        .map(|it| it.frame().request().unwrap().id())
        .collect()
}

fn deltas(receiver: &mut Receiver) -> Vec<u32> {
    std::iter::from_fn(|| receiver.try_take().ok())
        .map(|it| it.delta().unwrap().sequence())
        .collect()
}

#[derive(Default)]
struct Counting(Mutex<usize>);

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        *self.0.lock().unwrap() += 1;
    }
}

fn counting() -> (Arc<Counting>, Waker) {
    let counting = Arc::new(Counting::default());
    (counting.clone(), Waker::from(counting))
}

fn mixed(sender: &mut Sender) {
    for number in 1..=4 {
        send_request(sender, number, b"ask");
        sender.try_send(fields(number), b"delta").unwrap();
        sender.try_send_opaque(b"opaque").unwrap();
    }
}

#[test]
fn each_gets_its_own_in_order_whoever_reads_first() {
    for kind_first in [true, false] {
        let (mut sender, mut rest) = pair();
        let mut asked = rest.split(Kind::Request).unwrap();
        let mut opaque = rest.split(Kind::Opaque).unwrap();
        mixed(&mut sender);
        if kind_first {
            assert_eq!(requests(&mut asked), [1, 2, 3, 4]);
        }
        assert_eq!(deltas(&mut rest), [1, 2, 3, 4]);
        assert_eq!(requests(&mut asked).len(), if kind_first { 0 } else { 4 });
        let bodies = std::iter::from_fn(|| Some(opaque.try_next().ok()?.body().to_vec()));
        assert_eq!(bodies.collect::<Vec<_>>(), [b"opaque"; 4]);
        drop(sender);
        for end in [&mut rest, &mut asked, &mut opaque] {
            assert!(matches!(end.try_next(), Err(TryNextError::Closed(_))));
            assert!(end.closed_reason().is_some());
        }
    }
}

#[test]
fn a_kind_is_split_off_once_and_again_when_its_receiver_is_gone() {
    let (mut sender, mut rest) = pair();
    assert_eq!(rest.split(Kind::Control).unwrap_err(), SplitError::Control);
    let mut asked = rest.split(Kind::Request).unwrap();
    assert_eq!(rest.split(Kind::Request).unwrap_err(), SplitError::Taken(Kind::Request));
    assert_eq!(asked.split(Kind::Request).unwrap_err(), SplitError::Taken(Kind::Request));
    mixed(&mut sender);
    // Handed over, then given back.
    assert!(rest.try_next().unwrap().delta().is_ok());
    assert!(asked.try_next().is_ok());
    let _ = deltas_or_opaque(&mut rest);
    drop(asked);
    assert_eq!(requests(&mut rest), [2, 3, 4]);
    send_request(&mut sender, 5, b"");
    sender.try_send(fields(9), b"").unwrap();
    assert_eq!(rest.try_next().unwrap().kind(), Kind::Request);
    send_request(&mut sender, 6, b"");
    let mut asked = rest.split(Kind::Request).unwrap();
    assert_eq!(requests(&mut asked), [6]);
    assert_eq!(deltas(&mut rest), [9]);
}

fn deltas_or_opaque(receiver: &mut Receiver) -> usize {
    std::iter::from_fn(|| receiver.try_take().ok()).count()
}

#[test]
fn what_waits_already_goes_to_who_is_split_off_later() {
    let (mut sender, mut rest) = pair();
    let mut asked = rest.split(Kind::Request).unwrap();
    mixed(&mut sender);
    assert_eq!(requests(&mut asked), [1, 2, 3, 4]);
    // Deltas and opaque messages wait for the rest by now.
    let mut opaque = rest.split(Kind::Opaque).unwrap();
    assert_eq!(deltas_or_opaque(&mut opaque), 4);
    assert_eq!(deltas(&mut rest), [1, 2, 3, 4]);
}

#[test]
fn who_waits_is_woken_by_whoever_reads() {
    let (mut sender, mut rest) = pair();
    let mut asked = rest.split(Kind::Request).unwrap();
    let ((asked_woken, asked_waker), (rest_woken, rest_waker)) = (counting(), counting());
    let woken = |it: &Counting| *it.0.lock().unwrap();
    assert!(asked.poll_next(&mut Context::from_waker(&asked_waker)).is_pending());
    assert!(rest.poll_next(&mut Context::from_waker(&rest_waker)).is_pending());
    // Who polled last is dropped: the other is woken all the same.
    {
        let mut next = pin!(rest.next());
        assert!(next.as_mut().poll(&mut Context::from_waker(&rest_waker)).is_pending());
    }
    send_request(&mut sender, 1, b"");
    assert_eq!((woken(&asked_woken), woken(&rest_woken)), (1, 1));
    assert!(asked.poll_next(&mut Context::from_waker(&asked_waker)).is_ready());
    assert!(asked.poll_next(&mut Context::from_waker(&asked_waker)).is_pending());
    sender.try_send(fields(1), b"").unwrap();
    assert!(asked.poll_next(&mut Context::from_waker(&asked_waker)).is_pending());
    assert!(rest.poll_next(&mut Context::from_waker(&rest_waker)).is_ready());
    assert!(rest.poll_next(&mut Context::from_waker(&rest_waker)).is_pending());
    let before = (woken(&asked_woken), woken(&rest_woken));
    drop(sender);
    assert!(woken(&asked_woken) > before.0 && woken(&rest_woken) > before.1);
    assert!(matches!(rest.poll_take(&mut Context::from_waker(&rest_waker)), Poll::Ready(Err(_))));
    assert!(matches!(asked.poll_take(&mut Context::from_waker(&asked_waker)), Poll::Ready(Err(_))));
}

#[test]
fn a_future_that_is_dropped_loses_nothing() {
    let (mut sender, mut rest) = pair();
    let mut asked = rest.split(Kind::Request).unwrap();
    for number in 0..100 {
        for _ in 0..2 {
            let mut next = pin!(asked.take());
            assert!(next.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        send_request(&mut sender, number + 1, b"");
        sender.try_send(fields(number), b"").unwrap();
        let taken = pollster::block_on(asked.take()).unwrap();
        assert_eq!(taken.frame().request().unwrap().id(), number + 1);
        let taken = pollster::block_on(rest.next()).unwrap();
        assert_eq!(taken.delta().unwrap().sequence(), number);
    }
}

#[test]
fn in_one_process_who_does_not_read_holds_up_the_other_at_a_bound() {
    let (mut sender, mut rest) = pair();
    let mut asked = rest.split(Kind::Request).unwrap();
    for number in 0..20 {
        sender.try_send(fields(number), &[0; 10_000 - 64]).unwrap();
    }
    send_request(&mut sender, 1, b"");
    let (woken, waker) = counting();
    assert!(asked.poll_next(&mut Context::from_waker(&waker)).is_pending());
    // As many as may wait, and the one that stalls, left the ring.
    assert!(sender.queued_bytes() > 200_000 - MAX_HANDED_OVER - 10_000 - 10_000);
    let mut read = 0;
    while *woken.0.lock().unwrap() == 0 {
        assert_eq!(rest.try_next().unwrap().delta().unwrap().sequence(), read);
        read += 1;
    }
    while let Ok(frame) = rest.try_next() {
        assert_eq!(frame.delta().unwrap().sequence(), read);
        read += 1;
    }
    assert_eq!(read, 20);
    assert_eq!(requests(&mut asked), [1]);
    // The same, ended by dropping who stalls: what waits goes to the rest.
    for number in 0..20 {
        send_request(&mut sender, number + 2, &[0; 10_000 - 32]);
    }
    sender.try_send(fields(7), b"").unwrap();
    assert!(rest.try_next().is_err());
    drop(asked);
    assert_eq!(deltas_or_opaque(&mut rest), 21);
}

#[test]
fn over_a_session_nothing_is_copied_and_the_window_holds_up_who_is_not_read() {
    let mut link = open();
    let mut asked = link.peer(1).receive.split(Kind::Request).unwrap();
    send_all(&mut link);
    assert_eq!(requests(&mut asked), (1..=50).collect::<Vec<_>>());
    // What waits for the rest keeps its part of the window, and no more comes than fits.
    let mut sent = 50;
    while link.peer(0).send.try_send(fields(0), &[0; 10_000]).is_ok() {
        sent += 1;
    }
    link.run_for(10 * TENTH);
    send_request(&mut link.peer(0).send, 51, b"");
    link.run_for(10 * TENTH);
    assert!(requests(&mut asked).is_empty());
    assert_eq!(link.ends[1].session.stats().data_received.copied_bytes, 0);
    // Once it is read the rest comes, and the request behind it.
    let (mut read, mut found) = (0, vec![]);
    for _ in 0..20 {
        read += deltas(&mut link.peer(1).receive).len();
        found.extend(requests(&mut asked));
        link.run_for(TENTH);
    }
    assert_eq!((read, found), (sent, vec![51]));
}

fn send_all(link: &mut Link) {
    for number in 1..=50 {
        let sender = &mut link.peer(0).send;
        send_request(sender, number, &[number as u8; 2_000]);
        sender.try_send(fields(number), &[1; 2_000]).unwrap();
    }
    link.run_for(3 * TENTH);
}

#[test]
fn both_hear_of_the_end_of_a_session_after_what_came_before_it() {
    let mut link = open();
    let mut asked = link.peer(1).receive.split(Kind::Request).unwrap();
    send_all(&mut link);
    link.ends[0].session.close(CloseCode::NORMAL, "done", link.now);
    link.run_for(10 * TENTH);
    assert_eq!(requests(&mut asked).len(), 50);
    let rest = &mut link.peer(1).receive;
    assert_eq!(deltas(rest).len(), 50);
    let [a, b] = [rest.try_next().unwrap_err(), asked.try_next().unwrap_err()];
    assert_eq!(a, b);
    assert!(matches!(a, TryNextError::Closed(_)));
}

#[test]
fn what_waits_for_nobody_is_not_taken_for_read() {
    let mut link = open();
    let mut peer = link.ends[1].peer.take().unwrap();
    let mut asked = peer.receive.split(Kind::Request).unwrap();
    send_all(&mut link);
    assert_eq!(requests(&mut asked).len(), 50);
    // The deltas were handed over, and nobody has read them.
    drop((peer, asked));
    link.run_for(20 * TENTH);
    let undelivered = link.ends[0].session.undelivered();
    assert!(undelivered.unread_bytes >= 50 * 2_000, "{undelivered:?}");
}
