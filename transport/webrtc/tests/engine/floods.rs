//! What a peer that has a link, and so all its keys, cannot make the stack hold.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use deltawire_channels::{Delivery, Order, Reliability};
use deltawire_webrtc::{EngineConfig, EngineError, EngineKind, MAX_SOURCES, max_ahead, max_held};

use crate::hostile::{HOSTILE, Link, RECEIVE_BUFFER};

const UNORDERED: u8 = 4;
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

/// Bytes of a packet that nobody keeps: a HEARTBEAT (RFC 9260, section 3.3.5).
fn padding(len: usize) -> Vec<u8> {
    let mut chunk = vec![4, 0];
    chunk.extend((len as u16).to_be_bytes());
    chunk.extend([0, 1]);
    chunk.extend((len as u16 - 4).to_be_bytes());
    chunk.resize(len, 0);
    chunk
}

/// Says that messages up to this TSN are left out (RFC 3758, section 3.2).
fn left_out(tsn: u32) -> Vec<u8> {
    [[192, 0, 0, 8], tsn.to_be_bytes()].concat()
}

/// Sends packets, each of the chunks that `chunks` gives for its number and the first TSN, and checks
/// that the engine holds no more than it may after any of them.
fn flood(packets: u32, chunks: impl FnMut(u32, u32) -> Vec<u8>) -> Link {
    flood_with(&Link::config(), packets, chunks)
}

/// The same, of an engine with this configuration.
fn flood_with(
    config: &EngineConfig,
    packets: u32,
    mut chunks: impl FnMut(u32, u32) -> Vec<u8>,
) -> Link {
    let mut link = Link::with(config);
    let first = link.next_tsn();
    for number in 0..packets {
        let packet = link.packet(&chunks(number, first));
        link.say(vec![packet]);
    }
    let most = max_held(config.receive_buffer);
    assert!(link.held_max as usize <= most, "{} of {most} bytes", link.held_max);
    link
}

/// Where the peer's deltas may get lost.
fn lossy(order: Order) -> EngineConfig {
    let mut config = Link::config();
    config.initiator = Delivery { order, reliability: Reliability::MaxRetransmits(0) };
    config
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
    let link = flood(9_000, long);
    assert_eq!(link.error, None);
    assert!(link.held as usize > 256 * max_ahead(RECEIVE_BUFFER), "the packets stay");
    let many = |number, first| {
        let one = |at| data(WHOLE, first + 1 + at, 1, at as u16, 1);
        (40 * number..40 * number + 40).flat_map(one).collect()
    };
    let link = flood(400, many);
    assert_eq!(link.error, None);
    assert!(link.held as usize > 100 * max_ahead(RECEIVE_BUFFER), "it was let in as far as it may");
}

/// A packet stays in memory as long as any of its chunks, whatever came with them.
#[test]
fn packets_that_are_kept_for_their_smallest_chunk() {
    let far = |number, first| data(WHOLE, first + 10_000 + number, 1, 1, 1);
    let check = |link: Link| {
        assert_eq!(link.error, None);
        let room = 512 * max_ahead(RECEIVE_BUFFER);
        assert!(link.held as usize > room / 2, "{}: all room is taken", link.held);
    };
    // Behind one that came before, and behind one that is acknowledged at once.
    let old = |number: u32, first| {
        let old = data(WHOLE, first, 0, 0, 1);
        if number == 0 {
            return old;
        }
        [old, far(number, first), padding(1_100)].concat()
    };
    check(flood(9_000, old));
    let next = |number: u32, first| {
        let next = data(WHOLE, first + number, 0, number as u16, 1);
        [next, far(number, first), padding(1_100)].concat()
    };
    check(flood(9_000, next));
}

