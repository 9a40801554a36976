//! The only atomic outside of `deltawire_channels`: it lies among the bytes of a record, as loom's
//! atomics cannot. Each method is one operation.

#![allow(clippy::disallowed_types)]

use core::fmt;
use core::ops::BitOr;
use core::sync::atomic::{AtomicU32, Ordering};

use zerocopy::{FromBytes, IntoBytes, KnownLayout};

/// What a node found out about a record. Bits are only ever switched on.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct StatusBits(u32);

impl StatusBits {
    /// None.
    pub const NONE: Self = Self(0);
    /// Header and checksum hold.
    pub const VALID_DELTA: Self = Self(1);
    /// The payload is what the application accepts.
    pub const VALID_DATA: Self = Self(2);
    /// The application is done with it.
    pub const PROCESSED: Self = Self(4);
    /// The application does not want it.
    pub const REJECTED: Self = Self(8);

    const NAMES: [(Self, &'static str); 4] = [
        (Self::VALID_DELTA, "valid_delta"),
        (Self::VALID_DATA, "valid_data"),
        (Self::PROCESSED, "processed"),
        (Self::REJECTED, "rejected"),
    ];

    /// Any bits, those that version 1 does not know included.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The bits as they are stored.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether all of `others` are on.
    #[must_use]
    pub const fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }
}

impl BitOr for StatusBits {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Debug for StatusBits {
    /// The names of the bits that are on: `valid_delta|processed`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.0;
        let mut separator = "";
        for (bit, name) in Self::NAMES {
            if self.contains(bit) {
                write!(f, "{separator}{name}")?;
                separator = "|";
                left &= !bit.0;
            }
        }
        if left != 0 || self.0 == 0 {
            write!(f, "{separator}{left:#x}")?;
        }
        Ok(())
    }
}

/// The first word of a record, shared between threads without a lock.
///
/// What a thread wrote before it switched a bit on is seen by every thread that sees the bit.
#[derive(FromBytes, IntoBytes, KnownLayout)]
#[repr(transparent)]
pub struct Status(AtomicU32);

impl Status {
    /// The bits that are on now.
    #[must_use]
    #[inline]
    pub fn get(&self) -> StatusBits {
        // Acquire: pairs with the release in `set`.
        StatusBits(u32::from_le(self.0.load(Ordering::Acquire)))
    }

    /// Switches `bits` on; returns those that were on before, so exactly one of several threads
    /// that switch the same bit learns that it was the first.
    #[inline]
    pub fn set(&self, bits: StatusBits) -> StatusBits {
        // Release: what this thread wrote before is seen with the bit, by `get` and by later
        // calls of `set`, which acquire.
        StatusBits(u32::from_le(self.0.fetch_or(bits.0.to_le(), Ordering::AcqRel)))
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}
