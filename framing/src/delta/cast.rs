use bytemuck::{Pod, PodCastError};

use crate::error::CastError;

/// Sees bytes as a slice of numbers, in place. The numbers have the byte order of this machine;
/// every machine that Deltawire runs on so far is little-endian, as the wire is.
///
/// # Errors
/// Where the bytes do not start at the type's alignment or are not whole elements. Nothing is
/// copied to make it work.
#[inline]
pub fn payload_as<T: Pod>(bytes: &[u8]) -> Result<&[T], CastError> {
    let len = bytes.len();
    bytemuck::try_cast_slice(bytes).map_err(|error| explain::<T>(error, len))
}

/// The same, for writing.
///
/// # Errors
/// As [`payload_as`].
#[inline]
pub fn payload_as_mut<T: Pod>(bytes: &mut [u8]) -> Result<&mut [T], CastError> {
    let len = bytes.len();
    bytemuck::try_cast_slice_mut(bytes).map_err(|error| explain::<T>(error, len))
}

#[cold]
fn explain<T>(error: PodCastError, len: usize) -> CastError {
    match error {
        PodCastError::TargetAlignmentGreaterAndInputNotAligned => {
            CastError::Alignment { align: align_of::<T>() as u64 }
        }
        _ => CastError::Length { len: len as u64, element: size_of::<T>() as u64 },
    }
}
