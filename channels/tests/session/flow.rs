//! Messages get through, in order and in the right proportion, and no faster than they are read.

use std::time::Duration;

use deltawire_channels::session::{Closed, Event, Missing, SendPriority};
use deltawire_channels::{SendError, TryNextError};
use deltawire_framing::control::CloseCode;
use deltawire_framing::{DeltaFields, DocId, Kind};

use crate::pipe::{Link, configs};

const SECOND: Duration = Duration::from_secs(1);

fn open() -> Link {
    let mut link = Link::new(configs(), 1);
    link.run_for(SECOND / 10);
    for end in &link.ends {
        assert!(matches!(end.events[..], [Event::Opened(_)]), "{:?}", end.events);
    }
    link
}

fn in_order() -> Closed {
    Closed::ByUs { code: CloseCode::NORMAL, complete: true, missing: Missing::default() }
}

fn send(link: &mut Link, from: usize, payload: &[u8]) {
    // A long message may have to wait until the session has read past the ring's end.
    if link.peer(from).send.try_reserve(payload.len()).is_err() {
        link.run_for(SECOND / 1_000);
    }
    let mut grant = link.peer(from).send.try_reserve(payload.len()).unwrap();
    grant.payload_mut().copy_from_slice(payload);
    grant.commit(DeltaFields::new(DocId([7; 16])), payload.len()).unwrap();
}

#[test]
fn deltas_of_all_sizes_arrive_both_ways_in_order() {
    let mut link = open();
    for len in [0, 1, 15, 16, 17, 1_000, 16_320, 16_321, 65_536, 300_000, 900_000] {
        for from in 0..2 {
            let payload: Vec<u8> = (0..len).map(|i| (i * 31 + from) as u8).collect();
            send(&mut link, from, &payload);
            send(&mut link, from, b"behind");
            link.run_for(SECOND);
            let receive = &mut link.peer(1 - from).receive;
            let delta = receive.try_next().unwrap().delta().unwrap();
            delta.verify_checksum().unwrap();
            assert_eq!(delta.payload(), payload);
            assert_eq!(receive.try_next().unwrap().delta().unwrap().payload(), b"behind");
            assert_eq!(receive.try_next().unwrap_err(), TryNextError::Empty);
        }
    }
    let stats = link.ends[0].session.stats();
    assert_eq!(stats.data_sent.messages, 22);
    assert_eq!(stats.data_received.messages, 22);
    assert!(stats.round_trip.unwrap() >= Duration::from_millis(20));
}

#[test]
fn small_deltas_go_together() {
    let mut link = open();
    let before = link.ends[1].session.stats().data_received.transport_messages;
    for _ in 0..1_000 {
        send(&mut link, 0, &[1; 64]);
    }
    link.run_for(SECOND);
    let messages = link.ends[1].session.stats().data_received.transport_messages - before;
    assert_eq!(messages, 1_000_u64.div_ceil(16_384 / 128));
    for _ in 0..1_000 {
        assert_eq!(link.peer(1).receive.try_next().unwrap().delta().unwrap().payload(), [1; 64]);
    }
}

#[test]
fn one_frame_is_not_copied_and_more_are_once() {
    let mut link = open();
    send(&mut link, 0, &[1; 10_000]);
    link.run_for(SECOND);
    assert_eq!(link.ends[1].session.stats().data_received.copied_bytes, 0);
    send(&mut link, 0, &[1; 100_000]);
    link.run_for(SECOND);
    let stats = link.ends[1].session.stats().data_received;
    assert_eq!(stats.copied_bytes, 100_048);
    assert_eq!(link.ends[0].session.stats().data_sent.copied_bytes, 0);
}

#[test]
fn commands_and_opaque_messages_arrive() {
    let mut link = open();
    let mut grant = link.peer(1).command.send.try_reserve_opaque(10).unwrap();
    grant.body_mut()[..5].copy_from_slice(b"hello");
    grant.commit(5).unwrap();
    link.run_for(SECOND);
    let frame = link.peer(0).command.receive.try_next().unwrap();
    assert_eq!((frame.kind(), frame.body()), (Kind::Opaque, &b"hello"[..]));
}

#[test]
fn a_stalled_reader_stops_the_sender_within_its_window() {
    let mut link = open();
    let mut committed = 0;
    for _ in 0..100 {
        loop {
            match link.peer(0).send.try_reserve(10_000) {
                Ok(grant) => grant.commit(DeltaFields::new(DocId([7; 16])), 10_000).unwrap(),
                Err(SendError::Full { .. }) => break,
                Err(error) => panic!("{error}"),
            }
            committed += 1;
        }
        link.run_for(SECOND / 10);
    }
    // One window at the peer, one ring here, and not a byte more.
    let window = 1 << 20;
    let held = link.ends[1].session.stats().data_received.queued_bytes;
    assert!(held <= window && held > window - 20_000, "{held}");
    assert!(committed * 10_064 <= 2 * window, "{committed}");

    let mut read = 0;
    while read < committed {
        while link.peer(1).receive.try_next().is_ok() {
            read += 1;
        }
        link.run_for(SECOND / 10);
    }
    assert_eq!(link.peer(1).receive.try_next().unwrap_err(), TryNextError::Empty);
    assert_eq!(link.ends[1].session.stats().data_received.queued_bytes, 0);
}

