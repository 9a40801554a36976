//! Closes that meet what else happens just then.

use std::time::Duration;

use deltawire_channels::session::{Closed, Event, SessionConfig};
use deltawire_channels::{Limits, Order, Session};
use deltawire_framing::control::CloseCode;
use deltawire_framing::{Channel, DeltaFields, DocId};

use crate::pipe::{Link, configs};

const SECOND: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(10);

fn fields() -> DeltaFields {
    DeltaFields::new(DocId([7; 16]))
}

fn open() -> Link {
    let mut link = Link::new(configs(), 1);
    link.run_for(SECOND / 10);
    link
}

fn complete(link: &Link, end: usize) -> bool {
    matches!(
        link.ends[end].events.last(),
        Some(Event::Closed(
            Closed::ByUs { complete: true, .. } | Closed::ByPeer { complete: true, .. }
        ))
    )
}

/// The peer closes while the application fills a grant.
fn grant(wait: Duration, closer: usize) {
    let mut link = open();
    let mut peer = link.ends[0].peer.take().unwrap();
    let grant = peer.send.try_reserve(100).unwrap();
    let now = link.now;
    link.ends[closer].session.close(CloseCode::NORMAL, "", now);
    link.run_for(wait);
    let committed = grant.commit(fields(), 100);
    link.run_for(10 * SECOND);
    let read = link.peer(1).receive.try_next().is_ok();
    let counted = link.ends[0].session.undelivered().unsent == 1;
    assert!(committed.is_err() || read || counted && !complete(&link, 0));
}

#[test]
fn a_grant_is_refused_when_this_side_has_closed() {
    grant(Duration::from_millis(5), 0);
}

#[test]
fn a_grant_is_refused_when_the_peer_has_closed() {
    grant(Duration::from_millis(15), 1);
}

#[test]
fn a_grant_is_refused_after_the_end() {
    grant(SECOND, 1);
}

/// The closer's application reads all the time, the peer has a long message that waits for it.
#[test]
fn what_the_closing_side_reads_is_progress() {
    let mut link = open();
    for _ in 0..900 {
        link.peer(1).send.try_send(fields(), &[1; 1_000]).unwrap();
    }
    link.run_for(SECOND / 10);
    link.peer(1).send.try_send(fields(), &[2; 900_000]).unwrap();
    link.run_for(SECOND / 10);
    let now = link.now;
    link.ends[0].session.close(CloseCode::NORMAL, "", now);
    let mut read = 0;
    // 50 a second.
    for _ in 0..1_000 {
        link.run_for(2 * TICK);
        read += usize::from(link.peer(0).receive.try_next().is_ok());
    }
    assert_eq!(read, 901);
    assert!(complete(&link, 0) && complete(&link, 1));
}

/// Closes cross, and the link is lost before the peer has got what was sent.
#[test]
fn closes_that_cross_answer_nothing() {
    let mut link = open();
    link.data_lag = SECOND;
    for _ in 0..10 {
        link.peer(0).send.try_send(fields(), &[1; 1_000]).unwrap();
    }
    link.run_for(TICK / 10);
    let now = link.now;
    for end in &mut link.ends {
        end.session.close(CloseCode::NORMAL, "", now);
    }
    link.run_for(5 * TICK);
    let closed = [0, 1].map(|end| link.ends[end].session.lose_link());
    let read = link.peer(1).receive.try_next().is_ok();
    assert!(read || !matches!(closed[0], Closed::ByUs { complete: true, .. }));
}

/// Commands may overtake each other, and a frame has no room for positions and a close: the close comes
/// ahead of them, behind an older position.
#[test]
fn a_close_that_overtakes_its_positions_waits_for_them() {
    let configs = configs().map(|config| {
        let (data_window, command_window) = (256, 256);
        let limits = Limits { max_frame_len: 80, data_window, command_window, ..config.limits };
        SessionConfig { command: Order::Unordered, limits, ..config }
    });
    let mut link = Link::new(configs, 1);
    link.run_for(SECOND / 10);
    // The third on each channel has to wait, and its position says so.
    for _ in 0..3 {
        link.peer(0).send.try_send_opaque(&[1; 100]).unwrap();
        link.peer(0).command.send.try_send_opaque(&[1; 100]).unwrap();
    }
    for _ in 0..3 {
        link.run_for(SECOND / 10);
        while link.peer(1).receive.try_next().is_ok() {}
        while link.peer(1).command.receive.try_next().is_ok() {}
    }
    let stats = link.ends[1].session.stats();
    assert_eq!((stats.commands_received.messages, stats.data_received.messages), (3, 3));
    link.peer(0).send.try_send_opaque(&[2; 60]).unwrap();
    let now = link.now;
    link.ends[0].session.close(CloseCode::NORMAL, "", now);
    let mut said = out(&mut link.ends[0].session);
    assert!(said.len() > 2, "it all went in one message");
    // All but the close get lost with the link.
    let (channel, close) = said.pop().unwrap();
    link.ends[1].session.handle_message(channel, close, now);
    assert!(out(&mut link.ends[1].session).is_empty(), "it was answered");
    let closed = link.ends[1].session.lose_link();
    assert!(matches!(closed, Closed::ByPeer { complete: false, .. }), "{closed:?}");
}

