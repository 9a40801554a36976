//! A sender of messages that others send too.

use core::fmt;
use core::future::poll_fn;
use core::task::{Context, Poll, ready};

use deltawire_framing::{Channel, frame_step};

use super::closed::{ChannelClosed, EndNotice, SendError};
use super::{Message, MessageLimit};
use crate::ring::slot;
use crate::session::FrameSource;
use crate::sync::Arc;
use crate::waking::Credit;

/// Messages that may wait in a [`SharedSender`].
pub const MAX_SHARED: usize = 256;

/// Sends messages from the memory in which they lie, which any number of senders share: what came from
/// one peer goes to many without a copy for each.
///
/// A [`Message`] that a receiver took goes on as it came; it keeps its part of the window that it came
/// through until the slowest has sent it, so whoever forwards is held up by its peers, and holds up
/// the origin. Messages of one's own are made by [`Message::delta_of`], or of a
/// [`RecordBuf`](deltawire_framing::RecordBuf).
///
/// As many bytes may wait as a sender's ring holds ([`Limits::send_ring`](crate::Limits::send_ring)), and
/// [`MAX_SHARED`] messages. One that is longer by itself goes when nothing else waits. Dropping the
/// sender ends its stream; what it took is still sent.
///
/// What is copied on this side: messages of up to 1 KiB, when several go together, and the fragments of
/// those that are longer than a frame, each behind its header.
pub struct SharedSender {
    queue: slot::Producer<Message>,
    /// Room that the session has given back.
    credit: Arc<Credit>,
    /// Bytes that wait.
    queued: usize,
    capacity: usize,
    end: EndNotice,
    limit: MessageLimit,
}

impl SharedSender {
    pub(crate) fn new(
        capacity: usize,
        end: EndNotice,
        limit: MessageLimit,
    ) -> (Self, Box<dyn FrameSource>) {
        let (queue, consumer) = slot::ring(MAX_SHARED);
        let credit = Arc::new(Credit::new());
        let source = Queue { messages: consumer, credit: credit.clone() };
        (Self { queue, credit, queued: 0, capacity, end, limit }, Box::new(source))
    }

    /// Sends a message; waits for room.
    ///
    /// Cancel safe: a future that is dropped before it is ready has sent nothing.
    ///
    /// # Errors
    /// When it is longer than the peer takes, or not of the data channel, or the session is over.
    pub async fn send(&mut self, message: &Message) -> Result<(), SendError> {
        self.check(message)?;
        poll_fn(|context| self.poll_room(context, message)).await?;
        // The peer may have said what it takes in the meantime.
        self.push(message)
    }

    /// The same, if there is room now.
    ///
    /// # Errors
    /// Also when there is none.
    pub fn try_send(&mut self, message: &Message) -> Result<(), SendError> {
        self.check(message)?;
        match self.poll_room(&mut Context::from_waker(core::task::Waker::noop()), message) {
            Poll::Ready(room) => room?,
            Poll::Pending => {
                let free = self.capacity.saturating_sub(self.queued);
                return Err(SendError::Full { needed: step(message), free });
            }
        }
        self.push(message)
    }

    /// Bytes that wait, headers and gaps included.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queued
    }

    /// Whether the session is over.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// Why nothing more is accepted; `None` while it is.
    #[must_use]
    pub fn closed_reason(&self) -> Option<ChannelClosed> {
        self.is_closed().then(|| self.end.why())
    }

    fn check(&self, message: &Message) -> Result<(), SendError> {
        let frame = message.frame();
        if frame.channel() != Channel::Data {
            return Err(SendError::Channel { channel: frame.channel(), needed: Channel::Data });
        }
        self.limit.check(frame.body().len())
    }

    fn poll_room(
        &mut self,
        context: &mut Context<'_>,
        message: &Message,
    ) -> Poll<Result<(), SendError>> {
        if ready!(self.queue.poll_ready(context)).is_err() {
            return Poll::Ready(Err(self.closed()));
        }
        if self.has_room(message) {
            return Poll::Ready(Ok(()));
        }
        self.credit.register(context.waker());
        // Both may have come since.
        if self.queue.is_closed() {
            return Poll::Ready(Err(self.closed()));
        }
        if self.has_room(message) { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn closed(&self) -> SendError {
        SendError::Closed(self.end.why())
    }

    fn has_room(&mut self, message: &Message) -> bool {
        self.queued -= self.credit.collect();
        self.queued == 0 || self.queued + step(message) <= self.capacity
    }

    fn push(&mut self, message: &Message) -> Result<(), SendError> {
        self.check(message)?;
        if self.queue.try_push(message.clone()).is_err() || self.queue.is_sealed() {
            return Err(self.closed());
        }
        self.queued += step(message);
        Ok(())
    }
}

/// Bytes of its frame and of the gap behind it.
fn step(message: &Message) -> usize {
    frame_step(message.frame().as_bytes().len())
}

impl fmt::Debug for SharedSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedSender")
            .field("queued_bytes", &self.queued)
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

/// What waits, seen from the session.
struct Queue {
    messages: slot::Consumer<Message>,
    credit: Arc<Credit>,
}

impl FrameSource for Queue {
    fn try_frame(&mut self) -> Option<Message> {
        self.messages.try_pop().ok()
    }

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Message>> {
        self.messages.poll_pop(context)
    }

    fn close(&mut self) {
        self.messages.close();
        // Who waits for room may wait for nothing else.
        self.credit.give_back(0);
    }

    fn seal(&mut self) {
        self.messages.seal();
        self.credit.give_back(0);
    }

    fn is_closed(&self) -> bool {
        self.messages.is_closed()
    }

    fn done(&mut self, message: Message) {
        let len = step(&message);
        // First the message: who is woken may look at its window.
        drop(message);
        self.credit.give_back(len);
    }
}

impl Drop for Queue {
    /// What waits goes with it: the sender may stay for long, and keeps the queue's memory.
    fn drop(&mut self) {
        self.seal();
        while self.messages.try_pop().is_ok() {}
    }
}
