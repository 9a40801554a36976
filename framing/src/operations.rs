//! The payload of [`DeltaType::OPERATIONS`](crate::DeltaType::OPERATIONS): edits of a document's
//! bytes, one after another.
//!
//! Each operation is a 16-byte header and, for insert and update, its data; operations start at
//! multiples of 8 bytes with zeros in the gaps and none after the last. They apply in order: an
//! operation's offset counts in the document as the operations before it have left it.

use core::iter::FusedIterator;
use core::mem::{offset_of, size_of};

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::{Expected, Field, Malformed, WriteError};

/// Operations start at multiples of this many bytes from the payload's start.
pub const OPERATION_ALIGN: usize = 8;

const INSERT: u8 = 1;
const DELETE: u8 = 2;
const UPDATE: u8 = 3;

/// One edit of a document's bytes, its data where it lies in the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation<'a> {
    /// Puts `data` in front of the byte at `offset`.
    Insert {
        /// Where, in bytes.
        offset: u64,
        /// What; never empty.
        data: &'a [u8],
    },
    /// Takes `len` bytes out, from `offset` on.
    Delete {
        /// Where, in bytes.
        offset: u64,
        /// How many bytes; never 0.
        len: u32,
    },
    /// Writes `data` over the bytes from `offset` on.
    Update {
        /// Where, in bytes.
        offset: u64,
        /// What; never empty.
        data: &'a [u8],
    },
}

/// The 16 bytes in front of an operation's data.
///
/// ```text
///  0        1        2                 4                                 8
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// |operatn.| flags  | reserved        | data_len                          |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | offset                                                                |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// ```
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
struct OperationHeader {
    operation: u8,
    flags: u8,
    reserved: U16,
    data_len: U32,
    offset: U64,
}

const HEADER: usize = size_of::<OperationHeader>();

const _: () = {
    assert!(size_of::<OperationHeader>() == 16);
    assert!(align_of::<OperationHeader>() == 1);
    assert!(offset_of!(OperationHeader, operation) == 0);
    assert!(offset_of!(OperationHeader, flags) == 1);
    assert!(offset_of!(OperationHeader, reserved) == 2);
    assert!(offset_of!(OperationHeader, data_len) == 4);
    assert!(offset_of!(OperationHeader, offset) == 8);
};

/// Walks the operations of a payload as they lie. Yields every operation up to the first error,
/// the error, and then nothing more.
#[derive(Clone, Debug)]
pub struct Operations<'a> {
    rest: &'a [u8],
}

impl<'a> Operations<'a> {
    /// Begins at the first byte of a payload. An empty payload holds no operation.
    #[must_use]
    #[inline]
    pub const fn new(payload: &'a [u8]) -> Self {
        Self { rest: payload }
    }

    #[inline]
    fn step(rest: &'a [u8]) -> Result<(Operation<'a>, &'a [u8]), Malformed> {
        let Ok((header, behind)) = OperationHeader::ref_from_prefix(rest) else {
            let expected = Expected::AtLeast(HEADER as u64);
            return Err(Malformed::new(Field::Length, rest.len() as u64, expected));
        };
        if !(INSERT..=UPDATE).contains(&header.operation) {
            let expected = Expected::OneOf("1 (insert), 2 (delete), 3 (update)");
            return Err(Malformed::new(Field::Operation, u64::from(header.operation), expected));
        }
        let len = header.data_len.get();
        let offset = header.offset.get();
        if header.flags != 0 {
            let flags = u64::from(header.flags);
            return Err(Malformed::new(Field::Flags, flags, Expected::Exactly(0)));
        }
        if header.reserved.get() != 0 {
            let reserved = u64::from(header.reserved.get());
            return Err(Malformed::new(Field::Reserved, reserved, Expected::Exactly(0)));
        }
        if len == 0 {
            return Err(Malformed::new(Field::DataLen, 0, Expected::AtLeast(1)));
        }
        if offset.checked_add(u64::from(len)).is_none() {
            let expected = Expected::AtMost(u64::MAX - u64::from(len));
            return Err(Malformed::new(Field::Offset, offset, expected));
        }
        let data_len = if header.operation == DELETE { 0 } else { len as usize };
        let Some((data, behind)) = behind.split_at_checked(data_len) else {
            let expected = Expected::AtMost(behind.len() as u64);
            return Err(Malformed::new(Field::DataLen, u64::from(len), expected));
        };
        let operation = match header.operation {
            INSERT => Operation::Insert { offset, data },
            DELETE => Operation::Delete { offset, len },
            _ => Operation::Update { offset, data },
        };
        Ok((operation, behind_gap(behind, data_len)?))
    }
}