/// Whoever filled all room, and then sends what was missing, goes on.
#[test]
fn what_is_missing_finds_room() {
    let mut link = flood(5_000, |number, first| {
        [data(WHOLE, first + 1 + number, 0, 1 + number as u16, 1), padding(1_100)].concat()
    });
    assert_eq!((link.error.take(), link.messages.len()), (None, 0));
    let missing = link.packet(&data(WHOLE, link.next_tsn(), 0, 0, 1));
    link.say(vec![missing]);
    let room = (max_ahead(RECEIVE_BUFFER) * 512) / 1_200;
    assert!(link.messages.len() > room, "{} of more than {room} came", link.messages.len());
}

/// What is missing may come with what is missing later, and with what is new: an honest sender puts into
/// a packet what fits.
#[test]
fn what_is_missing_finds_room_beside_what_is_missing_later() {
    const MISSING: [u32; 3] = [0, 40, 2_000];
    let full = || {
        let behind = |number, first| match number {
            at if MISSING.contains(&at) => padding(8),
            at => data(WHOLE, first + at, 0, at as u16, 1),
        };
        let link = flood(4_500, behind);
        assert_eq!((&link.error, link.messages.len()), (&None, 0));
        link
    };
    for beside in [&MISSING[1..2], &MISSING[1..], &[40, 2_000, 4_200, 4_201], &[5_000]] {
        let mut link = full();
        let first = link.next_tsn();
        let all = [&MISSING[..1], beside].concat();
        let chunks: Vec<u8> =
            all.iter().flat_map(|at| data(WHOLE, first + at, 0, *at as u16, 1)).collect();
        let packet = link.packet(&chunks);
        link.say(vec![packet]);
        let came = if beside.contains(&40) { 2_000 } else { 40 };
        assert!(link.messages.len() >= came, "{} came with {beside:?}", link.messages.len());
        assert!(link.held_max as usize <= max_held(RECEIVE_BUFFER), "{} bytes", link.held_max);
    }
}

/// Where what is missing is given up, that finds room too.
#[test]
fn what_is_given_up_finds_room_beside_what_is_new() {
    let mut link = flood_with(&lossy(Order::Unordered), 4_500, |number, first| {
        data(WHOLE | UNORDERED, first + 1 + number, 1, 0, 1)
    });
    assert_eq!(link.error, None);
    let room = max_ahead(RECEIVE_BUFFER) as u32;
    let first = link.next_tsn();
    let after = |at| data(WHOLE | UNORDERED, first + at, 1, 0, 1);
    let packet = link.packet(&[left_out(first), after(room + 1_000)].concat());
    link.say(vec![packet]);
    let packet = link.packet(&after(room + 1));
    link.say(vec![packet]);
    assert_eq!((link.error, link.messages.len()), (None, room as usize + 2));
}

/// Room beside what is missing has an end as well.
#[test]
fn what_comes_beside_what_is_missing_is_bounded() {
    let link = flood(9_000, |number: u32, first| {
        let next = data(WHOLE, first + number, 0, number as u16, 1);
        let far = |at| data(WHOLE, first + 20_000 + at, 1, 1, 1);
        [next, (40 * number..40 * number + 40).flat_map(far).collect()].concat()
    });
    assert_eq!(link.error, None);
    assert!(link.held as usize > 100 * max_ahead(RECEIVE_BUFFER), "it was let in as far as it may");
}

/// Room grows with the window that the engine was given.
#[test]
fn a_long_window_has_its_room() {
    let mut config = Link::config();
    config.receive_buffer = 8 << 20;
    let behind = |number, first| match number {
        0 => data(WHOLE, first + 1_000_000, 1, 30_000, 1),
        _ => data(WHOLE, first + number, 1, number as u16, 1_100),
    };
    let link = flood_with(&config, 7_000, behind);
    assert_eq!(link.error, None);
    assert!(link.held > 7_000 * 1_100, "{} bytes: it took all", link.held);
    assert_eq!(flood_with(&config, 20_000, behind).error, None);
}

