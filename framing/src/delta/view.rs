use core::fmt;

use bytemuck::Pod;
use zerocopy::byteorder::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::cast::{payload_as, payload_as_mut};
use super::checksum::checksum;
use super::header::{DeltaHeader, DeltaType, DocId};
use crate::error::{CastError, Expected, Field, Malformed};
use crate::operations::Operations;

/// A delta as it lies: header, then payload.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Layout {
    pub(super) header: DeltaHeader,
    pub(super) payload: [u8],
}

/// A view over the bytes of one delta, its header checked. Cheap to copy and to throw away.
///
/// ```
/// use deltawire_framing::{Delta, DeltaFields, DeltaWriter, DocId};
///
/// let mut buffer = [0; 48 + 8];
/// let mut writer = DeltaWriter::new(&mut buffer, DeltaFields::new(DocId([7; 16])))?;
/// writer.payload_mut().copy_from_slice(b"8 bytes!");
/// let len = writer.finish(8)?;
///
/// let delta = Delta::parse(&buffer[..len])?;
/// assert_eq!(delta.payload(), b"8 bytes!");
/// assert_eq!(delta.doc_id(), DocId([7; 16]));
/// delta.verify_checksum()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct Delta<'a> {
    layout: &'a Layout,
}

impl<'a> Delta<'a> {
    /// Sees `bytes`, a message's whole body, as a delta. The checksum is not computed: that is
    /// [`verify_checksum`](Self::verify_checksum), once, where the bytes enter.
    ///
    /// # Errors
    /// Names the first field that breaks a rule.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let Ok(layout) = Layout::ref_from_bytes(bytes) else {
            return Err(too_short(bytes.len()));
        };
        check(&layout.header, bytes.len())?;
        Ok(Self { layout })
    }

    /// The header.
    #[must_use]
    #[inline]
    pub fn header(&self) -> &'a DeltaHeader {
        &self.layout.header
    }

    /// What the payload is.
    #[must_use]
    #[inline]
    pub fn delta_type(&self) -> DeltaType {
        self.layout.header.delta_type()
    }

    /// The document.
    #[must_use]
    #[inline]
    pub fn doc_id(&self) -> DocId {
        self.layout.header.doc_id()
    }

    /// Microseconds since the Unix epoch, by the writer's clock.
    #[must_use]
    #[inline]
    pub fn timestamp(&self) -> u64 {
        self.layout.header.timestamp()
    }

    /// The writer's counter for this document, wrapping.
    #[must_use]
    #[inline]
    pub fn sequence(&self) -> u32 {
        self.layout.header.sequence()
    }

    /// The payload's bytes.
    #[must_use]
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        &self.layout.payload
    }

    /// The payload as numbers, in place.
    ///
    /// # Errors
    /// Where the payload does not lie at the type's alignment, or is not whole elements.
    #[inline]
    pub fn payload_as<T: Pod>(&self) -> Result<&'a [T], CastError> {
        payload_as(self.payload())
    }

    /// The payload as a list of operations: for [`DeltaType::OPERATIONS`].
    ///
    /// # Errors
    /// A delta of another type ([`Field::DeltaType`]). Each operation is checked when the iterator
    /// comes to it.
    #[inline]
    pub fn operations(&self) -> Result<Operations<'a>, Malformed> {
        if self.delta_type() != DeltaType::OPERATIONS {
            let expected = Expected::Exactly(u64::from(DeltaType::OPERATIONS.get()));
            let value = u64::from(self.delta_type().get());
            return Err(Malformed::new(Field::DeltaType, value, expected));
        }
        Ok(Operations::new(self.payload()))
    }

    /// Whether the checksum, if there is one, is that of the bytes. A session has checked it of what it
    /// hands on.
    ///
    /// # Errors
    /// [`Field::Checksum`] when it is not.
    pub fn verify_checksum(&self) -> Result<(), Malformed> {
        let header = &self.layout.header;
        if !header.has_checksum() {
            return Ok(());
        }
        let computed = checksum(header, &self.layout.payload);
        if computed != header.checksum() {
            let expected = Expected::Exactly(u64::from(computed));
            return Err(Malformed::new(Field::Checksum, u64::from(header.checksum()), expected));
        }
        Ok(())
    }

    /// Header and payload, as they lie.
    #[must_use]
    #[inline]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.layout.as_bytes()
    }
}