impl<'a> Iterator for Operations<'a> {
    type Item = Result<Operation<'a>, Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match Self::step(self.rest) {
            Ok((operation, rest)) => {
                self.rest = rest;
                Some(Ok(operation))
            }
            Err(error) => {
                self.rest = &[];
                Some(Err(error))
            }
        }
    }
}

impl FusedIterator for Operations<'_> {}

/// What follows the zeros behind `data_len` bytes of data; nothing when these were the last.
#[inline]
fn behind_gap(bytes: &[u8], data_len: usize) -> Result<&[u8], Malformed> {
    if bytes.is_empty() {
        return Ok(bytes);
    }
    let gap_len = data_len.next_multiple_of(OPERATION_ALIGN) - data_len;
    crate::frame::behind_zeros(bytes, gap_len)
}

/// Writes operations in place, one after another.
///
/// ```
/// use deltawire_framing::operations::{Operation, Operations, OperationsWriter};
///
/// let mut payload = [0; 64];
/// let mut writer = OperationsWriter::new(&mut payload);
/// writer.insert(3, b"new")?;
/// writer.delete(0, 2)?;
/// let len = writer.finish();
///
/// let read: Result<Vec<_>, _> = Operations::new(&payload[..len]).collect();
/// assert_eq!(
///     read?,
///     [Operation::Insert { offset: 3, data: b"new" }, Operation::Delete { offset: 0, len: 2 }],
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct OperationsWriter<'a> {
    payload: &'a mut [u8],
    /// End of the last operation; 0 before the first.
    end: usize,
}

impl<'a> OperationsWriter<'a> {
    /// Begins at the start of `payload`, whatever it holds now.
    #[must_use]
    pub const fn new(payload: &'a mut [u8]) -> Self {
        Self { payload, end: 0 }
    }

    /// Puts `data` in front of the byte at `offset`.
    ///
    /// # Errors
    /// As [`insert_in_place`](Self::insert_in_place).
    pub fn insert(&mut self, offset: u64, data: &[u8]) -> Result<(), WriteError> {
        self.insert_in_place(offset, data.len())?.copy_from_slice(data);
        Ok(())
    }

    /// The same, the caller writing the `len` bytes where they lie.
    ///
    /// # Errors
    /// [`WriteError::BufferTooSmall`] when the payload has no room left for it;
    /// [`WriteError::Invalid`] when `len` is 0 or exceeds 32 bits, or `offset + len` 64 bits.
    pub fn insert_in_place(&mut self, offset: u64, len: usize) -> Result<&mut [u8], WriteError> {
        self.write(INSERT, offset, len, len)
    }

    /// Takes `len` bytes out, from `offset` on.
    ///
    /// # Errors
    /// As [`insert_in_place`](Self::insert_in_place).
    pub fn delete(&mut self, offset: u64, len: u32) -> Result<(), WriteError> {
        self.write(DELETE, offset, len as usize, 0).map(|_| ())
    }

    /// Writes `data` over the bytes from `offset` on.
    ///
    /// # Errors
    /// As [`insert_in_place`](Self::insert_in_place).
    pub fn update(&mut self, offset: u64, data: &[u8]) -> Result<(), WriteError> {
        self.update_in_place(offset, data.len())?.copy_from_slice(data);
        Ok(())
    }

    /// The same, the caller writing the `len` bytes where they lie.
    ///
    /// # Errors
    /// As [`insert_in_place`](Self::insert_in_place).
    pub fn update_in_place(&mut self, offset: u64, len: usize) -> Result<&mut [u8], WriteError> {
        self.write(UPDATE, offset, len, len)
    }

    /// Bytes of payload that the operations take.
    #[must_use]
    pub const fn finish(self) -> usize {
        self.end
    }

