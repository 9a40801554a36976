//! What begins an association: INIT and INIT ACK (RFC 9260, sections 3.3.2 and 3.3.3).

use crate::packet::{FORWARD_TSN, INIT, RE_CONFIG, begin, number, parameters, push, seal, short};

// Types of chunks, beside INIT.
pub(crate) const INIT_ACK: u8 = 2;
pub(crate) const COOKIE_ECHO: u8 = 10;
/// Type of the chunk that ends a handshake.
pub const COOKIE_ACK: u8 = 11;

/// The ports, which mean nothing within DTLS or over UDP: all have the same.
pub const PORTS: [u16; 2] = [5_000, 5_000];

/// Bytes of an INIT before its parameters.
pub(crate) const INIT_LEN: usize = 20;

/// The least receive window that an INIT may name, bytes (RFC 9260, section 3.3.2).
const MIN_WINDOW: u32 = 1_500;

// Parameters (RFC 9260, section 3.3.3; RFC 5061; RFC 3758).
pub(crate) const STATE_COOKIE: u16 = 7;
const SUPPORTED_EXTENSIONS: u16 = 0x8008;
const FORWARD_TSN_SUPPORTED: u16 = 0xc000;

/// What marks the cookies that are made here.
const COOKIE: [u8; 4] = *b"DWC1";

/// What an INIT says (RFC 9260, section 3.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Init {
    /// Stands in each packet to its sender.
    pub tag: u32,
    /// The receive window, bytes.
    pub window: u32,
    /// How many streams it wants to send on, and takes.
    pub streams: [u16; 2],
    /// Its sender's first TSN.
    pub tsn: u32,
    /// Whether messages can be given up (RFC 3758).
    pub forward_tsn: bool,
}

impl Init {
    /// Reads an INIT or INIT ACK; `None` if it breaks the format.
    #[must_use]
    pub fn read(chunk: &[u8]) -> Option<Self> {
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

    /// Reads an INIT that stands by itself.
    #[must_use]
    pub fn read_whole(chunk: &[u8]) -> Option<Self> {
        let whole =
            chunk.first() == Some(&INIT) && short(chunk, 2) == u16::try_from(chunk.len()).ok();
        whole.then(|| Self::read(chunk)).flatten()
    }

    pub(crate) fn read_fixed(bytes: &[u8]) -> Option<Self> {
        let [tag, window, tsn] = [number(bytes, 0)?, number(bytes, 4)?, number(bytes, 12)?];
        let streams = [short(bytes, 8)?, short(bytes, 10)?];
        let valid = tag != 0 && window >= MIN_WINDOW && !streams.contains(&0);
        valid.then_some(Self { tag, window, streams, tsn, forward_tsn: false })
    }

    pub(crate) fn write_fixed(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.tag.to_be_bytes());
        bytes.extend(self.window.to_be_bytes());
        self.streams.iter().for_each(|streams| bytes.extend(streams.to_be_bytes()));
        bytes.extend(self.tsn.to_be_bytes());
    }

    /// The chunk: an INIT, or an INIT ACK with its cookie.
    #[must_use]
    pub fn chunk(&self, cookie: Option<&[u8]>) -> Vec<u8> {
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

    /// All that has to be known of a peer until it echoes it.
    pub(crate) fn cookie(&self) -> Vec<u8> {
        let mut cookie = COOKIE.to_vec();
        self.write_fixed(&mut cookie);
        cookie.extend([self.forward_tsn.into(), 0, 0, 0]);
        cookie
    }

    pub(crate) fn from_cookie(cookie: &[u8]) -> Option<Self> {
        let init = Self::read_fixed(cookie.strip_prefix(&COOKIE)?)?;
        let whole = cookie.len() == COOKIE.len() + INIT_LEN;
        whole.then(|| Self { forward_tsn: cookie[INIT_LEN] != 0, ..init })
    }
}

pub(crate) fn parameter(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut parameter = kind.to_be_bytes().to_vec();
    parameter.extend([0, 0]);
    parameter.extend(value);
    finish(parameter)
}

/// Writes the length of a chunk or parameter.
pub(crate) fn finish(mut element: Vec<u8>) -> Vec<u8> {
    let len = u16::try_from(element.len()).unwrap_or(u16::MAX);
    element[2..4].copy_from_slice(&len.to_be_bytes());
    element
}

/// A packet with one chunk.
#[must_use]
pub fn packet_of(tag: u32, chunk: &[u8]) -> Vec<u8> {
    let mut packet = begin(PORTS, tag);
    push(&mut packet, chunk);
    seal(&mut packet);
    packet
}
