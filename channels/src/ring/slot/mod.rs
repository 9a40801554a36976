//! A ring of owned values of one type, between one producer and one consumer.
//!
//! ```
//! use deltawire_channels::ring::{PopError, PushError, slot};
//!
//! let (mut producer, mut consumer) = slot::ring(2);
//! producer.try_push("one")?;
//! producer.try_push("two")?;
//! assert_eq!(producer.try_push("three"), Err(PushError::Full("three")));
//!
//! assert_eq!(consumer.try_pop(), Ok("one"));
//! drop(producer);
//! assert_eq!(consumer.try_pop(), Ok("two"));
//! assert_eq!(consumer.try_pop(), Err(PopError::Closed));
//! # Ok::<(), PushError<&str>>(())
//! ```
//!
//! Waiting, under any executor:
//!
//! ```
//! use deltawire_channels::ring::slot;
//!
//! let (mut producer, mut consumer) = slot::ring(1);
//! let writer = std::thread::spawn(move || {
//!     pollster::block_on(async {
//!         for value in 0..100 {
//!             producer.push(value).await?;
//!         }
//!         Ok::<_, deltawire_channels::ring::RingClosed<i32>>(())
//!     })
//! });
//! let mut sum = 0;
//! pollster::block_on(async {
//!     while let Some(value) = consumer.pop().await {
//!         sum += value;
//!     }
//! });
//! assert_eq!(sum, 4_950);
//! # writer.join().unwrap().unwrap();
//! ```

mod consumer;
mod producer;
mod storage;
#[cfg(all(test, not(loom)))]
#[allow(clippy::unwrap_used)]
mod tests;

pub use consumer::{Batch, Consumer};
pub use producer::Producer;

use super::parking::Parker;

/// A ring that holds up to `capacity` values: exactly that many, no more.
///
/// Its memory has room for `capacity` rounded up to a power of two. It is taken when the first value
/// is put in: a ring that nobody uses takes none.
///
/// # Panics
/// When `capacity` is 0.
#[must_use]
pub fn ring<T>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    ring_at(capacity, 0)
}

/// A [`ring`] whose positions start at `position`, so that tests see them wrap around.
#[doc(hidden)]
#[must_use]
pub fn ring_at<T>(capacity: usize, position: usize) -> (Producer<T>, Consumer<T>) {
    let (writer, reader) = storage::storage(capacity, position);
    let (producer, consumer) = Parker::pair(position);
    (Producer::new(writer, producer), Consumer::new(reader, consumer))
}
