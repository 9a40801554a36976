//! Frames of WebSocket (RFC 6455, section 5).

use std::fmt;

use deltawire_stream::{Framing, FramingError, Head, Mask, Piece, PieceKind};

/// Fills a slice with random bytes that nobody can tell.
pub type Random = Box<dyn FnMut(&mut [u8]) + Send>;

/// Which end of a WebSocket this is.
pub enum Side {
    /// Opened it: masks what it sends.
    Client {
        /// What masks are made of.
        random: Random,
    },
    /// Was asked: what it sends is not masked.
    Server,
}

/// How messages stand in the stream of a WebSocket: each in one frame, or in several that come one after another.
#[derive(Debug)]
pub struct WebSocketFraming {
    side: Side,
    /// Random bytes that were not used yet.
    masks: Vec<[u8; 4]>,
    /// Whether a message has begun and not ended.
    within: bool,
}

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
/// Lengths from here on are written in two bytes more, or in eight.
const LEN_16: u8 = 126;
const LEN_64: u8 = 127;

/// Masks that are drawn together.
const MASKS: usize = 64;

/// Status 1000, "normal closure".
const NORMAL: [u8; 2] = 1_000_u16.to_be_bytes();

impl WebSocketFraming {
    /// Frames as this side writes them.
    #[must_use]
    pub fn new(side: Side) -> Self {
        Self { side, masks: Vec::new(), within: false }
    }

    fn mask(&mut self) -> Option<Mask> {
        let Side::Client { random } = &mut self.side else { return None };
        if self.masks.is_empty() {
            self.masks.resize(MASKS, [0; 4]);
            random(self.masks.as_flattened_mut());
        }
        self.masks.pop().map(Mask)
    }

    /// What a frame is of, and whether its message ends with it.
    fn kind(&mut self, first: u8) -> Result<(PieceKind, bool), FramingError> {
        let (ends, opcode) = (first & FIN != 0, first & !(FIN | RESERVED));
        let refused = |field, value: u8, expected| {
            Err(FramingError::Field { field, value: value.into(), expected })
        };
        if first & RESERVED != 0 {
            let bits = (first & RESERVED) >> 4;
            return refused("reserved bits", bits, "must be 0, as no extension was agreed on");
        }
        let kind = match opcode {
            CONTINUATION | BINARY => {
                if (opcode == CONTINUATION) != self.within {
                    let expected = "must be 0 (continuation) within a message, and nowhere else";
                    return refused("opcode", opcode, expected);
                }
                self.within = !ends;
                return Ok((PieceKind::Message, ends));
            }
            CLOSE => PieceKind::Close,
            PING => PieceKind::Ping,
            PONG => PieceKind::Pong,
            TEXT => return refused("opcode", opcode, "must be 2 (binary): text is not understood"),
            _ => return refused("opcode", opcode, "must be 0, 2, 8, 9 or 10"),
        };
        if !ends {
            return refused("fin", 0, "must be 1 in a control frame");
        }
        Ok((kind, ends))
    }
}

impl Framing for WebSocketFraming {
    fn read(&mut self, bytes: &[u8]) -> Result<Option<Piece>, FramingError> {
        let Some((&[first, second], rest)) = bytes.split_first_chunk() else { return Ok(None) };
        let is_masked = second & MASKED != 0;
        let must_be = matches!(self.side, Side::Server);
        if is_masked != must_be {
            let expected =
                if must_be { "must be 1 from a client" } else { "must be 0 from a server" };
            let value = is_masked.into();
            return Err(FramingError::Field { field: "mask", value, expected });
        }
        let short = second & !MASKED;
        let (len, rest) = match short {
            LEN_16 => match rest.split_first_chunk() {
                Some((len, rest)) => (u16::from_be_bytes(*len).into(), rest),
                None => return Ok(None),
            },
            LEN_64 => match rest.split_first_chunk() {
                Some((len, rest)) => (u64::from_be_bytes(*len), rest),
                None => return Ok(None),
            },
            len => (len.into(), rest),
        };
        let (mask, rest) = match (is_masked, rest.split_first_chunk()) {
            (false, _) => (None, rest),
            (true, Some((mask, rest))) => (Some(Mask(*mask)), rest),
            (true, None) => return Ok(None),
        };
        let (kind, ends) = self.kind(first)?;
        Ok(Some(Piece { head_len: bytes.len() - rest.len(), len, kind, ends, mask }))
    }

    fn write(&mut self, kind: PieceKind, len: usize) -> Head {
        let opcode = match kind {
            PieceKind::Message => BINARY,
            PieceKind::Ping => PING,
            PieceKind::Pong => PONG,
            PieceKind::Close => CLOSE,
        };
        let mask = self.mask();
        let masked = if mask.is_some() { MASKED } else { 0 };
        let (short, long, long_len) = match len {
            0..126 => (len as u8, [0; 8], 0),
            126..=0xffff => {
                let [high, low] = (len as u16).to_be_bytes();
                (LEN_16, [high, low, 0, 0, 0, 0, 0, 0], 2)
            }
            _ => (LEN_64, (len as u64).to_be_bytes(), 8),
        };
        let key = mask.map_or([0; 4], |mask| mask.0);
        let mut head = [0; 14];
        let parts: [&[u8]; 3] = [
            &[FIN | opcode, masked | short],
            long.get(..long_len).unwrap_or_default(),
            if mask.is_some() { &key } else { &[] },
        ];
        let mut at = 0;
        for byte in parts.into_iter().flatten() {
            head[at] = *byte;
            at += 1;
        }
        Head::new(head.get(..at).unwrap_or_default(), mask)
    }

