//! Putting fragments together, each body byte written once, where it stays.

mod landing;
mod limits;
mod slots;

use core::fmt;
use core::time::Duration;

use alloc::collections::VecDeque;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

pub use landing::Landing;
pub use limits::{ReassemblerCounters, ReassemblerLimits};
use slots::{Slot, Slots};

use crate::error::{LimitExceeded, Refused};
use crate::frame::{Channel, Frame, FrameHeader};

/// What became of a frame.
#[derive(Debug)]
pub enum Reassembled<'a, B> {
    /// It is a whole message by itself, and was not copied.
    Whole(Frame<'a>),
    /// It was written to its place; more are to come.
    Partial,
    /// It had been here before, and changed nothing.
    Duplicate,
    /// It was the last that its message was waiting for.
    Complete(Message<B>),
}

/// A message that came in fragments.
#[derive(Debug)]
pub struct Message<B> {
    /// The header it would have had if it had not been cut: for
    /// [`RecordBuf::seal`](crate::RecordBuf::seal), say.
    pub header: FrameHeader,
    /// The buffer that the [`Landing`] gave; its first `header.message_len()` bytes are the body.
    pub buffer: B,
}

/// A message that was given up before all of it had come.
#[derive(Debug)]
pub struct Abandoned<B> {
    /// What the sender called it.
    pub message_id: u32,
    /// The header it would have had if it had not been cut.
    pub header: FrameHeader,
    /// How many of its fragments had come.
    pub received: u16,
    /// The buffer that the [`Landing`] gave.
    pub buffer: B,
}

/// Puts one peer's fragments together, in any order, any number of messages at a time.
///
/// Call [`insert`](Self::insert) with every frame that comes, and
/// [`poll_expired`](Self::poll_expired), until it gives nothing, when
/// [`poll_timeout`](Self::poll_timeout) says so. What it may hold is bounded by
/// [`ReassemblerLimits`]; the work for a fragment does not depend on how much that is.
///
/// ```
/// use std::time::Duration;
///
/// use deltawire_framing::{
///     Channel, Fragmenter, Frame, FrameHeader, Kind, Reassembled, Reassembler,
///     ReassemblerLimits,
/// };
///
/// let header = FrameHeader::whole(Kind::Opaque, Channel::Data, 100)?;
/// let fragmenter = Fragmenter::new(&header, 42, 64)?;
/// let mut sent = vec![7; 16 + 100];
///
/// let mut landing = |message: &FrameHeader| Some(vec![0; message.message_len() as usize]);
/// let mut reassembler = Reassembler::new(ReassemblerLimits::default(), 0);
/// for index in [2, 0, 1] {
///     let bytes = fragmenter.in_place(&mut sent, index)?;
///     let frame = Frame::parse(&bytes)?;
///     match reassembler.insert(frame, Duration::ZERO, &mut landing)? {
///         Reassembled::Complete(message) => assert_eq!(message.buffer, vec![7; 100]),
///         other => assert!(matches!(other, Reassembled::Partial)),
///     }
/// }
/// assert_eq!(reassembler.unfinished(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Reassembler<B> {
    limits: ReassemblerLimits,
    counters: ReassemblerCounters,
    slots: Slots<B>,
    /// Where a message is. Takes no memory before the first fragment comes, then at once for [`MAX_EXPECTED`];
    /// it grows where there are more.
    known: HashMap<Key, Known, FixedState>,
    /// Finished messages that are still in `known`, oldest first.
    finished: VecDeque<Key>,
    /// Sum of the slots' `message_len`.
    claimed: u64,
}

/// For how many unfinished messages memory is taken with the first fragment.
const MAX_EXPECTED: u32 = 1_024;

/// A sender's unfinished messages differ in this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    channel: Channel,
    message_id: u32,
}

#[derive(Clone, Copy)]
enum Known {
    Unfinished(usize),
    Finished,
}

impl<B: AsMut<[u8]>> Reassembler<B> {
    /// An empty one. `seed` should be random and unknown to the peer: it keeps message ids that
    /// are chosen to collide from slowing the look-up.
    #[must_use]
    pub fn new(limits: ReassemblerLimits, seed: u64) -> Self {
        Self {
            limits,
            counters: ReassemblerCounters::default(),
            slots: Slots::new(),
            known: HashMap::with_hasher(FixedState::with_seed(seed)),
            finished: VecDeque::new(),
            claimed: 0,
        }
    }

    /// Takes the memory that the first fragment needs, and all after it.
    #[cold]
    fn take_memory(&mut self) {
        let expected = self.limits.max_messages.min(MAX_EXPECTED) as usize;
        let remembered = self.limits.remembered as usize;
        // Twice the entries: then the map does not grow, it only tidies up in place.
        self.known.reserve(expected.saturating_add(remembered).saturating_mul(2));
        self.finished.reserve_exact(remembered);
    }

    /// Changes [`max_messages`](ReassemblerLimits::max_messages). Messages that are unfinished stay.
    pub fn set_max_messages(&mut self, max_messages: u32) {
        self.limits.max_messages = max_messages;
    }

