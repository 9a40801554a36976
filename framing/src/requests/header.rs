use core::mem::{offset_of, size_of};

use zerocopy::byteorder::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::open::Open;
use super::{MESSAGE_OVERHEAD, RequestType};
use crate::error::{Expected, Field, Malformed};

/// What every message of a request or stream begins with. 16 bytes.
///
/// ```text
///  0        1        2                 4                                 8
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | type   | flags  | code            | id                                |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | credit                            | reserved                          |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// ```
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub(super) struct RequestHeader {
    pub(super) request_type: u8,
    pub(super) flags: u8,
    pub(super) code: U16,
    pub(super) id: U32,
    pub(super) credit: U32,
    reserved: U32,
}

const _: () = {
    assert!(size_of::<RequestHeader>() == 16);
    assert!(align_of::<RequestHeader>() == 1);
    assert!(offset_of!(RequestHeader, request_type) == 0);
    assert!(offset_of!(RequestHeader, flags) == 1);
    assert!(offset_of!(RequestHeader, code) == 2);
    assert!(offset_of!(RequestHeader, id) == 4);
    assert!(offset_of!(RequestHeader, credit) == 8);
    assert!(offset_of!(RequestHeader, reserved) == 12);
};

impl RequestHeader {
    pub(super) const SIZE: usize = size_of::<Self>();

    pub(super) const fn new(request_type: RequestType, flags: u8, id: u32) -> Self {
        Self {
            request_type: request_type as u8,
            flags,
            code: U16::ZERO,
            id: U32::new(id),
            credit: U32::ZERO,
            reserved: U32::ZERO,
        }
    }

    pub(super) const fn with_credit(self, credit: u32) -> Self {
        Self { credit: U32::new(credit), ..self }
    }

    pub(super) const fn with_code(self, code: u16) -> Self {
        Self { code: U16::new(code), ..self }
    }

    /// The type, once the fields in front of the type's own are as they must be.
    pub(super) fn check(&self) -> Result<RequestType, Malformed> {
        let kind = match self.request_type {
            1 => RequestType::Request,
            2 => RequestType::Answer,
            3 => RequestType::Refused,
            4 => RequestType::Cancel,
            5 => RequestType::Credit,
            6 => RequestType::Open,
            7 => RequestType::Piece,
            other => {
                let types = "1 (request), 2 (answer), 3 (refused), 4 (cancel), 5 (credit), \
                             6 (open), 7 (piece)";
                let expected = Expected::OneOf(types);
                return Err(Malformed::new(Field::RequestType, u64::from(other), expected));
            }
        };
        let known = u8::from(kind != RequestType::Cancel);
        if self.flags & !known != 0 {
            let expected = Expected::AtMost(u64::from(known));
            return Err(Malformed::new(Field::Flags, u64::from(self.flags), expected));
        }
        let code = self.code.get();
        if (kind == RequestType::Refused) != (code != 0) {
            let expected = match kind {
                RequestType::Refused => Expected::AtLeast(1),
                _ => Expected::Exactly(0),
            };
            return Err(Malformed::new(Field::Code, u64::from(code), expected));
        }
        if self.id.get() == 0 {
            return Err(Malformed::new(Field::Id, 0, Expected::AtLeast(1)));
        }
        let credit = self.credit.get();
        let grants = match kind {
            RequestType::Credit => true,
            RequestType::Request => self.flags != 0,
            _ => false,
        };
        if grants != (credit != 0) {
            let expected = if grants { Expected::AtLeast(1) } else { Expected::Exactly(0) };
            return Err(Malformed::new(Field::Credit, u64::from(credit), expected));
        }
        let reserved = self.reserved.get();
        if reserved != 0 {
            let expected = Expected::Exactly(0);
            return Err(Malformed::new(Field::Reserved, u64::from(reserved), expected));
        }
        Ok(kind)
    }
}

/// What stands in front of a message's payload, ready to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHead {
    bytes: [u8; Self::MAX_LEN],
    len: usize,
}

impl RequestHead {
    /// Bytes of all but that of an open.
    pub const LEN: usize = RequestHeader::SIZE;
    /// Bytes of the longest: an open.
    pub const MAX_LEN: usize = size_of::<Open>();

    pub(super) fn of<H: IntoBytes + Immutable>(head: &H) -> Self {
        let mut bytes = [0; Self::MAX_LEN];
        // There are two structs, and both fit.
        let _ = head.write_to_prefix(&mut bytes);
        Self { bytes, len: size_of::<H>() }
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// What an answer or a piece with a payload of `payload_len` bytes takes of a credit.
#[must_use]
pub const fn message_cost(payload_len: usize) -> u64 {
    (payload_len as u64).saturating_add(MESSAGE_OVERHEAD as u64)
}
