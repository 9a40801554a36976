//! What a peer says of itself: its presence.

use super::bytes::{Malformed, Reader, put_points, put_short_text};

/// Bytes of a name.
pub const MAX_NAME: usize = 48;

/// Points of the line that is being drawn: of a longer one fewer are told.
pub const MAX_PREVIEW: usize = 480;

/// A peer as others see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Appearance {
    /// As in its operations.
    pub author: u64,
    /// What it is called.
    pub name: String,
    /// Its colour and width.
    pub colour: u8,
    /// Width of what it draws.
    pub width: u8,
    /// Where it points; nowhere if it is elsewhere.
    pub pointer: Option<[i16; 2]>,
    /// The line that it is drawing.
    pub preview: Vec<[i16; 2]>,
}

impl Appearance {
    /// Reads what a peer said.
    ///
    /// # Errors
    /// When it is nothing of this kind.
    pub fn read(payload: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        let author = reader.u64("an author")?;
        let name = reader.short_text("a name")?;
        if name.len() > MAX_NAME {
            return Err(Malformed("a name this long"));
        }
        let (colour, width) = (reader.u8("a colour")?, reader.u8("a width")?);
        let points = reader.points(MAX_PREVIEW + 1, "a pointer")?;
        let (pointer, preview) = match points.split_first() {
            Some((pointer, preview)) => (Some(*pointer), preview.to_vec()),
            None => (None, Vec::new()),
        };
        Ok(Self { author, name: name.to_owned(), colour, width, pointer, preview })
    }

    /// What is said: the name as far as it fits, and of a long line every second point, or every third, and so on.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64 + 4 * self.preview.len().min(MAX_PREVIEW));
        bytes.extend(self.author.to_le_bytes());
        put_short_text(&mut bytes, &self.name, MAX_NAME);
        bytes.extend([self.colour, self.width]);
        if let Some(pointer) = self.pointer {
            put_points(&mut bytes, &[pointer]);
            let step = self.preview.len().div_ceil(MAX_PREVIEW).max(1);
            let points: Vec<_> = self.preview.iter().copied().step_by(step).collect();
            put_points(&mut bytes, &points);
        }
        bytes
    }
}
