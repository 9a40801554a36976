//! Logs in a directory. Blocking: for a thread of its own.
//!
//! ```text
//! DIRECTORY/manifest                 how many shards, and a secret by which documents are spread over them
//! DIRECTORY/lock                     held by the process that has it open
//! DIRECTORY/0000/opened              where the shard's log was opened last
//! DIRECTORY/0000/00000000000000000001.segment
//! ```

pub(crate) mod beside;
mod directory;
mod manifest;
pub(crate) mod places;
mod segments;
pub(crate) mod system;

pub use beside::Beside;
pub use directory::{Access, Directory};
pub use places::Places;
pub use segments::SegmentFiles;