#[test]
fn crumbs_where_messages_may_get_lost() {
    for order in [Order::Unordered, Order::Ordered] {
        let unordered = if order == Order::Unordered { UNORDERED } else { 0 };
        let link = flood_with(&lossy(order), 300, |number, first| {
            let crumb = |at| {
                let begin = if at == 0 { BEGIN } else { 0 };
                data(begin | unordered, first + at, 1, 0, 1)
            };
            (40 * number..40 * number + 40).flat_map(crumb).collect()
        });
        assert_eq!(link.error, sctp("a message came in more chunks than any needs"));
        let link = flood_with(&lossy(order), 300, |number, first| {
            data(BEGIN | unordered, first + number, 1, number as u16, 1_000)
        });
        assert_eq!(link.error, sctp("a message began within another"));
    }
}

/// Commands never get lost, so they are numbered.
#[test]
fn commands_that_wait_where_deltas_may_get_lost() {
    let link = flood_with(&lossy(Order::Unordered), 300, |number, first| {
        let later = |at| data(WHOLE, first + at, 0, 1 + at as u16, 1);
        (40 * number..40 * number + 40).flat_map(later).collect()
    });
    assert_eq!(link.error, sctp("a stream's messages were not numbered one by one"));
    let link = flood_with(&lossy(Order::Unordered), 2, |number, first| match number {
        0 => data(BEGIN, first, 0, 0, 1),
        _ => [left_out(first + 5), data(WHOLE, first + 6, 0, 1, 1)].concat(),
    });
    assert_eq!(link.error, sctp("a message was left out where none may get lost"));
}

/// Messages behind one that never comes: only ordered ones wait.
#[test]
fn deltas_that_are_ordered_where_none_are() {
    let link = flood_with(&lossy(Order::Unordered), 300, |number, first| {
        let later = |at| data(WHOLE, first + at, 1, 1 + at as u16, 1);
        (40 * number..40 * number + 40).flat_map(later).collect()
    });
    assert_eq!(link.error, sctp("a message was ordered where none is"));
}

/// Pieces of messages whose rest is left out, again and again.
#[test]
fn pieces_of_messages_that_are_given_up() {
    let config = lossy(Order::Unordered);
    let link = flood_with(&config, 20_000, |number, first| {
        let tsn = first + 10 * number;
        let begin = data(BEGIN | UNORDERED, tsn + 1, 1, 0, 400);
        let end = data(END | UNORDERED, tsn + 3, 1, 0, 400);
        [left_out(tsn), begin, end].concat()
    });
    assert_eq!((link.error, link.messages.len()), (None, 0));
    // The end of one whose beginning was left out, and then many whole ones.
    let link = flood_with(&config, 20_000, |number, first| {
        let tsn = first + 10 * number;
        let end = data(END | UNORDERED, tsn + 1, 1, 0, 400);
        let whole = data(WHOLE | UNORDERED, tsn + 2, 1, 0, 400);
        [left_out(tsn), end, whole].concat()
    });
    assert_eq!((link.error, link.messages.len()), (None, 20_000));
}

/// What an acknowledgement would have to list makes it longer than str0m can send: that ends the link. The
/// lean engine leaves out what does not fit.
#[test]
fn every_second_chunk_only() {
    let link =
        flood(9_000, |number, first| data(WHOLE, first + 1 + 2 * number, 1, number as u16, 1));
    match crate::ENGINE {
        EngineKind::Str0m => {
            assert!(matches!(link.error, Some(EngineError::Stack(_))), "{:?}", link.error);
        }
        _ => assert_eq!(link.error, None),
    }
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
        let forward = left_out(first + 1_000 * number);
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
    // Each is answered, and its address asked whether the peer has moved there.
    assert!(link.sent - sent <= 2 * MAX_SOURCES, "{} were answered", link.sent - sent);
    assert!(link.held < 256 << 10, "{} bytes are held", link.held);
    // Its own address still counts.
    let sent = link.sent;
    link.datagram(HOSTILE, &check);
    assert_eq!(link.sent, sent + 1);
}

