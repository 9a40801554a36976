//! Whatever datagrams come, and whatever a peer that holds the keys says in SCTP: an engine never panics,
//! and never holds more than it may.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use allocation_counter::{AllocationInfo, measure, opt_out};
use deltawire_channels::{Order, Reliability};
use deltawire_link::{Datagram, DatagramTransport, MessageTransport, Output};
use deltawire_sdp::read_description;
use deltawire_webrtc::{
    AboveDtls, AnyEngine, Certificate, Engine, EngineConfig, MAX_HANDSHAKE, max_held, read_check,
};

use crate::hostile::{HOSTILE, Link, RECEIVE_BUFFER, VICTIM};

/// What an engine may hold beside what came over SCTP: what DTLS holds, and addresses.
const BESIDE: usize = MAX_HANDSHAKE + (256 << 10);

fn config() -> EngineConfig {
    let mut config = EngineConfig::new(Arc::new(Certificate::generate().unwrap()));
    config.kind = crate::ENGINE;
    config
}

/// A session description, as it is, or as what its lines are instead of in one that can be used: the
/// first byte says which.
pub fn description(data: &[u8]) {
    static OFFER: OnceLock<String> = OnceLock::new();
    let offer = OFFER.get_or_init(|| {
        let config = config();
        AnyEngine::offer(&config, &[HOSTILE], Duration::ZERO).unwrap().1
    });
    assert!(read_description(offer));
    let Some((at, data)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(data);
    read_description(&text);
    let mut lines: Vec<&str> = offer.lines().collect();
    let at = usize::from(*at) % lines.len();
    lines.splice(at..=at, text.lines());
    read_description(&lines.join("\r\n"));
}

/// A datagram, as it is, and behind the header of a connectivity check.
pub fn stun(data: &[u8]) {
    read_check(data);
    let mut check = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    check.extend([7; 12]);
    check.extend_from_slice(data);
    read_check(&check);
}

/// Datagrams for an engine that has just answered an offer, each preceded by its length. The first byte
/// of each says how it begins.
pub fn datagrams(mut data: &[u8]) {
    static OFFER: OnceLock<(EngineConfig, String)> = OnceLock::new();
    let (config, offer) = OFFER.get_or_init(|| {
        let config = config();
        let (_engine, offer) = AnyEngine::offer(&config, &[HOSTILE], Duration::ZERO).unwrap();
        (config, offer)
    });
    let (mut engine, _answer) =
        AnyEngine::answer(config, &[VICTIM], offer, Duration::ZERO).unwrap();
    let name = engine.user_fragment().to_owned();
    let mut now = Duration::ZERO;
    let taken = measure(|| {
        while let [how, len, rest @ ..] = data {
            let (bytes, rest) = rest.split_at(rest.len().min(usize::from(*len)));
            data = rest;
            let mut datagram = Vec::new();
            opt_out(|| datagram = begun(*how, bytes, &name));
            let source = SocketAddr::new(HOSTILE.ip(), 1_000 + u16::from(how >> 4));
            engine.handle_datagram(Datagram { source, destination: VICTIM, bytes: &datagram }, now);
            opt_out(|| datagram = Vec::new());
            now += Duration::from_millis(u64::from(*how) * 4);
            engine.handle_timeout(now);
            while !matches!(engine.poll_output(), Ok(Output::Timeout(_)) | Err(_)) {}
        }
    });
    assert!(taken.bytes_max as usize <= BESIDE, "{} bytes", taken.bytes_max);
}

/// A datagram that gets past the first look.
fn begun(how: u8, bytes: &[u8], name: &str) -> Vec<u8> {
    let mut datagram = match how & 3 {
        // A connectivity check that names the engine.
        0 => {
            let name = format!("{name}:peer");
            let mut check = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
            check.extend([7; 12]);
            check.extend([0, 6, 0, name.len() as u8]);
            check.extend(name.as_bytes());
            check.resize(check.len().next_multiple_of(4), 0);
            check
        }
        // Records of DTLS: a handshake, and what comes after.
        1 => {
            let mut record = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, how >> 2];
            record.extend((bytes.len() as u16).to_be_bytes());
            record
        }
        2 => {
            let mut record = vec![20 + (how >> 2) % 5, 0xfe, 0xfd, 0, how >> 5, 0, 0, 0, 0, 0, 9];
            record.extend((bytes.len() as u16).to_be_bytes());
            record
        }
        _ => Vec::new(),
    };
    datagram.extend_from_slice(bytes);
    if how & 3 == 0 {
        let len = (datagram.len() - 20) as u16;
        datagram[2..4].copy_from_slice(&len.to_be_bytes());
    }
    datagram
}

