//! What a session costs: no allocation for a message, and never more memory than its limits say.

use std::time::Duration;

use allocation_counter::measure;
use deltawire_channels::session::{Closed, Event, SessionConfig};
use deltawire_channels::{Delivery, Limits, Order, Peer, Session};
use deltawire_framing::control::{Hello, HelloFields, Ping, Role};
use deltawire_framing::{Channel, DeltaFields, DocId, Fragmenter, FrameHeader, Kind};
use zerocopy::IntoBytes;

use crate::pipe::{Random, configs};

const START: Duration = Duration::ZERO;

/// Carries what one session gives to the other, and counts what the sessions allocate. The copy in
/// between is the transport's, and so is its memory.
fn carry(from: &mut Session, to: &mut Session) -> Option<u64> {
    let mut copy = Vec::with_capacity(1 << 14);
    let mut channel = Channel::Command;
    let mut any = false;
    let giving = measure(|| {
        if let Some(message) = from.poll_transmit(1 << 14) {
            channel = message.channel();
            copy.extend_from_slice(&message);
            any = true;
        }
    });
    let taking = measure(|| {
        if any {
            to.handle_message(channel, std::mem::take(&mut copy), START);
        }
    });
    any.then_some(giving.count_total + taking.count_total)
}

#[test]
fn no_message_costs_an_allocation_once_warm() {
    let [one, other] = configs();
    let (mut alice, mut alices) = Session::new(one, START).unwrap();
    let (mut bob, mut bobs) = Session::new(other, START).unwrap();
    for (len, rounds) in [(64, 1_000), (10_000, 500), (100_000, 200)] {
        let mut allocations = 0;
        for round in 0..rounds {
            let mut this_round = 0;
            this_round += measure(|| {
                let mut grant = alices.send.try_reserve(len).unwrap();
                grant.payload_mut().fill(1);
                grant.commit(DeltaFields::new(DocId([7; 16])), len).unwrap();
            })
            .count_total;
            loop {
                let there = carry(&mut alice, &mut bob);
                let back = carry(&mut bob, &mut alice);
                if there.is_none() && back.is_none() {
                    break;
                }
                this_round += there.unwrap_or(0) + back.unwrap_or(0);
            }
            this_round += measure(|| {
                let delta = bobs.receive.try_next().unwrap().delta().unwrap();
                assert_eq!(delta.payload().len(), len);
                bobs.receive.release();
            })
            .count_total;
            // The first rounds make the buffers that later ones use again.
            if round >= rounds / 2 {
                allocations += this_round;
            }
        }
        assert_eq!(allocations, 0, "messages of {len} bytes");
    }
}

fn hello() -> Vec<u8> {
    let hello = Hello::new(HelloFields {
        role: Role::Initiator,
        max_frame_len: 16_384,
        max_message_len: 1 << 20,
        data_window: 1 << 20,
        command_window: 1 << 20,
        max_unfinished: 64,
        idle_timeout_ms: 5_000,
        features: 0,
        command: Order::Ordered,
        deltas: Delivery::default(),
        session_id: [9; 16],
    });
    let header = FrameHeader::whole(Kind::Control, Channel::Command, 64).unwrap();
    [header.as_bytes(), hello.as_bytes()].concat()
}

fn opaque(channel: Channel, len: usize) -> Vec<u8> {
    let header = FrameHeader::whole(Kind::Opaque, channel, len).unwrap();
    [header.as_bytes(), &vec![1; len]].concat()
}

/// The first fragment of a message of `len` bytes.
fn first_fragment(channel: Channel, id: u32, len: usize) -> Vec<u8> {
    let header = FrameHeader::whole(Kind::Opaque, channel, len).unwrap();
    let fragmenter = Fragmenter::new(&header, id, 32).unwrap();
    let mut scratch = [0; 32];
    fragmenter.in_scratch(&vec![1; len], 0, &mut scratch).unwrap().to_vec()
}

/// Memory that stays allocated after a session was told all that `messages` gives, until it ended,
/// beside what the session and its rings took before.
fn held(limits: Limits, mut messages: impl FnMut(u32) -> (Channel, Vec<u8>)) -> u64 {
    let config = SessionConfig { limits, ..configs()[1] };
    let mut kept: Option<(Session, Peer)> = None;
    let info = measure(|| {
        let (mut session, peer) = Session::new(config, START).unwrap();
        session.handle_message(Channel::Command, hello(), START);
        for number in 0.. {
            let (channel, message) = messages(number);
            session.handle_message(channel, message, START);
            while let Some(event) = session.poll_event() {
                if matches!(event, Event::Closed(Closed::Error(_))) {
                    kept = Some((session, peer));
                    return;
                }
            }
        }
    });
    drop(kept);
    info.bytes_max
}