/// A chunk of this type.
fn chunk(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut chunk = vec![kind, 0];
    chunk.extend(((4 + body.len()) as u16).to_be_bytes());
    chunk.extend_from_slice(body);
    chunk.resize(chunk.len().next_multiple_of(4), 0);
    chunk
}

/// Says that ordered messages of a stream are given up, up to this one.
fn given_up(tsn: u32, stream: u16, sequence: u16) -> Vec<u8> {
    let numbers = [stream, sequence].map(u16::to_be_bytes).concat();
    chunk(192, &[&tsn.to_be_bytes()[..], &numbers].concat())
}

/// Says one chunk, and whether the link is there after it: a message comes.
fn outlives(link: &mut Link, hostile: &[u8]) -> bool {
    let packet = link.packet(hostile);
    link.say(vec![packet]);
    let before = link.messages.len();
    let packet = link.packet(&data(WHOLE, link.next_tsn(), 0, 0, 9));
    link.say(vec![packet]);
    link.messages.len() > before && link.error.is_none() && !link.closed
}

/// A stack's work for it would grow with how much is given up: here by half of all numbers there are.
#[test]
fn more_is_given_up_than_was_on_its_way() {
    for order in [Order::Ordered, Order::Unordered] {
        for far in [1 << 31, 1 << 24, 4 * max_ahead(RECEIVE_BUFFER) as u32 + 1] {
            // With str0m it is not known before the first acknowledgement where the peer's numbers begin.
            if crate::ENGINE == EngineKind::Lean {
                let link = flood_with(&lossy(order), 1, |_, first| {
                    left_out((first - 1).wrapping_add(far))
                });
                let expected = if far == 1 << 31 {
                    // That is behind, and says nothing.
                    None
                } else {
                    sctp("more was given up than can have been on its way")
                };
                assert_eq!(link.error, expected, "{far}");
            }
        }
    }
}

/// What is ordered and may get lost is given up by name, or it is there: nothing waits behind what is neither.
#[test]
fn ordered_messages_behind_one_that_is_not_given_up() {
    let config = lossy(Order::Ordered);
    let link = flood_with(&config, 9_000, |number, first| {
        data(WHOLE, first + number, 1, 1 + number as u16, 1)
    });
    assert_eq!(link.error, sctp("a stream's messages were not numbered one by one"));
    // Each second one is given up.
    let link = flood_with(&config, 20_000, |number, first| {
        let (tsn, sequence) = (first + 2 * number, 2 * number as u16);
        [given_up(tsn, 1, sequence), data(WHOLE, tsn + 1, 1, sequence.wrapping_add(1), 400)]
            .concat()
    });
    assert_eq!((link.error, link.messages.len()), (None, 20_000));
}

#[test]
fn a_chunk_of_data_without_data() {
    let link = flood(1, |_, first| data(WHOLE, first, 0, 0, 0));
    assert_eq!(link.error, sctp("a chunk of data held none"));
}

#[test]
fn a_packet_of_questions_has_one_answer() {
    let mut link = Link::open();
    let question = [4, 0, 0, 12, 0, 1, 0, 8, 1, 2, 3, 4].repeat(90);
    let sent = link.sent;
    assert!(outlives(&mut link, &question));
    let most = if crate::ENGINE == EngineKind::Lean { 3 } else { 92 };
    assert!(link.sent - sent <= most, "{} datagrams", link.sent - sent);
}

