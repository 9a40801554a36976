use bytemuck::{Pod, PodCastError};

use crate::error::CastError;

// Numbers are read where they lie, and the wire is little-endian.
#[cfg(target_endian = "big")]
compile_error!(
    "Deltawire reads little-endian payloads in place: big-endian targets are not supported"
);

/// Sees bytes as a slice of numbers, in place. They are little-endian, as on the wire; so is every
/// machine that this compiles for.
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
