//! Takes bytes of a stream apart, whatever comes with one call.

use std::collections::VecDeque;

use deltawire_link::{MAX_STREAM_MESSAGE, StreamMessageError};

use crate::framing::{Framing, FramingError, MAX_CONTROL, MAX_HEAD, Mask, Piece, PieceKind};

/// What stood in a stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Item {
    /// A message, in memory of its own.
    Message(Vec<u8>),
    /// A question whether this side is there, to be answered with the same bytes.
    Ping(Vec<u8>),
    /// The peer says that it hangs up.
    Close,
}

/// Reads messages out of a stream. Holds at most a message of [`MAX_STREAM_MESSAGE`] bytes.
#[derive(Debug)]
pub struct Reader<F> {
    framing: F,
    head: [u8; MAX_HEAD],
    head_len: usize,
    piece: Option<Open>,
    /// The message whose pieces come.
    message: Vec<u8>,
    /// What comes between them.
    control: Vec<u8>,
}

/// A piece of which more is to come.
#[derive(Clone, Copy, Debug)]
struct Open {
    kind: PieceKind,
    ends: bool,
    mask: Option<Mask>,
    /// Bytes of it that came, and those that are to come.
    came: u64,
    left: usize,
}

impl<F: Framing> Reader<F> {
    /// Begins at the start of a stream.
    pub fn new(framing: F) -> Self {
        let (message, control) = (Vec::new(), Vec::new());
        Self { framing, head: [0; MAX_HEAD], head_len: 0, piece: None, message, control }
    }

    pub(crate) fn framing_mut(&mut self) -> &mut F {
        &mut self.framing
    }

    /// Takes memory back that a message was in, for the next.
    pub(crate) fn reuse(&mut self, mut message: Vec<u8>) {
        if self.message.capacity() == 0 {
            message.clear();
            self.message = message;
        }
    }

    /// The message that comes, and how much of its piece is missing: more of it may be put behind what is there,
    /// and then be [`filled`](Self::filled).
    pub(crate) fn missing(&mut self) -> Option<(&mut Vec<u8>, usize)> {
        let piece = self.piece.filter(|piece| piece.kind == PieceKind::Message)?;
        Some((&mut self.message, piece.left))
    }

    /// Notes that so many bytes were put behind the message.
    pub(crate) fn filled(&mut self, len: usize, items: &mut VecDeque<Item>) {
        let Some(mut piece) = self.piece.take() else { return };
        let len = len.min(piece.left);
        if let Some(mask) = piece.mask {
            let start = self.message.len().saturating_sub(len);
            mask.apply(self.message.get_mut(start..).unwrap_or_default(), piece.came);
        }
        piece.came += len as u64;
        piece.left -= len;
        self.go_on(piece, items);
    }

    /// Takes in what came.
    ///
    /// # Errors
    ///
    /// When it breaks a rule: what stood before that is in `items`, and nothing more can be read.
    pub fn feed(
        &mut self,
        mut bytes: &[u8],
        items: &mut VecDeque<Item>,
    ) -> Result<(), FramingError> {
        while !bytes.is_empty() {
            let Some(mut piece) = self.piece.take() else {
                let Some(rest) = self.begin(bytes, items)? else { return Ok(()) };
                bytes = rest;
                continue;
            };
            let (now, rest) = bytes.split_at(piece.left.min(bytes.len()));
            let to = match piece.kind {
                PieceKind::Message => &mut self.message,
                _ => &mut self.control,
            };
            let start = to.len();
            to.extend_from_slice(now);
            if let Some(mask) = piece.mask {
                mask.apply(to.get_mut(start..).unwrap_or_default(), piece.came);
            }
            piece.came += now.len() as u64;
            piece.left -= now.len();
            bytes = rest;
            self.go_on(piece, items);
        }
        Ok(())
    }

    /// Reads a head, and gives what is behind it.
    fn begin<'a>(
        &mut self,
        bytes: &'a [u8],
        items: &mut VecDeque<Item>,
    ) -> Result<Option<&'a [u8]>, FramingError> {
        // A head may come in parts.
        let had = self.head_len;
        let room = self.head.get_mut(had..).unwrap_or_default();
        let taken = room.len().min(bytes.len());
        room.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        self.head_len = had + taken;
        let head = self.head.get(..self.head_len).unwrap_or_default();
        let Some(piece) = self.framing.read(head)? else { return Ok(None) };
        self.head_len = 0;
        let (kind, ends, mask) = (piece.kind, piece.ends, piece.mask);
        let left = self.admit(&piece)?;
        self.go_on(Open { kind, ends, mask, came: 0, left }, items);
        Ok(bytes.get(piece.head_len.saturating_sub(had)..))
    }

    /// Checks a length before there is room for it.
    fn admit(&mut self, piece: &Piece) -> Result<usize, FramingError> {
        let (had, max) = match piece.kind {
            PieceKind::Message => (self.message.len(), MAX_STREAM_MESSAGE),
            _ => (0, MAX_CONTROL),
        };
        let len = piece.len.saturating_add(had as u64);
        if len > max as u64 {
            return Err(StreamMessageError::TooLong { len, max }.into());
        }
        let left = len as usize - had;
        if piece.kind == PieceKind::Message {
            // Of many small pieces, each would have all of it moved.
            if self.message.is_empty() {
                self.message.reserve_exact(left);
            } else {
                self.message.reserve(left);
            }
        }
        Ok(left)
    }

    /// Goes on with a piece, or ends it.
    fn go_on(&mut self, piece: Open, items: &mut VecDeque<Item>) {
        if piece.left > 0 {
            self.piece = Some(piece);
            return;
        }
        self.piece = None;
        match piece.kind {
            PieceKind::Message if piece.ends => {
                items.push_back(Item::Message(std::mem::take(&mut self.message)));
            }
            // The next piece goes behind it.
            PieceKind::Message => {}
            PieceKind::Ping => items.push_back(Item::Ping(std::mem::take(&mut self.control))),
            PieceKind::Pong => self.control.clear(),
            PieceKind::Close => {
                self.control.clear();
                items.push_back(Item::Close);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::framing::LengthPrefix;

    proptest! {
        /// However a stream is cut, the same comes out, or the same error.
        #[test]
        fn cuts_do_not_matter(
            lens in proptest::collection::vec(0_usize..70_000, 0..8),
            garbage in proptest::collection::vec(any::<u8>(), 0..20),
            cuts in proptest::collection::vec(1_usize..40_000, 1..40),
        ) {
            let mut bytes = Vec::new();
            for (number, len) in lens.iter().enumerate() {
                bytes.extend((*len as u32).to_le_bytes());
                bytes.extend(std::iter::repeat_n(number as u8, *len));
            }
            bytes.extend(garbage);
            let mut whole = VecDeque::new();
            let expected = Reader::new(LengthPrefix).feed(&bytes, &mut whole);
            let (mut reader, mut items) = (Reader::new(LengthPrefix), VecDeque::new());
            let (mut rest, mut result) = (&bytes[..], Ok(()));
            for cut in cuts.iter().cycle() {
                if rest.is_empty() || result.is_err() {
                    break;
                }
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                rest = later;
                // As a transport does with what it reads in place.
                match reader.missing() {
                    Some((message, missing)) if missing >= now.len() => {
                        message.extend_from_slice(now);
                        reader.filled(now.len(), &mut items);
                    }
                    _ => result = reader.feed(now, &mut items),
                }
            }
            prop_assert_eq!(items, whole);
            prop_assert_eq!(result, expected);
        }
    }
}
