use core::fmt;
use core::ops::Deref;

use deltawire_framing::{Frame, Frames, Run};

use super::consumer::Consumer;
use crate::ring::parking::Parks;

/// A message being read in place: derefs to its frame, header and body. Dropping it gives its room
/// back and wakes the producer if it is parked.
///
/// A view that is leaked keeps its room until a later one gives it back.
pub struct View<'a> {
    lease: Lease<'a>,
}

/// Several messages being read in place: derefs to their frames as they lie, with zeros in the
/// gaps and none behind the last. Dropping it gives their room back and wakes the producer if it
/// is parked.
pub struct RunView<'a> {
    lease: Lease<'a>,
    frames: usize,
}

impl<'a> View<'a> {
    #[inline]
    pub(super) fn new(consumer: &'a mut Consumer, start: usize, len: usize) -> Self {
        let lease = Lease::new(consumer, start, len);
        Self { lease }
    }

    /// The frame.
    ///
    /// # Panics
    /// When its header was written over with something else, by [`bytes_mut`](Self::bytes_mut).
    #[must_use]
    #[inline]
    pub fn frame(&self) -> Frame<'_> {
        match Frame::parse(self) {
            Ok(frame) => frame,
            Err(error) => panic!("the frame was written over: {error}"),
        }
    }

    /// The frame's bytes, to write over: fragment headers go where bytes have been sent.
    #[must_use]
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let Lease { start, len, .. } = self.lease;
        self.lease.consumer.lent_mut(start, len)
    }

    /// Gives the room back. A producer that looks sees it at once; one that is parked sleeps on
    /// until [`Consumer::notify`]. See
    /// [Publishing and waking](crate::ring#publishing-and-waking).
    #[inline]
    pub fn release_without_notify(mut self) {
        self.lease.quiet = true;
    }
}

impl<'a> RunView<'a> {
    #[inline]
    pub(super) fn new(consumer: &'a mut Consumer, start: usize, run: Run) -> Self {
        Self { lease: Lease::new(consumer, start, run.len), frames: run.frames }
    }

    /// How many frames there are, at least 1.
    #[must_use]
    #[inline]
    pub fn frame_count(&self) -> usize {
        self.frames
    }

    /// Walks the frames.
    #[must_use]
    #[inline]
    pub fn frames(&self) -> Frames<'_> {
        Frames::new(self)
    }

    /// Gives the room back. A producer that looks sees it at once; one that is parked sleeps on
    /// until [`Consumer::notify`]. See
    /// [Publishing and waking](crate::ring#publishing-and-waking).
    #[inline]
    pub fn release_without_notify(mut self) {
        self.lease.quiet = true;
    }
}

/// Bytes that the consumer has read and gives back when this is dropped.
struct Lease<'a> {
    consumer: &'a mut Consumer,
    start: usize,
    len: usize,
    quiet: bool,
}

impl<'a> Lease<'a> {
    #[inline]
    fn new(consumer: &'a mut Consumer, start: usize, len: usize) -> Self {
        Self { consumer, start, len, quiet: false }
    }
}

impl Drop for Lease<'_> {
    #[inline]
    fn drop(&mut self) {
        self.consumer.give_back();
        if !self.quiet {
            self.consumer.notify_peer();
        }
    }
}

impl Deref for Lease<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.consumer.lent(self.start, self.len)
    }
}

impl Deref for View<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.lease
    }
}

impl Deref for RunView<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.lease
    }
}

impl fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("len", &self.len()).finish()
    }
}

impl fmt::Debug for RunView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunView").field("len", &self.len()).field("frames", &self.frames).finish()
    }
}