#[test]
fn a_hostile_peer_cannot_make_it_hold_more_than_the_bound() {
    let limits = Limits::default();
    let bound = limits.memory_bound();
    assert_eq!(format!("{:.1} MiB", bound as f64 / (1 << 20) as f64), "8.6 MiB", "as its doc says");
    let tiny = |_| (Channel::Data, opaque(Channel::Data, 1));
    let frames = |_| (Channel::Data, opaque(Channel::Data, 16_000));
    let commands = |_| (Channel::Command, opaque(Channel::Command, 1));
    let medium = |_| (Channel::Data, opaque(Channel::Data, 1_100));
    let fragments = |number| (Channel::Data, first_fragment(Channel::Data, number, 16_000));
    let long = |number| (Channel::Data, first_fragment(Channel::Data, number, 600_000));
    let mut random = Random(7);
    let mixed = |number| {
        let channel = if random.percent(20) { Channel::Command } else { Channel::Data };
        let len = 1 + random.below(2_000) as usize;
        let fragment = len > 32 && random.percent(10);
        let message =
            if fragment { first_fragment(channel, number, len) } else { opaque(channel, len) };
        (channel, message)
    };
    let alternating =
        |number| (Channel::Data, opaque(Channel::Data, if number % 2 == 0 { 1 } else { 1_009 }));
    let pings = |_| {
        let ping = Ping::new(1, 2);
        let header = FrameHeader::whole(Kind::Control, Channel::Command, 16).unwrap();
        let mut message = [header.as_bytes(), ping.as_bytes()].concat().repeat(500);
        message.extend(opaque(Channel::Command, 1));
        (Channel::Command, message)
    };
    let held = [
        ("alternating", held(limits, alternating)),
        ("pings", held(limits, pings)),
        ("tiny", held(limits, tiny)),
        ("frames", held(limits, frames)),
        ("commands", held(limits, commands)),
        ("medium", held(limits, medium)),
        ("fragments", held(limits, fragments)),
        ("long", held(limits, long)),
        ("mixed", held(limits, mixed)),
    ];
    for (name, bytes) in held {
        assert!(bytes <= bound, "{name}: {bytes} of {bound}");
    }
}

/// A short message must not be put together in a long one's memory.
#[test]
fn a_hostile_peer_cannot_pin_long_buffers_with_short_messages() {
    let limits = Limits::default();
    let config = SessionConfig { limits, ..configs()[1] };
    let whole = FrameHeader::whole(Kind::Opaque, Channel::Data, 1_000_000).unwrap();
    let mut sent = [whole.as_bytes(), &vec![1; 1_000_000]].concat();
    let mut kept = None;
    let info = measure(|| {
        let (mut session, mut peer) = Session::new(config, START).unwrap();
        session.handle_message(Channel::Command, hello(), START);
        for number in 0..60 {
            let fragmenter = Fragmenter::new(&whole, number, 16_384).unwrap();
            for index in 0..fragmenter.count() {
                let fragment = fragmenter.in_place(&mut sent, index).unwrap().to_vec();
                session.handle_message(Channel::Data, fragment, START);
            }
            assert!(peer.receive.try_next().is_ok());
            peer.receive.release();
            while session.poll_transmit(1 << 14).is_some() {}
            let short = first_fragment(Channel::Data, 1_000 + number, 600);
            session.handle_message(Channel::Data, short, START);
        }
        assert!(matches!(session.poll_event(), Some(Event::Opened(_))));
        assert_eq!(session.poll_event(), None);
        kept = Some((session, peer));
    });
    drop(kept);
    assert!(info.bytes_max <= limits.memory_bound(), "{}", info.bytes_max);
}

/// The shortest messages, each by itself, all kept: as the bound's doc says.
#[test]
fn what_an_application_keeps_takes_five_windows_at_most() {
    let window = Limits::default().data_window;
    let body = [1; 17];
    let header = FrameHeader::whole(Kind::Opaque, Channel::Data, body.len()).unwrap();
    let pieces = |id| {
        let fragmenter = Fragmenter::new(&header, id, 32).unwrap();
        let piece = |index| fragmenter.in_scratch(&body, index, &mut [0; 32]).unwrap().to_vec();
        (0..2).map(piece).collect::<Vec<_>>()
    };
    for cost in [32, 48] {
        let (mut session, mut peer) = Session::new(configs()[1], START).unwrap();
        session.handle_message(Channel::Command, hello(), START);
        let count = window / cost;
        let mut kept = Vec::with_capacity(count as usize);
        let info = measure(|| {
            for number in 0..count {
                let whole = vec![opaque(Channel::Data, 1)];
                for message in if cost == 32 { whole } else { pieces(number as u32) } {
                    session.handle_message(Channel::Data, message, START);
                }
                kept.extend(peer.receive.try_take());
            }
        });
        assert_eq!(kept.len() as u64, count);
        // Allocators add up to 16 bytes to each of the two that a message takes.
        let bytes = info.bytes_current.cast_unsigned() + 2 * 16 * count;
        assert!(bytes <= 5 * window + 65_536, "{bytes} with {cost} each");
    }
}
