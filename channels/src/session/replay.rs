//! What was sent and is kept until the peer has taken it in, and how much it has.

use std::collections::VecDeque;

/// Which lane sent what, in the order in which messages were sent to their end: which is the order in which
/// they come to their end at the peer, on a channel that is reliable and ordered.
#[derive(Debug, Default)]
pub(super) struct Replay {
    /// Lanes and bytes that they sent, oldest first; of one lane in a row, together.
    sent: VecDeque<(u32, u64)>,
    /// Bytes of messages that the peer has taken in, cumulative.
    pub(super) taken: u64,
    /// Bytes of messages that were sent to their end, cumulative.
    pub(super) completed: u64,
}

impl Replay {
    /// Notes what a lane has sent to its end.
    #[inline]
    pub(super) fn push(&mut self, lane: u32, bytes: u64) {
        self.completed += bytes;
        match self.sent.back_mut() {
            Some((last, sent)) if *last == lane => *sent += bytes,
            _ => self.sent.push_back((lane, bytes)),
        }
    }

    /// The next lane of which the peer has taken something in, and how many bytes, if it has taken `taken`
    /// in all.
    pub(super) fn pop(&mut self, taken: u64) -> Option<(u32, u64)> {
        let more = taken.checked_sub(self.taken).filter(|more| *more > 0)?;
        let (lane, sent) = self.sent.front_mut()?;
        let (lane, bytes) = (*lane, more.min(*sent));
        *sent -= bytes;
        if *sent == 0 {
            self.sent.pop_front();
        }
        self.taken += bytes;
        Some((lane, bytes))
    }

    /// Nothing was sent but what the peer has taken in. Gives how many bytes go again.
    pub(super) fn begin_again(&mut self) -> u64 {
        self.sent.clear();
        let again = self.completed - self.taken;
        self.completed = self.taken;
        again
    }
}