#[test]
fn many_tiny_messages_wait_together() {
    let mut link = open();
    link.budget = 100;
    for _ in 0..5_000 {
        send(&mut link, 0, &[1; 10]);
    }
    link.run_for(SECOND);
    let mut read = 0;
    while link.peer(1).receive.try_next().is_ok() {
        read += 1;
        if read % 50 == 0 {
            link.run_for(SECOND / 100);
        }
    }
    assert_eq!(read, 5_000);
}

#[test]
fn a_message_longer_than_what_is_left_is_asked_for() {
    let mut link = open();
    for _ in 0..10 {
        // Less than a quarter of the window: nothing is granted for it by itself.
        send(&mut link, 0, &[1; 200_000]);
        link.run_for(SECOND / 20);
        assert!(link.peer(1).receive.try_next().is_ok());
        link.peer(1).receive.release();
        // More than what is left. Much sooner than the next ping, which would repeat the window.
        send(&mut link, 0, &[1; 900_000]);
        link.run_for(SECOND / 20);
        let frame = link.peer(1).receive.try_next().unwrap();
        assert_eq!(frame.delta().unwrap().payload().len(), 900_000);
        link.peer(1).receive.release();
        link.run_for(SECOND / 20);
    }
}

/// The order in which deltas of several senders arrive: who sent each.
fn arrivals(link: &mut Link) -> Vec<u8> {
    let mut order = Vec::new();
    loop {
        link.run_for(SECOND / 10);
        let before = order.len();
        while let Ok(frame) = link.peer(1).receive.try_next() {
            order.push(frame.delta().unwrap().payload()[0]);
        }
        if order.len() == before {
            return order;
        }
    }
}

#[test]
fn a_long_message_lets_others_in_between() {
    let mut link = open();
    let mut other = link.ends[0].session.open_sender(SendPriority::default()).unwrap();
    send(&mut link, 0, &[1; 500_000]);
    let mut grant = other.try_reserve(100).unwrap();
    grant.payload_mut().fill(2);
    grant.commit(DeltaFields::new(DocId([7; 16])), 100).unwrap();
    assert_eq!(arrivals(&mut link), [2, 1]);
}

#[test]
fn higher_priority_goes_first_and_weights_share_the_rest() {
    let mut link = open();
    let mut senders: Vec<_> = [(1, 3), (1, 1), (9, 1)]
        .into_iter()
        .map(|(priority, weight)| {
            link.ends[0].session.open_sender(SendPriority { priority, weight }).unwrap()
        })
        .collect();
    for (name, sender) in senders.iter_mut().enumerate() {
        for _ in 0..30 {
            let mut grant = sender.try_reserve(16_000).unwrap();
            grant.payload_mut().fill(name as u8);
            grant.commit(DeltaFields::new(DocId([7; 16])), 16_000).unwrap();
        }
    }
    let order = arrivals(&mut link);
    assert_eq!(order.len(), 90);
    assert_eq!(order[..30], [2; 30], "the highest priority first");
    let heavy = order[30..50].iter().filter(|name| **name == 0).count();
    assert_eq!(heavy, 15, "three to one: {order:?}");
}

#[test]
fn commands_overtake_deltas() {
    let mut link = open();
    link.budget = 16_384;
    send(&mut link, 0, &[1; 1_000_000]);
    let first = link.ends[0].session.poll_transmit(16_384).unwrap().len();
    assert_eq!(first, 16_384);
    let mut grant = link.peer(0).command.send.try_reserve_opaque(5).unwrap();
    grant.body_mut().copy_from_slice(b"first");
    grant.commit(5).unwrap();
    let next = link.ends[0].session.poll_transmit(16_384).unwrap();
    assert_eq!(next.channel(), deltawire_framing::Channel::Command);
}

#[test]
fn a_command_that_waits_for_room_is_not_overtaken() {
    let mut link = open();
    send(&mut link, 0, &[1; 10]);
    let mut grant = link.peer(0).command.send.try_reserve_opaque(5_000).unwrap();
    grant.body_mut().fill(2);
    grant.commit(5_000).unwrap();
    assert!(link.ends[0].session.poll_transmit(1_000).is_none());
    let next = link.ends[0].session.poll_transmit(6_000).unwrap();
    assert_eq!(next.channel(), deltawire_framing::Channel::Command);
}