/// A peer that goes on granting a little, or repeats a fragment, keeps a close from ending.
#[test]
fn room_that_is_granted_for_ever_keeps_no_close_open() {
    use deltawire_framing::control::Window;
    use deltawire_framing::{FrameHeader, Kind};
    use zerocopy::IntoBytes;
    let mut link = open();
    link.ends[0].peer = None;
    let mut limit = 1 << 20;
    let mut now = link.now;
    for _ in 0..1_000 {
        while link.ends[0].session.poll_transmit(1 << 20).is_some() {}
        limit += 1;
        let mut bytes =
            FrameHeader::whole(Kind::Control, Channel::Command, 16).unwrap().as_bytes().to_vec();
        bytes.extend_from_slice(Window::new(Channel::Data, limit).as_bytes());
        now += 4 * SECOND;
        link.ends[0].session.handle_timeout(now);
        link.ends[0].session.handle_message(Channel::Command, bytes, now);
        if !link.ends[0].session.is_ending() {
            return;
        }
    }
    panic!("still ending at {now:?}");
}

fn out(session: &mut Session) -> Vec<(Channel, Vec<u8>)> {
    let mut all = Vec::new();
    while let Some(it) = session.poll_transmit(1 << 20) {
        all.push((it.channel(), it.to_vec()));
    }
    all
}

/// The peer's close comes in the same round in which this side closes.
#[test]
fn a_close_that_is_overtaken_by_the_peers_is_its_answer() {
    let mut link = open();
    let now = link.now;
    link.ends[0].session.close(CloseCode::NORMAL, "", now);
    let words = out(&mut link.ends[0].session);
    link.ends[1].session.close(CloseCode::NORMAL, "", now);
    for (channel, bytes) in words {
        link.ends[1].session.handle_message(channel, bytes, now);
    }
    link.run_for(TICK * 5);
    link.run_for(SECOND * 6);
    assert!(complete(&link, 0) && complete(&link, 1));
}

/// What the last words may say only the peer's hello tells, and a close waits for that.
#[test]
fn a_close_ahead_of_the_peers_hello_is_complete() {
    for closers in [&[0][..], &[1], &[0, 1]] {
        let mut link = Link::new(configs(), 1);
        for end in closers {
            link.ends[*end].session.close(CloseCode::NORMAL, "", Duration::ZERO);
        }
        link.run_for(TICK * 10);
        assert!(complete(&link, 0) && complete(&link, 1), "{closers:?}");
    }
}

fn unordered() -> Link {
    Link::new(configs().map(|config| SessionConfig { command: Order::Unordered, ..config }), 1)
}

fn hear(link: &mut Link, end: usize, said: Vec<(Channel, Vec<u8>)>) {
    let now = link.now;
    for (channel, bytes) in said {
        link.ends[end].session.handle_message(channel, bytes, now);
    }
}

/// Commands may overtake each other, and the close comes ahead of its own side's hello.
#[test]
fn a_close_that_overtakes_the_hello_is_no_answer() {
    for both in [false, true] {
        let mut link = unordered();
        let hellos = [0, 1].map(|end| out(&mut link.ends[end].session));
        let [first, second] = hellos;
        hear(&mut link, 0, second);
        let closers = if both { 0..2 } else { 0..1 };
        for end in closers {
            link.ends[end].session.close(CloseCode::NORMAL, "", Duration::ZERO);
        }
        link.run_for(TICK * 2);
        hear(&mut link, 1, first);
        link.run_for(TICK * 5);
        assert!(complete(&link, 0) && complete(&link, 1), "both: {both}");
    }
}

/// Closes cross, and the answer to one comes ahead of the other.
#[test]
fn an_answer_that_overtakes_a_close_is_answered() {
    let mut link = unordered();
    link.run_for(SECOND / 10);
    let now = link.now;
    let closes = [0, 1].map(|end| {
        link.ends[end].session.close(CloseCode::NORMAL, "", now);
        out(&mut link.ends[end].session)
    });
    let [first, second] = closes;
    hear(&mut link, 0, second);
    link.run_for(TICK * 5);
    hear(&mut link, 1, first);
    link.run_for(TICK * 5);
    assert!(complete(&link, 0) && complete(&link, 1));
}
