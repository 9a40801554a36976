use core::fmt;
use core::mem::{offset_of, size_of};

use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::status::StatusBits;

/// The 64 bytes in front of a record's frame. They stay on the node: they are never sent.
///
/// ```text
///  0                                 4                                 8
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | status                            | reserved                          |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | validated_at                                                          |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | validator_id                                                 16 bytes |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | signature                                                    32 bytes |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// ```
///
/// Integers are little-endian, alignment is 1.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    KnownLayout,
    Immutable,
    Unaligned,
)]
#[repr(C)]
pub struct SecurityHeader {
    status: U32,
    pub(super) reserved: U32,
    validated_at: U64,
    validator_id: [u8; 16],
    pub(super) signature: [u8; 32],
}

const _: () = {
    assert!(size_of::<SecurityHeader>() == SecurityHeader::SIZE);
    assert!(align_of::<SecurityHeader>() == 1);
    assert!(offset_of!(SecurityHeader, status) == 0);
    assert!(offset_of!(SecurityHeader, reserved) == 4);
    assert!(offset_of!(SecurityHeader, validated_at) == 8);
    assert!(offset_of!(SecurityHeader, validator_id) == 16);
    assert!(offset_of!(SecurityHeader, signature) == 32);
};

impl SecurityHeader {
    /// Bytes of a header.
    pub const SIZE: usize = 64;

    /// A header of a record that `validator_id` looked at, at `validated_at` microseconds since
    /// the Unix epoch, and found to be `status`. Not signed.
    #[must_use]
    pub const fn new(status: StatusBits, validated_at: u64, validator_id: [u8; 16]) -> Self {
        Self {
            status: U32::new(status.bits()),
            reserved: U32::ZERO,
            validated_at: U64::new(validated_at),
            validator_id,
            signature: [0; 32],
        }
    }

    pub(super) fn switch_on(&mut self, bits: StatusBits) {
        self.status = U32::new((self.status() | bits).bits());
    }

    /// The status bits.
    #[must_use]
    pub const fn status(&self) -> StatusBits {
        StatusBits::from_bits(self.status.get())
    }

    /// When the record was validated, microseconds since the Unix epoch.
    #[must_use]
    pub const fn validated_at(&self) -> u64 {
        self.validated_at.get()
    }

    /// Who validated it.
    #[must_use]
    pub const fn validator_id(&self) -> &[u8; 16] {
        &self.validator_id
    }

    /// BLAKE3 keyed hash of delta header and payload, or zeros.
    #[must_use]
    pub const fn signature(&self) -> &[u8; 32] {
        &self.signature
    }

    /// Whether there is a signature. It says nothing of whether it holds.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        self.signature != [0; 32]
    }
}

/// The 32 bytes that a node signs its records with. Printed by no `Debug`.
#[derive(Clone)]
pub struct SigningKey([u8; 32]);

impl SigningKey {
    /// A key of these bytes: random, and kept secret.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The signature of a delta's bytes, header and payload.
    #[must_use]
    pub(super) fn signature_of(&self, delta: &[u8]) -> blake3::Hash {
        blake3::keyed_hash(&self.0, delta)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}
