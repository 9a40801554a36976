//! Flow control: how much may be on its way on a channel. Cumulative numbers, as in QUIC.

use core::time::Duration;

use super::ProtocolError;
use deltawire_framing::Channel;
use deltawire_framing::control::Window;

/// No limit is granted beyond this, so that sums of positions fit 64 bits: 2⁶², as in QUIC.
pub const MAX_POSITION: u64 = 1 << 62;

/// What a message takes of a window: its frame as if it were not cut, rounded up to 16.
#[inline]
pub(super) fn cost(message_len: u32) -> u64 {
    (u64::from(message_len) + 16).next_multiple_of(16)
}

/// The longest message that a window of `size` bytes ever takes.
#[inline]
pub(super) fn longest(size: u64) -> u64 {
    (size / 16 * 16).saturating_sub(16)
}

/// How much we may send on a channel.
#[derive(Debug, Default)]
pub(super) struct SendWindow {
    /// What the peer granted, cumulative.
    pub(super) limit: u64,
    /// What was used of it, cumulative.
    pub(super) sent: u64,
    /// Whether a message waits for more to be granted.
    pub(super) blocked: bool,
    /// Whether the peer was told so.
    told: bool,
}

impl SendWindow {
    #[inline]
    pub(super) fn available(&self) -> u64 {
        self.limit.saturating_sub(self.sent)
    }

    #[inline]
    pub(super) fn take(&mut self, cost: u64) {
        self.sent += cost;
    }

    /// Takes in what the peer grants, and says whether it is more than before. A limit below an earlier one is an error where control
    /// messages come in order, and a late one where they do not.
    pub(super) fn grant(
        &mut self,
        channel: Channel,
        limit: u64,
        in_order: bool,
    ) -> Result<(), ProtocolError> {
        if limit > MAX_POSITION {
            return Err(ProtocolError::WindowOverflow { channel, limit });
        }
        if limit < self.limit && in_order {
            return Err(ProtocolError::WindowShrank { channel, limit, before: self.limit });
        }
        if limit > self.limit {
            self.limit = limit;
            self.blocked = false;
            self.told = false;
        }
        Ok(())
    }

    /// Goes on over another link: what the peer was told there may have got lost.
    pub(super) fn ask_again(&mut self) {
        self.blocked = false;
        self.told = false;
    }

    /// Whether a message waits and the peer does not know it; from now on it does.
    pub(super) fn newly_blocked(&mut self) -> bool {
        self.blocked && !core::mem::replace(&mut self.told, true)
    }
}

/// How much the peer may send on a channel, and what of it is still here.
#[derive(Debug)]
pub(super) struct ReceiveWindow {
    channel: Channel,
    /// How much may be here at a time.
    size: u64,
    /// What it was at first, and what it grows to at most.
    first_size: u64,
    max_size: u64,
    /// Whether the peer knows that windows grow.
    may_grow: bool,
    /// What was granted when it grew last, cumulative.
    grown_at: u64,
    /// What was granted, cumulative.
    granted: u64,
    /// What came, cumulative.
    received: u64,
    /// What was read and given back of it, cumulative.
    given_back: u64,
    /// What the peer sent and will not come.
    lost: u64,
    /// What the peer said that it had sent, and when what is missing of it counts as lost.
    announced: Option<(u64, Duration)>,
    /// Messages that the peer says it will never send, once it has said its last word.
    unsent: Option<u32>,
    /// Whether the peer marks its last word as such.
    marks_last: bool,
    /// Whether the peer waits for more than is worth a message by itself.
    asked: bool,
    /// Whether it asked once more: whatever was read is worth a message.
    pressed: bool,
}

impl ReceiveWindow {
    pub(super) fn new(channel: Channel, size: u64, max_size: u64) -> Self {
        Self {
            channel,
            size,
            first_size: size,
            max_size,
            may_grow: false,
            grown_at: 0,
            granted: size,
            received: 0,
            given_back: 0,
            lost: 0,
            announced: None,
            unsent: None,
            marks_last: false,
            asked: false,
            pressed: false,
        }
    }

    /// How much may ever be here at a time.
    pub(super) fn max_size(&self) -> u64 {
        self.max_size
    }

    /// What is here: read or unread, it was not given back.
    pub(super) fn held(&self) -> u64 {
        self.received - self.given_back
    }

    /// What the peer sent and will not come, cumulative.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// Notes a message that came. On a channel that may lose messages, one that had counted as
    /// lost can come after all: then more may be on its way than fits, and what does not is
    /// refused.
    #[inline]
    pub(super) fn take(&mut self, cost: u64) -> Result<(), ProtocolError> {
        let (received, granted) = (self.received + cost, self.granted);
        if received > granted || self.held() + cost > self.size {
            return Err(ProtocolError::WindowExceeded { channel: self.channel, received, granted });
        }
        self.received = received;
        Ok(())
    }

    /// Notes that a message did not come after all: it was a copy, or was refused.
    pub(super) fn take_back(&mut self, cost: u64) {
        self.received -= cost;
    }

    /// Notes a message that was read, or given up.
    #[inline]
    pub(super) fn give_back(&mut self, cost: u64) {
        self.given_back += cost;
        debug_assert!(self.given_back <= self.received);
    }

