//! A driver that sleeps until it is woken misses nothing, and is not woken for nothing.

#![allow(clippy::disallowed_types)] // only counts

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use deltawire_channels::session::SendPriority;
use deltawire_framing::{DeltaFields, DocId};

use crate::pipe::{Link, configs};

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The parts of a peer can live on different threads, and the session on another.
const _: () = {
    const fn can_move_to_another_thread<T: Send>() {}
    can_move_to_another_thread::<deltawire_channels::Session>();
    can_move_to_another_thread::<deltawire_channels::Sender>();
    can_move_to_another_thread::<deltawire_channels::Receiver>();
    can_move_to_another_thread::<deltawire_channels::Peer>();
};

/// Asks end `end` whether it is ready, and whether its driver was woken before.
fn ask(link: &mut Link, end: usize, count: &Arc<Count>) -> (bool, bool) {
    let woken = count.0.swap(0, Ordering::Relaxed) != 0;
    let waker = Waker::from(Arc::clone(count));
    let ready = link.ends[end].session.poll_ready(&mut Context::from_waker(&waker));
    (ready, woken)
}

fn send(link: &mut Link, len: usize) {
    let grant = link.peer(0).send.try_reserve(len).unwrap();
    grant.commit(DeltaFields::new(DocId([7; 16])), len).unwrap();
}

#[test]
fn writing_and_reading_wake_who_sends() {
    let mut link = Link::new(configs(), 1);
    link.run_for(Duration::from_millis(100));
    let [sender, reader] = [(); 2].map(|()| Arc::new(Count::default()));
    assert_eq!(ask(&mut link, 0, &sender), (false, false), "idle");
    assert_eq!(ask(&mut link, 1, &reader), (false, false), "idle");

    send(&mut link, 900_000);
    assert_eq!(ask(&mut link, 0, &sender), (true, true), "something to send");
    link.run_for(Duration::from_millis(100));
    assert!(!ask(&mut link, 0, &sender).0, "all was sent");

    // The window is nearly used up: the next message waits, and nobody has to look meanwhile.
    send(&mut link, 500_000);
    assert_eq!(ask(&mut link, 0, &sender), (true, true), "something to send");
    link.run_for(Duration::from_millis(100));
    for _ in 0..3 {
        assert_eq!(ask(&mut link, 0, &sender), (false, false), "nothing that may be sent");
    }

    assert_eq!(ask(&mut link, 1, &reader), (false, false), "nothing was read");
    assert!(link.peer(1).receive.try_next().is_ok());
    link.peer(1).receive.release();
    assert_eq!(ask(&mut link, 1, &reader), (true, true), "a window to tell");
    link.run_for(Duration::from_millis(100));
    assert!(link.peer(1).receive.try_next().is_ok());
}

#[test]
fn a_peer_that_is_dropped_wakes_who_says_goodbye() {
    let mut link = Link::new(configs(), 1);
    link.run_for(Duration::from_millis(100));
    let count = Arc::new(Count::default());
    assert_eq!(ask(&mut link, 0, &count), (false, false), "idle");
    link.ends[0].peer = None;
    assert_eq!(ask(&mut link, 0, &count), (true, true), "a goodbye to say");
    assert!(link.ends[0].session.poll_transmit(1 << 16).is_some());
    assert!(link.ends[0].session.poll_transmit(1 << 16).is_none());
    assert!(!ask(&mut link, 0, &count).0, "it was said");
}

#[test]
fn what_has_a_higher_priority_than_what_waits_for_a_window_goes_at_once() {
    let mut link = Link::new(configs(), 1);
    link.run_for(Duration::from_millis(100));
    let share = |priority| SendPriority { priority, weight: 1 };
    let [mut urgent, mut equal] =
        [65, 64].map(|priority| link.ends[0].session.open_sender(share(priority)).unwrap());
    send(&mut link, 900_000);
    link.run_for(Duration::from_millis(100));
    send(&mut link, 500_000);
    link.run_for(Duration::from_millis(100));
    let count = Arc::new(Count::default());
    assert!(!ask(&mut link, 0, &count).0, "the second waits");

    equal.try_reserve(100).unwrap().commit(DeltaFields::new(DocId([7; 16])), 100).unwrap();
    assert_eq!(ask(&mut link, 0, &count), (false, true), "one of its priority waits with it");
    urgent.try_reserve(100).unwrap().commit(DeltaFields::new(DocId([7; 16])), 100).unwrap();
    assert_eq!(ask(&mut link, 0, &count), (true, true), "one of a higher priority goes");
    link.run_for(Duration::from_millis(100));
    assert!(!ask(&mut link, 0, &count).0, "it went");
    assert!(link.peer(1).receive.try_next().is_ok());
    assert_eq!(link.peer(1).receive.try_next().unwrap().delta().unwrap().payload().len(), 100);
}
