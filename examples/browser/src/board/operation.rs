//! Operations on the board, and how they lie in a delta's payload.
//!
//! Each kind has a delta type of its own. The payload begins with the operation's id; all numbers are little-endian:
//!
//! | bytes | | |
//! |---|---|---|
//! | 0..8 | author | a random number, one for each peer |
//! | 8..12 | number | the author's operations, counted from 1 |
//!
//! | type | behind it | |
//! |---|---|---|
//! | 256, stroke | `u8` colour, `u8` width, points of two `i16` | 1 to 4,096 points |
//! | 257, change of the text | `u64` base, `u32` at, `u32` delete, UTF-8 | in UTF-16 code units, as browsers count |
//! | 258, undo | `u64` position, `u32` number | the place of an operation of the same author |
//! | 259, clear | | |

use deltawire::prelude::DeltaType;

use super::bytes::{Malformed, Reader, put_points};
use super::text::Edit;

/// Points of a stroke: a longer one is drawn as two.
pub const MAX_POINTS: usize = 4_096;

/// Bytes that one change of the text inserts.
pub const MAX_INSERT: usize = 64 << 10;

/// Names an operation wherever it lies, so that none counts twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct OperationId {
    /// Who made it.
    pub author: u64,
    /// Which one of the author's, from 1.
    pub number: u32,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stroke {
    /// Which colour of the palette: each theme has its own, so that all can be seen.
    pub colour: u8,
    /// In units of its points.
    pub width: u8,
    /// Where it goes: x and y from the board's upper left corner.
    pub points: Vec<[i16; 2]>,
}

/// A change of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The position of the last delta that its author had seen: the edit is meant for the text as it was there.
    pub base: u64,
    /// What is changed.
    pub edit: Edit,
}

/// What somebody does to the board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Draws a line.
    Stroke(Stroke),
    /// Changes the text.
    Change(Change),
    /// Takes back a stroke or a clearing of one's own; everything later stays.
    Undo {
        /// Its position in the document.
        position: u64,
        /// Its number: if something else lies there, nothing is taken back.
        number: u32,
    },
    /// Takes away all strokes before it.
    Clear,
}

/// An operation and its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Whose it is.
    pub id: OperationId,
    /// What it does.
    pub operation: Operation,
}

const FIRST: u16 = DeltaType::FIRST_APPLICATION;

impl Operation {
    /// The delta type, as a number.
    #[must_use]
    pub fn kind(&self) -> u16 {
        match self {
            Self::Stroke(_) => FIRST,
            Self::Change(_) => FIRST + 1,
            Self::Undo { .. } => FIRST + 2,
            Self::Clear => FIRST + 3,
        }
    }
}

impl Signed {
    /// The delta type.
    #[must_use]
    pub fn delta_type(&self) -> DeltaType {
        DeltaType::application(self.operation.kind()).unwrap_or(DeltaType::OPAQUE)
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// When it is no operation of this kind.
    pub fn read(kind: u16, payload: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        let author = reader.u64("an author")?;
        let id = OperationId { author, number: reader.u32("a number")? };
        let operation = match kind.checked_sub(FIRST) {
            Some(0) => {
                let (colour, width) = (reader.u8("a colour")?, reader.u8("a width")?);
                let points = reader.points(MAX_POINTS, "a stroke's points")?;
                if points.is_empty() {
                    return Err(Malformed("a stroke without points"));
                }
                Operation::Stroke(Stroke { colour, width, points })
            }
            Some(1) => {
                let base = reader.u64("a change's base")?;
                let (at, delete) = (reader.u32("a place")?, reader.u32("a length")?);
                let insert = reader.rest();
                if insert.len() > MAX_INSERT {
                    return Err(Malformed("a text this long"));
                }
                let insert = str::from_utf8(insert).map_err(|_| Malformed("a text"))?;
                let insert = insert.encode_utf16().collect();
                Operation::Change(Change { base, edit: Edit { at, delete, insert } })
            }
            Some(2) => {
                let (position, number) = (reader.u64("a position")?, reader.u32("a number")?);
                Operation::Undo { position, number }
            }
            Some(3) => Operation::Clear,
            _ => return Err(Malformed("an operation of an unknown type")),
        };
        reader.end("what follows an operation")?;
        Ok(Self { id, operation })
    }

    /// Its payload.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend(self.id.author.to_le_bytes());
        bytes.extend(self.id.number.to_le_bytes());
        match &self.operation {
            Operation::Stroke(Stroke { colour, width, points }) => {
                bytes.extend([*colour, *width]);
                put_points(&mut bytes, points);
            }
            Operation::Change(Change { base, edit: Edit { at, delete, insert } }) => {
                bytes.extend(base.to_le_bytes());
                bytes.extend(at.to_le_bytes());
                bytes.extend(delete.to_le_bytes());
                // Half a character, which concurrent edits may leave, becomes a replacement character.
                bytes.extend(String::from_utf16_lossy(insert).as_bytes());
            }
            Operation::Undo { position, number } => {
                bytes.extend(position.to_le_bytes());
                bytes.extend(number.to_le_bytes());
            }
            Operation::Clear => {}
        }
        bytes
    }
}
