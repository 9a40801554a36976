//! Rings between one producer and one consumer, each of which may be on a thread of its own.
//!
//! | ring | carries | full |
//! |---|---|---|
//! | [`slot`] | owned values of one type | gives the value back, or waits |
//! | [`byte`] | messages of any length, as frames, read and written in place | says what is missing, or waits |
//!
//! # Three ways to call
//! * `try_…` calls answer at once.
//! * `async` calls wait, by parking the task; an idle ring costs no CPU. Each has a `poll_…` form
//!   for a driver that waits for several things at a time. Only the task that polled last is
//!   woken.
//! * `…_without_notify` calls answer at once and wake nobody.
//!
//! # Publishing and waking
//! Every call that adds a message or gives room back *publishes* that at once: the other side sees
//! it whenever it looks. Any call but those `…_without_notify` also *wakes* the other side if it is
//! parked. Finding out whether it is costs an atomic exchange: a nanosecond or two, and several times
//! that while the other side is at work on another core, which makes it the dearest part of a push.
//! So when several messages follow one another, make calls `…_without_notify`, then `notify()` once;
//! batched calls do just that.
//!
//! **After such a call, a parked peer sleeps on** until this side calls `notify()`, makes a call that
//! wakes, parks itself, closes or is dropped. Forgetting `notify()` therefore delays the peer while
//! this side is busy elsewhere, but two sides never sleep waiting for each other.
//!
//! # Closing
//! Either side closes the ring, by `close()` or by being dropped. The producer then gets its
//! values back; what is in the ring stays readable, and only then does the consumer hear `Closed`.
//! A push that runs at the same moment as the *consumer's* close may still be taken: its value
//! can be read, and is dropped with the ring if it never is.

pub mod byte;
mod error;
mod parking;
pub mod slot;

pub use error::{CommitError, PopError, PushError, ReadError, ReserveError, RingClosed};