impl fmt::Debug for Delta<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delta")
            .field("header", self.header())
            .field("payload_len", &self.payload().len())
            .finish()
    }
}

/// A view over a delta whose payload may be changed in place. Call
/// [`update_checksum`](Self::update_checksum) after the last change.
pub struct DeltaMut<'a> {
    layout: &'a mut Layout,
}

impl<'a> DeltaMut<'a> {
    /// Sees `bytes` as a delta, as [`Delta::parse`] does.
    ///
    /// # Errors
    /// Names the first field that breaks a rule.
    #[inline]
    pub fn parse(bytes: &'a mut [u8]) -> Result<Self, Malformed> {
        let len = bytes.len();
        let Ok(layout) = Layout::mut_from_bytes(bytes) else {
            return Err(too_short(len));
        };
        check(&layout.header, len)?;
        Ok(Self { layout })
    }

    /// The view for reading.
    #[must_use]
    #[inline]
    pub fn as_delta(&self) -> Delta<'_> {
        Delta { layout: self.layout }
    }

    /// The payload's bytes.
    #[must_use]
    #[inline]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        &mut self.layout.payload
    }

    /// The payload as numbers, in place.
    ///
    /// # Errors
    /// As [`Delta::payload_as`].
    #[inline]
    pub fn payload_as_mut<T: Pod>(&mut self) -> Result<&mut [T], CastError> {
        payload_as_mut(self.payload_mut())
    }

    /// Writes the checksum of what the bytes are now; does nothing for a delta without one.
    pub fn update_checksum(&mut self) {
        if self.layout.header.has_checksum() {
            let value = checksum(&self.layout.header, &self.layout.payload);
            self.layout.header.checksum = U32::new(value);
        }
    }
}

impl fmt::Debug for DeltaMut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DeltaMut").field(&self.as_delta()).finish()
    }
}

#[cold]
fn too_short(len: usize) -> Malformed {
    Malformed::new(Field::Length, len as u64, Expected::AtLeast(DeltaHeader::SIZE as u64))
}

/// Every rule of a delta header in front of `len` bytes, itself included.
#[inline]
fn check(header: &DeltaHeader, len: usize) -> Result<(), Malformed> {
    let total_size = u64::from(header.total_size());
    let sound = header.magic == DeltaHeader::MAGIC
        && header.version.get() == DeltaHeader::VERSION
        && header.reserved.get() == 0
        && total_size == len as u64
        && (header.has_checksum() || header.checksum() == 0);
    if sound { Ok(()) } else { Err(broken_rule(header, len as u64)) }
}

#[cold]
fn broken_rule(header: &DeltaHeader, len: u64) -> Malformed {
    let magic = u32::from_le_bytes(header.magic);
    let (field, value, expected) = if header.magic != DeltaHeader::MAGIC {
        let expected = u32::from_le_bytes(DeltaHeader::MAGIC);
        (Field::Magic, magic, Expected::Exactly(u64::from(expected)))
    } else if header.version.get() != DeltaHeader::VERSION {
        let expected = Expected::Exactly(u64::from(DeltaHeader::VERSION));
        (Field::Version, u32::from(header.version.get()), expected)
    } else if header.reserved.get() != 0 {
        (Field::Reserved, u32::from(header.reserved.get()), Expected::Exactly(0))
    } else if u64::from(header.total_size()) != len {
        (Field::TotalSize, header.total_size(), Expected::Exactly(len))
    } else {
        (Field::Checksum, header.checksum(), Expected::That("must be 0 without flag bit 0"))
    };
    Malformed::new(field, u64::from(value), expected)
}
