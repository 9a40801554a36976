//! The handshake of SCTP (RFC 9260, section 5), from both sides.
//!
//! It is done here and not by the stack that has the association, for three reasons. Where both sides' INITs
//! come by signalling (draft-hancke-tsvwg-snap), there is none, and the stack has to go on from two INITs
//! anyway. Some peers begin from both sides at a time, as browsers do, or say nothing until the other side
//! does. And a peer can send any number of INITs: here the answer to each is made from what it says, and
//! nothing is kept of it (section 5.1.3), until its cookie comes back.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::sctp_filter::packet::{
    DATA, FORWARD_TSN, HEADER, INIT, RE_CONFIG, SACK, begin, chunks, is_sealed, number, parameters,
    push, seal, short,
};

// Types of chunks, beside INIT.
const INIT_ACK: u8 = 2;
const COOKIE_ECHO: u8 = 10;
pub(super) const COOKIE_ACK: u8 = 11;

/// The ports, which mean nothing within DTLS: all have the same.
pub(super) const PORTS: [u16; 2] = [5_000, 5_000];

/// When something is said again first; each time takes twice as long, up to [`LAST_RETRY`]. Whether there is
/// somebody to answer, ICE and DTLS have shown.
const FIRST_RETRY: Duration = Duration::from_millis(400);
const LAST_RETRY: Duration = Duration::from_secs(3);

/// Bytes of an INIT before its parameters.
const INIT_LEN: usize = 20;

/// The least receive window that an INIT may name, bytes (RFC 9260, section 3.3.2).
const MIN_WINDOW: u32 = 1_500;

/// The longest cookie of a peer's that is echoed, bytes.
const MAX_COOKIE: usize = 1_024;

// Parameters (RFC 9260, section 3.3.3; RFC 5061; RFC 3758).
const STATE_COOKIE: u16 = 7;
const SUPPORTED_EXTENSIONS: u16 = 0x8008;
const FORWARD_TSN_SUPPORTED: u16 = 0xc000;

/// What marks the cookies that are made here.
const COOKIE: [u8; 4] = *b"DWC1";

/// What an INIT says (RFC 9260, section 3.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Init {
    /// Stands in each packet to its sender.
    pub(super) tag: u32,
    /// The receive window, bytes.
    pub(super) window: u32,
    /// How many streams it wants to send on, and takes.
    pub(super) streams: [u16; 2],
    /// Its sender's first TSN.
    pub(super) tsn: u32,
    /// Whether messages can be given up (RFC 3758).
    pub(super) forward_tsn: bool,
}

impl Init {
    /// Reads an INIT or INIT ACK; `None` if it breaks the format.
    pub(super) fn read(chunk: &[u8]) -> Option<Self> {
        let mut init = Self::read_fixed(chunk.get(4..)?)?;
        for parameter in parameters(chunk, INIT_LEN) {
            let parameter = parameter?;
            init.forward_tsn |= match short(parameter, 0)? {
                FORWARD_TSN_SUPPORTED => true,
                SUPPORTED_EXTENSIONS => parameter[4..].contains(&FORWARD_TSN),
                _ => false,
            };
        }
        Some(init)
    }

    fn read_fixed(bytes: &[u8]) -> Option<Self> {
        let [tag, window, tsn] = [number(bytes, 0)?, number(bytes, 4)?, number(bytes, 12)?];
        let streams = [short(bytes, 8)?, short(bytes, 10)?];
        let valid = tag != 0 && window >= MIN_WINDOW && !streams.contains(&0);
        valid.then_some(Self { tag, window, streams, tsn, forward_tsn: false })
    }

    fn write_fixed(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.tag.to_be_bytes());
        bytes.extend(self.window.to_be_bytes());
        self.streams.iter().for_each(|streams| bytes.extend(streams.to_be_bytes()));
        bytes.extend(self.tsn.to_be_bytes());
    }

    /// The chunk: an INIT, or an INIT ACK with its cookie.
    pub(super) fn chunk(&self, cookie: Option<&[u8]>) -> Vec<u8> {
        let mut chunk = vec![if cookie.is_some() { INIT_ACK } else { INIT }, 0, 0, 0];
        self.write_fixed(&mut chunk);
        if let Some(cookie) = cookie {
            push(&mut chunk, &parameter(STATE_COOKIE, cookie));
        }
        if self.forward_tsn {
            push(&mut chunk, &parameter(FORWARD_TSN_SUPPORTED, &[]));
            push(&mut chunk, &parameter(SUPPORTED_EXTENSIONS, &[FORWARD_TSN, RE_CONFIG]));
        }
        finish(chunk)
    }

    /// The chunk in base 64, as signalling has it.
    pub(super) fn to_base64(self) -> String {
        BASE64_STANDARD.encode(self.chunk(None))
    }

    pub(super) fn from_base64(text: &str) -> Option<Self> {
        let chunk = BASE64_STANDARD.decode(text).ok()?;
        let whole =
            chunk.first() == Some(&INIT) && short(&chunk, 2) == u16::try_from(chunk.len()).ok();
        whole.then(|| Self::read(&chunk)).flatten()
    }

    /// All that has to be known of a peer until it echoes it.
    fn cookie(&self) -> Vec<u8> {
        let mut cookie = COOKIE.to_vec();
        self.write_fixed(&mut cookie);
        cookie.extend([self.forward_tsn.into(), 0, 0, 0]);
        cookie
    }

    fn from_cookie(cookie: &[u8]) -> Option<Self> {
        let init = Self::read_fixed(cookie.strip_prefix(&COOKIE)?)?;
        let whole = cookie.len() == COOKIE.len() + INIT_LEN;
        whole.then(|| Self { forward_tsn: cookie[INIT_LEN] != 0, ..init })
    }
}

