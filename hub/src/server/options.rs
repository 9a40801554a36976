//! What a hub keeps, and what bounds those that use it.

use std::time::Duration;

use deltawire_store::LogOptions;

use super::PeerRates;

/// When readers see a delta.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deliver {
    /// As soon as it has its position. The default. When the process or the machine ends before it is stored, readers
    /// have seen what is lost: the document's epoch is another one then, and they are told.
    #[default]
    Appended,
    /// When it is stored: nobody sees what could be lost.
    Stored,
}

/// Options of a hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HubOptions {
    /// Of each shard's log: how long deltas are kept, when they count as stored, and how much memory that takes.
    pub log: LogOptions,
    /// Into how many parts documents are divided, each with a log and a lock of its own. With files it is fixed when the
    /// directory is made. Default: half of the machine's parallelism, 1 to 16.
    pub shards: usize,
    /// When readers see a delta.
    pub deliver: Deliver,
    /// Bytes of the newest deltas of a document that somebody reads, which readers find without a lock. Default: 256 KiB.
    pub tail: usize,
    /// The same of all documents of a shard. Default: 32 MiB.
    pub max_tail_bytes: usize,
    /// Subscriptions and publications of a peer. Default: 1,024.
    pub max_open_per_peer: usize,
    /// Writers that are present in a document. Default: 1,024.
    pub max_present: usize,
    /// Deltas of a document whose keys are remembered while it has readers with
    /// [`SlowPolicy::LatestPerKey`](crate::SlowPolicy::LatestPerKey), 8 to 40 bytes each. Default: 4,096.
    pub max_keyed: usize,
    /// Bytes that a writer may say of itself. Default: 4 KiB.
    pub max_presence_len: usize,
    /// After how long without a word a writer is not present any more, and for how long it is told that it went. Default:
    /// 30 s.
    pub presence_timeout: Duration,
    /// How much a peer may bring in over a link in a second.
    pub rates: PeerRates,
    /// For how long a policy may think. Default: 5 s.
    pub ask_timeout: Duration,
    /// From how many bytes a delta that came in fragments is kept where it lies, instead of being copied. Default: 16 KiB.
    pub adopt_from: usize,
}

impl Default for HubOptions {
    fn default() -> Self {
        let parallel = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            // A reader that is slow keeps the chunk that its next delta lies in: small ones.
            log: LogOptions { chunk: 64 << 10, ..LogOptions::default() },
            shards: (parallel / 2).clamp(1, 16),
            deliver: Deliver::Appended,
            tail: 256 << 10,
            max_tail_bytes: 32 << 20,
            max_open_per_peer: 1_024,
            max_present: 1_024,
            max_keyed: 4_096,
            max_presence_len: 4 << 10,
            presence_timeout: Duration::from_secs(30),
            rates: PeerRates::default(),
            ask_timeout: Duration::from_secs(5),
            adopt_from: 16 << 10,
        }
    }
}
