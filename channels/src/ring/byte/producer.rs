use core::fmt;
use core::future::poll_fn;
use core::task::{Context, Poll};

use deltawire_framing::{FrameHeader, frame_step};
use zerocopy::IntoBytes;

use super::memory::Writer;
use crate::ring::error::{CommitError, ReserveError};
use crate::ring::parking::{Parker, Parks};

/// The side of a [`ring`](super::ring) that writes messages. Closes the ring when dropped.
pub struct Producer {
    writer: Writer,
    parker: Parker,
}

/// Where a message may be written.
#[derive(Clone, Copy)]
struct Room {
    /// Position of the frame: the tail, or the ring's start behind it.
    start: usize,
    body_len: usize,
}

impl Producer {
    pub(super) fn new(writer: Writer, parker: Parker) -> Self {
        Self { writer, parker }
    }

    /// Reserves room for a message with a body of up to `body_len` bytes.
    ///
    /// # Errors
    /// When there is no room now, or there can never be, or the ring is closed.
    #[inline]
    pub fn try_reserve(&mut self, body_len: usize) -> Result<Grant<'_>, ReserveError> {
        let room = self.find_room(body_len)?;
        Ok(Grant { producer: self, room })
    }

    /// Waits for room for a message with a body of up to `body_len` bytes. Nothing is lost when
    /// the future is dropped.
    ///
    /// # Errors
    /// When there can never be room, or the ring is closed. Never [`ReserveError::Full`].
    pub async fn reserve(&mut self, body_len: usize) -> Result<Grant<'_>, ReserveError> {
        let room = poll_fn(|context| self.poll_room(context, body_len)).await?;
        Ok(Grant { producer: self, room })
    }

    /// Ready with room for a message with a body of up to `body_len` bytes; otherwise the task is
    /// woken when the consumer gives room back.
    ///
    /// # Errors
    /// When there can never be room, or the ring is closed. Never [`ReserveError::Full`].
    #[inline]
    pub fn poll_reserve(
        &mut self,
        context: &mut Context<'_>,
        body_len: usize,
    ) -> Poll<Result<Grant<'_>, ReserveError>> {
        self.poll_room(context, body_len).map_ok(|room| Grant { producer: self, room })
    }

    /// Wakes the consumer if it is parked. Needed after calls `…_without_notify` only.
    #[inline]
    pub fn notify(&mut self) {
        self.notify_peer();
    }

    /// Closes the ring. The consumer can still read what is in it.
    pub fn close(&mut self) {
        self.parker.close();
    }

    /// Whether either side has closed the ring.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.parker.is_closed()
    }

    /// Bytes of the ring.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.writer.capacity()
    }

    /// Bytes that are taken up: frames with their gaps, and what is skipped before the ring's end.
    /// The consumer may be giving some back.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.writer.used()
    }

    /// Whether the consumer has read and released everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queued_bytes() == 0
    }

    fn poll_room(
        &mut self,
        context: &mut Context<'_>,
        body_len: usize,
    ) -> Poll<Result<Room, ReserveError>> {
        self.poll_until(context, |this| match this.find_room(body_len) {
            Err(ReserveError::Full { .. }) => None,
            done => Some(done),
        })
    }

    #[inline]
    fn find_room(&mut self, body_len: usize) -> Result<Room, ReserveError> {
        if self.parker.is_closed() {
            return Err(ReserveError::Closed);
        }
        let frame_len = body_len.saturating_add(FrameHeader::SIZE);
        // What is near is a number of whole steps.
        if frame_len <= self.writer.near() {
            return Ok(Room { start: self.writer.tail(), body_len });
        }
        self.find_room_farther(body_len, frame_len)
    }

    /// Room where a page begins, or the ring, or where the consumer may have given room back.
    fn find_room_farther(
        &mut self,
        body_len: usize,
        frame_len: usize,
    ) -> Result<Room, ReserveError> {
        let capacity = self.writer.capacity();
        if frame_len > capacity {
            return Err(ReserveError::TooLarge { needed: frame_len, capacity });
        }
        self.writer.refresh();
        let tail = self.writer.tail();
        let step = frame_step(frame_len);
        let to_end = self.writer.to_end(tail);
        let skipped = if step <= to_end { 0 } else { to_end };
        let (needed, free) = (skipped + step, self.writer.known_free());
        if free < needed {
            return Err(ReserveError::Full { needed, free });
        }
        if skipped == 0 {
            self.writer.come_near(step);
        }
        Ok(Room { start: tail.wrapping_add(skipped), body_len })
    }

    /// Marks what is left before the ring's end as skipped: no frame starts with a zero.
    fn mark_skipped(&mut self) {
        let tail = self.writer.tail();
        self.writer.bytes_mut(tail, FrameHeader::SIZE).fill(0);
    }
}