    /// Takes in a frame that came at `now`, counted from any fixed start.
    ///
    /// # Errors
    /// [`Refused::Malformed`] when it contradicts an earlier fragment of its message,
    /// [`Refused::Limit`] when it begins a message for which there is no room: that message is
    /// lost, as the rest of it will be dropped, which on a reliable channel has to end the
    /// session. Other messages stay.
    #[inline]
    pub fn insert<'a>(
        &mut self,
        frame: Frame<'a>,
        now: Duration,
        landing: &mut impl Landing<Buffer = B>,
    ) -> Result<Reassembled<'a, B>, Refused> {
        if !frame.is_fragment() {
            self.counters.whole_messages += 1;
            return Ok(Reassembled::Whole(frame));
        }
        let result = self.insert_fragment(frame, now, landing);
        match &result {
            Ok(Reassembled::Duplicate) => self.counters.duplicates += 1,
            Ok(_) => self.counters.fragments += 1,
            Err(Refused::Malformed(_)) => self.counters.refused_malformed += 1,
            Err(Refused::Limit(_)) => self.counters.refused_limit += 1,
        }
        result
    }

    fn insert_fragment<'a>(
        &mut self,
        frame: Frame<'a>,
        now: Duration,
        landing: &mut impl Landing<Buffer = B>,
    ) -> Result<Reassembled<'a, B>, Refused> {
        let header = frame.header();
        let key = Key { channel: header.channel(), message_id: header.message_id() };
        let index = match self.known.get(&key) {
            Some(Known::Unfinished(index)) => *index,
            Some(Known::Finished) => return Ok(Reassembled::Duplicate),
            // The rest of a message that was refused must not begin it: it would never end.
            None => self.begin(key, frame, now, landing).inspect_err(|_| self.remember(key))?,
        };
        let slot = self.slots.get_mut(index);
        slot.check_same_message(frame)?;
        if !slot.write(frame) {
            return Ok(Reassembled::Duplicate);
        }
        if !slot.is_complete() {
            self.slots.touch(index, now);
            return Ok(Reassembled::Partial);
        }
        let Slot { whole, buffer, .. } = self.end(index);
        self.remember(key);
        self.counters.reassembled_messages += 1;
        Ok(Reassembled::Complete(Message { header: whole, buffer }))
    }

    /// Makes room for the message that `frame` is the first fragment of.
    fn begin(
        &mut self,
        key: Key,
        frame: Frame<'_>,
        now: Duration,
        landing: &mut impl Landing<Buffer = B>,
    ) -> Result<usize, LimitExceeded> {
        if self.known.capacity() == 0 {
            self.take_memory();
        }
        let message_len = frame.header().message_len();
        let unfinished = self.slots.len() as u64 + 1;
        let max_messages = u64::from(self.limits.max_messages);
        check_limit("max_messages", unfinished, max_messages)?;
        let claimed = self.claimed + u64::from(message_len);
        check_limit("max_bytes", claimed, self.limits.max_bytes)?;
        let whole = FrameHeader::new(frame.kind(), key.channel, 0, message_len, 0, 1);
        let buffer = landing.claim(&whole);
        let Some(mut buffer) = buffer else {
            let value = u64::from(message_len);
            return Err(LimitExceeded { limit: "landing", value, allowed: 0 });
        };
        check_limit("landing", u64::from(message_len), buffer.as_mut().len() as u64)?;
        let index = self.slots.insert(key, whole, frame, buffer, now);
        self.known.insert(key, Known::Unfinished(index));
        self.claimed = claimed;
        Ok(index)
    }

    /// Frees a slot.
    fn end(&mut self, index: usize) -> Slot<B> {
        let ended = self.slots.remove(index);
        self.known.remove(&ended.key);
        self.claimed -= u64::from(ended.whole.message_len());
        ended
    }

    /// Keeps the key of a message that ended, or was refused, to know by what still comes of it.
    fn remember(&mut self, key: Key) {
        if self.limits.remembered == 0 {
            return;
        }
        if self.finished.len() >= self.limits.remembered as usize
            && let Some(forgotten) = self.finished.pop_front()
        {
            self.known.remove(&forgotten);
        }
        self.finished.push_back(key);
        self.known.insert(key, Known::Finished);
    }

    /// Gives up, one a call, the messages of which nothing came for
    /// [`max_idle`](ReassemblerLimits::max_idle); `None` when there is none left. What comes of
    /// such a message later is dropped, like a copy.
    pub fn poll_expired(&mut self, now: Duration) -> Option<Abandoned<B>> {
        let (index, last_progress) = self.slots.oldest()?;
        if now < last_progress.saturating_add(self.limits.max_idle) {
            return None;
        }
        let Slot { key, whole: header, received, buffer, .. } = self.end(index);
        self.remember(key);
        self.counters.expired_messages += 1;
        Some(Abandoned { message_id: key.message_id, header, received, buffer })
    }

    /// When to call [`poll_expired`](Self::poll_expired) next, by the clock of `now`.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let (_, last_progress) = self.slots.oldest()?;
        Some(last_progress.saturating_add(self.limits.max_idle))
    }

    /// Whether fragments of the message that `frame` belongs to have come, and not yet all.
    #[must_use]
    pub fn is_unfinished(&self, frame: Frame<'_>) -> bool {
        let header = frame.header();
        let key = Key { channel: header.channel(), message_id: header.message_id() };
        frame.is_fragment() && matches!(self.known.get(&key), Some(Known::Unfinished(_)))
    }

    /// How many messages are unfinished.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.slots.len()
    }

    /// Sum of the lengths of the unfinished messages: the bytes of landing memory in use.
    #[must_use]
    pub fn claimed_bytes(&self) -> u64 {
        self.claimed
    }

    /// What was done and refused so far.
    #[must_use]
    pub fn counters(&self) -> ReassemblerCounters {
        self.counters
    }
}

impl<B> fmt::Debug for Reassembler<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reassembler")
            .field("limits", &self.limits)
            .field("unfinished", &self.slots.len())
            .field("claimed", &self.claimed)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

fn check_limit(limit: &'static str, value: u64, allowed: u64) -> Result<(), LimitExceeded> {
    if value > allowed { Err(LimitExceeded { limit, value, allowed }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
