//! Deltas: the header, the views over one, and writing one in place.

mod cast;
mod checksum;
mod header;
mod view;
mod writer;

pub use cast::{payload_as, payload_as_mut};
pub use header::{DeltaHeader, DeltaType, DocId};
pub use view::{Delta, DeltaMut};
pub use writer::{Checksum, DeltaFields, DeltaWriter};
