use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use super::security::SecurityHeader;
use super::view::{RECORD_ALIGN, Record, RecordMut};
use crate::error::{Expected, Field, Malformed, WriteError};
use crate::frame::{Frame, FrameHeader};

/// Where the body begins.
const BODY: usize = SecurityHeader::SIZE + FrameHeader::SIZE;

/// One cache line. What a record's memory is made of, so that it starts at a multiple of 64.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C, align(64))]
struct Line([u8; RECORD_ALIGN]);

/// Memory that owns one message, laid out as a record: 64 bytes for the node, 16 for the frame
/// header, then the body, at 64-byte alignment. So a delta's payload lies at a multiple of 64,
/// and there is headroom to send the message, whole or in fragments, from where it lies.
///
/// The memory is allocated once and reused: [`clear`](Self::clear) and write the next message.
pub struct RecordBuf {
    lines: Vec<Line>,
    /// Bytes of the sealed body; 0 while the message is being written.
    body_len: usize,
}

impl RecordBuf {
    /// Memory for a body of up to `capacity` bytes (rounded up to whole cache lines), zeroed.
    #[must_use]
    pub fn with_body_capacity(capacity: usize) -> Self {
        let lines = BODY.saturating_add(capacity).div_ceil(RECORD_ALIGN);
        Self { lines: vec![Line::new_zeroed(); lines], body_len: 0 }
    }

    /// A copy of a whole message, to keep it when its view ends.
    ///
    /// # Errors
    /// [`WriteError::Invalid`] for a fragment.
    pub fn copy_of(frame: Frame<'_>) -> Result<Self, WriteError> {
        let body = frame.body();
        let mut record = Self::with_body_capacity(body.len());
        if let Some(room) = record.body_mut().get_mut(..body.len()) {
            room.copy_from_slice(body);
        }
        record.seal(*frame.header())?;
        Ok(record)
    }

    /// Bytes that a body may have.
    #[must_use]
    pub fn body_capacity(&self) -> usize {
        self.lines.len() * RECORD_ALIGN - BODY
    }

    /// Gives up the message; the memory stays.
    pub fn clear(&mut self) {
        self.body_len = 0;
    }

    /// All of the room for a body.
    #[must_use]
    pub fn body_mut(&mut self) -> &mut [u8] {
        self.lines.as_mut_bytes().get_mut(BODY..).unwrap_or_default()
    }

    /// Ends the writing: the body's first `header.message_len()` bytes are the message, of which
    /// the node knows nothing yet.
    ///
    /// # Errors
    /// [`WriteError::Invalid`] for a fragment's header, [`WriteError::BufferTooSmall`] when the
    /// body is longer than the room for it.
    pub fn seal(&mut self, header: FrameHeader) -> Result<(), WriteError> {
        if header.is_fragment() {
            let count = u64::from(header.fragment_count());
            return Err(WriteError::invalid(Field::FragmentCount, count, Expected::Exactly(1)));
        }
        let needed = u64::from(header.message_len());
        let available = self.body_capacity() as u64;
        if needed > available {
            return Err(WriteError::BufferTooSmall { needed, available });
        }
        if let Some(place) = self.lines.as_mut_bytes().get_mut(..BODY) {
            // What the node knew of the message before this one does not hold of this one.
            let (security, place) = place.split_at_mut(SecurityHeader::SIZE);
            security.fill(0);
            place.copy_from_slice(header.as_bytes());
        }
        self.body_len = header.message_len() as usize;
        Ok(())
    }

    /// The message with its frame header, as it is sent; empty before [`seal`](Self::seal).
    #[must_use]
    pub fn frame_bytes(&self) -> &[u8] {
        self.lines.as_bytes().get(SecurityHeader::SIZE..self.end()).unwrap_or_default()
    }

    /// The same, for a [`Fragmenter`](crate::Fragmenter) to work in.
    #[must_use]
    pub fn frame_bytes_mut(&mut self) -> &mut [u8] {
        let frame = SecurityHeader::SIZE..self.end();
        self.lines.as_mut_bytes().get_mut(frame).unwrap_or_default()
    }

    /// The same, with what the node knows of it in front: what a store keeps.
    #[must_use]
    pub fn record_bytes(&self) -> &[u8] {
        self.lines.as_bytes().get(..self.end()).unwrap_or_default()
    }

    /// The message.
    ///
    /// # Errors
    /// [`Field::Length`] before [`seal`](Self::seal).
    pub fn frame(&self) -> Result<Frame<'_>, Malformed> {
        Frame::parse(self.frame_bytes())
    }

    /// The message, seen as a record.
    ///
    /// # Errors
    /// When it is not sealed, or not a delta.
    pub fn record(&self) -> Result<Record<'_>, Malformed> {
        Record::parse(self.record_bytes())
    }

    /// The same, for the node's part to be written, and for sharing.
    ///
    /// # Errors
    /// When it is not sealed, or not a delta.
    pub fn record_mut(&mut self) -> Result<RecordMut<'_>, Malformed> {
        let record = ..self.end();
        RecordMut::parse(self.lines.as_mut_bytes().get_mut(record).unwrap_or_default())
    }

    /// Where the sealed message ends.
    fn end(&self) -> usize {
        if self.body_len == 0 { SecurityHeader::SIZE } else { BODY + self.body_len }
    }
}

impl AsMut<[u8]> for RecordBuf {
    fn as_mut(&mut self) -> &mut [u8] {
        self.body_mut()
    }
}

impl fmt::Debug for RecordBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordBuf")
            .field("body_len", &self.body_len)
            .field("body_capacity", &self.body_capacity())
            .finish()
    }
}
