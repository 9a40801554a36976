//! What lies in a segment, byte for byte: `FORMAT.md`. No I/O.

mod header;
mod item;

pub(crate) use header::BatchHeader;
pub(crate) use item::{Item, ItemKind, Note, TableEntry};

/// Everything in a segment starts at multiples of this many bytes.
pub(crate) const STEP: usize = 64;
