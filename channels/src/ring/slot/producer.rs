use core::fmt;
use core::future::poll_fn;
use core::task::{Context, Poll};

use super::storage::Writer;
use crate::ring::error::{PushError, RingClosed};
use crate::ring::parking::{Parker, Parks};

/// The side of a [`ring`](super::ring) that puts values in. Closes the ring when dropped.
pub struct Producer<T> {
    // Dropped in this order: everything is published before the ring is closed.
    writer: Writer<T>,
    parker: Parker,
}

impl<T> Producer<T> {
    pub(super) fn new(writer: Writer<T>, parker: Parker) -> Self {
        Self { writer, parker }
    }

    /// Puts a value in, and wakes the consumer if it is parked.
    ///
    /// # Errors
    /// Gives the value back when the ring is full or closed.
    #[inline]
    pub fn try_push(&mut self, value: T) -> Result<(), PushError<T>> {
        self.try_push_without_notify(value)?;
        self.notify_peer();
        Ok(())
    }

    /// Puts a value in. A consumer that looks sees it at once; one that is parked sleeps on until
    /// [`notify`](Self::notify). See [Publishing and waking](crate::ring#publishing-and-waking).
    ///
    /// # Errors
    /// Gives the value back when the ring is full or closed.
    #[inline]
    pub fn try_push_without_notify(&mut self, value: T) -> Result<(), PushError<T>> {
        if self.parker.is_closed() {
            return Err(PushError::Closed(value));
        }
        self.writer.push(value).map_err(PushError::Full)
    }

    /// Puts in values from `values` until there is no more room or no more value, publishes them
    /// together and wakes the consumer once. Returns how many. Takes no value from the iterator
    /// that the ring does not take. If the iterator panics, the values that it gave are leaked.
    ///
    /// # Errors
    /// When the ring is closed; no value was taken.
    ///
    /// ```
    /// # use deltawire_channels::ring::slot;
    /// let (mut producer, mut consumer) = slot::ring(4);
    /// let mut values = 0..6;
    /// assert_eq!(producer.push_batch(&mut values), Ok(4));
    /// assert_eq!(values, 4..6);
    /// assert_eq!(consumer.pop_batch(3).collect::<Vec<_>>(), [0, 1, 2]);
    /// ```
    #[inline]
    pub fn push_batch(
        &mut self,
        values: &mut impl Iterator<Item = T>,
    ) -> Result<usize, RingClosed> {
        let count = self.push_batch_without_notify(values)?;
        if count > 0 {
            self.notify_peer();
        }
        Ok(count)
    }

    /// As [`push_batch`](Self::push_batch), but a consumer that is parked sleeps on until
    /// [`notify`](Self::notify). See [Publishing and waking](crate::ring#publishing-and-waking).
    ///
    /// # Errors
    /// When the ring is closed; no value was taken.
    #[inline]
    pub fn push_batch_without_notify(
        &mut self,
        values: &mut impl Iterator<Item = T>,
    ) -> Result<usize, RingClosed> {
        if self.parker.is_closed() {
            return Err(RingClosed(()));
        }
        let count = self.writer.put_all(values);
        if count > 0 {
            self.writer.publish();
        }
        Ok(count)
    }

    /// Waits for room and puts a value in.
    ///
    /// Dropping the future before it is done drops the value; where that matters, wait for
    /// [`ready`](Self::ready) and then `try_push`.
    ///
    /// # Errors
    /// Gives the value back when the ring is closed.
    pub async fn push(&mut self, value: T) -> Result<(), RingClosed<T>> {
        if self.ready().await.is_err() {
            return Err(RingClosed(value));
        }
        self.try_push(value).map_err(|error| RingClosed(error.into_inner()))
    }

    /// Waits until there is room for a value.
    ///
    /// # Errors
    /// When the ring is closed.
    pub async fn ready(&mut self) -> Result<(), RingClosed> {
        poll_fn(|context| self.poll_ready(context)).await
    }

    /// Ready when there is room for a value; otherwise the task is woken once there is.
    ///
    /// # Errors
    /// When the ring is closed.
    #[inline]
    pub fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), RingClosed>> {
        self.poll_until(context, |this| {
            if this.parker.is_closed() {
                return Some(Err(RingClosed(())));
            }
            this.writer.has_room().then_some(Ok(()))
        })
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

    /// Whether what was put in last came too late for the consumer's last look. Asked after waking it.
    pub(crate) fn is_sealed(&self) -> bool {
        self.parker.is_sealed()
    }

    /// Whether either side has closed the ring.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.parker.is_closed()
    }

    /// How many values the ring holds at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.writer.capacity()
    }

    /// How many values the ring holds. The consumer may be taking some.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writer.len()
    }

    /// Whether the ring holds no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Parks for Producer<T> {
    #[inline]
    fn parker(&mut self) -> &mut Parker {
        &mut self.parker
    }

    #[inline]
    fn published(&self) -> usize {
        self.writer.published()
    }
}

impl<T> fmt::Debug for Producer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .field("closed", &self.is_closed())
            .finish()
    }
}
