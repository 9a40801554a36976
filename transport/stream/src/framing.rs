//! How messages stand in a stream.

use std::fmt;

use deltawire_link::{MAX_STREAM_MESSAGE, StreamMessageError};

/// The longest head of a piece, bytes: that of WebSocket.
pub const MAX_HEAD: usize = 14;

/// The most that a piece holds which is no message, bytes.
pub const MAX_CONTROL: usize = 125;

/// How messages stand in a stream: each in pieces, whose heads say how long they are.
pub trait Framing: fmt::Debug {
    /// Reads the head at the start of `bytes`: `None` if not all of it is there. Of [`MAX_HEAD`] bytes it is.
    ///
    /// # Errors
    ///
    /// When it breaks a rule.
    fn read(&mut self, bytes: &[u8]) -> Result<Option<Piece>, FramingError>;

    /// The head of a piece that is all of a message, or of something else.
    fn write(&mut self, kind: PieceKind, len: usize) -> Head;

    /// What is said before the stream ends, if anything is.
    fn farewell(&self) -> Option<&'static [u8]> {
        None
    }
}

/// A piece, as its head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Bytes of the head.
    pub head_len: usize,
    /// Bytes behind the head.
    pub len: u64,
    /// What it is of.
    pub kind: PieceKind,
    /// Whether its message ends with it.
    pub ends: bool,
    /// What its bytes are masked with.
    pub mask: Option<Mask>,
}

/// What a piece is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceKind {
    /// A message.
    Message,
    /// A question whether somebody is there.
    Ping,
    /// The answer to that.
    Pong,
    /// The end.
    Close,
}

/// The head of a piece that is sent.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    bytes: [u8; MAX_HEAD],
    len: usize,
    /// What the piece has to be masked with.
    pub mask: Option<Mask>,
}

impl Head {
    /// These bytes: the first [`MAX_HEAD`] of them.
    #[must_use]
    pub fn new(bytes: &[u8], mask: Option<Mask>) -> Self {
        let mut head = Self { bytes: [0; MAX_HEAD], len: bytes.len().min(MAX_HEAD), mask };
        head.bytes.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        head
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// What bytes are combined with on their way (RFC 6455, section 5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mask(pub [u8; 4]);

impl Mask {
    /// Masks bytes, or takes the mask off; the first of them is at `offset` in their piece.
    pub fn apply(self, bytes: &mut [u8], offset: u64) {
        let mut key = [0; 16];
        for (at, byte) in (offset..).zip(&mut key) {
            *byte = self.0[(at % 4) as usize];
        }
        let (blocks, rest) = bytes.as_chunks_mut::<16>();
        for block in blocks {
            block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        }
        rest.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
    }
}

/// A head that breaks a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FramingError {
    /// A message breaks a rule of all links over streams.
    #[error(transparent)]
    Message(#[from] StreamMessageError),
    /// A field of a head has a value that it may not have.
    #[error("{field} is {value}, {expected}")]
    Field {
        /// Its name.
        field: &'static str,
        /// What it says.
        value: u64,
        /// The rule: "must be …".
        expected: &'static str,
    },
}

/// A length before each message, a u32, little-endian: over TCP and Unix sockets.
#[derive(Clone, Copy, Debug, Default)]
pub struct LengthPrefix;

impl Framing for LengthPrefix {
    fn read(&mut self, bytes: &[u8]) -> Result<Option<Piece>, FramingError> {
        let Some(len) = bytes.first_chunk() else { return Ok(None) };
        let len = u64::from(u32::from_le_bytes(*len));
        let kind = PieceKind::Message;
        Ok(Some(Piece { head_len: size_of::<u32>(), len, kind, ends: true, mask: None }))
    }

    fn write(&mut self, _kind: PieceKind, len: usize) -> Head {
        debug_assert!(len <= MAX_STREAM_MESSAGE, "{len}");
        Head::new(&(len as u32).to_le_bytes(), None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_taken_off_wherever_pieces_are_cut() {
        let mask = Mask([1, 2, 3, 4]);
        let plain: Vec<u8> = (0..100).collect();
        let mut masked = plain.clone();
        mask.apply(&mut masked, 0);
        assert_eq!(masked[..5], [1, 3, 1, 7, 5]);
        for cut in 0..plain.len() {
            let mut bytes = masked.clone();
            let (first, second) = bytes.split_at_mut(cut);
            mask.apply(first, 0);
            mask.apply(second, cut as u64);
            assert_eq!(bytes, plain, "{cut}");
        }
    }
}
