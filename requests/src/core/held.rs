//! Messages that wait to be taken, and how much of the session's window they keep.

use deltawire_channels::Message;

/// A message that waits.
pub(super) struct Held {
    message: Message,
    /// Bytes of the window that it keeps.
    uncopied: usize,
    bytes: usize,
}

/// What waits.
pub(super) struct Holding {
    uncopied: usize,
    max_uncopied: usize,
    bytes: usize,
}

impl Holding {
    pub(super) fn new(max_uncopied: usize) -> Self {
        Self { uncopied: 0, max_uncopied, bytes: 0 }
    }

    /// Keeps a message where it came, or a copy when too many are kept so.
    pub(super) fn hold(&mut self, message: Message) -> Held {
        let bytes = message.frame().as_bytes().len();
        self.bytes += bytes;
        if self.uncopied + bytes <= self.max_uncopied {
            self.uncopied += bytes;
            return Held { message, uncopied: bytes, bytes };
        }
        Held { message: message.detach(), uncopied: 0, bytes }
    }

    pub(super) fn take(&mut self, held: Held) -> Message {
        self.uncopied -= held.uncopied;
        self.bytes -= held.bytes;
        held.message
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