/// What a peer does with a link that is open. The first byte of each action says what.
pub fn link(data: &[u8]) {
    let mut link = Link::open();
    let first = link.next_tsn();
    let mut input = Input(data);
    while !input.0.is_empty() {
        match input.byte() % 8 {
            // Well-formed chunks, with numbers near those that are expected.
            0..=3 => {
                let mut chunks = Vec::new();
                for _ in 0..=input.byte() % 4 {
                    chunks.extend(chunk(&mut input, first));
                }
                let packet = link.packet(&chunks);
                link.say(vec![packet]);
            }
            // Anything at all behind a right header.
            4 => {
                let len = input.byte();
                let chunks = input.bytes(len.into()).to_vec();
                let packet = link.packet(&chunks);
                link.say(vec![packet]);
            }
            5 => link.pass(Duration::from_millis(u64::from(input.byte()) * 16)),
            // A check, damaged, and perhaps from elsewhere.
            6 => {
                let mut check = link.check.clone();
                let (at, mask, port) = (input.byte(), input.byte(), input.byte());
                if let Some(byte) = check.get_mut(usize::from(at)) {
                    *byte ^= mask;
                }
                let source = SocketAddr::new(HOSTILE.ip(), 1_000 + u16::from(port));
                link.datagram(source, &check);
            }
            _ => {
                let (how, len) = (input.byte(), input.byte());
                let bytes = input.bytes(len.into()).to_vec();
                link.datagram(HOSTILE, &begun(how, &bytes, "name"));
            }
        }
    }
    assert!(link.held_max as usize <= max_held(RECEIVE_BUFFER) + BESIDE, "{} bytes", link.held_max);
}

/// The same of what lies above DTLS: the filter and SCTP behind it, with the same actions but for those below.
pub fn association(data: &[u8]) {
    static CONFIG: OnceLock<EngineConfig> = OnceLock::new();
    let config = CONFIG.get_or_init(|| {
        let mut config = config();
        (config.max_message_size, config.receive_buffer) = (16_384, RECEIVE_BUFFER);
        config
    });
    let mut input = Input(data);
    let mut config = config.clone();
    // Some of what the peer sends may get lost, or overtake.
    let how = input.byte();
    config.initiator.reliability =
        [Reliability::Reliable, Reliability::MaxRetransmits(0)][usize::from(how & 1)];
    config.initiator.order = [Order::Ordered, Order::Unordered][usize::from(how >> 1 & 1)];
    let mut held = 0;
    let mut now = Duration::ZERO;
    let mut link = None;
    let opened = measure(|| link = Some(AboveDtls::open(&config)));
    let Some(mut link) = link else { return };
    let mut count = |info: AllocationInfo, base: i64| {
        let most = held + info.bytes_max as i64;
        held += info.bytes_current;
        assert!(most <= (base + max_held(RECEIVE_BUFFER) as i64) + (1 << 16), "{most} bytes");
    };
    let base = opened.bytes_current;
    while !input.0.is_empty() && !link.over {
        match input.byte() % 8 {
            // Well-formed chunks, with numbers near those that are expected.
            0..=4 => {
                let mut chunks = Vec::new();
                for _ in 0..=input.byte() % 4 {
                    chunks.extend(chunk(&mut input, AboveDtls::PEER_TSN));
                }
                let packet = link.packet(&chunks);
                count(measure(|| link.handle_packet(&packet, now)), base);
            }
            // Anything at all behind a right header.
            5 => {
                let len = input.byte();
                let packet = link.packet(input.bytes(len.into()));
                count(measure(|| link.handle_packet(&packet, now)), base);
            }
            6 => {
                now += Duration::from_millis(u64::from(input.byte()) * 16);
                count(measure(|| link.handle_timeout(now)), base);
            }
            _ => {
                let message = vec![7; 1 + 64 * usize::from(input.byte())];
                // What this side has on its way is its own.
                link.write(&message, now);
            }
        }
    }
}

/// A chunk of SCTP.
fn chunk(input: &mut Input<'_>, first: u32) -> Vec<u8> {
    let near = |input: &mut Input<'_>| first.wrapping_add(u32::from(input.byte())).wrapping_sub(8);
    let (kind, flags) = (input.byte(), input.byte());
    let mut body = Vec::new();
    let kind = match kind % 12 {
        0..=4 => {
            body.extend(near(input).to_be_bytes());
            body.extend([0, input.byte() % 4, 0, input.byte()]);
            body.extend([0, 0, 0, [50, 51, 53, 56, 57, 0][usize::from(input.byte() % 6)]]);
            body.resize(12 + 4 * usize::from(input.byte()), 1);
            0
        }
        // Acknowledgements, of what was never sent too.
        5 => {
            body.extend(near(input).to_be_bytes());
            body.extend([0, input.byte(), 0, 0, 0, 1, 0, input.byte() % 3]);
            body.extend(input.bytes(8));
            3
        }
        // Streams that are reset, and answers to that.
        6 => {
            let len = 4 * (input.byte() % 6);
            body.extend([0, 13 + input.byte() % 6, 0, 4 + len]);
            body.extend(near(input).to_be_bytes());
            body.extend(input.bytes(len.into()));
            130
        }
        // Messages that are left out.
        7 => {
            body.extend(near(input).to_be_bytes());
            body.extend([0, input.byte() % 4, 0, input.byte()]);
            192
        }
        _ => {
            let len = input.byte() % 32;
            body.extend(input.bytes(len.into()));
            [1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 14, 64, 194, 15, 128, 193][usize::from(kind >> 4)]
        }
    };
    let mut chunk = vec![kind, flags];
    chunk.extend(((4 + body.len()) as u16).to_be_bytes());
    chunk.extend(body);
    chunk.resize(chunk.len().next_multiple_of(4), 0);
    chunk
}

/// What is left of the fuzzer's bytes; zeros beyond their end.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *byte
    }

    fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }
}
