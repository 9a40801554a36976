use core::fmt;
use core::future::poll_fn;
use core::ops::Range;
use core::task::{Context, Poll, ready};

use deltawire_framing::{Frame, Frames, Kind, Malformed, RecordBuf, frame_step};

use super::closed::{ChannelClosed, EndNotice};
use super::message::{Kept, Message};
use super::split::{Part, SplitError};
use crate::memory::{Aligned, TransportMessage};
use crate::ring::byte::Ahead;
use crate::ring::{PopError, ReadError, byte, slot};
use crate::sync::{Arc, AtomicBool, Ordering};
use crate::waking::Credit;

/// Reads messages where they arrived.
///
/// What [`next`](Self::next) gives is a view; it ends, and its room goes back to the peer, when
/// the next message is asked for. As long as nobody reads, the peer's window stays used up, and
/// the peer's sender waits. It waits for ever when the receiver is dropped and the session is not:
/// what nobody reads is not taken for read. When all of a [`Peer`](super::Peer) is dropped the
/// session ends, and the other side is told how much was not read.
///
/// What came over a link was checked when it came in: frames, delta headers, and the checksum of
/// deltas that have one. In one process nothing comes in, and checksums are not looked at.
pub struct Receiver {
    source: Source,
    end: EndNotice,
}

pub(super) enum Source {
    /// The sender's own ring, in the same process.
    Ring(RingSource),
    /// What a session took from a link.
    Queue(QueueSource),
    /// One of those two, with others who take other kinds.
    Part(Part),
}

/// What [`Receiver::try_next`] has instead of a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TryNextError {
    /// None came yet.
    #[error("no message has come yet")]
    Empty,
    /// None will come any more, and everything was read.
    #[error(transparent)]
    Closed(#[from] ChannelClosed),
}

impl Receiver {
    /// Reads what lies in a sender's ring, in place.
    #[must_use]
    pub fn from_ring(ring: byte::Consumer) -> Self {
        let source = Source::Ring(RingSource { ring, current: None });
        Self { source, end: EndNotice::default() }
    }

    pub(crate) fn from_queue(
        arrivals: slot::Consumer<Arrived>,
        returns: slot::Producer<Returned>,
        failed: Arc<AtomicBool>,
        home: Arc<Credit>,
        end: EndNotice,
    ) -> Self {
        let source = QueueSource { arrivals, returns, failed, home, current: None, next: 0 };
        Self { source: Source::Queue(source), end }
    }

