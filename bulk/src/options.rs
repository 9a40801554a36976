//! What bounds bulk on one link.

use std::time::Duration;

use deltawire_framing::bulk::{MAX_PIECE_LEN, MIN_PIECE_LEN};

/// What bounds a [`Bulk`](crate::Bulk): memory, time, and what its peer may have it do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BulkOptions {
    /// The longest file that is taken, bytes; a longer one is refused before its first byte. Default: 1 GiB.
    pub max_len: u64,
    /// Offers and requests of the peer's that wait to be answered, and files of this side's that wait to be offered, each.
    /// Default: 64, about 32 KiB.
    pub max_pending: usize,
    /// Transfers at a time, each way. Others wait. Default: 5.
    pub max_active: usize,
    /// Bytes that may be asked for and not written yet, over all transfers from the peer. They take room of the link's window
    /// while they are here, and of nothing else. A long path holds more than the default: bandwidth × delay is what to
    /// set, up to half of `Limits::data_window`. Default: 256 KiB.
    pub max_asked: usize,
    /// Bytes of pieces that are read ahead of the link, over all transfers to the peer. Default: 128 KiB.
    pub max_read_ahead: usize,
    /// Bytes of each piece of a file that is sent: a power of two from 1 KiB to 64 KiB. Default: 64 KiB.
    pub piece_len: u32,
    /// Bytes of pieces that are sent in a second, over all transfers to the peer; 0: no bound, else at least 16 KiB. Default: 0.
    pub max_rate: u64,
    /// After how long without anything a transfer is cancelled. Default: 30 s.
    pub idle_timeout: Duration,
    /// How long an offer or a request of this side's may be without an answer. Default: 60 s.
    pub answer_timeout: Duration,
    /// How often a file is offered anew after the peer was busy with it: after 1, 2, 4 … s. Default: 5.
    pub max_retries: u32,
}

impl Default for BulkOptions {
    fn default() -> Self {
        Self {
            max_len: 1 << 30,
            max_pending: 64,
            max_active: 5,
            max_asked: 256 << 10,
            max_read_ahead: 128 << 10,
            piece_len: MAX_PIECE_LEN,
            max_rate: 0,
            idle_timeout: Duration::from_secs(30),
            answer_timeout: Duration::from_secs(60),
            max_retries: 5,
        }
    }
}

/// The slowest rate at which no transfer is taken for idle, bytes a second.
const MIN_RATE: u64 = 16 << 10;

/// Options that cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{option} is {value}, it has to be {expected}")]
pub struct InvalidOptions {
    /// Which.
    pub option: &'static str,
    /// What it was.
    pub value: u64,
    /// What it has to be.
    pub expected: &'static str,
}

impl BulkOptions {
    /// Whether they can be kept.
    ///
    /// # Errors
    /// Names the first that cannot, its value, and what it has to be.
    pub fn validate(&self) -> Result<(), InvalidOptions> {
        let piece = self.piece_len;
        let is_piece = piece.is_power_of_two() && (MIN_PIECE_LEN..=MAX_PIECE_LEN).contains(&piece);
        let longest = MAX_PIECE_LEN as usize;
        for (option, value, valid, expected) in [
            ("max_pending", self.max_pending as u64, self.max_pending > 0, "at least 1"),
            ("max_active", self.max_active as u64, self.max_active > 0, "at least 1"),
            ("max_asked", self.max_asked as u64, self.max_asked >= longest, "at least 64 KiB"),
            (
                "max_read_ahead",
                self.max_read_ahead as u64,
                self.max_read_ahead >= longest,
                "at least 64 KiB",
            ),
            ("piece_len", piece.into(), is_piece, "a power of two from 1 KiB to 64 KiB"),
            (
                "max_rate",
                self.max_rate,
                self.max_rate == 0 || self.max_rate >= MIN_RATE,
                "0, or at least 16 KiB",
            ),
        ] {
            if !valid {
                return Err(InvalidOptions { option, value, expected });
            }
        }
        Ok(())
    }
}
