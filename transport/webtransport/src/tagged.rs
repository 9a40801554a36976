//! What stands as type, length and so many bytes: frames of HTTP/3 (RFC 9114, section 7.1) and capsules (RFC 9297,
//! section 3.2). Nothing is held of them but a number that has come in part.

/// A number of 1 to 8 bytes whose first two bits say how many (RFC 9000, section 16), as far as it is there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Number {
    value: u64,
    /// Bytes that came.
    have: u8,
    /// Bytes that it has; 0 until the first came.
    len: u8,
}

impl Number {
    /// Takes bytes until it is whole, and then gives it and begins anew.
    pub(crate) fn read(&mut self, bytes: &mut &[u8]) -> Option<u64> {
        while let Some((byte, rest)) = bytes.split_first() {
            *bytes = rest;
            if self.have == 0 {
                self.len = 1 << (byte >> 6);
                self.value = u64::from(byte & 0x3f);
            } else {
                self.value = self.value << 8 | u64::from(*byte);
            }
            self.have += 1;
            if self.have == self.len {
                return Some(std::mem::take(self).value);
            }
        }
        None
    }
}

/// Tells one from the next.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tagged {
    number: Number,
    state: State,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Kind,
    Len {
        kind: u64,
    },
    Body {
        left: u64,
    },
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// One begins.
    Begins { kind: u64, len: u64 },
    /// Bytes of it: 1 at the least.
    Bytes(&'a [u8]),
    /// It is over.
    Ends,
}

impl Tagged {
    /// The next of what is in `bytes`, which gets shorter by it; `None` at their end.
    pub(crate) fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Option<Piece<'a>> {
        loop {
            match &mut self.state {
                State::Kind => {
                    let kind = self.number.read(bytes)?;
                    self.state = State::Len { kind };
                }
                State::Len { kind } => {
                    let kind = *kind;
                    let len = self.number.read(bytes)?;
                    self.state = State::Body { left: len };
                    return Some(Piece::Begins { kind, len });
                }
                State::Body { left: 0 } => {
                    self.state = State::Kind;
                    return Some(Piece::Ends);
                }
                State::Body { left } => {
                    let most = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    let (taken, rest) = bytes.split_at_checked(most)?;
                    if taken.is_empty() {
                        return None;
                    }
                    *bytes = rest;
                    *left -= taken.len() as u64;
                    return Some(Piece::Bytes(taken));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_standard() {
        // RFC 9000, appendix A.1.
        for (mut bytes, value) in [
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c][..], 151_288_809_941_952_652),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
            (&[0x40, 0x25], 37),
        ] {
            assert_eq!(Number::default().read(&mut bytes), Some(value));
        }
        let mut number = Number::default();
        assert_eq!(number.read(&mut &[0x7b][..]), None);
        assert_eq!(number.read(&mut &[0xbd][..]), Some(15_293));
    }

    #[test]
    fn pieces_are_the_same_however_the_bytes_are_cut() {
        let bytes = [0x01, 0x03, b'a', b'b', b'c', 0x40, 0x54, 0x00, 0x00, 0x01, b'd'];
        let read = |step: usize| {
            let (mut tagged, mut whole) = (Tagged::default(), Vec::new());
            for mut part in bytes.chunks(step) {
                while let Some(piece) = tagged.next(&mut part) {
                    match piece {
                        Piece::Begins { kind, len } => whole.push((kind, len, Vec::new())),
                        Piece::Bytes(bytes) => whole.last_mut().unwrap().2.extend(bytes),
                        Piece::Ends => {}
                    }
                }
            }
            whole
        };
        let whole = vec![(1, 3, b"abc".to_vec()), (0x54, 0, Vec::new()), (0, 1, b"d".to_vec())];
        for step in 1..=bytes.len() {
            assert_eq!(read(step), whole, "{step}");
        }
    }
}