    /// Waits for the next message.
    ///
    /// Cancel safe: no message is lost with a future that is dropped; the view that was given before
    /// has ended.
    ///
    /// # Errors
    /// When the session is over and everything was read. The error says how it ended.
    pub async fn next(&mut self) -> Result<Frame<'_>, ChannelClosed> {
        match poll_fn(|context| self.source.poll_next(context)).await {
            Ok(found) => Ok(self.source.frame(found)),
            Err(Over) => Err(self.end.why()),
        }
    }

    /// The next message, if there is one now.
    ///
    /// # Errors
    /// When there is none, now or ever again.
    #[inline]
    pub fn try_next(&mut self) -> Result<Frame<'_>, TryNextError> {
        match self.source.try_next() {
            Ok(found) => Ok(self.source.frame(found)),
            Err(Nothing::Yet) => Err(TryNextError::Empty),
            Err(Nothing::EverAgain) => Err(TryNextError::Closed(self.end.why())),
        }
    }

    /// [`next`](Self::next), for futures written by hand.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Frame<'_>, ChannelClosed>> {
        Poll::Ready(match ready!(self.source.poll_next(context)) {
            Ok(found) => Ok(self.source.frame(found)),
            Err(Over) => Err(self.end.why()),
        })
    }

    /// Waits for the next message and keeps it: see [`Message`] for what that costs.
    ///
    /// Over a link nothing is copied. Within one process it is, as what lies in the sender's own ring
    /// cannot stay there.
    ///
    /// Cancel safe, as [`next`](Self::next).
    ///
    /// # Errors
    /// When the session is over and everything was read. The error says how it ended.
    pub async fn take(&mut self) -> Result<Message, ChannelClosed> {
        match poll_fn(|context| self.source.poll_next(context)).await {
            Ok(found) => Ok(self.source.keep(found)),
            Err(Over) => Err(self.end.why()),
        }
    }

    /// The next message, to keep, if there is one now: see [`take`](Self::take).
    ///
    /// # Errors
    /// When there is none, now or ever again.
    pub fn try_take(&mut self) -> Result<Message, TryNextError> {
        match self.source.try_next() {
            Ok(found) => Ok(self.source.keep(found)),
            Err(Nothing::Yet) => Err(TryNextError::Empty),
            Err(Nothing::EverAgain) => Err(TryNextError::Closed(self.end.why())),
        }
    }

    /// [`take`](Self::take), for futures written by hand.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub fn poll_take(&mut self, context: &mut Context<'_>) -> Poll<Result<Message, ChannelClosed>> {
        Poll::Ready(match ready!(self.source.poll_next(context)) {
            Ok(found) => Ok(self.source.keep(found)),
            Err(Over) => Err(self.end.why()),
        })
    }

    /// Takes the messages of one kind out of this receiver, into one of their own. Both then have
    /// one source between them, behind a lock: whoever is polled takes in what comes, and hands what is
    /// the other's over to it, in order. Nothing is copied (but within one process, as by
    /// [`take`](Self::take)).
    ///
    /// **Both have to be read.** What waits for one keeps its part of the window, as ever, so whoever does not
    /// read holds up both once the window is full. Within one process, where there is no window, at most
    /// [`MAX_HANDED_OVER`](super::MAX_HANDED_OVER) bytes and one message wait for the other; then both wait for it.
    ///
    /// When the receiver of the kind is dropped, its messages go to this one again, those too that waited for
    /// it. When this one is dropped, what comes for it is not read, as of any receiver that is dropped. Both hear
    /// of the session's end when they have read what came before it. A split can be repeated for another kind.
    ///
    /// # Errors
    /// When the kind has a receiver of its own already, or is that of control messages, which no receiver gives.
    pub fn split(&mut self, kind: Kind) -> Result<Self, SplitError> {
        let part = match &mut self.source {
            Source::Part(part) => part.split(kind)?,
            source => {
                SplitError::check(kind)?;
                // Stands in for as long as the source is moved behind the lock.
                let (_, nothing) = byte::ring(64);
                let ring = RingSource { ring: nothing, current: None };
                let source = core::mem::replace(source, Source::Ring(ring));
                let (rest, part) = Part::pair(source, kind);
                self.source = Source::Part(rest);
                part
            }
        };
        Ok(Self { source: Source::Part(part), end: self.end.clone() })
    }

    /// Why nothing more comes; `None` while something may. What came before can still be read.
    #[must_use]
    pub fn closed_reason(&self) -> Option<ChannelClosed> {
        self.source.is_closed().then(|| self.end.why())
    }

    /// Gives the room of the message that was read last back to the peer, without asking for the
    /// next one.
    pub fn release(&mut self) {
        match &mut self.source {
            Source::Ring(ring) => ring.release(),
            Source::Queue(queue) if queue.is_read() => queue.release(),
            // Other messages lie in the same memory: it goes back with the last of them.
            Source::Queue(_) => {}
            Source::Part(part) => part.release(),
        }
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match &self.source {
            Source::Ring(_) => "ring",
            Source::Queue(_) => "queue",
            Source::Part(_) => "part",
        };
        f.debug_struct("Receiver").field("source", &source).finish_non_exhaustive()
    }
}

/// Where the current message lies in its source.
pub(super) type Found = Range<usize>;

/// What a source has instead of a message.
pub(super) enum Nothing {
    Yet,
    EverAgain,
}

/// The source is closed, and everything was read.
pub(super) struct Over;

impl Source {
    #[inline]
    pub(super) fn try_next(&mut self) -> Result<Found, Nothing> {
        match self {
            Self::Ring(ring) => ring.try_next(),
            Self::Queue(queue) => queue.try_next(),
            Self::Part(part) => part.try_next(),
        }
    }

