//! Reading and writing of numbers and texts, little-endian.

use std::fmt;

/// Bytes that are not what they should be: names the part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot be read", self.0)
    }
}

impl std::error::Error for Malformed {}

/// What is left to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Malformed> {
        let (first, rest) = self.0.split_first_chunk().ok_or(Malformed(what))?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn u8(&mut self, what: &'static str) -> Result<u8, Malformed> {
        self.array(what).map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self, what: &'static str) -> Result<u16, Malformed> {
        self.array(what).map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, Malformed> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, Malformed> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A text behind its length, one byte.
    pub(super) fn short_text(&mut self, what: &'static str) -> Result<&'a str, Malformed> {
        let len = usize::from(self.u8(what)?);
        let (text, rest) = self.0.split_at_checked(len).ok_or(Malformed(what))?;
        self.0 = rest;
        str::from_utf8(text).map_err(|_| Malformed(what))
    }

    /// All that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// All that is left, as points: at most `max`.
    pub(super) fn points(
        &mut self,
        max: usize,
        what: &'static str,
    ) -> Result<Vec<[i16; 2]>, Malformed> {
        let (points, rest) = self.rest().as_chunks::<4>();
        if !rest.is_empty() || points.len() > max {
            return Err(Malformed(what));
        }
        let point =
            |&[a, b, c, d]: &[u8; 4]| [i16::from_le_bytes([a, b]), i16::from_le_bytes([c, d])];
        Ok(points.iter().map(point).collect())
    }

    /// Nothing may be left.
    pub(super) fn end(&self, what: &'static str) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed(what)) }
    }
}

pub(super) fn put_points(bytes: &mut Vec<u8>, points: &[[i16; 2]]) {
    bytes.extend(points.iter().flatten().flat_map(|it| it.to_le_bytes()));
}

/// A text behind its length: as much of it as `max` bytes hold, at most 255.
pub(super) fn put_short_text(bytes: &mut Vec<u8>, text: &str, max: usize) {
    let text = &text[..text.floor_char_boundary(max.min(255))];
    bytes.push(text.len() as u8);
    bytes.extend_from_slice(text.as_bytes());
}
