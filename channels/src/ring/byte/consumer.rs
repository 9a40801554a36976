use core::fmt;
use core::future::poll_fn;
use core::task::{Context, Poll};

use deltawire_framing::{FrameHeader, Run, frame_step};

use super::ahead::{Ahead, Outstanding};
use super::kept::Kept;
use super::memory::Reader;
use super::view::{RunView, View};
use crate::ring::error::{ReadError, RingClosed};
use crate::ring::parking::{Parker, Parks};

/// The side of a [`ring`](super::ring) that reads messages. Closes the ring when dropped.
pub struct Consumer {
    reader: Reader,
    /// Position of the first frame that was not read: between the reader's head and tail. What
    /// lies from here on is as the producer wrote it; what lies before may have been written over.
    read: usize,
    ahead: Outstanding,
    /// What was read and may have to be read again: see [`keep`](Self::keep).
    kept: Option<Kept>,
    parker: Parker,
}

/// A frame that was not read yet.
#[derive(Clone, Copy)]
struct Found {
    start: usize,
    len: usize,
}

impl Consumer {
    pub(super) fn new(reader: Reader, parker: Parker) -> Self {
        let ahead = Outstanding::new(reader.capacity());
        Self { read: reader.head(), ahead, kept: None, reader, parker }
    }