    #[inline]
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Found, Over>> {
        loop {
            match self.try_next() {
                Ok(found) => return Poll::Ready(Ok(found)),
                Err(Nothing::EverAgain) => return Poll::Ready(Err(Over)),
                Err(Nothing::Yet) => {}
            }
            match self {
                Self::Ring(ring) => ready!(ring.ring.poll_readable(context)).map_err(|_| Over)?,
                Self::Queue(queue) => match ready!(queue.arrivals.poll_pop(context)) {
                    Some(arrived) => queue.start(arrived),
                    None => return Poll::Ready(Err(Over)),
                },
                Self::Part(part) => return part.poll_next(context),
            }
        }
    }

    /// The message at `found`.
    ///
    /// # Panics
    /// Never because of a peer: every message was checked before it came here.
    #[inline]
    fn frame(&self, found: Found) -> Frame<'_> {
        let bytes = match self {
            Self::Ring(ring) => ring.bytes(),
            Self::Queue(queue) => queue.current.as_ref().map_or(&[][..], Current::bytes),
            Self::Part(part) => part.bytes(),
        };
        let bytes = bytes.get(found).unwrap_or_default();
        Frame::parse(bytes).unwrap_or_else(|error| checked(error))
    }
}

impl Source {
    /// Whether nothing more comes than what came.
    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::Ring(source) => source.ring.is_closed(),
            Self::Queue(source) => source.arrivals.is_closed(),
            Self::Part(part) => part.is_closed(),
        }
    }

    /// The message at `found`, for as long as somebody wants it.
    pub(super) fn keep(&mut self, found: Found) -> Message {
        let message = match self {
            Self::Ring(_) => Message::copy_of(self.frame(found)),
            Self::Queue(queue) => queue.keep(found),
            Self::Part(part) => return part.keep(),
        };
        // What was copied, or was the last in its memory, is not held up here.
        match self {
            Self::Ring(ring) => ring.release(),
            Self::Queue(queue) if queue.is_read() => queue.release(),
            Self::Queue(_) | Self::Part(_) => {}
        }
        message
    }
}

pub(super) struct RingSource {
    ring: byte::Consumer,
    current: Option<Ahead>,
}

impl RingSource {
    #[inline]
    fn try_next(&mut self) -> Result<Found, Nothing> {
        self.release();
        match self.ring.read_ahead() {
            Ok(ahead) => {
                let len = ahead.len();
                self.current = Some(ahead);
                Ok(0..len)
            }
            Err(ReadError::Empty) => Err(Nothing::Yet),
            Err(ReadError::Closed) => Err(Nothing::EverAgain),
        }
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        self.current.as_ref().map_or(&[], |ahead| self.ring.bytes(ahead))
    }

    #[inline]
    fn release(&mut self) {
        if let Some(ahead) = self.current.take() {
            self.ring.release(ahead);
        }
    }
}

pub(super) struct QueueSource {
    arrivals: slot::Consumer<Arrived>,
    returns: slot::Producer<Returned>,
    /// Whether it was dropped by a panic.
    failed: Arc<AtomicBool>,
    home: Arc<Credit>,
    current: Option<Current>,
    /// Where the next frame lies in `current`.
    next: usize,
}

/// The transport message that is being read.
enum Current {
    Own(Arrived),
    /// Messages of it were taken.
    Kept(Arc<Kept>),
}

impl Current {
    #[inline]
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Own(arrived) => arrived.bytes(),
            Self::Kept(kept) => kept.bytes(),
        }
    }
}

impl QueueSource {
    #[inline]
    fn try_next(&mut self) -> Result<Found, Nothing> {
        loop {
            if let Some(found) = self.next_in_current() {
                return Ok(found);
            }
            self.release();
            match self.arrivals.try_pop() {
                Ok(arrived) => self.start(arrived),
                Err(PopError::Empty) => return Err(Nothing::Yet),
                Err(PopError::Closed) => return Err(Nothing::EverAgain),
            }
        }
    }

