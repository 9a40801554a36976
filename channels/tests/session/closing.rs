//! A close loses nothing while the peer gets on, and counts what it loses.

use std::time::Duration;

use deltawire_channels::session::{Closed, Event, HangUp, Missing, SessionConfig, Undelivered};
use deltawire_channels::{Delivery, Order, Reliability};
use deltawire_framing::control::CloseCode;
use deltawire_framing::{DeltaFields, DocId};

use crate::pipe::{Link, configs};

const SECOND: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(10);

fn open() -> Link {
    let mut link = Link::new(configs(), 1);
    link.run_for(SECOND / 10);
    link
}

/// Commits up to `count` messages of 1,000 bytes; gives how many found room.
fn commit(link: &mut Link, from: usize, count: usize) -> usize {
    for committed in 0..count {
        let Ok(grant) = link.peer(from).send.try_reserve(1_000) else { return committed };
        grant.commit(DeltaFields::new(DocId([7; 16])), 1_000).unwrap();
    }
    count
}

fn closed(link: &Link, end: usize) -> &Closed {
    match link.ends[end].events.last() {
        Some(Event::Closed(closed)) => closed,
        other => panic!("end {end}: {other:?}"),
    }
}

fn undelivered(link: &Link, end: usize) -> Undelivered {
    link.ends[end].session.undelivered()
}

/// Has `count` messages on their way and in the ring, with a reader that reads none yet.
fn filled(link: &mut Link, count: usize) {
    let mut committed = 0;
    while committed < count {
        committed += commit(link, 0, count - committed);
        link.run_for(SECOND / 10);
    }
}

#[test]
fn a_close_waits_for_a_slow_reader() {
    let mut link = open();
    // More than window and ring hold would not be committed.
    filled(&mut link, 1_900);
    link.ends[0].peer = None;
    let mut read = 0;
    // A hundred a second, for far longer than `close_timeout`.
    for _ in 0..2_500 {
        link.run_for(TICK);
        read += usize::from(link.peer(1).receive.try_next().is_ok());
    }
    assert_eq!(read, 1_900);
    let complete = matches!(closed(&link, 1), Closed::ByPeer { complete: true, .. });
    assert!(complete, "{:?}", closed(&link, 1));
    let complete = matches!(closed(&link, 0), Closed::ByUs { complete: true, .. });
    assert!(complete, "{:?}", closed(&link, 0));
}

#[test]
fn a_close_that_gives_up_tells_both_ends_by_how_much() {
    let mut link = open();
    filled(&mut link, 1_900);
    link.ends[0].peer = None;
    link.run_for(30 * SECOND);
    let lost = undelivered(&link, 0);
    let mut read = 0;
    // What found no place with the application comes as it reads.
    for _ in 0..50 {
        while link.peer(1).receive.try_next().is_ok() {
            read += 1;
        }
        link.run_for(TICK);
    }
    assert!(lost.unsent > 0, "{lost:?}");
    assert_eq!(lost.unsent + read, 1_900, "{lost:?}");
    assert_eq!(lost.unread, read, "nothing had been read: {lost:?}");
    let missing = Missing { messages: lost.unsent, ..Missing::default() };
    match closed(&link, 1) {
        Closed::ByPeer { complete: false, missing: told, .. } => assert_eq!(*told, missing),
        other => panic!("{other:?}"),
    }
    assert!(matches!(closed(&link, 0), Closed::ByUs { complete: false, .. }));
}

