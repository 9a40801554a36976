//! Messages that wait to be taken, or were taken, and how much of the session's window they keep.

use std::sync::{Arc, Mutex, PoisonError};

use deltawire_channels::Message;

/// How much of the window messages keep that were not copied.
#[derive(Clone, Debug, Default)]
struct Uncopied(Arc<Mutex<usize>>);

impl Uncopied {
    /// Counts one more, if it fits.
    fn add(&self, bytes: usize, max: usize) -> bool {
        let mut sum = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = sum.saturating_add(bytes) <= max;
        if fits {
            *sum += bytes;
        }
        fits
    }

    fn remove(&self, bytes: usize) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) -= bytes;
    }
}

/// A message, which counts against what may lie uncopied until it is dropped.
#[derive(Debug)]
pub struct Pinned {
    message: Message,
    counted: Option<(Uncopied, usize)>,
}

impl Pinned {
    /// The message itself.
    #[must_use]
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// From here on it is the application's.
    #[must_use]
    pub fn into_message(self) -> Message {
        self.message.clone()
    }

    /// A copy takes its place.
    pub fn release(&mut self) {
        if self.message.kept_window() > 0 {
            self.message = self.message.detach();
        }
        if let Some((uncopied, bytes)) = self.counted.take() {
            uncopied.remove(bytes);
        }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if let Some((uncopied, bytes)) = self.counted.take() {
            uncopied.remove(bytes);
        }
    }
}

/// A message that waits.
pub(super) struct Held {
    message: Pinned,
    bytes: usize,
}

/// What waits.
pub(super) struct Holding {
    uncopied: Uncopied,
    max_uncopied: usize,
    bytes: usize,
}

impl Holding {
    pub(super) fn new(max_uncopied: usize) -> Self {
        Self { uncopied: Uncopied::default(), max_uncopied, bytes: 0 }
    }

    /// Keeps a message where it came, or a copy when too many are kept so, or when it would keep the memory of others.
    pub(super) fn hold(&mut self, message: Message) -> Held {
        let (bytes, window) = (message.frame().as_bytes().len(), message.kept_window());
        self.bytes += bytes;
        let message = if window == 0 {
            Pinned { message, counted: None }
        } else if window <= 2 * bytes && self.uncopied.add(window, self.max_uncopied) {
            Pinned { message, counted: Some((self.uncopied.clone(), window)) }
        } else {
            Pinned { message: message.detach(), counted: None }
        };
        Held { message, bytes }
    }

    pub(super) fn take(&mut self, held: Held) -> Pinned {
        self.bytes -= held.bytes;
        held.message
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
