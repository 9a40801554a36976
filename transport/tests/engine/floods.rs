//! What a peer that has a link, and so all its keys, cannot make the stack hold.

use std::time::Duration;

use deltawire_transport::engine::admission::{MAX_AHEAD, MAX_HELD};
use deltawire_transport::engine::{EngineError, MAX_SOURCES};

use crate::hostile::{HOSTILE, Link};

const BEGIN: u8 = 2;
const END: u8 = 1;
const WHOLE: u8 = BEGIN | END;

/// A DATA chunk (RFC 9260, section 3.3.1) of an ordered message.
fn data(flags: u8, tsn: u32, stream: u16, sequence: u16, len: usize) -> Vec<u8> {
    let mut chunk = vec![0, flags];
    chunk.extend(((16 + len) as u16).to_be_bytes());
    chunk.extend(tsn.to_be_bytes());
    chunk.extend(stream.to_be_bytes());
    chunk.extend(sequence.to_be_bytes());
    chunk.extend(53_u32.to_be_bytes());
    chunk.resize(16 + len, 9);
    chunk.resize(chunk.len().next_multiple_of(4), 0);
    chunk
}

/// Bytes of a packet that mean nothing: a chunk of a type that its receiver passes over.
fn padding(len: usize) -> Vec<u8> {
    let mut chunk = vec![0x84, 0];
    chunk.extend((len as u16).to_be_bytes());
    chunk.resize(len, 0);
    chunk
}

/// Sends packets, each of the chunks that `chunks` gives for its number and the first TSN, and checks
/// that the engine holds no more than it may after any of them.
fn flood(packets: u32, mut chunks: impl FnMut(u32, u32) -> Vec<u8>) -> Link {
    let mut link = Link::open();
    let first = link.next_tsn();
    for number in 0..packets {
        let packet = link.packet(&chunks(number, first));
        link.say(vec![packet]);
    }
    assert!(link.held_max as usize <= MAX_HELD, "{} of {MAX_HELD} bytes", link.held_max);
    link
}

fn sctp(what: &'static str) -> Option<EngineError> {
    Some(EngineError::Sctp(what))
}

#[test]
fn a_message_in_crumbs_that_never_ends() {
    let link = flood(300, |number, first| {
        let crumb = |at| data(if at == 0 { BEGIN } else { 0 }, first + at, 0, 0, 1);
        (40 * number..40 * number + 40).flat_map(crumb).collect()
    });
    assert_eq!(link.error, sctp("a message came in more chunks than any needs"));
}

#[test]
fn messages_that_wait_for_one_that_never_comes() {
    let link = flood(300, |number, first| {
        let later = |at| data(WHOLE, first + at, 0, 1 + at as u16, 1);
        (40 * number..40 * number + 40).flat_map(later).collect()
    });
    assert_eq!(link.error, sctp("a stream's messages were not numbered one by one"));
}

#[test]
fn messages_that_begin_within_others() {
    let link = flood(300, |number, first| data(BEGIN, first + number, 0, number as u16, 1_000));
    assert_eq!(link.error, sctp("a message began within another"));
}

#[test]
fn streams_without_number() {
    let link = flood(300, |number, first| data(WHOLE, first + number, number as u16, 0, 1));
    assert!(matches!(link.error, Some(EngineError::Stream { stream: 3, .. })), "{:?}", link.error);
}

/// Whoever leaves one TSN out makes all others wait; the stack takes those below the highest that came
/// even when its window is used up.
#[test]
fn holes_are_filled_only_so_far() {
    let all = |len| {
        move |number, first| match number {
            0 => data(WHOLE, first + 1_000_000, 1, 30_000, 1),
            _ => data(WHOLE, first + number, 1, number as u16, len),
        }
    };
    assert_eq!(flood(9_000, all(1_000)).error, None);
    assert_eq!(flood(9_000, all(1)).error, None);
    // Short messages in long packets, which stay in memory whole.
    let long = |number, first| [data(WHOLE, first + 1 + number, 1, 1, 1), padding(1_100)].concat();
    assert_eq!(flood(9_000, long).error, None);
    let many = |number, first| {
        let one = |at| data(WHOLE, first + 1 + at, 1, at as u16, 1);
        (40 * number..40 * number + 40).flat_map(one).collect()
    };
    let link = flood(400, many);
    assert_eq!(link.error, None);
    assert!(link.held as usize > 100 * MAX_AHEAD, "it was let in as far as it may");
}

/// What an acknowledgement would have to list makes it longer than str0m can send: that ends the link.
#[test]
fn every_second_chunk_only() {
    let link =
        flood(9_000, |number, first| data(WHOLE, first + 1 + 2 * number, 1, number as u16, 1));
    assert!(matches!(link.error, Some(EngineError::Stack(_))), "{:?}", link.error);
}

#[test]
fn a_tsn_that_means_two_things() {
    let link = flood(2, |number, first| data(WHOLE, first + 1, 0, 1 + number as u16, 1));
    assert_eq!(link.error, sctp("a TSN came twice, and differs"));
}

/// Only streams that may lose messages leave any out.
#[test]
fn messages_that_are_left_out() {
    let link = flood(9_000, |number, first| {
        let mut forward = vec![192, 0, 0, 8];
        forward.extend((first + 1_000 * number).to_be_bytes());
        [forward, data(WHOLE, first + 1_000 * number + 1, 0, number as u16 + 1, 1)].concat()
    });
    assert!(link.messages.is_empty());
}

#[test]
fn associations_that_begin_anew() {
    let link = flood(3_000, |number, _| {
        let mut chunk = vec![1, 0, 0, 20];
        chunk.extend((number + 1).to_be_bytes());
        chunk.extend(100_000_u32.to_be_bytes());
        chunk.extend([0, 9, 0, 9]);
        chunk.extend(number.to_be_bytes());
        chunk
    });
    assert!(link.held < 16_384, "{}", link.held);
}

#[test]
fn packets_that_break_off_are_dropped() {
    let mut link = Link::open();
    let whole = data(WHOLE, link.next_tsn(), 0, 0, 100);
    for end in 0..whole.len() {
        let packet = link.packet(&whole[..end]);
        link.say(vec![packet[..packet.len() - packet.len().min(end % 13)].to_vec(), packet]);
    }
    assert_eq!((link.error.take(), link.messages.len()), (None, 0));
    let packet = link.packet(&whole);
    link.say(vec![packet]);
    assert_eq!(link.messages.len(), 1);
}

/// A check proves itself wherever it comes from.
#[test]
fn checks_from_everywhere() {
    let mut link = Link::open();
    link.pass(Duration::from_secs(3));
    let (check, sent) = (link.check.clone(), link.sent);
    for port in 2_000..12_000 {
        link.datagram((HOSTILE.ip(), port).into(), &check);
    }
    assert!(link.sent - sent <= MAX_SOURCES, "{} were answered", link.sent - sent);
    assert!(link.held < 256 << 10, "{} bytes are held", link.held);
    // Its own address still counts.
    let sent = link.sent;
    link.datagram(HOSTILE, &check);
    assert_eq!(link.sent, sent + 1);
}
