//! Memory that starts at a multiple of 16, as frames and the payloads in them do.

use core::fmt;
use core::ops::Deref;

use bytes::Bytes;
use deltawire_framing::FRAME_ALIGN;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// What aligned memory is made of.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C, align(16))]
struct Step([u8; FRAME_ALIGN]);

/// Aligned bytes, of a number of whole steps but for the last.
#[derive(Clone, Default)]
pub(crate) struct Aligned {
    steps: Vec<Step>,
    len: usize,
}

impl Aligned {
    /// So many zeros.
    pub(crate) fn zeroed(len: usize) -> Self {
        Self { steps: vec![Step::new_zeroed(); len.div_ceil(FRAME_ALIGN)], len }
    }

    /// Lays a copy of `bytes` behind what is there, at the next multiple of 16.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let start = self.steps.len() * FRAME_ALIGN;
        self.steps.resize(self.steps.len() + bytes.len().div_ceil(FRAME_ALIGN), Step::new_zeroed());
        self.len = start + bytes.len();
        if let Some(room) = self.steps.as_mut_bytes().get_mut(start..self.len) {
            room.copy_from_slice(bytes);
        }
    }

    /// Lets room go that is not used.
    pub(crate) fn shrink_to_fit(&mut self) {
        self.steps.shrink_to_fit();
    }

    pub(crate) fn as_mut(&mut self) -> &mut [u8] {
        self.steps.as_mut_bytes().get_mut(..self.len).unwrap_or_default()
    }
}

impl fmt::Debug for Aligned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aligned").field("len", &self.len).finish_non_exhaustive()
    }
}

impl Deref for Aligned {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.steps.as_bytes().get(..self.len).unwrap_or_default()
    }
}

/// A transport message that came, in memory of its own that starts at a multiple of 16. So all frames
/// in it do, and the payloads of their deltas.
///
/// A transport hands over what its stack has, without a copy: a `Vec<u8>` or [`Bytes`], or memory of
/// this type that it [had filled](Self::filled_by). What does not lie as it must is copied once; what
/// allocators give usually does, a slice of a larger buffer usually not. A slice that does keeps its
/// buffer for as long as the application keeps the message: of large ones, hand over copies.
pub struct TransportMessage {
    memory: Memory,
}

enum Memory {
    Vec(Vec<u8>),
    Shared(Bytes),
    Aligned(Aligned),
}

impl TransportMessage {
    /// Memory of `len` bytes that `fill` writes: for stacks that only copy.
    #[must_use]
    pub fn filled_by(len: usize, fill: impl FnOnce(&mut [u8])) -> Self {
        let mut aligned = Aligned::zeroed(len);
        fill(aligned.as_mut());
        Self { memory: Memory::Aligned(aligned) }
    }

    fn copy_of(bytes: &[u8]) -> Self {
        Self::filled_by(bytes.len(), |room| room.copy_from_slice(bytes))
    }
}

/// A transport message that comes in parts: for stacks that copy each to where it belongs.
///
/// ```
/// use deltawire_channels::PartialMessage;
///
/// let mut message = PartialMessage::new(5);
/// for part in [&b"hel"[..], b"lo"] {
///     message.fill(part.len(), |room| room.copy_from_slice(part));
/// }
/// assert_eq!(message.missing(), 0);
/// assert_eq!(&*message.into_message(), b"hello");
/// ```
#[derive(Debug)]
pub struct PartialMessage {
    memory: Aligned,
    filled: usize,
}

impl PartialMessage {
    /// Memory for so many bytes, of which none have come.
    #[must_use]
    pub fn new(len: usize) -> Self {
        Self { memory: Aligned::zeroed(len), filled: 0 }
    }

    /// Bytes that have not come.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.memory.len - self.filled
    }

    /// Has the next `len` bytes written by `fill`, which is given as many, or those that are missing if they are fewer.
    pub fn fill(&mut self, len: usize, fill: impl FnOnce(&mut [u8])) {
        let start = self.filled;
        self.filled += len.min(self.missing());
        let room = self.memory.as_mut().get_mut(start..self.filled);
        fill(room.unwrap_or_default());
    }

    /// The message; zeros stand where nothing has come.
    #[must_use]
    pub fn into_message(self) -> TransportMessage {
        TransportMessage { memory: Memory::Aligned(self.memory) }
    }
}

impl Clone for TransportMessage {
    fn clone(&self) -> Self {
        match &self.memory {
            // Where the copy lies, its allocator says.
            Memory::Vec(bytes) => Self::copy_of(bytes),
            Memory::Shared(bytes) => Self { memory: Memory::Shared(bytes.clone()) },
            Memory::Aligned(bytes) => Self { memory: Memory::Aligned(bytes.clone()) },
        }
    }
}

impl From<Vec<u8>> for TransportMessage {
    #[inline]
    fn from(bytes: Vec<u8>) -> Self {
        if is_aligned(&bytes) { Self { memory: Memory::Vec(bytes) } } else { Self::copy_of(&bytes) }
    }
}

impl From<Bytes> for TransportMessage {
    #[inline]
    fn from(bytes: Bytes) -> Self {
        if is_aligned(&bytes) {
            Self { memory: Memory::Shared(bytes) }
        } else {
            Self::copy_of(&bytes)
        }
    }
}

impl From<Aligned> for TransportMessage {
    fn from(aligned: Aligned) -> Self {
        Self { memory: Memory::Aligned(aligned) }
    }
}

#[inline]
fn is_aligned(bytes: &[u8]) -> bool {
    bytes.as_ptr().addr().is_multiple_of(FRAME_ALIGN)
}

impl Deref for TransportMessage {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.memory {
            Memory::Vec(bytes) => bytes,
            Memory::Shared(bytes) => bytes,
            Memory::Aligned(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for TransportMessage {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for TransportMessage {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for TransportMessage {}

impl fmt::Debug for TransportMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportMessage").field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_comes_lies_at_a_multiple_of_16() {
        let bytes: Vec<u8> = (0..100).collect();
        for start in 0..32 {
            let slice = Bytes::from(bytes.clone()).slice(start..);
            let message = TransportMessage::from(slice);
            assert_eq!(&*message, &bytes[start..]);
            assert!(is_aligned(&message), "{start}");
        }
        let message = TransportMessage::from(bytes);
        assert!(is_aligned(&message) && is_aligned(&message.clone()));
    }

    #[test]
    fn what_lies_well_is_not_copied() {
        let bytes = vec![7; 1_000];
        let (at, aligned) = (bytes.as_ptr(), is_aligned(&bytes));
        let message = TransportMessage::from(bytes);
        assert_eq!(message.as_ptr() == at, aligned);
        let shared = Bytes::from(vec![7; 1_000]);
        let (at, aligned) = (shared.as_ptr(), is_aligned(&shared));
        assert_eq!(TransportMessage::from(shared).as_ptr() == at, aligned);
    }

    #[test]
    fn what_is_pushed_lies_step_by_step() {
        let mut aligned = Aligned::default();
        aligned.push(&[1; 17]);
        aligned.push(&[2; 3]);
        assert_eq!(aligned.len(), 35);
        assert_eq!((aligned[16], aligned[17], aligned[31], aligned[32]), (1, 0, 0, 2));
    }
}