#[test]
fn a_close_delivers_what_was_committed() {
    let mut link = open();
    for _ in 0..10 {
        send(&mut link, 0, &[1; 100_000]);
    }
    let now = link.now;
    link.ends[0].session.close(CloseCode(300), "done here", now);
    assert!(matches!(link.peer(0).send.try_reserve(1), Err(SendError::Closed(_))));
    link.run_for(SECOND);
    let missing = Missing::default();
    let ours = Closed::ByUs { code: CloseCode(300), complete: true, missing };
    assert_eq!(link.ends[0].events.last(), Some(&Event::Closed(ours)));
    let theirs = Closed::ByPeer {
        code: CloseCode(300),
        reason: "done here".into(),
        complete: true,
        missing,
    };
    assert_eq!(link.ends[1].events.last(), Some(&Event::Closed(theirs)));
    for _ in 0..10 {
        assert_eq!(link.peer(1).receive.try_next().unwrap().delta().unwrap().payload()[0], 1);
    }
    assert!(matches!(link.peer(1).receive.try_next(), Err(TryNextError::Closed(_))));
    assert!(link.ends.iter().all(|end| end.session.is_finished()));
    assert!(link.ends.iter().all(|end| end.session.poll_timeout().is_none()));
}

#[test]
fn both_may_close_at_once() {
    let mut link = open();
    let now = link.now;
    for end in &mut link.ends {
        end.session.close(CloseCode::NORMAL, "", now);
    }
    link.run_for(SECOND);
    for end in &link.ends {
        let closed = in_order();
        assert_eq!(end.events.last(), Some(&Event::Closed(closed)));
    }
}

#[test]
fn a_close_waits_for_deltas_that_commands_overtake() {
    let mut link = open();
    link.data_lag = SECOND;
    for from in 0..2 {
        send(&mut link, from, &[1; 300_000]);
        send(&mut link, from, &[2; 100]);
    }
    link.run_for(SECOND / 100);
    let now = link.now;
    link.ends[0].session.close(CloseCode::NORMAL, "", now);
    link.run_for(4 * SECOND);
    for end in 0..2 {
        let closed = match link.ends[end].events.last() {
            Some(Event::Closed(closed)) => closed.clone(),
            other => panic!("{other:?}"),
        };
        let complete = matches!(
            closed,
            Closed::ByUs { complete: true, .. } | Closed::ByPeer { complete: true, .. }
        );
        assert!(complete, "{closed:?}");
        for first in [1, 2] {
            let frame = link.peer(end).receive.try_next().unwrap();
            assert_eq!(frame.delta().unwrap().payload()[0], first);
        }
        assert!(matches!(link.peer(end).receive.try_next(), Err(TryNextError::Closed(_))));
    }
}

#[test]
fn both_closing_at_once_lose_nothing() {
    let mut link = open();
    link.data_lag = SECOND;
    for from in 0..2 {
        send(&mut link, from, &[1; 300_000]);
    }
    link.run_for(SECOND / 100);
    let now = link.now;
    for end in &mut link.ends {
        end.session.close(CloseCode::NORMAL, "", now);
    }
    link.run_for(4 * SECOND);
    for end in 0..2 {
        let closed = in_order();
        assert_eq!(link.ends[end].events.last(), Some(&Event::Closed(closed)));
        assert!(link.peer(end).receive.try_next().is_ok());
    }
}

#[test]
fn an_urgent_message_that_must_wait_does_not_stop_one_that_has_begun() {
    let mut link = open();
    let mut urgent =
        link.ends[0].session.open_sender(SendPriority { priority: 99, weight: 1 }).unwrap();
    link.budget = 16_384;
    send(&mut link, 0, &[1; 600_000]);
    let first = link.ends[0].session.poll_transmit(16_384).unwrap();
    let (channel, bytes) = (first.channel(), first.to_vec());
    drop(first);
    let now = link.now;
    link.ends[1].session.handle_message(channel, bytes, now);
    let mut grant = urgent.try_reserve(500_000).unwrap();
    grant.payload_mut()[0] = 2;
    grant.commit(DeltaFields::new(DocId([7; 16])), 500_000).unwrap();
    assert_eq!(arrivals(&mut link), [1, 2]);
}

#[test]
fn two_quiet_peers_ping_from_one_side_only() {
    let mut link = open();
    link.run_for(2 * SECOND);
    let before = link.ends.each_ref().map(|end| end.session.stats().control_sent);
    link.run_for(100 * SECOND);
    for (end, before) in link.ends.iter().zip(before) {
        // A ping or a pong a second.
        let sent = end.session.stats().control_sent - before;
        assert!((95..=102).contains(&sent), "{sent}");
        assert!(end.session.stats().round_trip.is_some());
    }
}

