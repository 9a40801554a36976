//! What a stream is: the bytes that it begins with.

use crate::tagged::Number;
use crate::{ALONE, COMMANDS, FROM_INITIATOR, PrologueError};

/// A kind of stream that a client opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    /// That of settings, which HTTP/3 has (RFC 9114, section 6.2.1).
    Control,
    /// That of the client's table of fields, which no server here lets it use (RFC 9204, section 4.2).
    QpackEncoder,
    /// That of what it says of the server's table.
    QpackDecoder,
    /// A link's, of this number: messages follow.
    Link(u8),
    /// Something that is not known, and not to be read (RFC 9114, section 6.2).
    Unknown,
}

/// Tells what a client's stream is by the bytes that it begins with: at most 17.
#[derive(Clone, Copy, Debug)]
pub struct StreamHead {
    number: Number,
    expects: Expects,
    bidirectional: bool,
}

#[derive(Clone, Copy, Debug)]
enum Expects {
    Kind,
    Session { kind: u64 },
    Number,
}

/// Of unidirectional streams (RFC 9114, section 6.2; RFC 9204, section 4.2; draft-ietf-webtrans-http3, section 4.2).
const CONTROL: u64 = 0x00;
const PUSH: u64 = 0x01;
const QPACK_ENCODER: u64 = 0x02;
const QPACK_DECODER: u64 = 0x03;
const UNIDIRECTIONAL: u64 = 0x54;
/// Of bidirectional ones (section 4.3).
const BIDIRECTIONAL: u64 = 0x41;

impl StreamHead {
    /// Of a unidirectional stream.
    #[must_use]
    pub fn unidirectional() -> Self {
        Self { number: Number::default(), expects: Expects::Kind, bidirectional: false }
    }

    /// Of a bidirectional stream, other than the first, on which the request is.
    #[must_use]
    pub fn bidirectional() -> Self {
        Self { bidirectional: true, ..Self::unidirectional() }
    }

    /// Takes the next byte; says what the stream is once that shows. What follows is no part of its head.
    ///
    /// # Errors
    ///
    /// When no client may open such a stream.
    pub fn read(&mut self, byte: u8) -> Result<Option<StreamKind>, PrologueError> {
        let expected = if self.bidirectional { COMMANDS } else { FROM_INITIATOR };
        match self.expects {
            Expects::Number if byte == expected || (byte == ALONE && !self.bidirectional) => {
                Ok(Some(StreamKind::Link(byte)))
            }
            Expects::Number => Err(PrologueError::Number { number: byte, expected }),
            Expects::Kind => {
                let Some(kind) = self.number.read(&mut &[byte][..]) else { return Ok(None) };
                self.begin(kind)
            }
            Expects::Session { kind } => match self.number.read(&mut &[byte][..]) {
                None => Ok(None),
                Some(0) => {
                    self.expects = Expects::Number;
                    Ok(None)
                }
                Some(session) => Err(PrologueError::Session { kind, session }),
            },
        }
    }

    fn begin(&mut self, kind: u64) -> Result<Option<StreamKind>, PrologueError> {
        Ok(Some(match (self.bidirectional, kind) {
            (true, BIDIRECTIONAL) | (false, UNIDIRECTIONAL) => {
                self.expects = Expects::Session { kind };
                return Ok(None);
            }
            // One more request has no place here, and servers alone push.
            (true, _) | (false, PUSH) => {
                return Err(PrologueError::Session { kind, session: u64::MAX });
            }
            (false, CONTROL) => StreamKind::Control,
            (false, QPACK_ENCODER) => StreamKind::QpackEncoder,
            (false, QPACK_DECODER) => StreamKind::QpackDecoder,
            (false, _) => StreamKind::Unknown,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mut head: StreamHead, bytes: &[u8]) -> Result<Option<StreamKind>, PrologueError> {
        for (at, byte) in bytes.iter().enumerate() {
            if let Some(kind) = head.read(*byte)? {
                assert_eq!(at + 1, bytes.len());
                return Ok(Some(kind));
            }
        }
        Ok(None)
    }

    #[test]
    fn streams_are_told_apart() {
        let (uni, bi) = (StreamHead::unidirectional(), StreamHead::bidirectional());
        for (head, bytes, kind) in [
            (uni, &[0x00][..], StreamKind::Control),
            (uni, &[0x02], StreamKind::QpackEncoder),
            (uni, &[0x03], StreamKind::QpackDecoder),
            (uni, &[0x21], StreamKind::Unknown),
            (uni, &[0x40, 0x54, 0, 1], StreamKind::Link(1)),
            (uni, &[0x40, 0x54, 0, 3], StreamKind::Link(3)),
            // As long as they may be written.
            (bi, &[0x80, 0, 0, 0x41, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0], StreamKind::Link(0)),
        ] {
            assert_eq!(read(head, bytes), Ok(Some(kind)), "{bytes:?}");
            assert_eq!(read(head, &bytes[..bytes.len() - 1]), Ok(None));
        }
    }

    #[test]
    fn what_no_client_may_open_is_refused_by_name() {
        let (uni, bi) = (StreamHead::unidirectional(), StreamHead::bidirectional());
        let session = |kind, session| PrologueError::Session { kind, session };
        for (head, bytes, error) in [
            (uni, &[0x01][..], session(1, u64::MAX)),
            (bi, &[0x01], session(1, u64::MAX)),
            (uni, &[0x40, 0x54, 4], session(0x54, 4)),
            (bi, &[0x40, 0x41, 8], session(0x41, 8)),
            (uni, &[0x40, 0x54, 0, 2], PrologueError::Number { number: 2, expected: 1 }),
            (bi, &[0x40, 0x41, 0, 1], PrologueError::Number { number: 1, expected: 0 }),
            (bi, &[0x40, 0x41, 0, 3], PrologueError::Number { number: 3, expected: 0 }),
        ] {
            assert_eq!(read(head, bytes), Err(error), "{bytes:?}");
        }
    }
}