    /// From now on only a position that is marked so counts as the peer's last word.
    pub(super) fn expect_mark(&mut self) {
        self.marks_last = true;
    }

    /// From now on it may grow.
    pub(super) fn expect_growth(&mut self) {
        self.may_grow = true;
    }

    /// Goes on over another link: what came in part of its `unfinished` bytes comes again, or not at all.
    pub(super) fn begin_again(&mut self, unfinished: u64) {
        self.received -= unfinished;
        self.announced = None;
        self.asked = false;
        self.pressed = false;
    }

    /// What was sent over a link before this one and did not come will not, on a channel that may lose
    /// messages: the peer has sent so much.
    pub(super) fn lose_until(&mut self, sent: u64) -> Result<(), ProtocolError> {
        if sent > self.granted {
            let (channel, granted) = (self.channel, self.granted);
            return Err(ProtocolError::PositionAhead { channel, sent, granted });
        }
        self.lost += sent.saturating_sub(self.received + self.lost);
        Ok(())
    }

    /// What came, cumulative.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Takes in what the peer says that it has sent, and, if it is its last word, how many messages
    /// it will never send.
    pub(super) fn announce(
        &mut self,
        sent: u64,
        unsent: Option<u32>,
        lost_at: Duration,
    ) -> Result<(), ProtocolError> {
        if sent > self.granted {
            let (channel, granted) = (self.channel, self.granted);
            return Err(ProtocolError::PositionAhead { channel, sent, granted });
        }
        let before = self.announced.map(|(before, _)| before);
        // With its last word it takes back the whole of a message that it began and did not finish.
        let last = unsent.is_some() && self.unsent.is_none();
        if last || self.unsent.is_none() && before.is_none_or(|before| before < sent) {
            self.announced = Some((sent, lost_at));
        }
        self.unsent = self.unsent.max(unsent);
        self.asked = true;
        self.pressed |= before == Some(sent);
        Ok(())
    }

    /// Lets more be here at a time, when the peer says that it has sent so much and waits: if nearly all that
    /// came was read, it waits for the window and not for the application, so the window is too small for the
    /// path between them. At most once for what was granted since the last time.
    pub(super) fn grow(&mut self, sent: u64, unfinished: u64) {
        let read = self.held() <= unfinished + self.size / 4;
        if self.may_grow && read && sent > self.grown_at && self.size < self.max_size {
            self.grown_at = self.granted;
            self.size = (2 * self.size).min(self.max_size);
        }
    }

    /// Messages that the peer says it will never send.
    pub(super) fn unsent(&self) -> u64 {
        self.unsent.unwrap_or_default().into()
    }

    /// What the peer said that it had sent and that has not come to its end, with `unfinished`
    /// bytes of messages that came in part.
    pub(super) fn missing_but(&self, unfinished: u64) -> u64 {
        let announced = self.announced.map_or(0, |(sent, _)| sent);
        announced.saturating_sub(self.received - unfinished + self.lost)
    }

    /// What the peer said that it had sent and that has not come.
    pub(super) fn missing(&self) -> u64 {
        let announced = self.announced.map_or(0, |(sent, _)| sent);
        announced.saturating_sub(self.received + self.lost)
    }

    /// Whether the peer said how much it has sent in all.
    pub(super) fn is_announced(&self) -> bool {
        self.unsent.is_some() || !self.marks_last && self.announced.is_some()
    }

    /// When what is missing counts as lost; after the peer's last word, also what is `unfinished`.
    pub(super) fn loss_timeout(&self, unfinished: u64) -> Option<Duration> {
        let cut_off = self.unsent.is_some() && unfinished > 0;
        self.announced.filter(|_| cut_off || self.missing() > 0).map(|(_, lost_at)| lost_at)
    }

    /// Whether the peer's last word is so long ago that nothing more comes on a channel that may lose
    /// messages.
    pub(super) fn is_over(&self, now: Duration) -> bool {
        self.unsent.is_some() && self.announced.is_some_and(|(_, lost_at)| lost_at <= now)
    }

    /// Counts as lost what is missing for too long, on a channel that may lose messages.
    pub(super) fn write_off(&mut self, now: Duration) {
        if self.loss_timeout(0).is_some_and(|lost_at| lost_at <= now) {
            self.lost += self.missing();
        }
    }

    /// Whether a new limit is worth a message: a quarter of the window, or, when the peer asked
    /// because its next message may be longer than three quarters, whatever there is once all was
    /// read but for the `unfinished` bytes that cannot be; when it asked once more, whatever there
    /// is, so that it sees that it is read.
    #[inline]
    pub(super) fn due(&self, unfinished: u64) -> bool {
        let more = self.limit() - self.granted;
        let asked = self.pressed || (self.asked && self.held() == unfinished);
        more > 0 && (more >= self.size.div_ceil(4) || asked)
    }

    /// Grants all that can be granted.
    pub(super) fn advertise(&mut self, unfinished: u64) -> Window {
        self.asked &= self.held() != unfinished;
        self.pressed = false;
        self.granted = self.limit();
        let grown = u32::try_from(self.size - self.first_size).unwrap_or(u32::MAX);
        Window::new(self.channel, self.granted).with_grown(grown)
    }

    fn limit(&self) -> u64 {
        self.given_back + self.lost + self.size
    }
}