#[test]
fn a_dropped_peer_closes_the_session_once_its_deltas_are_sent() {
    let mut link = open();
    send(&mut link, 0, &[1; 40_000]);
    link.ends[0].peer = None;
    link.run_for(SECOND);
    assert!(link.ends.iter().all(|end| end.session.is_finished()));
    assert_eq!(link.peer(1).receive.try_next().unwrap().delta().unwrap().payload(), [1; 40_000]);
}

#[test]
fn a_lost_link_ends_the_session_but_not_what_came() {
    let mut link = open();
    send(&mut link, 0, &[1; 40_000]);
    link.run_for(SECOND);
    for end in &mut link.ends {
        end.session.lose_link();
        assert_eq!(end.session.poll_transmit(16_384).map(|transmit| transmit.len()), None);
        assert!(end.session.is_finished());
    }
    assert!(link.peer(0).send.try_reserve(1).is_err());
    assert_eq!(link.peer(1).receive.try_next().unwrap().delta().unwrap().payload(), [1; 40_000]);
    assert!(matches!(link.peer(1).receive.try_next(), Err(TryNextError::Closed(_))));
}

#[test]
fn a_window_of_any_size_works() {
    for window in [64, 1_000, 1_007, 20_001] {
        let mut configs = configs();
        configs[1].limits.data_window = window;
        let mut link = Link::new(configs, 1);
        link.run_for(SECOND);
        let mut refused = 0;
        for len in [0, 1, 900, 936, 10_000] {
            match link.peer(0).send.try_reserve(len) {
                Err(SendError::TooLongForPeer { .. }) => refused += 1,
                _ => send(&mut link, 0, &vec![1; len]),
            }
        }
        link.run_for(SECOND);
        let mut read = 0;
        for _ in 0..10 {
            while link.peer(1).receive.try_next().is_ok() {
                read += 1;
            }
            link.peer(1).receive.release();
            link.run_for(SECOND);
        }
        assert_eq!(read + refused, 5, "window {window}: {read} read, {refused} refused");
    }
}

/// Sends 20 MB a second one way, as far as there is room, and reads what came each so often. Gives bytes that
/// were read, and the most that waited.
fn flood(link: &mut Link, time: Duration, each: Duration) -> (u64, u64) {
    let (until, mut read, mut most) = (link.now + time, 0, 0);
    let mut next = link.now;
    while link.now < until {
        if link.peer(0).send.try_reserve(10_000).is_ok() {
            send(link, 0, &[1; 10_000]);
        }
        most = most.max(link.ends[1].session.stats().data_received.queued_bytes);
        if link.now >= next {
            next += each;
            while let Ok(message) = link.peer(1).receive.try_next() {
                read += message.body().len() as u64;
            }
            link.peer(1).receive.release();
        }
        link.run_for(SECOND / 2_000);
    }
    (read, most)
}

#[test]
fn a_window_grows_with_the_path_up_to_its_limit() {
    let mut reached = Vec::new();
    for max_data_window in [1 << 16, 1 << 17, 1 << 18] {
        let mut configs = configs();
        configs[1].limits.data_window = 1 << 16;
        configs[1].limits.max_data_window = max_data_window;
        let mut link = Link::new(configs, 1);
        link.run_for(SECOND / 10);
        flood(&mut link, SECOND, Duration::ZERO);
        reached.push(flood(&mut link, SECOND, Duration::ZERO).0);
    }
    // A window a round trip.
    assert!(reached.windows(2).all(|two| two[1] as f64 > 1.6 * two[0] as f64), "{reached:?}");
}

#[test]
fn a_window_does_not_grow_for_who_does_not_read() {
    let mut configs = configs();
    configs[1].limits.data_window = 1 << 16;
    let mut link = Link::new(configs, 1);
    link.run_for(SECOND / 10);
    let (read, most) = flood(&mut link, 5 * SECOND, SECOND / 5);
    assert!(read > 0 && most <= 1 << 16, "{most} waited");
}

#[test]
fn nothing_follows_a_close_and_one_event_tells_of_it() {
    let mut link = open();
    for _ in 0..100 {
        send(&mut link, 0, &[1; 10_000]);
    }
    link.run_for(SECOND);
    let now = link.now;
    link.ends[0].session.close(CloseCode::NORMAL, "", now);
    link.run_for(SECOND);
    while link.peer(1).receive.try_next().is_ok() {}
    for end in &mut link.ends {
        assert!(end.session.poll_transmit(1 << 20).is_none());
        assert!(end.session.is_finished());
        let told = end.events.iter().filter(|event| matches!(event, Event::Closed(_)));
        assert_eq!(told.count(), 1);
    }
}
