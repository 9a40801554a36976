use core::time::Duration;

use deltawire_framing::DEFAULT_MAX_FRAME_LEN;

/// Everything that bounds what one peer can make this node hold, and how long it waits for it.
///
/// What a session takes in memory is at most [`memory_bound`](Self::memory_bound): 5.4 MiB with the
/// defaults. Rings take memory where they were used: those of an idle peer take
/// none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Ring of each sender, which holds deltas until they are sent: bytes, rounded up to a power
    /// of two. The longest delta is as long, less 64. Default: 1 MiB, 100 Mbit/s for 80 ms.
    pub send_ring: usize,
    /// Ring that holds the application's commands until they are sent: bytes, rounded up to a
    /// power of two. Default: 64 KiB.
    pub command_ring: usize,
    /// How much of the peer's deltas may be here without having been read, bytes, counted as the
    /// wire counts them. Also bounds the longest delta that the peer can send. Default: 1 MiB.
    pub data_window: u64,
    /// The same for the application's commands. Default: 64 KiB.
    pub command_window: u64,
    /// Largest transport message that is made or taken, bytes; at least 80. Default: 16 KiB, so
    /// that commands can overtake.
    pub max_frame_len: usize,
    /// Fragmented messages that a channel may have unfinished at a time. Default: 64.
    pub max_unfinished: u32,
    /// Transport messages that wait for the application on each channel before small ones are
    /// copied together. Default: 256.
    pub max_arrivals: usize,
    /// Senders that share the data channel, the peer's own included. Default: 16.
    pub max_senders: usize,
    /// On a channel that may lose messages: how long an unfinished one may wait for its next
    /// fragment. Default: 30 s.
    pub max_idle: Duration,
    /// How long the peer may take to say hello. Default: 5 s.
    pub hello_timeout: Duration,
    /// After how much silence the peer is taken for dead; a busy one is pinged five times
    /// in that time, a quiet one when the transport has not heard of it for most of it. Where the
    /// transport hears of it, an eighth more is waited. Default: 5 s.
    pub idle_timeout: Duration,
    /// How long a close waits for what is still on its way. Default: 5 s.
    pub close_timeout: Duration,
    /// On a channel that may lose messages: how long one may be on its way before what it took of
    /// the window is granted anew. Default: 1 s.
    pub loss_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            send_ring: 1 << 20,
            command_ring: 1 << 16,
            data_window: 1 << 20,
            command_window: 1 << 16,
            max_frame_len: DEFAULT_MAX_FRAME_LEN,
            max_unfinished: 64,
            max_arrivals: 256,
            max_senders: 16,
            max_idle: Duration::from_secs(30),
            hello_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(5),
            close_timeout: Duration::from_secs(5),
            loss_timeout: Duration::from_secs(1),
        }
    }
}

impl Limits {
    /// What a session with one sender takes in memory, bytes, whatever its peer does.
    ///
    /// | part | bytes |
    /// |---|---|
    /// | rings for sending | `send_ring`, `command_ring` |
    /// | what came and was not read, with what the allocator adds | 2 · windows |
    /// | buffers kept for the next fragmented messages | windows |
    /// | marks of which fragments came | 2 · `max_unfinished` · 8 KiB |
    /// | queues, maps and the rest | 512 · `max_arrivals` + 64 KiB |
    #[must_use]
    pub fn memory_bound(&self) -> u64 {
        let rings = self.send_ring.next_power_of_two() + self.command_ring.next_power_of_two();
        let windows = self.data_window + self.command_window;
        let marks = 2 * u64::from(self.max_unfinished) * 8_192;
        let queues = 512 * self.max_arrivals as u64 + 65_536;
        rings as u64 + 3 * windows + marks + queues
    }
}
