//! A ring of messages of any length, between one producer and one consumer, written and read in
//! place.
//!
//! *The ring is the wire*: its memory holds frames, each a [`FrameHeader`] and a body, at steps
//! of 16 bytes with zeros in the gaps, exactly as they are sent. So several small messages are one
//! contiguous slice that leaves as it lies ([`Consumer::read_run`]), and a large message is cut
//! into fragments where it lies ([`View::bytes_mut`]).
//!
//! ```
//! use deltawire_channels::ring::{ReadError, byte};
//! use deltawire_framing::{Channel, FrameHeader, Kind};
//!
//! let (mut producer, mut consumer) = byte::ring(4_096);
//!
//! let mut grant = producer.try_reserve(5)?;
//! grant.body_mut().copy_from_slice(b"hello");
//! grant.commit(FrameHeader::whole(Kind::Opaque, Channel::Data, 5)?)?;
//!
//! let view = consumer.try_read()?;
//! assert_eq!(view.frame().body(), b"hello");
//! assert_eq!(view.len(), 16 + 5);
//! drop(view); // gives the room back
//!
//! drop(producer);
//! assert_eq!(consumer.try_read().unwrap_err(), ReadError::Closed);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Grants and views borrow their side of the ring, so there is one at a time:
//!
//! ```compile_fail,E0499
//! # use deltawire_channels::ring::byte;
//! # let (mut producer, _consumer) = byte::ring(64);
//! let first = producer.try_reserve(5);
//! let second = producer.try_reserve(5);
//! drop(first);
//! ```
//!
//! # Room
//! A message takes header and body rounded up to 16 bytes: [`room_for`]. It never wraps around the
//! ring's end. If it does not fit before the end, 16 zero bytes mark the rest as skipped (no frame
//! starts with a zero) and it lies at the ring's start; so up to one message's room may be
//! unused. The largest message has a body of the ring's capacity less 16 bytes; for one that is
//! larger than half of the ring, the consumer may have to read and release everything first.
//!
//! A ring that is empty starts again at its start when its writer comes to the end of a page (4 KiB)
//! or its room, so one that never holds much keeps to the first pages of its memory, and takes no
//! more of the machine's.
//!
//! # Reading ahead
//! [`Consumer::read_ahead`] reads a message and keeps its room until [`Consumer::release`], while
//! reading goes on. Room goes back to the producer from the oldest message on: what is released
//! out of turn waits for the older ones.
//!
//! # Limits
//! Capacities are powers of two from [`MIN_CAPACITY`] to [`MAX_CAPACITY`] bytes, aligned to 64.
//! Beside it, a consumer keeps one bit for every 16 bytes.

mod ahead;
mod consumer;
mod kept;
mod memory;
mod pages;
mod producer;
#[cfg(all(test, not(loom)))]
#[allow(clippy::unwrap_used)]
mod tests;
mod view;

pub use ahead::Ahead;
pub use consumer::Consumer;
pub use producer::{Grant, Producer};
pub use view::{RunView, View};

use deltawire_framing::{FRAME_ALIGN, FrameHeader, frame_step};

use super::parking::Parker;

/// Smallest capacity of a ring, bytes.
pub const MIN_CAPACITY: usize = 64;

/// Largest capacity of a ring, bytes: 1 GiB, so that positions and lengths fit 32 bits.
pub const MAX_CAPACITY: usize = 1 << 30;

/// A ring of `capacity` bytes, zeroed.
///
/// # Panics
/// When `capacity` is not a power of two from [`MIN_CAPACITY`] to [`MAX_CAPACITY`], or its memory
/// cannot be had.
#[must_use]
pub fn ring(capacity: usize) -> (Producer, Consumer) {
    ring_at(capacity, 0)
}

/// A [`ring`] whose positions start at `position`, a multiple of 16, so that tests see them wrap
/// around.
#[doc(hidden)]
#[must_use]
pub fn ring_at(capacity: usize, position: usize) -> (Producer, Consumer) {
    assert!(
        capacity.is_power_of_two() && (MIN_CAPACITY..=MAX_CAPACITY).contains(&capacity),
        "a ring's capacity is a power of two from 64 to 2^30 bytes, not {capacity}"
    );
    assert!(position.is_multiple_of(FRAME_ALIGN), "positions are multiples of 16");
    let (writer, reader) = memory::memory(capacity, position);
    let (producer, consumer) = Parker::pair(position);
    (Producer::new(writer, producer), Consumer::new(reader, consumer))
}

/// Bytes that a message with a body of `body_len` bytes takes up in a ring: header, body, and the
/// gap behind it up to a multiple of 16.
///
/// # Panics
/// When that is more than a `usize` can count.
#[must_use]
pub const fn room_for(body_len: usize) -> usize {
    frame_step(FrameHeader::SIZE + body_len)
}
