use core::fmt;

use bytemuck::Pod;
use zerocopy::FromBytes;
use zerocopy::byteorder::little_endian::{U16, U32, U64};

use super::cast::payload_as_mut;
use super::checksum::checksum;
use super::header::{DeltaHeader, DeltaType, DocId};
use super::view::Layout;
use crate::error::{CastError, Expected, Field, WriteError};

/// Whether a delta carries a CRC-32C of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksum {
    /// It does: damage in memory or storage is found wherever the delta goes. Costs about
    /// 0.1 ns a byte with the CPU's instruction.
    #[default]
    Present,
    /// It does not: every transport has a checksum of its own.
    Absent,
}

/// What a writer says of a delta beside its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeltaFields {
    /// The document that the delta belongs to.
    pub doc_id: DocId,
    /// What the payload is. Default: [`DeltaType::OPAQUE`].
    pub delta_type: DeltaType,
    /// Microseconds since the Unix epoch. Default: 0.
    pub timestamp: u64,
    /// The writer's counter for this document, wrapping. Default: 0.
    pub sequence: u32,
    /// Default: [`Checksum::Present`].
    pub checksum: Checksum,
}

impl DeltaFields {
    /// The defaults for a delta of document `doc_id`.
    #[must_use]
    pub const fn new(doc_id: DocId) -> Self {
        Self {
            doc_id,
            delta_type: DeltaType::OPAQUE,
            timestamp: 0,
            sequence: 0,
            checksum: Checksum::Present,
        }
    }
}

/// Writes a delta in place: the caller fills the payload where it will be sent from, and
/// [`finish`](Self::finish) puts the header in front of it.
///
/// The buffer is a message's body, so for a frame it starts 16 bytes behind the frame's start:
///
/// ```
/// use deltawire_framing::{
///     Channel, DeltaFields, DeltaWriter, DocId, Frame, FrameHeader, Kind, RecordBuf,
/// };
///
/// // A record's payload lies at a multiple of 64, so numbers are written in place.
/// let mut record = RecordBuf::with_body_capacity(1_000);
/// let mut writer = DeltaWriter::new(record.body_mut(), DeltaFields::new(DocId([7; 16])))?;
/// writer.payload_as_mut::<f32>(3)?.copy_from_slice(&[1.0, 2.0, 3.0]);
/// let body_len = writer.finish(12)?;
/// record.seal(FrameHeader::whole(Kind::Delta, Channel::Data, body_len)?)?;
///
/// let frame = Frame::parse(record.frame_bytes())?;
/// assert_eq!(frame.delta()?.payload_as::<f32>()?, [1.0, 2.0, 3.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct DeltaWriter<'a> {
    layout: &'a mut Layout,
    fields: DeltaFields,
}

impl<'a> DeltaWriter<'a> {
    /// Begins a delta at the start of `body`; what lies behind its header is for the payload.
    ///
    /// # Errors
    /// [`WriteError::BufferTooSmall`] when not even the header has room.
    #[inline]
    pub fn new(body: &'a mut [u8], fields: DeltaFields) -> Result<Self, WriteError> {
        let available = body.len() as u64;
        let Ok(layout) = Layout::mut_from_bytes(body) else {
            return Err(WriteError::BufferTooSmall { needed: DeltaHeader::SIZE as u64, available });
        };
        Ok(Self { layout, fields })
    }

    /// The room for the payload, whatever it holds now.
    #[must_use]
    #[inline]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        &mut self.layout.payload
    }

    /// Room for `len` numbers at the start of the payload.
    ///
    /// # Errors
    /// Where the payload does not lie at the type's alignment, or has no room for `len` elements.
    #[inline]
    pub fn payload_as_mut<T: Pod>(&mut self, len: usize) -> Result<&mut [T], CastError> {
        let available = self.layout.payload.len() as u64;
        let element = size_of::<T>();
        let bytes = len.checked_mul(element).and_then(|len| self.layout.payload.get_mut(..len));
        let Some(bytes) = bytes else {
            let needed = (len as u64).saturating_mul(element as u64);
            return Err(CastError::TooShort { needed, available });
        };
        payload_as_mut(bytes)
    }

    /// Writes the header for the first `payload_len` bytes of the payload, and their checksum if
    /// the fields ask for one. Returns the delta's length, header included.
    ///
    /// # Errors
    /// [`WriteError::BufferTooSmall`] when the payload's room is smaller than `payload_len`,
    /// [`WriteError::Invalid`] when `total_size` cannot say it.
    #[inline]
    pub fn finish(self, payload_len: usize) -> Result<usize, WriteError> {
        let Self { layout: Layout { header, payload }, fields } = self;
        let total = DeltaHeader::SIZE as u64 + payload_len as u64;
        let Some(payload) = payload.get(..payload_len) else {
            let available = (DeltaHeader::SIZE + payload.len()) as u64;
            return Err(WriteError::BufferTooSmall { needed: total, available });
        };
        let Ok(total_size) = u32::try_from(total) else {
            let expected = Expected::AtMost(u64::from(u32::MAX));
            return Err(WriteError::invalid(Field::TotalSize, total, expected));
        };
        let flags = match fields.checksum {
            Checksum::Present => DeltaHeader::FLAG_CHECKSUM,
            Checksum::Absent => 0,
        };
        *header = DeltaHeader {
            magic: DeltaHeader::MAGIC,
            version: U16::new(DeltaHeader::VERSION),
            delta_type: U16::new(fields.delta_type.get()),
            flags: U16::new(flags),
            reserved: U16::ZERO,
            total_size: U32::new(total_size),
            doc_id: fields.doc_id,
            timestamp: U64::new(fields.timestamp),
            checksum: U32::ZERO,
            sequence: U32::new(fields.sequence),
        };
        if fields.checksum == Checksum::Present {
            header.checksum = U32::new(checksum(header, payload));
        }
        Ok(DeltaHeader::SIZE + payload_len)
    }
}

impl fmt::Debug for DeltaWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeltaWriter")
            .field("fields", &self.fields)
            .field("payload_capacity", &self.layout.payload.len())
            .finish()
    }
}
