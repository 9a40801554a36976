use core::fmt;
use core::future::poll_fn;
use core::iter::FusedIterator;
use core::task::{Context, Poll};

use super::storage::{Drain, Reader};
use crate::ring::error::PopError;
use crate::ring::parking::{Parker, Parks};

/// The side of a [`ring`](super::ring) that takes values out. Closes the ring when dropped.
pub struct Consumer<T> {
    // Dropped in this order: everything is given back before the ring is closed.
    reader: Reader<T>,
    parker: Parker,
}

impl<T> Consumer<T> {
    pub(super) fn new(reader: Reader<T>, parker: Parker) -> Self {
        Self { reader, parker }
    }

    /// Takes the oldest value out, and wakes the producer if it is parked.
    ///
    /// # Errors
    /// When there is no value, now or ever again.
    #[inline]
    pub fn try_pop(&mut self) -> Result<T, PopError> {
        let value = self.try_pop_without_notify()?;
        self.notify_peer();
        Ok(value)
    }

    /// Takes the oldest value out. A producer that looks sees the room at once; one that is parked
    /// sleeps on until [`notify`](Self::notify). See
    /// [Publishing and waking](crate::ring#publishing-and-waking).
    ///
    /// # Errors
    /// When there is no value, now or ever again.
    #[inline]
    pub fn try_pop_without_notify(&mut self) -> Result<T, PopError> {
        match self.reader.pop() {
            Some(value) => Ok(value),
            None => self.last_look(),
        }
    }

    /// Takes out up to `max` of the values that there are now, oldest first. When the batch is
    /// dropped, their room is given back together and the producer is woken once; values that
    /// were not iterated over stay in the ring.
    #[inline]
    pub fn pop_batch(&mut self, max: usize) -> Batch<'_, T> {
        Batch { drain: self.reader.drain(max), parker: Some(&mut self.parker) }
    }

    /// As [`pop_batch`](Self::pop_batch), but a producer that is parked sleeps on until
    /// [`notify`](Self::notify). See [Publishing and waking](crate::ring#publishing-and-waking).
    #[inline]
    pub fn pop_batch_without_notify(&mut self, max: usize) -> Batch<'_, T> {
        Batch { drain: self.reader.drain(max), parker: None }
    }

    /// Waits for a value and takes it out; `None` once the ring is closed and empty. Nothing is
    /// lost when the future is dropped.
    pub async fn pop(&mut self) -> Option<T> {
        poll_fn(|context| self.poll_pop(context)).await
    }

    /// Ready with the oldest value, or with `None` once the ring is closed and empty; otherwise
    /// the task is woken when there is one.
    #[inline]
    pub fn poll_pop(&mut self, context: &mut Context<'_>) -> Poll<Option<T>> {
        self.poll_until(context, |this| match this.try_pop() {
            Ok(value) => Some(Some(value)),
            Err(PopError::Closed) => Some(None),
            Err(PopError::Empty) => None,
        })
    }

    /// Wakes the producer if it is parked. Needed after calls `…_without_notify` only.
    #[inline]
    pub fn notify(&mut self) {
        self.notify_peer();
    }

    /// Closes the ring: the producer gets its values back from now on. What is in the ring can
    /// still be taken out.
    pub fn close(&mut self) {
        self.parker.close();
    }

    /// Closes the ring and settles what counts: what it holds now is all that was ever put in.
    pub(crate) fn seal(&mut self) {
        self.parker.seal(self.reader.published());
    }

    /// Whether either side has closed the ring. It may still hold values.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.parker.is_closed()
    }

    /// How many values the ring holds at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.reader.capacity()
    }

    /// How many values the ring holds. The producer may be adding some.
    #[must_use]
    pub fn len(&self) -> usize {
        self.reader.len()
    }

    /// Whether the ring holds no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What to say of a ring that looks empty: the producer may have pushed and closed since.
    #[cold]
    fn last_look(&mut self) -> Result<T, PopError> {
        if !self.parker.is_closed() {
            return Err(PopError::Empty);
        }
        self.reader.pop().ok_or(PopError::Closed)
    }
}

impl<T> Parks for Consumer<T> {
    #[inline]
    fn parker(&mut self) -> &mut Parker {
        &mut self.parker
    }

    #[inline]
    fn published(&self) -> usize {
        self.reader.published()
    }
}

impl<T> fmt::Debug for Consumer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("len", &self.len())
            .field("closed", &self.is_closed())
            .finish()
    }
}

/// Values being taken out together, from [`Consumer::pop_batch`].
pub struct Batch<'a, T> {
    drain: Drain<'a, T>,
    /// Wakes the producer, unless the batch was taken without notify.
    parker: Option<&'a mut Parker>,
}

impl<T> Iterator for Batch<'_, T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        self.drain.take()
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.drain.left();
        (left, Some(left))
    }

    #[inline]
    fn fold<A, F: FnMut(A, T) -> A>(mut self, folded: A, fold: F) -> A {
        self.drain.fold(folded, fold)
    }
}

impl<T> ExactSizeIterator for Batch<'_, T> {}
impl<T> FusedIterator for Batch<'_, T> {}

impl<T> Drop for Batch<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let head = self.drain.finish();
        if let (Some(head), Some(parker)) = (head, &mut self.parker) {
            parker.announce(head);
        }
    }
}

impl<T> fmt::Debug for Batch<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("left", &self.len()).finish()
    }
}
