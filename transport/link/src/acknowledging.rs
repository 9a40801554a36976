//! What links over streams say to each other: how much has come.
//!
//! A stream hands bytes on and does not say when they arrive, and what waits in its buffers no command can
//! overtake. So each side tells how many bytes of messages came to it, and the other paces itself by that. Such
//! an acknowledgement is a message of its own, of [`ACKNOWLEDGEMENT_LEN`] bytes, shorter than any frame: a u64,
//! little-endian.

use std::time::Duration;

use deltawire_framing::Channel;

use crate::Queue;

/// Length of an acknowledgement, bytes.
pub const ACKNOWLEDGEMENT_LEN: usize = 8;

/// The longest message over a stream, bytes.
pub const MAX_STREAM_MESSAGE: usize = 64 << 10;

/// What of what is on its way over a stream may wait: see [`Capabilities::queue`](crate::Capabilities::queue).
pub const STREAM_QUEUE: Queue =
    Queue { time: Duration::from_micros(500), certain: usize::MAX, most: usize::MAX };

/// So much that came is acknowledged at once, bytes; less goes with the next message, or after
/// [`ACKNOWLEDGEMENT_DELAY`].
const AT_ONCE: u64 = 32 << 10;

/// How long an acknowledgement waits for a message to go with.
const ACKNOWLEDGEMENT_DELAY: Duration = Duration::from_millis(5);

/// The shortest frame: a header and a byte.
const MIN_FRAME: usize = 17;

/// Where a frame names its channel.
const CHANNEL_OFFSET: usize = 2;

/// What a peer says over a stream that no honest one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamMessageError {
    /// A message is neither an acknowledgement nor long enough for a frame.
    #[error("a message of {len} bytes came: an acknowledgement has 8, a frame at least 17")]
    Length {
        /// Its length.
        len: usize,
    },
    /// A message is longer than any may be.
    #[error("a message of {len} bytes came, at most {max} may be")]
    TooLong {
        /// Its length.
        len: u64,
        /// The most.
        max: usize,
    },
    /// A frame names a channel that there is not.
    #[error("a frame of channel {channel} came: must be 0 or 1")]
    Channel {
        /// What it names.
        channel: u8,
    },
    /// More was acknowledged than was sent.
    #[error("{acknowledged} bytes were acknowledged, {written} had been sent")]
    Acknowledged {
        /// What the peer says that came.
        acknowledged: u64,
        /// What was sent.
        written: u64,
    },
    /// Less was acknowledged than before.
    #[error("{acknowledged} bytes were acknowledged, after {before}")]
    Unacknowledged {
        /// What the peer says that came.
        acknowledged: u64,
        /// What it said before.
        before: u64,
    },
}

/// What was acknowledged each way on a link over a stream. Only bytes of messages count, not those of
/// acknowledgements.
#[derive(Clone, Copy, Debug, Default)]
pub struct Acknowledgements {
    written: u64,
    acknowledged: u64,
    received: u64,
    /// Of `received`, what the peer was told.
    told: u64,
    /// When the peer is told the rest by itself.
    due_at: Option<Duration>,
}

impl Acknowledgements {
    /// Counts a message that is sent.
    pub fn wrote(&mut self, len: usize) {
        self.written += len as u64;
    }

