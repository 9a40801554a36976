//! A hostile peer floods a session whose application does not read: memory stays within the bound that the
//! limits name, whatever comes and for as long as it comes, and no message costs more allocations than those
//! before it. What work is done without allocating is not measured here.

use std::time::Duration;

use allocation_counter::{measure, opt_out};
use deltawire_channels::session::{Closed, Event, ProtocolError, SessionConfig};
use deltawire_channels::{Delivery, Limits, Order, Peer, Session};
use deltawire_framing::control::{
    CloseCode, Hello, HelloFields, Ping, Pong, Position, Role, Window,
};
use deltawire_framing::{
    Channel, DeltaFields, DocId, Fragmenter, FrameHeader, Frames, Kind, LimitExceeded,
};
use zerocopy::{Immutable, IntoBytes};

use crate::pipe::configs;

fn frame(kind: Kind, channel: Channel, body: &[u8]) -> Vec<u8> {
    [FrameHeader::whole(kind, channel, body.len()).unwrap().as_bytes(), body].concat()
}

fn control(message: &(impl IntoBytes + Immutable)) -> Vec<u8> {
    frame(Kind::Control, Channel::Command, message.as_bytes())
}

fn hello() -> Vec<u8> {
    hello_with(|_| {})
}

fn hello_with(change: impl FnOnce(&mut HelloFields)) -> Vec<u8> {
    let mut fields = HelloFields {
        role: Role::Initiator,
        max_frame_len: 16_384,
        max_message_len: 1 << 20,
        data_window: 1 << 20,
        command_window: 1 << 16,
        max_unfinished: 64,
        idle_timeout_ms: 5_000,
        features: 0,
        command: Order::Ordered,
        deltas: Delivery::default(),
        session_id: [9; 16],
    };
    change(&mut fields);
    control(&Hello::new(fields))
}

/// Fragment `index` of a message, with bodies of `len` bytes.
fn fragment(id: u32, message_len: usize, len: usize, index: u16) -> Vec<u8> {
    let whole = FrameHeader::whole(Kind::Opaque, Channel::Data, message_len).unwrap();
    let fragmenter = Fragmenter::new(&whole, id, 16 + len).unwrap();
    let mut scratch = vec![0; 16 + len];
    fragmenter.in_scratch(&vec![1; message_len], index, &mut scratch).unwrap().to_vec()
}

/// What a flood came to.
struct Flooded {
    session: Session,
    _peer: Peer,
    /// Memory at most, bytes: beside rings, which lie in pages of their own.
    most: u64,
    /// Allocations in the first thousand messages, and in the last.
    allocations: [u64; 2],
    ended: Option<Closed>,
}

/// Tells an acceptor, which says what it has to say after each message and whose application reads
/// nothing, so many messages, or until it ends.
fn flood(count: u32, message: impl FnMut(u32) -> (Channel, Vec<u8>)) -> Flooded {
    let limits = configs()[1].limits;
    flood_with(configs()[1], hello(), limits.memory_bound(), count, message)
}

/// The same, of a session with other options, and within `bound` bytes.
fn flood_with(
    config: SessionConfig,
    hello: Vec<u8>,
    bound: u64,
    count: u32,
    mut message: impl FnMut(u32) -> (Channel, Vec<u8>),
) -> Flooded {
    let mut kept = None;
    let whole = measure(|| {
        let (mut session, peer) = Session::new(config, Duration::ZERO).unwrap();
        session.handle_message(Channel::Command, hello, Duration::ZERO);
        let (mut allocations, mut ended) = ([0; 2], None);
        for number in 0..count {
            let (mut channel, mut bytes) = (Channel::Command, Vec::new());
            opt_out(|| (channel, bytes) = message(number));
            // What the transport hands over is the session's from then on.
            let copy = bytes.clone();
            opt_out(|| bytes = Vec::new());
            let work = measure(|| {
                session.handle_message(channel, copy, Duration::ZERO);
                while session.poll_transmit(16_384).is_some() {}
            });
            match number {
                0..1_000 => allocations[0] += work.count_total,
                last if last >= count - 1_000 => allocations[1] += work.count_total,
                _ => {}
            }
            while let Some(event) = session.poll_event() {
                if let Event::Closed(closed) = event {
                    ended = Some(closed);
                }
            }
            if ended.is_some() {
                break;
            }
        }
        kept = Some((session, peer, allocations, ended));
    });
    let (session, peer, allocations, ended) = kept.unwrap();
    let limits = config.limits;
    let bound = bound - (limits.send_ring + limits.command_ring) as u64;
    assert!(whole.bytes_max <= bound, "{} of {bound} bytes beside rings", whole.bytes_max);
    Flooded { session, _peer: peer, most: whole.bytes_max, allocations, ended }
}

