//! What files of the file system and files of browsers have in common while they are not whole yet.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::TransferError;

/// Hashes of pieces that are kept in memory, a file: 64 KiB of them, enough for 128 MiB in pieces of 64 KiB.
pub(crate) const MAX_KEPT_HASHES: u32 = 2_048;

/// How long a transfer waits for another that is at the same file, as the one of a link that has just died is.
pub(crate) const LOCK_TIMEOUT: Duration = Duration::from_secs(8);

/// How often it looks.
pub(crate) const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// How much is written before it is made safe, bytes.
pub(crate) const SYNC_EVERY: u64 = 64 << 20;

/// The same in time.
pub(crate) const SYNC_AFTER: Duration = Duration::from_secs(2);

/// A file that is not whole yet cannot be opened.
pub(crate) enum NotOpened {
    /// Another transfer has it, in a browser maybe of another page.
    Busy,
    /// The very file is there, whole, under its name.
    There(PathBuf),
    Failed(TransferError),
}

impl From<TransferError> for NotOpened {
    fn from(error: TransferError) -> Self {
        Self::Failed(error)
    }
}