/// What others report, what is not known and what belongs to a handshake that is over ends no link.
#[test]
fn chunks_that_mean_nothing_here() {
    if crate::ENGINE != EngineKind::Lean {
        return;
    }
    let init = [[0, 0, 0, 9, 0, 9, 0, 0], [0, 9, 0, 9, 0, 0, 0, 1]].concat();
    for (kind, body) in [
        (9, &[0, 8, 0, 8, 0x80, 1, 0, 4][..]),
        (9, &[0, 1, 0, 99]),
        (5, &[0, 1, 0, 4]),
        (1, &init),
        (2, &init),
        (10, &[7; 24]),
        (11, &[]),
        (0x81, &[7; 99]),
        (0xc5, &[]),
        (0x3f, &[7; 8]),
        (64, &[7; 40]),
    ] {
        let mut link = Link::open();
        assert!(outlives(&mut link, &chunk(kind, body)), "{kind}: {:?}", link.error);
    }
}

/// Acknowledgements whose blocks overlap, go backwards, or name what was never sent: at worst they end the
/// link of who says them, and at once.
#[test]
fn wild_acknowledgements() {
    for (acknowledged, blocks) in [
        (0_u32, vec![[2_u16, 65_535]; 250]),
        (0, (0..250).rev().map(|at| [2 * at, 3 * at]).collect()),
        (u32::MAX, vec![[1, 1]]),
        (1 << 31, Vec::new()),
    ] {
        let mut body = acknowledged.to_be_bytes().to_vec();
        body.extend([0, 1, 0, 0]);
        body.extend((blocks.len() as u16).to_be_bytes());
        body.extend([0; 2]);
        body.extend(blocks.as_flattened().iter().flat_map(|number| number.to_be_bytes()));
        let mut link = Link::open();
        outlives(&mut link, &chunk(3, &body));
        assert!(!matches!(link.error, Some(EngineError::Panicked(_))), "{:?}", link.error);
    }
}

/// A peer closes a channel when all that it sent before is there (RFC 6525).
#[test]
fn a_stream_that_is_closed() {
    if crate::ENGINE != EngineKind::Lean {
        return;
    }
    let reset = |last_tsn: u32| {
        let mut parameter = vec![0, 13, 0, 18];
        [7, 0, last_tsn].iter().for_each(|it| parameter.extend(it.to_be_bytes()));
        parameter.extend([0, 1]);
        chunk(130, &parameter)
    };
    let mut link = Link::open();
    let packet = link.packet(&reset(link.next_tsn() - 1));
    link.say(vec![packet]);
    link.pass(Duration::from_millis(300));
    assert_eq!((link.closed, link.error), (true, None));
    // Again and again, before all is there.
    let mut link = Link::open();
    let first = link.next_tsn();
    assert!(outlives(&mut link, &reset(first + 1).repeat(50)));
    let packet = link.packet(&data(WHOLE, first + 1, 1, 0, 9));
    link.say(vec![packet]);
    link.pass(Duration::from_millis(300));
    assert_eq!((link.closed, link.error, link.messages.len()), (true, None, 2));
}

/// A peer chooses the number that it begins with, and numbers wrap around.
#[test]
fn numbers_that_wrap_around() {
    if crate::ENGINE != EngineKind::Lean {
        return;
    }
    let begins = u32::MAX - 20;
    let mut link = Link::with_offer(&Link::config(), |offer| {
        let (before, rest) = offer.split_once("a=sctp-init:").unwrap();
        let (init, after) = rest.split_once("\r\n").unwrap();
        let mut init = BASE64_STANDARD.decode(init).unwrap();
        init[16..20].copy_from_slice(&begins.to_be_bytes());
        format!("{before}a=sctp-init:{}\r\n{after}", BASE64_STANDARD.encode(init))
    });
    // Each third comes late.
    let tsn = |at: u32| begins.wrapping_add(at);
    for group in (0..60).step_by(3) {
        for at in [group + 1, group + 2, group] {
            let packet = link.packet(&data(WHOLE, tsn(at), 0, at as u16, 100));
            link.say(vec![packet]);
        }
        link.pass(Duration::from_millis(1));
    }
    assert_eq!((link.error, link.closed, link.messages.len()), (None, false, 60));
}
