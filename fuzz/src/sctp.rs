//! What comes to a socket that has links over SCTP: before an association, on its way to one, and to one whose peer is not
//! let in. What a peer says within an association the target `association` tries.

use std::net::SocketAddr;
use std::time::Duration;

use deltawire_link::{Datagram, MessageTransport, Output};
use deltawire_sctp::{MAX_UNADMITTED, Routed, SctpConfig, SctpEndpoint, SctpTransport, packet};

/// What an association that nobody was let in on holds at most beside what came, bytes.
const BESIDE: u64 = 128 << 10;

/// What the stack holds of a chunk beside its bytes, and the shortest chunk of data, bytes.
const OF_CHUNK: u64 = 512;
const SHORTEST: u64 = 20;

fn here() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}

fn there() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 2))
}

/// A side, with its one association, if there is one.
struct Side {
    endpoint: SctpEndpoint,
    transport: Option<SctpTransport>,
    at: SocketAddr,
    over: bool,
}

impl Side {
    /// Takes in a datagram; gives what is said thereupon.
    fn hear(&mut self, bytes: &[u8], from: SocketAddr, now: Duration) -> Vec<Vec<u8>> {
        let datagram = Datagram { source: from, destination: self.at, bytes };
        match self.endpoint.route(&datagram, now) {
            Routed::Answer(answer) => {
                assert!(answer.bytes.len() <= bytes.len(), "{} bytes", answer.bytes.len());
                assert_eq!(answer.destination, from);
                return vec![answer.bytes];
            }
            Routed::New(arrival) if self.transport.is_none() => {
                let refusal = arrival.refuse("no");
                assert_eq!(refusal.destination, arrival.remote_address());
                self.transport = self.endpoint.accept(0, &arrival, now).ok();
                assert!(self.transport.is_some());
            }
            Routed::Known(_) => {
                if let Some(transport) = &mut self.transport {
                    transport.handle_packet(bytes, now);
                }
            }
            Routed::Lost(_) => {
                if let Some(transport) = &mut self.transport {
                    transport.lose();
                }
            }
            Routed::New(_) | Routed::Nothing => {}
        }
        self.drain(now)
    }

    fn drain(&mut self, now: Duration) -> Vec<Vec<u8>> {
        let mut said = Vec::new();
        let Some(transport) = self.transport.as_mut().filter(|_| !self.over) else { return said };
        transport.handle_timeout(now);
        loop {
            match transport.poll_output() {
                Ok(Output::Transmit(transmit)) => said.push(transmit.bytes),
                Ok(Output::Timeout(_)) => break,
                Ok(Output::Closed) => self.over = true,
                Ok(Output::Open | Output::Message(..)) => {}
                Err(error) => {
                    assert!(!error.to_string().contains("panicked"), "{error}");
                    self.over = true;
                    break;
                }
            }
            assert!(said.len() < 1_000, "it does not stop talking");
        }
        self.endpoint.learn(0, transport);
        if let Some(token) = transport.take_token() {
            assert!(token.len() <= deltawire_sctp::MAX_TOKEN_LEN);
        }
        said
    }
}

/// Each datagram is a byte that says to whom it goes and what stands in its header, one for its length in steps of four,
/// and so many chunks' bytes.
pub fn sctp(mut data: &[u8]) {
    let config = SctpConfig::default();
    let server = SctpEndpoint::new(config, Some([7; 32]));
    let mut server = Side { endpoint: server, transport: None, at: there(), over: false };
    let mut endpoint = SctpEndpoint::new(config, None);
    let mut now = Duration::from_secs(1);
    let transport = endpoint.connect(0, [here(), there()], b"token", now).ok();
    let mut client = Side { endpoint, transport, at: here(), over: false };
    let mut latest = client.drain(now).pop().unwrap_or_default();
    let mut held = 0_i64;
    while let [how, len, rest @ ..] = data {
        let len = usize::from(*len) * 4;
        let (chunks, rest) = rest.split_at(len.min(rest.len()));
        data = rest;
        now += Duration::from_millis(u64::from(how >> 4) * 100);
        let to_server = how & 1 == 0;
        // What was said last, as it was or changed; or something else under its tag.
        let mut bytes = match how >> 1 & 3 {
            0 => latest.clone(),
            1 => {
                let mut changed = latest.clone();
                for pair in chunks.chunks_exact(2) {
                    if let Some(byte) = changed.get_mut(12 + usize::from(pair[0])) {
                        *byte = pair[1];
                    }
                }
                changed
            }
            2 => [latest.get(..packet::HEADER).unwrap_or_default(), chunks].concat(),
            _ => [&[0x13, 0x88, 0x13, 0x88, 0, 0, 0, 0, 0, 0, 0, 0][..], chunks].concat(),
        };
        if how & 8 == 0 && bytes.len() >= packet::HEADER {
            packet::seal(&mut bytes);
        }
        let mut said = Vec::new();
        let info = allocation_counter::measure(|| {
            said = if to_server {
                server.hear(&bytes, here(), now)
            } else {
                client.hear(&bytes, there(), now)
            };
        });
        // Who connects has chosen its peer.
        held += if to_server { info.bytes_current } else { 0 };
        let most = MAX_UNADMITTED as u64 * (1 + OF_CHUNK / SHORTEST) + 2 * BESIDE;
        assert!(held < most as i64, "{held} bytes");
        if let Some(last) = said.pop() {
            latest = last;
        }
    }
}