impl Parks for Producer {
    #[inline]
    fn parker(&mut self) -> &mut Parker {
        &mut self.parker
    }

    #[inline]
    fn published(&self) -> usize {
        self.writer.tail()
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("queued_bytes", &self.queued_bytes())
            .field("capacity", &self.capacity())
            .field("closed", &self.is_closed())
            .finish()
    }
}

/// Room for one message. Write the body in place, then commit; dropping the grant takes it back.
#[must_use = "a grant that is dropped is taken back"]
pub struct Grant<'a> {
    producer: &'a mut Producer,
    room: Room,
}

impl Grant<'_> {
    /// The body, as many bytes as were reserved. Holds whatever lay there before.
    #[must_use]
    #[inline]
    pub fn body_mut(&mut self) -> &mut [u8] {
        let Room { start, body_len } = self.room;
        let body = start.wrapping_add(FrameHeader::SIZE);
        self.producer.writer.bytes_mut(body, body_len)
    }

    /// Puts `header` in front of the body, publishes the message and wakes the consumer if it is
    /// parked. The message's length is the header's; what was reserved beyond it is not used.
    ///
    /// # Errors
    /// When the header is not that of a whole message of `1..=reserved` bytes, or the ring was closed
    /// meanwhile. The grant is taken back.
    #[inline]
    pub fn commit(mut self, header: FrameHeader) -> Result<(), CommitError> {
        self.write(header)?;
        self.producer.notify_peer();
        // In the instant of the end it may be too late for the last look.
        if self.producer.parker.is_sealed() { Err(CommitError::Closed) } else { Ok(()) }
    }

    /// Puts `header` in front of the body and publishes the message. A consumer that looks sees it
    /// at once; one that is parked sleeps on until [`Producer::notify`]. See
    /// [Publishing and waking](crate::ring#publishing-and-waking).
    ///
    /// In the very instant in which the consumer [seals](super::Consumer::seal) the ring, a message can be
    /// too late for it without an error: [`commit`](Self::commit) knows.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    #[inline]
    pub fn commit_without_notify(mut self, header: FrameHeader) -> Result<(), CommitError> {
        self.write(header)
    }

    /// Publishes the message and wakes nobody.
    #[inline]
    fn write(&mut self, header: FrameHeader) -> Result<(), CommitError> {
        let Room { start, body_len } = self.room;
        check(&header, body_len)?;
        if self.producer.is_closed() {
            return Err(CommitError::Closed);
        }
        if start != self.producer.writer.tail() {
            self.producer.mark_skipped();
        }
        let writer = &mut self.producer.writer;
        let len = header.whole_frame_len();
        let step = frame_step(len);
        let frame = writer.bytes_mut(start, step);
        frame[..FrameHeader::SIZE].copy_from_slice(header.as_bytes());
        if len < step {
            frame[len..].fill(0);
        }
        writer.publish(start.wrapping_add(step));
        Ok(())
    }
}

impl fmt::Debug for Grant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant").field("body_len", &self.room.body_len).finish()
    }
}

/// A ring holds whole messages, within what was reserved for them.
#[inline]
fn check(header: &FrameHeader, reserved: usize) -> Result<(), CommitError> {
    if header.is_fragment() || header.fragment_index() != 0 || header.message_id() != 0 {
        return Err(CommitError::Fragment {
            index: header.fragment_index(),
            count: header.fragment_count(),
        });
    }
    let message_len = header.message_len();
    if message_len == 0 || message_len as usize > reserved {
        return Err(CommitError::Length { message_len, reserved });
    }
    Ok(())
}