    fn farewell(&self) -> Option<&'static [u8]> {
        Some(&NORMAL)
    }
}

impl fmt::Debug for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client { .. } => "Client",
            Self::Server => "Server",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use deltawire_stream::{Item, Reader};

    use super::*;

    fn client() -> WebSocketFraming {
        let mut next = 0;
        let random = Box::new(move |bytes: &mut [u8]| {
            for byte in bytes {
                next = u8::wrapping_add(next, 7);
                *byte = next;
            }
        });
        WebSocketFraming::new(Side::Client { random })
    }

    fn server() -> WebSocketFraming {
        WebSocketFraming::new(Side::Server)
    }

    fn frame(framing: &mut WebSocketFraming, kind: PieceKind, bytes: &[u8]) -> Vec<u8> {
        let head = framing.write(kind, bytes.len());
        let mut frame = head.as_bytes().to_vec();
        let start = frame.len();
        frame.extend_from_slice(bytes);
        if let Some(mask) = head.mask {
            mask.apply(&mut frame[start..], 0);
        }
        frame
    }

    fn read(framing: WebSocketFraming, bytes: &[u8]) -> Result<Vec<Item>, FramingError> {
        let mut items = VecDeque::new();
        Reader::new(framing).feed(bytes, &mut items)?;
        Ok(items.into())
    }

    #[test]
    fn what_a_side_writes_the_other_reads() {
        for len in [0, 1, 125, 126, 127, 65_535, 65_536] {
            let message: Vec<u8> = (0..len).map(|at| at as u8).collect();
            let expected = [Item::Message(message.clone())];
            let up = frame(&mut client(), PieceKind::Message, &message);
            assert_eq!(read(server(), &up).unwrap(), expected, "{len} up");
            assert!(len < 2 || up[up.len() - 2..] != message[message.len() - 2..], "{len}: masked");
            let down = frame(&mut server(), PieceKind::Message, &message);
            assert_eq!(read(client(), &down).unwrap(), expected, "{len} down");
        }
    }

    /// RFC 6455, section 5.7.
    #[test]
    fn the_examples_of_the_rfc_are_read() {
        let masked_pong = [0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(read(server(), &masked_pong).unwrap(), []);
        let ping = [0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
        assert_eq!(read(client(), &ping).unwrap(), [Item::Ping(b"Hello".to_vec())]);
        let mut binary = vec![0x82, 0x7e, 0x01, 0x00];
        binary.extend([7; 256]);
        assert_eq!(read(client(), &binary).unwrap(), [Item::Message(vec![7; 256])]);
    }

    #[test]
    fn a_message_in_pieces_is_put_together_around_what_comes_between() {
        let bytes = [
            &[0x02, 2, 1, 2][..],
            &[0x89, 1, 9],
            &[0x00, 0],
            &[0x00, 1, 3],
            &[0x80, 2, 4, 5],
            &[0x82, 1, 6],
            &[0x88, 2, 3, 232],
        ]
        .concat();
        let expected = [
            Item::Ping(vec![9]),
            Item::Message(vec![1, 2, 3, 4, 5]),
            Item::Message(vec![6]),
            Item::Close,
        ];
        assert_eq!(read(client(), &bytes).unwrap(), expected);
        // Whatever comes with one call.
        let (mut reader, mut items) = (Reader::new(client()), VecDeque::new());
        for byte in &bytes {
            reader.feed(&[*byte], &mut items).unwrap();
        }
        assert_eq!(Vec::from(items), expected);
    }

    #[test]
    fn what_breaks_a_rule_is_named() {
        let long = [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 1];
        let longest = [0x82, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        let pieces = [&[0x02, 126, 0xff, 0xff][..], &[0; 65_535], &[0x80, 2]].concat();
        for (bytes, what) in [
            (&[0xc2, 1, 0][..], "reserved bits is 4, must be 0"),
            (&[0x81, 1, 0], "opcode is 1, must be 2 (binary)"),
            (&[0x83, 1, 0], "opcode is 3, must be 0, 2, 8, 9 or 10"),
            (&[0x80, 1, 0], "opcode is 0, must be 0 (continuation) within"),
            (&[0x02, 1, 0, 0x82, 1, 0], "opcode is 2, must be 0 (continuation) within"),
            (&[0x09, 1, 0], "fin is 0, must be 1"),
            (&[0x82, 0x81, 0, 0, 0, 0, 0], "mask is 1, must be 0 from a server"),
            (&[0x89, 126, 0, 126], "126 bytes came, at most 125"),
            (&long, "65537 bytes came, at most 65536"),
            (&longest, "18446744073709551615 bytes came"),
            (&pieces, "65537 bytes came, at most 65536"),
        ] {
            let error = read(client(), bytes).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
        let error = read(server(), &[0x82, 1, 0]).unwrap_err().to_string();
        assert!(error.contains("mask is 0, must be 1 from a client"), "{error}");
    }
}