#[test]
fn a_long_message_that_was_begun_is_lost_as_a_whole() {
    let mut link = open();
    link.budget = 16_384;
    let grant = link.peer(0).send.try_reserve(500_000).unwrap();
    grant.commit(DeltaFields::new(DocId([7; 16])), 500_000).unwrap();
    let first = link.ends[0].session.poll_transmit(16_384).unwrap();
    let (channel, bytes) = (first.channel(), first.to_vec());
    drop(first);
    let now = link.now;
    link.ends[1].session.handle_message(channel, bytes, now);
    link.ends[0].session.close(CloseCode::NORMAL, "", now);
    link.ends[0].session.cut_short(now);
    link.run_for(SECOND);
    assert_eq!(undelivered(&link, 0).unsent, 1);
    match closed(&link, 1) {
        Closed::ByPeer { complete: false, missing, .. } => {
            assert_eq!(*missing, Missing { messages: 1, bytes: 0 });
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_reader_that_drops_its_peer_shows_what_it_did_not_read() {
    let mut link = open();
    commit(&mut link, 0, 20);
    // Each in a transport message of its own, so that reading half of them shows.
    link.budget = 1_100;
    link.run_for(SECOND);
    for _ in 0..10 {
        assert!(link.peer(1).receive.try_next().is_ok());
    }
    link.ends[1].peer = None;
    let before = link.now;
    while !matches!(link.ends[0].events.last(), Some(Event::Closed(_))) {
        link.run_for(TICK);
    }
    assert!(link.now - before < SECOND, "it took {:?}", link.now - before);
    let lost = undelivered(&link, 0);
    assert_eq!((lost.unsent, lost.unread), (0, 10), "{lost:?}");
}

#[test]
fn a_reader_that_is_gone_is_not_waited_for() {
    let mut link = open();
    filled(&mut link, 1_900);
    link.ends[1].peer = None;
    let before = link.now;
    link.run_for(SECOND);
    assert!(matches!(closed(&link, 0), Closed::ByPeer { complete: false, .. }));
    assert!(matches!(closed(&link, 1), Closed::ByUs { code: CloseCode::NORMAL, .. }));
    let lost = undelivered(&link, 0);
    assert_eq!(lost.unsent + lost.unread, 1_900, "{lost:?} after {:?}", link.now - before);
}

#[test]
fn what_a_dropped_receiver_did_not_read_is_not_given_back() {
    let mut link = open();
    filled(&mut link, 900);
    assert!(link.peer(1).receive.try_next().is_ok());
    let kept = link.ends[1].peer.take().map(|peer| (peer.command, peer.send));
    while commit(&mut link, 0, 1) == 1 {
        link.run_for(TICK);
    }
    link.run_for(60 * SECOND);
    assert_eq!(commit(&mut link, 0, 1), 0, "the sender waits");
    drop(kept);
    link.run_for(SECOND);
    assert!(undelivered(&link, 0).unread >= 899, "{:?}", undelivered(&link, 0));
}

#[test]
fn a_link_that_is_lost_counts_what_nobody_read() {
    let mut link = open();
    commit(&mut link, 0, 20);
    link.budget = 1_100;
    link.run_for(SECOND);
    commit(&mut link, 0, 5);
    for end in &mut link.ends {
        end.session.lose_link();
    }
    let lost = undelivered(&link, 0);
    assert_eq!((lost.unsent, lost.unread), (5, 20), "{lost:?}");
}

#[test]
fn whoever_closed_first_hangs_up() {
    let mut link = open();
    commit(&mut link, 0, 10);
    commit(&mut link, 1, 10);
    let now = link.now;
    link.ends[0].session.close(CloseCode(300), "done", now);
    link.run_for(SECOND);
    assert_eq!(link.ends[0].session.hang_up(), HangUp::Now);
    assert_eq!(link.ends[1].session.hang_up(), HangUp::Wait);

    // Where the two cross, one of them.
    let mut link = open();
    let now = link.now;
    for end in &mut link.ends {
        end.session.close(CloseCode::NORMAL, "", now);
    }
    link.run_for(SECOND);
    assert_eq!(link.ends[0].session.hang_up(), HangUp::Flushed);
    assert_eq!(link.ends[1].session.hang_up(), HangUp::Wait);

    // After an error: as soon as the peer has heard of it.
    let mut link = open();
    let now = link.now;
    link.ends[0].session.handle_message(deltawire_framing::Channel::Data, vec![1; 7], now);
    assert_eq!(link.ends[0].session.hang_up(), HangUp::Wait);
    link.run_for(SECOND);
    assert_eq!(link.ends[0].session.hang_up(), HangUp::Now);
}

#[test]
fn an_application_that_failed_is_told_by_name() {
    let mut link = open();
    let peer = link.ends[1].peer.take();
    let panicked = std::thread::spawn(move || {
        let _peer = peer;
        panic!("on purpose");
    });
    assert!(panicked.join().is_err());
    link.run_for(SECOND);
    assert!(matches!(closed(&link, 0), Closed::ByPeer { code: CloseCode::FAILED, .. }));
}

/// Where messages may get lost, the rest of one that came in part is not waited for longer than for others.
#[test]
fn a_close_does_not_wait_for_the_rest_of_a_message_that_got_lost() {
    let once = Delivery { order: Order::Ordered, reliability: Reliability::MaxRetransmits(0) };
    let configs = configs().map(|config| SessionConfig { send: once, receive: once, ..config });
    let mut link = Link::new(configs, 1);
    link.run_for(SECOND / 10);
    link.peer(1).send.try_send_opaque(&[1; 60_000]).unwrap();
    let session = &mut link.ends[1].session;
    let mut fragments = Vec::new();
    while let Some(message) = session.poll_transmit(1 << 20) {
        fragments.push((message.channel(), message.to_vec()));
    }
    assert!(fragments.len() > 1, "it went in one piece");
    fragments.pop();
    let now = link.now;
    for (channel, bytes) in fragments {
        link.ends[0].session.handle_message(channel, bytes, now);
    }
    link.ends[0].session.close(CloseCode::NORMAL, "", now);
    // `loss_timeout`, a round trip, and a little.
    link.run_for(SECOND + SECOND / 20);
    assert!(matches!(closed(&link, 0), Closed::ByUs { .. }), "{:?}", closed(&link, 0));
    assert_eq!(link.ends[0].session.hang_up(), HangUp::Now);
}
