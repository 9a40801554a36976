use core::fmt;
use core::ops::Deref;

use deltawire_framing::Channel;

use super::source::Outbound;

/// A transport message to be sent, its bytes where they lie. It counts as sent when it is given.
pub struct OutgoingMessage<'a> {
    pub(super) channel: Channel,
    pub(super) bytes: Bytes<'a>,
}

pub(super) enum Bytes<'a> {
    Control(&'a [u8]),
    Outbound(Outbound<'a>),
}

impl OutgoingMessage<'_> {
    /// Whether it holds messages of the application's.
    #[must_use]
    pub fn is_application(&self) -> bool {
        matches!(self.bytes, Bytes::Outbound(_))
    }

    /// The channel that it goes over.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.channel
    }
}

impl Deref for OutgoingMessage<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Control(bytes) => bytes,
            Bytes::Outbound(bytes) => bytes,
        }
    }
}

impl fmt::Debug for OutgoingMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutgoingMessage")
            .field("channel", &self.channel)
            .field("len", &self.len())
            .finish()
    }
}
