use std::time::Duration;

/// What one direction of the way between two hosts does to datagrams. All links between the two
/// hosts share it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Path {
    /// How long a datagram takes when nothing is in its way. Default: 1 ms.
    pub latency: Duration,
    /// It may take so much longer, evenly distributed; the order stays. Default: 0.
    pub jitter: Duration,
    /// Bytes per second, of which 0 counts as 1; `None` has no limit. Default: `None`.
    pub rate: Option<u64>,
    /// Bytes that wait where `rate` is not enough; what does not fit is dropped. Default: 256 KiB.
    pub queue: usize,
    /// Which datagrams get lost. Default: none.
    pub loss: Loss,
    /// Share of datagrams that are overtaken, 0 to 1. Default: 0.
    pub reorder: f64,
    /// By how many later ones at most; fewer where none come within 50 ms. Default: 4.
    pub reorder_distance: u32,
    /// Share of datagrams that arrive twice, 0 to 1. Default: 0.
    pub duplicate: f64,
    /// Share of datagrams of which one to three bits are flipped, 0 to 1. Default: 0.
    pub corrupt: f64,
    /// Longer datagrams vanish. Default: 1,500 bytes.
    pub mtu: usize,
    /// Whether everything vanishes. Default: no.
    pub cut: bool,
}

impl Default for Path {
    fn default() -> Self {
        Self {
            latency: Duration::from_millis(1),
            jitter: Duration::ZERO,
            rate: None,
            queue: 256 << 10,
            loss: Loss::None,
            reorder: 0.0,
            reorder_distance: 4,
            duplicate: 0.0,
            corrupt: 0.0,
            mtu: 1_500,
            cut: false,
        }
    }
}

/// Which datagrams get lost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Loss {
    /// None.
    #[default]
    None,
    /// Each with this probability, 0 to 1.
    Independent(f64),
    /// In bursts: the path is good or bad, and everything is lost while it is bad (Gilbert,
    /// *Capacity of a Burst-Noise Channel*, 1960). Both last as long as they do on average, in whole
    /// milliseconds, whether anything is sent or not.
    Bursts {
        /// How long it is good.
        good: Duration,
        /// How long it is bad.
        bad: Duration,
    },
}

/// What became of the datagrams of one direction. A host's datagram is counted once as sent, and
/// once for each that arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PathStats {
    /// Sent.
    pub sent: u64,
    /// Bytes of those.
    pub sent_bytes: u64,
    /// Arrived, copies included.
    pub arrived: u64,
    /// Bytes of those.
    pub arrived_bytes: u64,
    /// Lost by [`Path::loss`].
    pub lost: u64,
    /// Dropped because the queue was full.
    pub overflowed: u64,
    /// Dropped because they were longer than [`Path::mtu`].
    pub too_long: u64,
    /// Dropped by [`Path::cut`].
    pub cut: u64,
    /// Dropped because nobody has the address any more.
    pub misaddressed: u64,
    /// Copies made.
    pub duplicated: u64,
    /// Damaged.
    pub corrupted: u64,
    /// Held back so that others overtake them.
    pub reordered: u64,
    /// Most bytes that waited in the queue at a time.
    pub longest_queue: usize,
}
