//! How many of the messages that were sent the peer has not read, as far as its window says.

use std::collections::VecDeque;

use deltawire_framing::control::Order;

/// Marks that are kept: of the windows that a peer usually grants, one each 16 KiB.
const MAX_MARKS: usize = 64;

/// What a message takes of a window at the least: its header and a byte, rounded up to 16.
const MIN_COST: u64 = 32;

/// What was sent to its end, cumulative, and what it was when.
#[derive(Debug, Default)]
pub(super) struct Unread {
    /// What the peer granted when it had read nothing.
    first_limit: u64,
    /// By how much its window has grown since.
    grown: u64,
    bytes: u64,
    messages: u64,
    /// Bytes and messages after each time that something was sent, oldest first. When there are
    /// too many those that are close together are forgotten, which counts too many as unread and
    /// never too few.
    marks: VecDeque<(u64, u64)>,
}

impl Unread {
    /// Notes the first limit, from which on a larger one says what was read.
    pub(super) fn begin(&mut self, first_limit: u64) {
        self.first_limit = first_limit;
    }

    /// Notes by how much the peer's window has grown: so much more is granted, and not read.
    pub(super) fn grow(&mut self, grown: u64) {
        self.grown = self.grown.max(grown);
    }

    /// What a peer has read that has granted `limit`, if it was sent so much.
    fn read(&self, limit: u64) -> u64 {
        limit.saturating_sub(self.first_limit).saturating_sub(self.grown)
    }

    /// Notes messages whose last byte was sent; `limit` is what the peer has granted.
    #[inline]
    pub(super) fn sent(&mut self, bytes: u64, messages: u64, limit: u64) {
        if self.messages == 0 {
            // Not before: most idle sessions never send on both channels.
            self.marks.reserve_exact(MAX_MARKS + 1);
        }
        self.bytes += bytes;
        self.messages += messages;
        let read = self.read(limit);
        // The newest mark that was read stays: it says how many messages were.
        while self.marks.get(1).is_some_and(|(at, _)| *at <= read) {
            self.marks.pop_front();
        }
        self.marks.push_back((self.bytes, self.messages));
        if self.marks.len() > MAX_MARKS {
            self.thin_out();
        }
    }

    /// Goes back to when `bytes` had been sent: `messages` that were sent since are sent again.
    pub(super) fn begin_again(&mut self, bytes: u64, messages: u64) {
        self.bytes = bytes;
        self.messages -= messages.min(self.messages);
        self.marks.retain(|(at, _)| *at < bytes);
        if self.messages > 0 {
            self.marks.push_back((self.bytes, self.messages));
        }
    }

    /// Leaves about half of the marks, evenly apart; the newest stays.
    fn thin_out(&mut self) {
        let newest = self.bytes;
        let oldest = self.marks.front().map_or(newest, |(at, _)| *at);
        let apart = (newest - oldest) / (MAX_MARKS as u64 / 2);
        let mut kept = None;
        self.marks.retain(|(at, _)| {
            let keep = *at == newest || kept.is_none_or(|before| at - before >= apart);
            kept = if keep { Some(*at) } else { kept };
            keep
        });
    }

    /// Bytes of what was sent that a peer has read that has granted `limit`.
    pub(super) fn known_read(&self, limit: u64) -> u64 {
        self.read(limit).min(self.bytes)
    }

    /// Messages and bytes that were sent and not known to be read by a peer that has granted
    /// `limit`.
    pub(super) fn count(&self, limit: u64, order: Order) -> (u64, u64) {
        let read = self.read(limit);
        let bytes = self.bytes.saturating_sub(read);
        let known = self.marks.iter().take_while(|(at, _)| *at <= read).last();
        let known = known.map_or(0, |(_, messages)| *messages);
        let messages = match order {
            Order::Ordered if bytes == 0 => 0,
            Order::Ordered => self.messages - known,
            // Which of them were read nobody knows: as if the shortest were left.
            Order::Unordered => self.messages.min(bytes / MIN_COST),
        };
        (messages, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_window_says_is_read_and_nothing_else() {
        let mut unread = Unread::default();
        unread.begin(1_000);
        for _ in 0..10 {
            unread.sent(100, 2, 1_000);
        }
        assert_eq!(unread.count(1_000, Order::Ordered), (20, 1_000));
        assert_eq!(unread.count(1_250, Order::Ordered), (16, 750));
        assert_eq!(unread.count(2_000, Order::Ordered), (0, 0));
        assert_eq!(unread.count(1_936, Order::Unordered), (2, 64));
    }

    #[test]
    fn a_window_that_grows_says_nothing_of_what_was_read() {
        let mut unread = Unread::default();
        unread.begin(1_000);
        unread.sent(1_000, 10, 1_000);
        unread.grow(1_000);
        assert_eq!(unread.count(2_000, Order::Ordered), (10, 1_000));
        assert_eq!(unread.known_read(2_300), 300);
    }

    #[test]
    fn marks_are_bounded_and_too_few_are_never_counted() {
        let mut unread = Unread::default();
        unread.begin(0);
        for sent in 1..=10_000_u64 {
            let read = sent.saturating_sub(1_000);
            unread.sent(32, 1, read * 32);
            assert!(unread.marks.len() <= MAX_MARKS);
            let (messages, bytes) = unread.count(read * 32, Order::Ordered);
            assert_eq!(bytes, (sent - read) * 32);
            assert!(messages >= sent - read, "{messages} of {}", sent - read);
            // Coarse by what lies between two marks.
            assert!(messages <= sent - read + 100, "{messages} of {}", sent - read);
        }
    }
}