    /// Reads the next message in place.
    ///
    /// # Errors
    /// When there is no message, now or ever again.
    #[inline]
    pub fn try_read(&mut self) -> Result<View<'_>, ReadError> {
        let Found { start, len } = self.next_frame()?;
        self.read = start.wrapping_add(frame_step(len));
        Ok(View::new(self, start, len))
    }

    /// Reads as many messages as lie one after another in at most `max_len` bytes, ready to be
    /// sent as they lie as one transport message. `None` when there is no message, or the next
    /// one is longer: see [`peek_len`](Self::peek_len).
    #[inline]
    pub fn read_run(&mut self, max_len: usize) -> Option<RunView<'_>> {
        let Found { start, len } = self.next_frame().ok()?;
        if len > max_len {
            return None;
        }
        // Whatever came in meanwhile goes along.
        self.reader.refresh();
        let run = self.longest_run(start, len, max_len);
        self.read = start.wrapping_add(frame_step(run.len));
        if let Some(kept) = &mut self.kept {
            kept.mark(self.read);
        }
        Some(RunView::new(self, start, run))
    }

    /// Bytes of the next message's frame, header and body; `None` when there is none.
    #[inline]
    pub fn peek_len(&mut self) -> Option<usize> {
        self.next_frame().ok().map(|found| found.len)
    }

    /// Reads the next message and keeps its room until [`release`](Self::release), while reading
    /// goes on. Any number of messages can be read ahead.
    ///
    /// # Errors
    /// When there is no message, now or ever again.
    ///
    /// ```
    /// # use deltawire_channels::ring::byte;
    /// # use deltawire_framing::{Channel, FrameHeader, Kind};
    /// # let (mut producer, mut consumer) = byte::ring(128);
    /// # let header = FrameHeader::whole(Kind::Opaque, Channel::Data, 16)?;
    /// # for _ in 0..2 { producer.try_reserve(16)?.commit(header)?; }
    /// let first = consumer.read_ahead()?;
    /// let second = consumer.read_ahead()?;
    /// assert_eq!(consumer.bytes(&first).len(), 32);
    ///
    /// consumer.release(second); // waits for the older one
    /// assert_eq!(consumer.queued_bytes(), 64);
    /// consumer.release(first);
    /// assert_eq!(consumer.queued_bytes(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn read_ahead(&mut self) -> Result<Ahead, ReadError> {
        let Found { start, len } = self.next_frame()?;
        self.read = start.wrapping_add(frame_step(len));
        self.ahead.insert(start);
        Ok(Ahead { start, len })
    }

    /// The frame of a message that was read ahead: header and body.
    ///
    /// # Panics
    /// When the message was read from another ring; or gives bytes of this one.
    #[must_use]
    #[inline]
    pub fn bytes(&self, message: &Ahead) -> &[u8] {
        self.reader.bytes(message.start, message.len)
    }

    /// The frame of a message that was read ahead, to write over: fragment headers go where bytes
    /// have been sent.
    ///
    /// # Panics
    /// When the message was read from another ring; or gives bytes of this one.
    #[must_use]
    #[inline]
    pub fn bytes_mut(&mut self, message: &Ahead) -> &mut [u8] {
        self.reader.bytes_mut(message.start, message.len)
    }

    /// Gives back the room of a message that was read ahead, as soon as all older ones have been
    /// given back, and wakes the producer if it is parked.
    ///
    /// # Panics
    /// When the message was read from another ring; or releases one of this ring.
    #[inline]
    pub fn release(&mut self, message: Ahead) {
        self.release_without_notify(message);
        self.notify_peer();
    }

    /// Gives back the room of a message that was read ahead, as soon as all older ones have been
    /// given back. A producer that looks sees it at once; one that is parked sleeps on until
    /// [`notify`](Self::notify). See [Publishing and waking](crate::ring#publishing-and-waking).
    ///
    /// # Panics
    /// When the message was read from another ring; or releases one of this ring.
    #[inline]
    pub fn release_without_notify(&mut self, message: Ahead) {
        let found = self.ahead.remove(message.start);
        assert!(found, "the message was read from this ring");
        self.give_back();
    }

    /// From now on keeps the room of what is read until it is [acknowledged](Self::acknowledge), so that it
    /// can be [read again](Self::read_again).
    pub fn keep(&mut self) {
        self.kept.get_or_insert_with(|| Kept::new(self.read));
    }

    /// Gives back the room of the `len` bytes that were read first of those that are kept: frames with their
    /// gaps, so that `len` is a sum of [`frame_step`]s. Says whether it is, and so many are kept; else, and where
    /// nothing is kept, nothing happens.
    #[must_use]
    pub fn acknowledge(&mut self, len: usize) -> bool {
        let Some(kept) = &self.kept else { return false };
        if len > kept.len(self.read) {
            return false;
        }
        let (mut at, mut left) = kept.before(len);
        while left > 0 {
            match self.frame_len(at) {
                Some(frame_len) => {
                    let step = frame_step(frame_len);
                    let Some(rest) = left.checked_sub(step) else { return false };
                    (at, left) = (at.wrapping_add(step), rest);
                }
                None => at = at.wrapping_add(self.reader.to_end(at)),
            }
        }
        if let Some(kept) = &mut self.kept {
            kept.release(len);
        }
        self.give_back();
        self.notify_peer();
        true
    }

    /// Shows all messages from the first that is kept on, and those that were not read yet: their frames.
    pub fn look_through(&mut self, mut look: impl FnMut(&[u8])) {
        let given_back = self.read == self.reader.head() && self.read == self.reader.tail();
        self.reader.refresh();
        if given_back {
            self.go_to_head();
        }
        let mut at = self.kept.as_ref().map_or(self.read, |kept| kept.from);
        while at != self.reader.tail() {
            match self.frame_len(at) {
                Some(len) => {
                    look(self.reader.bytes(at, len));
                    at = at.wrapping_add(frame_step(len));
                }
                None => at = at.wrapping_add(self.reader.to_end(at)),
            }
        }
    }

    /// Bytes that were read and are kept: frames with their gaps.
    #[must_use]
    pub fn kept_bytes(&self) -> usize {
        self.kept.as_ref().map_or(0, |kept| kept.len(self.read))
    }

    /// Goes back to the first message that is kept, so that it is read next. Gives how many messages that
    /// are. What was [read ahead](Self::read_ahead) has to be [forgotten](Self::forget) before.
    pub fn read_again(&mut self) -> u64 {
        let Some(kept) = &self.kept else { return 0 };
        let (mut messages, end) = (0, core::mem::replace(&mut self.read, kept.from));
        while self.read != end {
            match self.frame_len(self.read) {
                Some(len) => {
                    self.read = self.read.wrapping_add(frame_step(len));
                    messages += 1;
                }
                None => self.read = self.read.wrapping_add(self.reader.to_end(self.read)),
            }
        }
        self.read = self.kept.as_mut().map_or(end, Kept::begin_again);
        messages
    }

    /// Takes a message that was read ahead for one that is kept.
    ///
    /// # Panics
    /// When the message was read from another ring.
    pub fn forget(&mut self, message: Ahead) {
        let found = self.ahead.remove(message.start);
        assert!(found, "the message was read from this ring");
        self.give_back();
    }

    /// Waits for a message. Then reading finds one.
    ///
    /// # Errors
    /// When the ring is closed and read to its end.
    pub async fn readable(&mut self) -> Result<(), RingClosed> {
        poll_fn(|context| self.poll_readable(context)).await
    }

    /// Ready when there is a message; otherwise the task is woken when there is one.
    ///
    /// # Errors
    /// When the ring is closed and read to its end.
    #[inline]
    pub fn poll_readable(&mut self, context: &mut Context<'_>) -> Poll<Result<(), RingClosed>> {
        self.poll_until(context, |this| match this.next_frame() {
            Ok(_) => Some(Ok(())),
            Err(ReadError::Closed) => Some(Err(RingClosed(()))),
            Err(ReadError::Empty) => None,
        })
    }

    /// Wakes the producer if it is parked. Needed after calls `…_without_notify` only.
    #[inline]
    pub fn notify(&mut self) {
        self.notify_peer();
    }

    /// Closes the ring: the producer can reserve nothing from now on. What is in the ring can
    /// still be read.
    pub fn close(&mut self) {
        self.parker.close();
    }

    /// Closes the ring and settles what counts: what it holds now is all that was ever committed. A
    /// [`commit`](super::Grant::commit) that is too late for it is refused.
    pub fn seal(&mut self) {
        self.parker.seal(self.read);
    }

    /// Whether either side has closed the ring. It may still hold messages.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.parker.is_closed()
    }

    /// Bytes of the ring.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.reader.capacity()
    }

    /// Bytes that are taken up: frames with their gaps, read or not, until they are released; and
    /// what is skipped before the ring's end. The producer may be adding some.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.reader.used()
    }

    /// Whether there is no message to read. Some may have been read ahead.
    #[must_use]
    pub fn is_empty(&mut self) -> bool {
        self.peek_len().is_none()
    }

    /// Gives back the room of everything that was read and is not kept by an [`Ahead`].
    #[inline]
    pub(super) fn give_back(&mut self) {
        let head = self.reader.head();
        let first_kept = match &self.kept {
            None => self.ahead.first(head, self.read),
            Some(kept) => kept.from,
        };
        if first_kept != head {
            self.reader.release(first_kept);
        }
    }

    /// The frame or frames that a view lends out.
    #[inline]
    pub(super) fn lent(&self, start: usize, len: usize) -> &[u8] {
        self.reader.bytes(start, len)
    }

    /// The frame that a view lends out, to write over.
    #[inline]
    pub(super) fn lent_mut(&mut self, start: usize, len: usize) -> &mut [u8] {
        self.reader.bytes_mut(start, len)
    }

    #[inline]
    fn next_frame(&mut self) -> Result<Found, ReadError> {
        match self.find_frame() {
            Some(found) => Ok(found),
            None => self.last_look(),
        }
    }

    /// The frame at `read`, if there is one. Steps over what the producer skipped.
    #[inline]
    fn find_frame(&mut self) -> Option<Found> {
        loop {
            if self.read == self.reader.tail() {
                let given_back = self.read == self.reader.head();
                self.reader.refresh();
                if given_back {
                    self.go_to_head();
                }
                if self.read == self.reader.tail() {
                    return None;
                }
            }
            let start = self.read;
            if let Some(len) = self.frame_len(start) {
                return Some(Found { start, len });
            }
            self.step_over();
        }
    }

    /// Goes where the producer goes on, as everything was given back: it may have begun anew at the ring's start.
    fn go_to_head(&mut self) {
        self.read = self.reader.head();
        if let Some(kept) = &mut self.kept {
            kept.go_to(self.read);
        }
    }

    /// Bytes of the frame at `position`; `None` if the producer skipped the rest of the ring there.
    #[inline]
    fn frame_len(&self, position: usize) -> Option<usize> {
        let header = self.reader.bytes(position, FrameHeader::SIZE);
        FrameHeader::of_whole(header).map(FrameHeader::whole_frame_len)
    }

    /// How far frames lie one after another, from the one of `first_len` bytes at `start` on.
    #[inline]
    fn longest_run(&self, start: usize, first_len: usize, max_len: usize) -> Run {
        let mut run = Run { len: first_len, frames: 1 };
        loop {
            let step = frame_step(run.len);
            let next = start.wrapping_add(step);
            if next == self.reader.tail() || self.reader.is_start(next) {
                return run;
            }
            match self.frame_len(next) {
                Some(len) if step + len <= max_len => run.len = step + len,
                _ => return run,
            }
            run.frames += 1;
        }
    }

    /// Goes on at the ring's start. The room that was skipped is given back at once: the producer
    /// may be waiting for nothing else.
    #[cold]
    fn step_over(&mut self) {
        let to_end = self.reader.to_end(self.read);
        if let Some(kept) = &mut self.kept {
            kept.skip(self.read, to_end);
        }
        self.read = self.read.wrapping_add(to_end);
        self.give_back();
        self.notify_peer();
    }

    /// What to say of a ring that looks empty: the producer may have committed and closed since.
    #[cold]
    fn last_look(&mut self) -> Result<Found, ReadError> {
        if !self.parker.is_closed() {
            return Err(ReadError::Empty);
        }
        self.find_frame().ok_or(ReadError::Closed)
    }
}

impl Parks for Consumer {
    #[inline]
    fn parker(&mut self) -> &mut Parker {
        &mut self.parker
    }

    #[inline]
    fn published(&self) -> usize {
        self.reader.head()
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("queued_bytes", &self.queued_bytes())
            .field("capacity", &self.capacity())
            .field("closed", &self.is_closed())
            .finish()
    }
}