    fn start(&mut self, arrived: Arrived) {
        self.next = 0;
        self.current = Some(Current::Own(arrived));
    }

    /// The next frame of the application's in the transport message that is being read.
    #[inline]
    fn next_in_current(&mut self) -> Option<Found> {
        let bytes = self.current.as_ref()?.bytes();
        loop {
            let start = self.next;
            // The last frame may end with the memory, or short of it where a gap would follow.
            let rest = bytes.get(start..).filter(|rest| !rest.is_empty())?;
            let frame = Frames::new(rest).next()?.unwrap_or_else(|error| checked(error));
            let end = start + frame.as_bytes().len();
            self.next = frame_step(end);
            if frame.kind() != Kind::Control {
                return Some(start..end);
            }
        }
    }

    /// Whether nothing of the application's is left in the transport message that is being read.
    fn is_read(&self) -> bool {
        let rest = self.current.as_ref().and_then(|current| current.bytes().get(self.next..));
        !Frames::new(rest.unwrap_or_default()).flatten().any(|frame| frame.kind() != Kind::Control)
    }

    #[inline]
    fn release(&mut self) {
        if let Some(Current::Own(arrived)) = self.current.take() {
            self.give_back(arrived.into_returned());
        }
    }

    fn give_back(&mut self, returned: Returned) {
        // There is a place for everything that can be out, so this fails only when the session is
        // gone, and then nobody waits for it.
        let _ = self.returns.try_push(returned);
    }

    /// The message at `found`, which shares the memory of the transport message that is being read.
    fn keep(&mut self, found: Found) -> Message {
        let kept = match self.current.take() {
            Some(Current::Own(arrived)) => {
                // Its place in the queue is free; its part of the window is not.
                self.give_back(Returned { cost: 0, landed: None });
                Arc::new(Kept::new(arrived, Some(self.home.clone())))
            }
            Some(Current::Kept(kept)) => kept,
            None => unreachable!("a message was found in what is being read"),
        };
        self.current = Some(Current::Kept(kept.clone()));
        Message::new(kept, found)
    }
}

impl Drop for QueueSource {
    /// Gives back what was read to its end, and nothing else: the rest was not read.
    fn drop(&mut self) {
        // Pairs with the session's look, after it has seen that the arrivals are closed.
        self.failed.store(std::thread::panicking(), Ordering::Release);
        if self.is_read() {
            self.release();
        } else if let Some(Current::Kept(kept)) = &self.current {
            kept.forfeit();
        }
        self.arrivals.close();
        while self.arrivals.try_pop().is_ok() {}
    }
}

/// What was checked before is wrong: a bug of ours, not to be taken for the end of the messages.
#[cold]
pub(super) fn checked(error: Malformed) -> ! {
    unreachable!("every message is checked before it is read: {error}")
}

/// What came from a link, on its way from the session to the receiver.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) memory: Memory,
    /// What it took of the receive window, bytes.
    pub(crate) cost: u64,
}

/// Who owned the bytes first.
#[derive(Debug)]
pub(crate) enum Memory {
    /// A transport message of whole frames, as the transport gave it.
    Transport(TransportMessage),
    /// Several short transport messages, copied together; it grows as they come.
    Heap(Aligned),
    /// A message that came in fragments.
    Landed(RecordBuf),
}

impl Arrived {
    /// One or several frames.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.memory {
            Memory::Transport(bytes) => bytes,
            Memory::Heap(bytes) => bytes,
            Memory::Landed(record) => record.frame_bytes(),
        }
    }

    fn into_returned(self) -> Returned {
        let landed = match self.memory {
            Memory::Transport(_) | Memory::Heap(_) => None,
            Memory::Landed(record) => Some(record),
        };
        Returned { cost: self.cost, landed }
    }
}

/// What was read, on its way back to the session.
#[derive(Debug)]
pub(crate) struct Returned {
    /// How much of the receive window is free again, bytes.
    pub(crate) cost: u64,
    /// Memory for the next fragmented message.
    pub(crate) landed: Option<RecordBuf>,
}
