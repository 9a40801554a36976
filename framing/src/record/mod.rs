//! Records: a delta as a node holds it, with what the node knows of it in front.

mod buffer;
mod security;
mod status;
mod view;

pub use buffer::RecordBuf;
pub use security::{SecurityHeader, SigningKey};
pub use status::{Status, StatusBits};
pub use view::{RECORD_ALIGN, Record, RecordMut, SharedRecord};

#[cfg(test)]
mod tests;
