//! What the senders and receivers of a session that is over say of its end.

use std::time::Duration;

use deltawire_channels::session::{Closed, Missing};
use deltawire_channels::{ChannelClosed, Peer, SendError, Session, TryNextError};
use deltawire_framing::control::CloseCode;
use deltawire_framing::{DeltaFields, DocId};

use crate::pipe::{Link, configs};

const SECOND: Duration = Duration::from_secs(1);

/// What every sender and receiver of a peer answers to who wants to send or read on.
fn told(peer: &mut Peer) -> Vec<String> {
    let mut told = Vec::new();
    for sender in [&mut peer.send, &mut peer.command.send] {
        told.push(sender.try_reserve(1).unwrap_err().to_string());
        told.push(pollster::block_on(sender.reserve(1)).unwrap_err().to_string());
        told.push(pollster::block_on(sender.reserve_opaque(1)).unwrap_err().to_string());
    }
    for receiver in [&mut peer.receive, &mut peer.command.receive] {
        told.push(receiver.try_next().unwrap_err().to_string());
        told.push(pollster::block_on(receiver.next()).unwrap_err().to_string());
    }
    told
}

fn open() -> Link {
    let mut link = Link::new(configs(), 1);
    link.run_for(SECOND);
    link
}

#[test]
fn every_sender_and_receiver_says_who_closed_and_why() {
    let mut link = open();
    let now = link.now;
    link.ends[0].session.close(CloseCode(400), "enough for today", now);
    link.run_for(SECOND);
    for text in told(link.peer(0)) {
        assert!(text.contains("closed by this side with code 400"), "{text}");
    }
    for text in told(link.peer(1)) {
        let by_peer = "closed by the peer with code 400: \"enough for today\"";
        assert!(text.contains(by_peer), "{text}");
    }
}

#[test]
fn a_sender_says_who_closes_while_the_session_still_drains() {
    let mut link = open();
    let now = link.now;
    link.ends[0].session.close(CloseCode(400), "enough for today", now);
    let text = link.peer(0).send.try_reserve(1).unwrap_err().to_string();
    assert!(text.contains("closed by this side with code 400"), "{text}");
}

#[test]
fn a_silent_peer_and_a_lost_link_are_named() {
    let mut link = open();
    link.cut = true;
    link.run_for(10 * SECOND);
    for text in told(link.peer(0)) {
        assert!(text.contains("nothing was heard of the peer for 5s"), "{text}");
    }
    let mut link = open();
    link.ends[0].session.lose_link();
    for text in told(link.peer(0)) {
        assert!(text.contains("the link was lost"), "{text}");
    }
}

#[test]
fn the_reason_can_be_asked_for() {
    let mut link = open();
    let Peer { send, receive, .. } = link.peer(1);
    assert_eq!((send.closed_reason(), receive.closed_reason()), (None, None));
    let now = link.now;
    link.ends[0].session.close(CloseCode(400), "enough for today", now);
    link.run_for(SECOND);
    let closed = Closed::ByPeer {
        code: CloseCode(400),
        reason: "enough for today".to_owned(),
        complete: true,
        missing: Missing::default(),
    };
    let why = Some(ChannelClosed::Ended(closed.into()));
    let Peer { send, receive, .. } = link.peer(1);
    assert_eq!((send.closed_reason(), receive.closed_reason()), (why.clone(), why));
}

#[test]
fn a_link_that_is_lost_says_why_if_the_transport_knows() {
    let mut link = open();
    link.ends[0].session.explain_loss("the cable was cut");
    link.ends[0].session.lose_link();
    for text in told(link.peer(0)) {
        assert!(text.ends_with("the link was lost: the cable was cut"), "{text}");
    }
}

#[test]
fn a_session_that_is_dropped_is_named_too() {
    let (session, mut peer) = Session::new(configs()[0], Duration::ZERO).unwrap();
    drop(session);
    for text in told(&mut peer) {
        assert!(text.contains("nobody is left at the channel's other end"), "{text}");
    }
}

#[test]
fn slices_are_sent_as_deltas_and_as_they_are() {
    let mut link = open();
    let fields = DeltaFields::new(DocId([7; 16]));
    let Peer { send, .. } = link.peer(0);
    pollster::block_on(send.send(fields, b"one")).unwrap();
    send.try_send(fields, b"").unwrap();
    pollster::block_on(send.send_opaque(b"three")).unwrap();
    send.try_send_opaque(b"four").unwrap();
    let empty = send.try_send_opaque(b"").unwrap_err();
    assert!(matches!(empty, SendError::Invalid(_)), "{empty}");
    let long = send.try_send(fields, &vec![0; 2 << 20]).unwrap_err();
    assert!(matches!(long, SendError::TooLongForPeer { .. }), "{long}");
    link.run_for(SECOND);
    let Peer { receive, .. } = link.peer(1);
    for payload in [&b"one"[..], b""] {
        let delta = receive.try_next().unwrap().delta().unwrap();
        assert_eq!((delta.payload(), delta.doc_id()), (payload, DocId([7; 16])));
    }
    for body in [&b"three"[..], b"four"] {
        assert_eq!(receive.try_next().unwrap().body(), body);
    }
    assert_eq!(receive.try_next().unwrap_err(), TryNextError::Empty);
}
