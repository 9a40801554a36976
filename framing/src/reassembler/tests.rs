use std::vec;
use std::vec::Vec;

use zerocopy::IntoBytes;

use super::*;
use crate::error::{Blame, Field};
use crate::fragmenter::Fragmenter;
use crate::frame::Kind;

const LIMITS: ReassemblerLimits = ReassemblerLimits {
    max_bytes: 1_000,
    max_messages: 3,
    max_idle: Duration::from_secs(10),
    remembered: 2,
};

const START: Duration = Duration::ZERO;

fn landing(message: &FrameHeader) -> Option<Vec<u8>> {
    Some(vec![0; message.message_len() as usize])
}

/// The frames of a message of `len` bytes, all `id`, in fragments of 48.
fn frames(id: u8, len: usize) -> Vec<Vec<u8>> {
    let whole = FrameHeader::whole(Kind::Opaque, Channel::Data, len).unwrap();
    let fragmenter = Fragmenter::new(&whole, u32::from(id), 64).unwrap();
    let mut message = [whole.as_bytes(), &vec![id; len]].concat();
    (0..fragmenter.count())
        .map(|index| fragmenter.in_place(&mut message, index).unwrap().to_vec())
        .collect()
}

fn insert(
    reassembler: &mut Reassembler<Vec<u8>>,
    bytes: &[u8],
    now: Duration,
) -> Result<Option<Vec<u8>>, Refused> {
    match reassembler.insert(Frame::parse(bytes).unwrap(), now, &mut landing)? {
        Reassembled::Complete(message) => Ok(Some(message.buffer)),
        _ => Ok(None),
    }
}

fn limit_of(refused: Refused) -> &'static str {
    assert_eq!(refused.blame(), Blame::Limit);
    match refused {
        Refused::Limit(limit) => limit.limit,
        Refused::Malformed(error) => panic!("{error}"),
    }
}

#[test]
fn a_message_of_one_frame_is_not_copied() {
    let mut reassembler = Reassembler::<Vec<u8>>::new(LIMITS, 0);
    let bytes =
        [FrameHeader::whole(Kind::Opaque, Channel::Data, 3).unwrap().as_bytes(), b"abc"].concat();
    let frame = Frame::parse(&bytes).unwrap();
    match reassembler.insert(frame, START, &mut landing).unwrap() {
        Reassembled::Whole(whole) => assert_eq!(whole.body().as_ptr(), bytes[16..].as_ptr()),
        other => panic!("{other:?}"),
    }
    assert_eq!(reassembler.counters().whole_messages, 1);
}

#[test]
fn limits_refuse_one_message_and_lose_no_other() {
    let mut reassembler = Reassembler::new(LIMITS, 0);
    for id in 1..=2 {
        assert_eq!(insert(&mut reassembler, &frames(id, 400)[0], START), Ok(None));
    }
    let refused = insert(&mut reassembler, &frames(3, 201)[0], START).unwrap_err();
    assert_eq!(limit_of(refused), "max_bytes");
    assert_eq!(insert(&mut reassembler, &frames(5, 200)[0], START), Ok(None));
    let refused = insert(&mut reassembler, &frames(4, 100)[0], START).unwrap_err();
    assert_eq!(limit_of(refused), "max_messages");
    assert_eq!((reassembler.unfinished(), reassembler.claimed_bytes()), (3, 1_000));

    for frame in &frames(1, 400)[1..8] {
        assert_eq!(insert(&mut reassembler, frame, START), Ok(None));
    }
    let done = insert(&mut reassembler, &frames(1, 400)[8], START).unwrap();
    assert_eq!(done, Some(vec![1; 400]));
    assert_eq!((reassembler.unfinished(), reassembler.claimed_bytes()), (2, 600));
    // What still comes of a message that was refused does not begin it.
    assert_eq!(insert(&mut reassembler, &frames(4, 100)[1], START), Ok(None));
    assert_eq!((reassembler.unfinished(), reassembler.counters().duplicates), (2, 1));
    assert_eq!(insert(&mut reassembler, &frames(6, 100)[0], START), Ok(None));
    assert_eq!(reassembler.counters().refused_limit, 2);
}

#[test]
fn a_landing_may_refuse_or_give_too_little() {
    let mut reassembler = Reassembler::new(LIMITS, 0);
    let bytes = &frames(1, 100)[0];
    let frame = Frame::parse(bytes).unwrap();
    let refused = reassembler.insert(frame, START, &mut |_: &FrameHeader| None).unwrap_err();
    assert_eq!(limit_of(refused), "landing");
    let bytes = &frames(2, 100)[0];
    let frame = Frame::parse(bytes).unwrap();
    let mut small = |_: &FrameHeader| Some(vec![0; 99]);
    assert_eq!(limit_of(reassembler.insert(frame, START, &mut small).unwrap_err()), "landing");
    assert_eq!((reassembler.unfinished(), reassembler.claimed_bytes()), (0, 0));
}

