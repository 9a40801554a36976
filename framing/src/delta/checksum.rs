//! CRC-32C (Castagnoli, RFC 9260 appendix A) of a delta.

use zerocopy::IntoBytes;
use zerocopy::byteorder::little_endian::U32;

use super::header::DeltaHeader;

/// The checksum of `header`, with its checksum field taken as 0, and `payload`.
pub(super) fn checksum(header: &DeltaHeader, payload: &[u8]) -> u32 {
    let blank = DeltaHeader { checksum: U32::ZERO, ..*header };
    crc32c(blank.as_bytes(), payload)
}

/// With the CPU's own instruction where there is one (SSE 4.2, ARMv8 CRC), found at run time;
/// in wasm and elsewhere by table.
#[cfg(feature = "std")]
fn crc32c(header: &[u8], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(header), payload)
}

/// By table.
#[cfg(not(feature = "std"))]
fn crc32c(header: &[u8], payload: &[u8]) -> u32 {
    const CRC_32C: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);
    let mut digest = CRC_32C.digest();
    digest.update(header);
    digest.update(payload);
    digest.finalize()
}