    /// Bytes that were sent and not acknowledged.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        usize::try_from(self.written - self.acknowledged).unwrap_or(usize::MAX)
    }

    /// Takes in a message that came: gives its channel, or `None` of an acknowledgement.
    ///
    /// # Errors
    ///
    /// When it is neither.
    pub fn take(
        &mut self,
        message: &[u8],
        now: Duration,
    ) -> Result<Option<Channel>, StreamMessageError> {
        if let Ok(acknowledged) = <[u8; ACKNOWLEDGEMENT_LEN]>::try_from(message) {
            self.take_acknowledged(u64::from_le_bytes(acknowledged))?;
            return Ok(None);
        }
        let len = message.len();
        let channel = match message.get(CHANNEL_OFFSET) {
            Some(channel) if len >= MIN_FRAME => *channel,
            _ => return Err(StreamMessageError::Length { len }),
        };
        let channel = match channel {
            0 => Channel::Command,
            1 => Channel::Data,
            channel => return Err(StreamMessageError::Channel { channel }),
        };
        self.received += len as u64;
        self.due_at.get_or_insert(now.saturating_add(ACKNOWLEDGEMENT_DELAY));
        Ok(Some(channel))
    }

    fn take_acknowledged(&mut self, acknowledged: u64) -> Result<(), StreamMessageError> {
        let Self { written, acknowledged: before, .. } = *self;
        if acknowledged > written {
            return Err(StreamMessageError::Acknowledged { acknowledged, written });
        }
        if acknowledged < before {
            return Err(StreamMessageError::Unacknowledged { acknowledged, before });
        }
        self.acknowledged = acknowledged;
        Ok(())
    }

    /// Whether the peer is to be told now what came, even if there is nothing else to send.
    #[must_use]
    pub fn is_due(&self, now: Duration) -> bool {
        self.received - self.told >= AT_ONCE || self.due_at.is_some_and(|at| at <= now)
    }

    /// When that will be.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.due_at
    }

    /// An acknowledgement to be sent, of all that came and was not acknowledged yet.
    pub fn to_send(&mut self) -> Option<[u8; ACKNOWLEDGEMENT_LEN]> {
        self.due_at.take()?;
        self.told = self.received;
        Some(self.told.to_le_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = ACKNOWLEDGEMENT_DELAY;

    fn frame(len: usize, channel: u8) -> Vec<u8> {
        let mut frame = vec![0; len];
        frame[CHANNEL_OFFSET] = channel;
        frame
    }

    #[test]
    fn what_came_is_told_at_once_with_a_message_or_after_a_while() {
        let mut acknowledgements = Acknowledgements::default();
        assert_eq!((acknowledgements.to_send(), acknowledgements.poll_timeout()), (None, None));
        let now = Duration::from_secs(1);
        let channel = acknowledgements.take(&frame(100, 1), now).unwrap();
        assert_eq!(channel, Some(Channel::Data));
        assert!(!acknowledgements.is_due(now));
        assert_eq!(acknowledgements.poll_timeout(), Some(now + DELAY));
        acknowledgements.take(&frame(20, 0), now + DELAY / 2).unwrap();
        assert!(acknowledgements.is_due(now + DELAY), "the first one's time counts");
        assert_eq!(acknowledgements.to_send(), Some(120_u64.to_le_bytes()));
        assert_eq!((acknowledgements.to_send(), acknowledgements.poll_timeout()), (None, None));
        acknowledgements.take(&frame(AT_ONCE as usize, 1), now).unwrap();
        assert!(acknowledgements.is_due(now));
    }

    #[test]
    fn what_is_acknowledged_is_no_longer_in_flight() {
        let mut acknowledgements = Acknowledgements::default();
        acknowledgements.wrote(1_000);
        assert_eq!(acknowledgements.take(&600_u64.to_le_bytes(), DELAY), Ok(None));
        assert_eq!(acknowledgements.in_flight(), 400);
        assert_eq!(acknowledgements.poll_timeout(), None, "it is not acknowledged itself");
    }

    #[test]
    fn an_acknowledgement_is_as_the_format_says() {
        let example = "```hex acknowledgement\n00010000 00000000\n```";
        assert!(include_str!("../../../docs/WIRE.md").contains(example));
        let mut acknowledgements = Acknowledgements::default();
        acknowledgements.take(&frame(256, 0), DELAY).unwrap();
        assert_eq!(acknowledgements.to_send(), Some([0, 1, 0, 0, 0, 0, 0, 0]));
    }

    #[test]
    fn what_no_honest_peer_says_is_named() {
        let mut acknowledgements = Acknowledgements::default();
        acknowledgements.wrote(1_000);
        acknowledgements.take(&600_u64.to_le_bytes(), DELAY).unwrap();
        for (message, misuse) in [
            (vec![], StreamMessageError::Length { len: 0 }),
            (frame(7, 0), StreamMessageError::Length { len: 7 }),
            (frame(9, 0), StreamMessageError::Length { len: 9 }),
            (frame(16, 0), StreamMessageError::Length { len: 16 }),
            (frame(17, 2), StreamMessageError::Channel { channel: 2 }),
            (
                1_001_u64.to_le_bytes().to_vec(),
                StreamMessageError::Acknowledged { acknowledged: 1_001, written: 1_000 },
            ),
            (
                599_u64.to_le_bytes().to_vec(),
                StreamMessageError::Unacknowledged { acknowledged: 599, before: 600 },
            ),
        ] {
            assert_eq!(acknowledgements.take(&message, DELAY), Err(misuse));
        }
        assert_eq!(acknowledgements.in_flight(), 400);
    }
}