    fn write(
        &mut self,
        operation: u8,
        offset: u64,
        len: usize,
        data_len: usize,
    ) -> Result<&mut [u8], WriteError> {
        let Some(len) = u32::try_from(len).ok().filter(|len| *len != 0) else {
            let expected = Expected::That("must be 1 to 4294967295");
            return Err(WriteError::invalid(Field::DataLen, len as u64, expected));
        };
        if offset.checked_add(u64::from(len)).is_none() {
            let expected = Expected::AtMost(u64::MAX - u64::from(len));
            return Err(WriteError::invalid(Field::Offset, offset, expected));
        }
        let start = self.end.next_multiple_of(OPERATION_ALIGN);
        let available = self.payload.len() as u64;
        let end = (start + HEADER).saturating_add(data_len);
        let Some(place) = self.payload.get_mut(self.end..end) else {
            return Err(WriteError::BufferTooSmall { needed: end as u64, available });
        };
        let (gap, place) = place.split_at_mut(start - self.end);
        let (place, data) = place.split_at_mut(HEADER);
        gap.fill(0);
        let header = OperationHeader {
            operation,
            flags: 0,
            reserved: U16::ZERO,
            data_len: U32::new(len),
            offset: U64::new(offset),
        };
        place.copy_from_slice(header.as_bytes());
        self.end = end;
        Ok(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `header` in front of `behind`.
    fn refused(operation: u8, data_len: u32, offset: u64, behind: &[u8]) -> Field {
        let header = OperationHeader {
            operation,
            flags: 0,
            reserved: U16::ZERO,
            data_len: U32::new(data_len),
            offset: U64::new(offset),
        };
        let payload = [header.as_bytes(), behind].concat();
        let mut operations = Operations::new(&payload);
        let error = operations.find_map(Result::err).unwrap();
        assert!(operations.next().is_none(), "nothing follows an error");
        error.field
    }

    #[test]
    fn broken_lists_are_refused_with_the_field() {
        assert_eq!(refused(0, 1, 0, &[1]), Field::Operation);
        assert_eq!(refused(4, 1, 0, &[1]), Field::Operation);
        assert_eq!(refused(INSERT, 0, 0, &[]), Field::DataLen);
        assert_eq!(refused(INSERT, 2, 0, &[1]), Field::DataLen);
        assert_eq!(refused(UPDATE, u32::MAX, 0, &[1]), Field::DataLen);
        assert_eq!(refused(DELETE, 1, u64::MAX, &[]), Field::Offset);
        assert_eq!(refused(INSERT, 1, 0, &[1, 0]), Field::Padding);
        assert_eq!(refused(INSERT, 1, 0, &[1, 0, 0, 0, 0, 0, 0, 0]), Field::Padding);
        assert_eq!(refused(INSERT, 1, 0, &[1, 0, 0, 9, 0, 0, 0, 0, 1]), Field::Padding);
        assert_eq!(refused(DELETE, 1, 0, &[1]), Field::Length);
        let mut payload = [0; 16];
        payload[0] = DELETE;
        payload[4] = 1;
        for (at, field) in [(1, Field::Flags), (2, Field::Reserved)] {
            let mut payload = payload;
            payload[at] = 1;
            assert_eq!(Operations::new(&payload).next().unwrap().unwrap_err().field, field);
        }
        assert_eq!(Operations::new(&payload).count(), 1);
        assert_eq!(Operations::new(&[]).count(), 0);
    }

    #[test]
    fn what_cannot_be_written_is_refused_and_the_rest_stays() {
        let mut payload = [0xEE; 40];
        let mut writer = OperationsWriter::new(&mut payload);
        writer.insert(1, b"abc").unwrap();
        assert!(matches!(writer.insert(1, b""), Err(WriteError::Invalid { .. })));
        assert!(matches!(writer.delete(u64::MAX, 1), Err(WriteError::Invalid { .. })));
        assert_eq!(
            writer.insert(1, b"a"),
            Err(WriteError::BufferTooSmall { needed: 41, available: 40 })
        );
        writer.delete(9, 1).unwrap();
        assert_eq!(writer.finish(), 40);
        assert_eq!(Operations::new(&payload).filter(Result::is_ok).count(), 2);
    }
}
