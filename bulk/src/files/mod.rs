//! Files of the file system: threads that read and write them, so that nothing that serves peers waits for a disk.

mod cached;
mod hash_list;
mod part;
mod reading;
mod saved;
mod writing;

pub(crate) use cached::Cached;
pub use hash_list::{HashedFile, hash_file};
pub(crate) use reading::spawn_reader;
pub(crate) use writing::spawn_writer;