#[test]
fn contradictions_are_refused_and_the_message_stays() {
    let mut reassembler = Reassembler::new(LIMITS, 0);
    let good = frames(1, 60);
    assert_eq!(insert(&mut reassembler, &good[0], START), Ok(None));
    let contradictions = [
        (Field::Kind, Kind::Delta, 60, 1, 2, 12),
        (Field::MessageLen, Kind::Opaque, 61, 1, 2, 13),
        (Field::FragmentCount, Kind::Opaque, 60, 1, 4, 16),
        (Field::Length, Kind::Opaque, 60, 1, 2, 28),
    ];
    for (field, kind, message_len, index, count, body_len) in contradictions {
        let header = FrameHeader::new(kind, Channel::Data, 1, message_len, index, count);
        let bytes = [header.as_bytes(), &vec![9; body_len]].concat();
        match insert(&mut reassembler, &bytes, START).unwrap_err() {
            Refused::Malformed(error) => assert_eq!(error.field, field),
            Refused::Limit(error) => panic!("{error}"),
        }
    }
    assert_eq!(insert(&mut reassembler, &good[1], START), Ok(Some(vec![1; 60])));
    assert_eq!(reassembler.counters().refused_malformed, 4);
}

#[test]
fn the_same_id_on_another_channel_is_another_message() {
    let mut reassembler = Reassembler::new(LIMITS, 0);
    assert_eq!(insert(&mut reassembler, &frames(1, 100)[0], START), Ok(None));
    let mut other = frames(1, 60);
    for frame in &mut other {
        frame[2] = Channel::Command as u8;
    }
    assert_eq!(insert(&mut reassembler, &other[0], START), Ok(None));
    assert_eq!(reassembler.unfinished(), 2);
    assert_eq!(insert(&mut reassembler, &other[1], START), Ok(Some(vec![1; 60])));
}

#[test]
fn finished_messages_are_remembered_for_a_while() {
    let mut reassembler = Reassembler::new(LIMITS, 0);
    for id in 1..=3 {
        for frame in frames(id, 100) {
            insert(&mut reassembler, &frame, START).unwrap();
        }
    }
    // Two are remembered: 2 and 3. A copy of 1 begins it anew.
    for id in [2, 3] {
        assert_eq!(insert(&mut reassembler, &frames(id, 100)[0], START), Ok(None));
    }
    assert_eq!((reassembler.unfinished(), reassembler.counters().duplicates), (0, 2));
    assert_eq!(insert(&mut reassembler, &frames(1, 100)[0], START), Ok(None));
    assert_eq!(reassembler.unfinished(), 1);
}

#[test]
fn ids_may_come_again_at_once_where_none_is_remembered() {
    let limits = ReassemblerLimits { remembered: 0, ..LIMITS };
    let mut reassembler = Reassembler::new(limits, 0);
    for _ in 0..10 {
        let sent = frames(7, 60);
        assert_eq!(insert(&mut reassembler, &sent[0], START), Ok(None));
        assert_eq!(insert(&mut reassembler, &sent[1], START), Ok(Some(vec![7; 60])));
    }
}

#[test]
fn messages_that_wait_too_long_are_given_up_oldest_first() {
    let at = Duration::from_secs;
    let mut reassembler = Reassembler::new(LIMITS, 0);
    assert_eq!(reassembler.poll_timeout(), None);
    for id in 1..=3u8 {
        insert(&mut reassembler, &frames(id, 100)[0], at(u64::from(id))).unwrap();
    }
    // Progress of 1 makes 2 the oldest; a duplicate is no progress.
    insert(&mut reassembler, &frames(1, 100)[1], at(4)).unwrap();
    insert(&mut reassembler, &frames(2, 100)[0], at(5)).unwrap();
    assert_eq!(reassembler.poll_timeout(), Some(at(12)));
    assert!(reassembler.poll_expired(at(11)).is_none());
    let mut given_up = Vec::new();
    while let Some(abandoned) = reassembler.poll_expired(at(13)) {
        given_up.push((abandoned.message_id, abandoned.received));
    }
    assert_eq!(given_up, [(2, 1), (3, 1)]);
    assert_eq!(reassembler.poll_timeout(), Some(at(14)));
    assert_eq!(reassembler.poll_expired(at(14)).unwrap().received, 2);
    insert(&mut reassembler, &frames(1, 100)[2], at(15)).unwrap();
    assert_eq!((reassembler.unfinished(), reassembler.claimed_bytes()), (0, 0));
    assert_eq!(reassembler.counters().expired_messages, 3);
}