/// The reason for which a flood ended.
fn error(flooded: Flooded) -> ProtocolError {
    match flooded.ended {
        Some(Closed::Error(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn fragments_of_messages_that_never_end() {
    let error = error(flood(10_000, |id| (Channel::Data, fragment(id, 600, 16, 0))));
    assert!(
        matches!(error, ProtocolError::Limit(limit) if limit.limit == "max_unfinished"),
        "{error}"
    );
}

/// Where messages overtake each other as many may be unfinished as an honest peer with the shortest
/// frames has on its way.
#[test]
fn unordered_fragments_of_messages_that_never_end() {
    let unordered = Delivery { order: Order::Unordered, ..Delivery::default() };
    let mut config = SessionConfig { receive: unordered, ..configs()[1] };
    config.limits.max_data_window = config.limits.data_window;
    let window = config.limits.data_window;
    let bound = config.limits.memory_bound() + Limits::unordered_bound(window);
    for (max_frame_len, allowed) in [(80, (1 << 20) / 96), (16_384, 64)] {
        let hello = hello_with(|fields| {
            fields.max_frame_len = max_frame_len;
            fields.deltas = unordered;
        });
        let flooded =
            flood_with(config, hello, bound, 40_000, |id| (Channel::Data, fragment(id, 32, 16, 0)));
        let limit = LimitExceeded { limit: "max_unfinished", value: allowed + 1, allowed };
        assert_eq!(error(flooded), ProtocolError::Limit(limit));
    }
}

/// The shortest fragments that there are, of the longest message that the window takes.
#[test]
fn a_message_in_the_shortest_fragments() {
    let len = (1 << 20) - 16;
    let body = vec![1; len];
    let whole = FrameHeader::whole(Kind::Opaque, Channel::Data, len).unwrap();
    let fragmenter = Fragmenter::new(&whole, 1, 32).unwrap();
    let all_but_one = u32::from(fragmenter.count()) - 1;
    let mut scratch = [0; 32];
    let flooded = flood(all_but_one, |index| {
        let fragment = fragmenter.in_scratch(&body, index as u16, &mut scratch).unwrap();
        (Channel::Data, fragment.to_vec())
    });
    assert_eq!(flooded.ended, None);
    assert_eq!(flooded.allocations[1], 0, "a fragment costs the same however many have come");
}

#[test]
fn the_same_fragment_again_and_again() {
    let flooded = flood(100_000, |_| (Channel::Data, fragment(1, 1_000, 16, 0)));
    assert_eq!(flooded.ended, None);
    assert_eq!(flooded.allocations[1], 0);
}

#[test]
fn claimed_lengths_that_are_huge() {
    const BODY: u32 = 16_368;
    for len in [1 << 20, 1 << 24, 1 << 29, u32::MAX] {
        let mut claim = vec![1, Kind::Opaque as u8, Channel::Data as u8, 0, 1, 0, 0, 0];
        claim.extend(u32::to_le_bytes(len));
        claim.extend([0, 0]);
        claim.extend((len.div_ceil(BODY) as u16).to_le_bytes());
        claim.resize(16 + BODY as usize, 1);
        let flooded = flood(1_000, |_| (Channel::Data, claim.clone()));
        assert!(flooded.most < 256 << 10, "{} bytes for what was claimed", flooded.most);
        let error = error(flooded);
        match len {
            u32::MAX => assert!(matches!(error, ProtocolError::Malformed(_)), "{error}"),
            _ => assert!(matches!(error, ProtocolError::WindowExceeded { .. }), "{error}"),
        }
    }
}

#[test]
fn commands_without_end() {
    let error =
        error(flood(100_000, |_| (Channel::Command, frame(Kind::Opaque, Channel::Command, &[1]))));
    let granted = configs()[1].limits.command_window;
    assert!(
        matches!(error, ProtocolError::WindowExceeded { channel: Channel::Command, granted: limit, .. }
            if limit == granted),
        "{error}"
    );
}

/// Control messages take nothing of any window, so there may be any number.
#[test]
fn control_messages_without_end() {
    let all: Vec<_> = (0..50)
        .flat_map(|number| {
            let ping = Ping::new(number, 1);
            [
                control(&ping),
                control(&Pong::to(&ping)),
                control(&Window::new(Channel::Data, 1 << 20)),
                control(&Position::new(Channel::Data, 1 << 20)),
                hello(),
            ]
        })
        .flatten()
        .collect();
    let flooded = flood(10_000, |_| (Channel::Command, all.clone()));
    // The queue of answers grows to its bound, once.
    assert_eq!((flooded.ended, flooded.allocations), (None, [3, 0]));

    let pings: Vec<_> = (0..300).flat_map(|number| control(&Ping::new(number, 1))).collect();
    let flooded = flood(10_000, |_| (Channel::Command, pings.clone()));
    assert_eq!(flooded.ended, None);
    assert_eq!(flooded.allocations, [3, 0]);
    let stats = flooded.session.stats();
    assert_eq!(stats.control_received, 3_000_001);
    assert!(stats.control_sent <= 10_001, "{} answers", stats.control_sent);
    assert!(flooded.most < 256 << 10, "{} bytes", flooded.most);
}

/// What was granted without being asked for makes nobody send more than there is.
#[test]
fn windows_that_grow_without_end() {
    let flooded = flood(100_000, |number| {
        (Channel::Command, control(&Window::new(Channel::Data, (2 << 20) + u64::from(number))))
    });
    assert_eq!((flooded.ended, flooded.allocations), (None, [0; 2]));
}

/// A peer that never grants more: what the application commits stays in its ring, and it has to wait.
#[test]
fn a_peer_that_never_reads() {
    let limits = configs()[1].limits;
    let mut kept = None;
    let info = measure(|| {
        let (mut session, mut peer) = Session::new(configs()[1], Duration::ZERO).unwrap();
        session.handle_message(Channel::Command, hello(), Duration::ZERO);
        let (mut committed, mut sent) = (0, 0);
        for _ in 0..10_000 {
            while let Ok(grant) = peer.send.try_reserve(1_000) {
                grant.commit(DeltaFields::new(DocId([1; 16])), 1_000).unwrap();
                committed += 1;
            }
            while let Some(message) = session.poll_transmit(16_384) {
                let frames = Frames::new(&message).map(Result::unwrap);
                sent += frames.filter(|frame| frame.kind() == Kind::Delta).count();
            }
        }
        kept = Some((session, peer, committed, sent));
    });
    let (session, _peer, committed, sent) = kept.unwrap();
    // A frame of 1,064 bytes takes 1,072 of the window and of the ring.
    assert_eq!(sent, (1 << 20) / 1_072);
    assert!(committed - sent <= limits.send_ring / 1_072);
    assert_eq!(session.stats().data_sent.queued_bytes, 1_072 * (committed - sent) as u64);
    assert!(info.bytes_max < 256 << 10, "{} bytes beside the ring", info.bytes_max);
}

/// Nothing reaches what an application keeps of a closed session either.
#[test]
fn whatever_comes_after_the_end() {
    let mut kept = None;
    let info = measure(|| {
        let (mut session, peer) = Session::new(configs()[1], Duration::ZERO).unwrap();
        session.handle_message(Channel::Command, hello(), Duration::ZERO);
        session.close(CloseCode::NORMAL, "enough", Duration::ZERO);
        session.lose_link();
        for _ in 0..100_000 {
            session.handle_message(
                Channel::Data,
                frame(Kind::Opaque, Channel::Data, &[1; 100]),
                Duration::ZERO,
            );
        }
        kept = Some((session, peer));
    });
    drop(kept);
    assert!(info.bytes_max < 256 << 10, "{} bytes", info.bytes_max);
}

#[test]
fn short_messages_in_two_fragments() {
    let flooded = flood(2 * 21_800 + 2 * 1_300, |number| {
        let channel = if number < 2 * 1_300 { Channel::Command } else { Channel::Data };
        let whole = FrameHeader::whole(Kind::Opaque, channel, 17).unwrap();
        let fragmenter = Fragmenter::new(&whole, number / 2, 32).unwrap();
        let mut scratch = vec![0; 32];
        let index = (number % 2) as u16;
        (channel, fragmenter.in_scratch(&[1; 17], index, &mut scratch).unwrap().to_vec())
    });
    assert!(flooded.ended.is_none(), "{:?}", flooded.ended);
}
