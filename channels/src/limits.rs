use core::time::Duration;

use deltawire_framing::control::{Hello, Order};
use deltawire_framing::{DEFAULT_MAX_FRAME_LEN, frame_step};

use crate::ring::byte;

/// Everything that bounds what one peer can make this node hold, and how long it waits for it.
///
/// What a session takes in memory is at most [`memory_bound`](Self::memory_bound): 8.6 MiB with the
/// defaults. Rings take memory where they were used: those of an idle peer take
/// none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Ring of each sender, which holds deltas until they are sent: bytes, rounded up to a power
    /// of two. The longest delta is as long, less 64, or what the peer's window takes, if that is
    /// less. Default: 1 MiB, 100 Mbit/s for 80 ms.
    pub send_ring: usize,
    /// Ring that holds the application's commands until they are sent: bytes, rounded up to a
    /// power of two. Default: 64 KiB.
    pub command_ring: usize,
    /// How much of the peer's deltas may be here without having been read, bytes, counted as the
    /// wire counts them. The longest delta that the peer can send takes all of it: frame and delta
    /// header are 64 bytes of it. Default: 1 MiB.
    pub data_window: u64,
    /// What [`data_window`](Self::data_window) grows to, by doubling, while the peer waits for it although
    /// the application reads what comes: bytes. Less than `data_window` counts as that, and then it stays as
    /// it is. Default: 2 MiB, 100 Mbit/s over 120 ms.
    pub max_data_window: u64,
    /// The same for the application's commands. Default: 64 KiB.
    pub command_window: u64,
    /// Largest transport message that is made or taken, bytes; at least 80. Default: 16 KiB, so
    /// that commands can overtake.
    pub max_frame_len: usize,
    /// Fragmented messages that a sender may be in the middle of at a time, on each channel. Where
    /// messages overtake each other more can be unfinished: see
    /// [`unordered_bound`](Self::unordered_bound). Default: 64.
    pub max_unfinished: u32,
    /// Transport messages that wait for the application on each channel before small ones are
    /// copied together. Default: 64, as many of the longest as a window of 1 MiB holds.
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
    /// How long a close waits while nothing gets on: nothing of the application's is sent,
    /// acknowledged or received, and the peer's window does not grow. Also how long the last words
    /// may then go unacknowledged, and how long the transport waits for the peer to hang up.
    /// Default: 5 s.
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
            max_data_window: 2 << 20,
            command_window: 1 << 16,
            max_frame_len: DEFAULT_MAX_FRAME_LEN,
            max_unfinished: 64,
            max_arrivals: 64,
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
    /// Whether a session can keep them. Everything that is made of limits checks them: sessions,
    /// nodes, pairs in one process, simulated links.
    ///
    /// | field | from | to |
    /// |---|---|---|
    /// | `send_ring`, `command_ring` | 1 | 1 GiB: [`byte::MAX_CAPACITY`](crate::ring::byte::MAX_CAPACITY) |
    /// | `data_window`, `max_data_window`, `command_window` | 64, the shortest delta | 1 GiB |
    /// | `max_frame_len` | 80, a hello | 65,535, what data channels traditionally take |
    /// | `max_unfinished`, `max_arrivals`, `max_senders` | 1 | 65,536 |
    ///
    /// # Errors
    /// Names the first field that is out of bounds, its value and its bounds.
    pub fn validate(&self) -> Result<(), InvalidLimits> {
        let (ring, window) = (1..=byte::MAX_CAPACITY as u64, 64..=byte::MAX_CAPACITY as u64);
        let (frame, count) = (u64::from(Hello::MIN_FRAME_LEN)..=65_535, 1..=1 << 16);
        for (field, value, bounds) in [
            ("send_ring", self.send_ring as u64, &ring),
            ("command_ring", self.command_ring as u64, &ring),
            ("data_window", self.data_window, &window),
            ("max_data_window", self.max_data_window, &window),
            ("command_window", self.command_window, &window),
            ("max_frame_len", self.max_frame_len as u64, &frame),
            ("max_unfinished", self.max_unfinished.into(), &count),
            ("max_arrivals", self.max_arrivals as u64, &count),
            ("max_senders", self.max_senders as u64, &count),
        ] {
            if !bounds.contains(&value) {
                let (least, most) = (*bounds.start(), *bounds.end());
                return Err(InvalidLimits { field, value, least, most });
            }
        }
        Ok(())
    }

    /// The most of the peer's deltas that may ever be here without having been read, bytes: the larger of
    /// `data_window` and `max_data_window`.
    #[must_use]
    pub fn largest_data_window(&self) -> u64 {
        self.max_data_window.max(self.data_window)
    }

    /// What a session with one sender takes in memory, bytes, whatever its peer does, with ordered
    /// channels.
    ///
    /// Windows are [`largest_data_window`](Self::largest_data_window) and `command_window`.
    ///
    /// | part | bytes |
    /// |---|---|
    /// | rings for sending | `send_ring`, `command_ring` |
    /// | what came and was not read, with what the allocator adds | 2 · windows |
    /// | buffers kept for the next fragmented messages | windows |
    /// | marks of which fragments came, and of messages before | 9/16 · windows |
    /// | places of unfinished messages | 1 KiB · `max_unfinished` |
    /// | queues, maps and the rest | 512 · `max_arrivals` + 64 KiB |
    ///
    /// [`Message`](crate::Message)s that the application keeps are its own: of the shortest, those that
    /// fit the windows take up to 5 · windows in place of 2.
    ///
    /// Where a channel is unordered, many more messages can be unfinished at a time: add
    /// [`unordered_bound`](Self::unordered_bound) of its window.
    #[must_use]
    pub fn memory_bound(&self) -> u64 {
        let ring = |len: usize| (len as u64).checked_next_power_of_two().unwrap_or(u64::MAX);
        let rings = ring(self.send_ring).saturating_add(ring(self.command_ring));
        let windows = self.largest_data_window().saturating_add(self.command_window);
        let marks = windows.saturating_mul(9) / 16;
        let places = u64::from(self.max_unfinished) * 1_024;
        let queues = (self.max_arrivals as u64).saturating_mul(512).saturating_add(65_536);
        [windows.saturating_mul(3), marks, places, queues]
            .into_iter()
            .fold(rings, u64::saturating_add)
    }

    /// What the unfinished messages of an unordered channel take beside their bytes, at most, with
    /// a receive window of `window` bytes: 512 bytes for each message that is longer than the
    /// shortest frame that a peer may set, of which `window / 96` can be on their way. 5.3 MiB for a
    /// window of 1 MiB, if the peer does its worst; a peer with the default frames gets a hundredth
    /// of it.
    #[must_use]
    pub fn unordered_bound(window: u64) -> u64 {
        (window / shortest_cut(Hello::MIN_FRAME_LEN as usize)).saturating_mul(512)
    }

    /// How many fragmented messages may be unfinished at a time on a channel with a receive
    /// window of `window` bytes, if both sides' frames are at most `max_frame_len` bytes.
    ///
    /// On an ordered channel: as many as the sender may be in the middle of. On an unordered one
    /// all that an honest sender can have on its way: it cuts only what is longer than a frame,
    /// and each takes at least so much of the window.
    pub(crate) fn unfinished(&self, order: Order, window: u64, max_frame_len: usize) -> u32 {
        match order {
            Order::Ordered => self.max_unfinished,
            Order::Unordered => {
                let on_their_way = window / shortest_cut(max_frame_len);
                self.max_unfinished.max(u32::try_from(on_their_way).unwrap_or(u32::MAX))
            }
        }
    }
}

/// What the shortest message takes of a window that is longer than a frame.
fn shortest_cut(max_frame_len: usize) -> u64 {
    frame_step(max_frame_len.saturating_add(1)) as u64
}

/// A field of [`Limits`] is out of bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("limits.{field} is {value}, must be {least} to {most}")]
pub struct InvalidLimits {
    /// Its name.
    pub field: &'static str,
    /// What it is.
    pub value: u64,
    /// What it must be at least.
    pub least: u64,
    /// What it must be at most.
    pub most: u64,
}