fn parameter(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut parameter = kind.to_be_bytes().to_vec();
    parameter.extend([0, 0]);
    parameter.extend(value);
    finish(parameter)
}

/// Writes the length of a chunk or parameter.
fn finish(mut element: Vec<u8>) -> Vec<u8> {
    let len = u16::try_from(element.len()).unwrap_or(u16::MAX);
    element[2..4].copy_from_slice(&len.to_be_bytes());
    element
}

/// One side of a handshake.
#[derive(Debug)]
pub(super) struct Handshake {
    own: Init,
    state: State,
    /// An answer that is to be sent.
    answer: Option<Vec<u8>>,
}

#[derive(Debug)]
enum State {
    /// The peer may begin.
    Waits,
    /// This side says something until it is answered: an INIT, or the peer's cookie once its INIT is known.
    Asks { peer: Option<(Init, Vec<u8>)>, at: Duration, patience: Duration },
    /// Both INITs are known.
    Done { peer_tag: u32 },
}

impl Handshake {
    pub(super) fn new(own: Init) -> Self {
        Self { own, state: State::Waits, answer: None }
    }

    /// Both INITs came by signalling.
    pub(super) fn finish(&mut self, peer: &Init) {
        self.state = State::Done { peer_tag: peer.tag };
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, State::Done { .. })
    }

    /// Begins, unless the peer has.
    pub(super) fn begin(&mut self, now: Duration) {
        if matches!(self.state, State::Waits) {
            self.state = State::Asks { peer: None, at: now, patience: FIRST_RETRY };
        }
    }

    /// Whether a packet may belong to a handshake, also when it is over here: its last words may have got
    /// lost.
    #[inline]
    pub(super) fn concerns(&self, packet: &[u8]) -> bool {
        !self.is_done() || matches!(packet.get(HEADER), Some(&(INIT | COOKIE_ECHO)))
    }

    /// Whether a packet has the tag and the ports of this side's association, without which the stack passes it
    /// over.
    #[inline]
    pub(super) fn is_addressed(&self, packet: &[u8]) -> bool {
        let ports = [short(packet, 0), short(packet, 2)];
        number(packet, 4) == Some(self.own.tag) && !ports.contains(&Some(0))
    }

    /// Takes in a packet; gives the peer's INIT when it is the one that ends the handshake.
    pub(super) fn handle_packet(&mut self, packet: &[u8], now: Duration) -> Option<Init> {
        let tag = number(packet, 4)?;
        if !is_sealed(packet) {
            return None;
        }
        let chunk = chunks(packet).next().flatten()?;
        match (chunk[0], &mut self.state) {
            // A peer that begins anew would be another peer.
            (INIT, State::Done { .. }) => {}
            (INIT, _) if tag == 0 => {
                let peer = Init::read(chunk)?;
                let ack = self.own.chunk(Some(&peer.cookie()));
                self.answer = Some(packet_of(peer.tag, &ack));
            }
            _ if tag != self.own.tag => {}
            (INIT_ACK, State::Asks { peer: peer @ None, at, patience }) => {
                let init = Init::read(chunk)?;
                let mut cookies = parameters(chunk, INIT_LEN).flatten();
                let cookie = cookies.find(|it| short(it, 0) == Some(STATE_COOKIE))?;
                let cookie = cookie[4..].to_vec();
                if cookie.len() <= MAX_COOKIE {
                    (*peer, *at, *patience) = (Some((init, cookie)), now, FIRST_RETRY);
                }
            }
            (COOKIE_ECHO, State::Done { peer_tag }) => {
                let peer = Init::from_cookie(&chunk[4..])?;
                if peer.tag == *peer_tag {
                    self.answer = Some(packet_of(peer.tag, &finish(vec![COOKIE_ACK, 0, 0, 0])));
                }
            }
            (COOKIE_ECHO, _) => {
                let peer = Init::from_cookie(&chunk[4..])?;
                self.answer = Some(packet_of(peer.tag, &finish(vec![COOKIE_ACK, 0, 0, 0])));
                self.finish(&peer);
                return Some(peer);
            }
            // What only a peer sends that has this side's cookie may overtake the word for it.
            (COOKIE_ACK | DATA | SACK, State::Asks { peer: Some((peer, _)), .. }) => {
                let peer = *peer;
                self.finish(&peer);
                return Some(peer);
            }
            _ => {}
        }
        None
    }

    /// A packet to be sent.
    pub(super) fn poll_packet(&mut self, now: Duration) -> Option<Vec<u8>> {
        if let Some(answer) = self.answer.take() {
            return Some(answer);
        }
        let State::Asks { peer, at, patience } = &mut self.state else { return None };
        if *at > now {
            return None;
        }
        *at = now + *patience;
        *patience = (2 * *patience).min(LAST_RETRY);
        Some(match peer {
            None => packet_of(0, &self.own.chunk(None)),
            Some((peer, cookie)) => {
                let mut echo = vec![COOKIE_ECHO, 0, 0, 0];
                echo.extend_from_slice(cookie);
                packet_of(peer.tag, &finish(echo))
            }
        })
    }

    /// When something is said again.
    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        match self.state {
            State::Asks { at, .. } => Some(at),
            State::Waits | State::Done { .. } => None,
        }
    }
}

/// A packet with one chunk.
pub(super) fn packet_of(tag: u32, chunk: &[u8]) -> Vec<u8> {
    let mut packet = begin(PORTS, tag);
    push(&mut packet, chunk);
    seal(&mut packet);
    packet
}

#[cfg(test)]
mod tests;
