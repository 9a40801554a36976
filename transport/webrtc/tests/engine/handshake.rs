//! What a peer cannot make DTLS hold, before its handshake, in the middle of it, and after.

use std::time::Duration;

use allocation_counter::measure;
use deltawire_link::{Datagram, DatagramTransport, MessageTransport, Output};
use deltawire_webrtc::{EngineError, MAX_HANDSHAKE};

use crate::pair::{Pair, address};

const HANDSHAKE: u8 = 22;
const CHANGE_CIPHER_SPEC: u8 = 20;
const APPLICATION_DATA: u8 = 23;

/// A record (RFC 6347, section 4.1).
fn record(kind: u8, epoch: u8, sequence: u32, body: &[u8]) -> Vec<u8> {
    let mut record = vec![kind, 0xfe, 0xfd, 0, epoch, 0, 0];
    record.extend(sequence.to_be_bytes());
    record.extend((body.len() as u16).to_be_bytes());
    record.extend_from_slice(body);
    record
}

/// A piece of a handshake's message (RFC 6347, section 4.2.2).
fn piece(kind: u8, len: u32, message: u16, offset: u32, body: &[u8]) -> Vec<u8> {
    let mut piece = vec![kind];
    piece.extend(&len.to_be_bytes()[1..]);
    piece.extend(message.to_be_bytes());
    piece.extend(&offset.to_be_bytes()[1..]);
    piece.extend(&(body.len() as u32).to_be_bytes()[1..]);
    piece.extend_from_slice(body);
    piece
}

/// How far the handshake got before its client turns hostile.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// ICE is through, and nothing else.
    Begun,
    /// The server has its client's first words.
    Middle,
    /// The link is open.
    Open,
}

/// A pair whose initiator, the client of DTLS, says nothing more in DTLS from this stage on.
fn at(stage: Stage) -> Pair {
    let mut pair = Pair::new(Duration::from_millis(1));
    let (client, mut said) = (address(0), 0);
    if !matches!(stage, Stage::Open) {
        let allowed = usize::from(matches!(stage, Stage::Middle));
        pair.tamper = Box::new(move |transmit| {
            let dtls = (20..64).contains(&transmit.bytes[0]);
            said += usize::from(dtls && transmit.source == client);
            !dtls || transmit.source != client || said <= allowed
        });
    }
    let limit = pair.now + Duration::from_secs(2);
    pair.run_until(limit, |_| false);
    assert_eq!(pair.ends[1].open.is_some(), matches!(stage, Stage::Open));
    pair
}

/// Has the acceptor take these datagrams, and says how much more it holds at most, bytes.
fn held(pair: &mut Pair, datagrams: impl Iterator<Item = Vec<u8>>) -> usize {
    let (source, destination, now) = (address(0), address(1), pair.now);
    let engine = &mut pair.ends[1].engine;
    let (mut held, mut most) = (0, 0);
    for bytes in datagrams {
        let taken = measure(|| {
            engine.handle_datagram(Datagram { source, destination, bytes: &bytes }, now);
            while !matches!(engine.poll_output(), Ok(Output::Timeout(_)) | Err(_)) {}
        });
        most = most.max(held + taken.bytes_max as i64);
        held += taken.bytes_current;
    }
    usize::try_from(most).unwrap()
}

/// What is tried, by number: 400 datagrams each.
fn flood(what: usize) -> Vec<Vec<u8>> {
    let datagram = |number: u32| -> Vec<u8> {
        let (message, sequence) = (number as u16 + 1, 8 * number + 1);
        match what {
            // Messages ahead of their turn, as long as a datagram can be.
            0 => {
                let body = piece(11, 16_000, message, 0, &[7; 16_000]);
                [(); 4].map(|()| record(HANDSHAKE, 0, sequence, &body)).concat()
            }
            // As many small ones as possible in each datagram.
            1 => (0..8)
                .flat_map(|at| {
                    let pieces = [(); 8].map(|()| piece(11, 1, message, 0, &[7]));
                    record(HANDSHAKE, 0, sequence + at, &pieces.concat())
                })
                .collect(),
            // Each in a datagram of its own.
            2 => record(HANDSHAKE, 0, sequence, &piece(11, 1_000, message, 0, &[7; 1_000])),
            // Pieces of one message that is as long as can be claimed, from behind.
            3 => {
                let offset = 1_000 * (400 - number);
                let body = piece(1, (1 << 24) - 1, 0, offset, &[7; 1_000]);
                record(HANDSHAKE, 0, sequence, &body)
            }
            // The same in order.
            4 => {
                let body = piece(1, (1 << 24) - 1, 0, 1_000 * number, &[7; 1_000]);
                record(HANDSHAKE, 0, sequence, &body)
            }
            // Keys are changed again and again.
            5 => (0..8).flat_map(|at| record(CHANGE_CIPHER_SPEC, 0, sequence + at, &[1])).collect(),
            // What is under keys that there are not yet.
            6 => record(APPLICATION_DATA, 1, sequence, &[7; 1_100]),
            7 => record(HANDSHAKE, 1, sequence, &[7; 1_100]),
            8 => {
                (0..8).flat_map(|at| record(APPLICATION_DATA, 1, sequence + at, &[7; 99])).collect()
            }
            // A change of keys, and what is under them.
            9 => {
                let mut all = record(CHANGE_CIPHER_SPEC, 0, sequence, &[1]);
                (1..8).for_each(|at| all.extend(record(HANDSHAKE, 1, sequence + at, &[7; 99])));
                all
            }
            // Handshakes without a message, and other kinds.
            10 => (0..8).flat_map(|at| record(HANDSHAKE, 0, sequence + at, &[7; 3])).collect(),
            11 => record(20 + (number % 44) as u8, 0, sequence, &[7; 1_100]),
            _ => unreachable!(),
        }
    };
    (0..400).map(datagram).collect()
}

#[test]
fn records_ahead_of_their_turn() {
    for stage in [Stage::Begun, Stage::Middle, Stage::Open] {
        for what in 0..12 {
            let mut pair = at(stage);
            let held = held(&mut pair, flood(what).into_iter());
            println!("{stage:?} {what}: {held} bytes");
            assert!(held <= MAX_HANDSHAKE, "{stage:?}, {what}: {held} bytes");
        }
    }
}

/// All of it, one after another and mixed.
#[test]
fn all_at_once() {
    for stage in [Stage::Begun, Stage::Middle, Stage::Open] {
        let mut pair = at(stage);
        let all: Vec<_> = (0..12).map(flood).collect();
        let mixed = (0..400).flat_map(|at| all.iter().map(move |flood| flood[at].clone()));
        let held = held(&mut pair, mixed);
        println!("{stage:?}: {held} bytes");
        assert!(held <= MAX_HANDSHAKE, "{stage:?}: {held} bytes");
    }
}

/// A flood of records does not end a link that is open: they could be forged.
#[test]
fn an_open_link_outlives_forged_records() {
    let mut pair = at(Stage::Open);
    for what in 0..12 {
        held(&mut pair, flood(what).into_iter());
    }
    let message = vec![7; 10_000];
    for end in &mut pair.ends {
        assert!(end.engine.write(deltawire_framing::Channel::Data, &message).unwrap());
    }
    let limit = pair.now + Duration::from_secs(5);
    assert!(pair.run_until(limit, |pair| pair.ends.iter().all(|end| end.messages.len() == 1)));
    assert_eq!(pair.ends.each_ref().map(|end| &end.error), [&None, &None::<EngineError>]);
}
