//! Logs in a directory. Blocking: for a thread of its own.
//!
//! ```text
//! DIRECTORY/manifest                 how many shards, and a secret by which documents are spread over them
//! DIRECTORY/lock                     held by the process that has it open
//! DIRECTORY/0000/opened              where the shard's log was opened last
//! DIRECTORY/0000/00000000000000000001.segment
//! ```

mod beside;
mod directory;
mod manifest;
mod segments;
pub(crate) mod system;

pub use beside::Beside;
pub use directory::{Access, Directory};
pub use segments::SegmentFiles;
