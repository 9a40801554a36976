use core::mem::{offset_of, size_of};

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::RequestType;
use super::header::RequestHeader;
use crate::delta::{DeltaFields, DeltaType, DocId};
use crate::error::{Expected, Field, Malformed};

/// Announces a stream: what a delta's header says, and how long it is if that is known. 56 bytes.
///
/// ```text
///  0        1        2                 4                                 8
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | type 6 | flags  | code            | id                                |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | credit                            | reserved                          |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | stream_len                                                            |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | doc_id                                                       16 bytes |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | timestamp                                                             |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | sequence                          | delta_type      | reserved        |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// ```
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub(super) struct Open {
    header: RequestHeader,
    stream_len: U64,
    doc_id: [u8; 16],
    timestamp: U64,
    sequence: U32,
    delta_type: U16,
    reserved: U16,
}

const _: () = {
    assert!(size_of::<Open>() == 56);
    assert!(align_of::<Open>() == 1);
    assert!(offset_of!(Open, stream_len) == 16);
    assert!(offset_of!(Open, doc_id) == 24);
    assert!(offset_of!(Open, timestamp) == 40);
    assert!(offset_of!(Open, sequence) == 48);
    assert!(offset_of!(Open, delta_type) == 52);
    assert!(offset_of!(Open, reserved) == 54);
};

impl Open {
    /// In `flags`: `stream_len` holds.
    const KNOWN: u8 = 1;

    pub(super) fn new(id: u32, len: Option<u64>, fields: &DeltaFields) -> Self {
        let flags = if len.is_some() { Self::KNOWN } else { 0 };
        Self {
            header: RequestHeader::new(RequestType::Open, flags, id),
            stream_len: U64::new(len.unwrap_or_default()),
            doc_id: fields.doc_id.0,
            timestamp: U64::new(fields.timestamp),
            sequence: U32::new(fields.sequence),
            delta_type: U16::new(fields.delta_type.get()),
            reserved: U16::ZERO,
        }
    }

    /// What it says; its header was checked.
    pub(super) fn parse(body: &[u8]) -> Result<(Option<u64>, DeltaFields), Malformed> {
        let Ok(open) = Self::ref_from_bytes(body) else {
            let expected = Expected::Exactly(size_of::<Self>() as u64);
            return Err(Malformed::new(Field::Length, body.len() as u64, expected));
        };
        let len = open.stream_len.get();
        let known = open.header.flags & Self::KNOWN != 0;
        if !known && len != 0 {
            return Err(Malformed::new(Field::StreamLen, len, Expected::Exactly(0)));
        }
        if open.reserved.get() != 0 {
            let value = u64::from(open.reserved.get());
            return Err(Malformed::new(Field::Reserved, value, Expected::Exactly(0)));
        }
        let fields = DeltaFields {
            delta_type: DeltaType::of_wire(open.delta_type.get()),
            timestamp: open.timestamp.get(),
            sequence: open.sequence.get(),
            ..DeltaFields::new(DocId(open.doc_id))
        };
        Ok((known.then_some(len), fields))
    }
}
