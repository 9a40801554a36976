//! Files of a page's: blobs that are sent, and files of the origin's own file system that are received. Tasks of a dedicated
//! worker's read and write them, a piece at a time.

mod blob;
mod error;
mod lock;
mod part;
mod reading;
mod storage;
mod time;
mod writing;

pub(crate) use reading::spawn_reader;
pub(crate) use writing::spawn_writer;
