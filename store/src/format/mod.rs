//! What lies in a segment, byte for byte: `FORMAT.md`. No I/O.

mod header;
mod index;
mod item;
mod scan;

pub(crate) use header::{BatchHeader, Compacted, SegmentHeader};
pub(crate) use index::{CheckedIndex, IndexFooter, Listed, Said, index};
pub(crate) use item::{Item, ItemKind, Note, TableEntry};
pub(crate) use scan::{Body, Checked, batch, batch_alone, compacted_batch, rest, segment_header};

/// Everything in a segment starts at multiples of this many bytes.
pub(crate) const STEP: usize = 64;
