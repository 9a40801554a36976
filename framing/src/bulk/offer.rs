use core::mem::{offset_of, size_of};

use alloc::vec::Vec;
use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{
    BulkType, MAX_NAME_LEN, MAX_PIECE_LEN, MAX_PIECES, MIN_PIECE_LEN, check_name, check_reserved,
    too_short, wrong_length,
};
use crate::error::{Expected, Field, Malformed, WriteError};

/// What an [`Offer`] says beside the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfferFields {
    /// Names the transfer among those that its sender offers in the session; never used twice.
    pub id: u32,
    /// The [`Get`] that it answers; 0 if none.
    pub request: u32,
    /// Bytes of the file.
    pub len: u64,
    /// BLAKE3 of the file.
    pub root: [u8; 32],
    /// Bytes of each piece but the last: a power of two.
    pub piece_len: u32,
    /// When the file was changed last, microseconds since the Unix epoch; 0: not told.
    pub modified: u64,
}

/// Offers a file: what it is called, how long it is, and its hash. Answered with an [`Accept`] or with a
/// [`BulkDone`](super::BulkDone). 64 bytes, and the name.
///
/// ```text
///  0                 2                 4                                 8
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | bulk_type 1     | reserved        | id                                |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | len                                                                   |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | root                                                         32 bytes |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | piece_len                         | request                           |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | modified                                                              |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | name                                                   1 to 255 bytes |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// ```
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Offer {
    bulk_type: U16,
    reserved: U16,
    id: U32,
    len: U64,
    root: [u8; 32],
    piece_len: U32,
    request: U32,
    modified: U64,
}

const _: () = {
    assert!(size_of::<Offer>() == 64);
    assert!(align_of::<Offer>() == 1);
    assert!(offset_of!(Offer, id) == 4);
    assert!(offset_of!(Offer, len) == 8);
    assert!(offset_of!(Offer, root) == 16);
    assert!(offset_of!(Offer, piece_len) == 48);
    assert!(offset_of!(Offer, request) == 52);
    assert!(offset_of!(Offer, modified) == 56);
};

impl Offer {
    /// The body of an offer.
    ///
    /// # Errors
    /// When the fields or the name break a rule.
    pub fn body(fields: &OfferFields, name: &str) -> Result<Vec<u8>, WriteError> {
        let offer = Self {
            bulk_type: BulkType::Offer.to_wire(),
            reserved: U16::ZERO,
            id: U32::new(fields.id),
            len: U64::new(fields.len),
            root: fields.root,
            piece_len: U32::new(fields.piece_len),
            request: U32::new(fields.request),
            modified: U64::new(fields.modified),
        };
        let mut body = offer.as_bytes().to_vec();
        body.extend_from_slice(name.as_bytes());
        Self::parse(&body).map_err(written)?;
        Ok(body)
    }

    pub(super) fn parse(body: &[u8]) -> Result<(&Self, &str), Malformed> {
        let (message, name) =
            Self::ref_from_prefix(body).map_err(|_| too_short(body.len(), size_of::<Self>()))?;
        check_reserved(message.reserved.get())?;
        let piece_len = message.piece_len.get();
        let is_valid =
            piece_len.is_power_of_two() && (MIN_PIECE_LEN..=MAX_PIECE_LEN).contains(&piece_len);
        let most = u64::from(MAX_PIECES) * u64::from(piece_len);
        if is_valid && message.len.get() > most {
            return Err(Malformed::new(Field::Len, message.len.get(), Expected::AtMost(most)));
        }
        if !is_valid {
            let expected = Expected::That("must be a power of two from 1024 to 65536");
            return Err(Malformed::new(Field::PieceLen, u64::from(piece_len), expected));
        }
        Ok((message, check_name(name, 1)?))
    }

    /// What it says.
    #[must_use]
    pub fn fields(&self) -> OfferFields {
        OfferFields {
            id: self.id.get(),
            request: self.request.get(),
            len: self.len.get(),
            root: self.root,
            piece_len: self.piece_len.get(),
            modified: self.modified.get(),
        }
    }
}

/// Says that an offered file is wanted. 16 bytes.
///
/// ```text
///  0                 2                 4                                 8
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | bulk_type 2     | reserved        | id                                |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | have                                                                  |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// ```
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Accept {
    bulk_type: U16,
    reserved: U16,
    id: U32,
    have: U64,
}

const _: () = {
    assert!(size_of::<Accept>() == 16 && align_of::<Accept>() == 1);
    assert!(offset_of!(Accept, have) == 8);
};

impl Accept {
    /// Accepts the offer `id`, of which `have` bytes are there already.
    #[must_use]
    pub fn new(id: u32, have: u64) -> Self {
        let bulk_type = BulkType::Accept.to_wire();
        Self { bulk_type, reserved: U16::ZERO, id: U32::new(id), have: U64::new(have) }
    }

    pub(super) fn parse(body: &[u8]) -> Result<&Self, Malformed> {
        let message =
            Self::ref_from_bytes(body).map_err(|_| wrong_length(body.len(), size_of::<Self>()))?;
        check_reserved(message.reserved.get())?;
        Ok(message)
    }

    /// The offer.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id.get()
    }

    /// Bytes of the file that its receiver has from an earlier transfer.
    #[must_use]
    pub fn have(&self) -> u64 {
        self.have.get()
    }
}

/// What a [`Get`] asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GetWhat {
    /// The file of the name.
    File,
    /// What files there are. It has no name.
    Catalogue,
}

/// Asks the peer to offer a file. Answered with an [`Offer`] that names it, or with a
/// [`BulkDone`](super::BulkDone). 8 bytes, and the name.
///
/// ```text
///  0                 2        3        4                                 8
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | bulk_type 7     | wanted |reserved| id                                |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// | name                                                   0 to 255 bytes |
/// +--------+--------+--------+--------+--------+--------+--------+--------+
/// ```
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Get {
    bulk_type: U16,
    what: u8,
    reserved: u8,
    id: U32,
}

const _: () = assert!(size_of::<Get>() == 8 && align_of::<Get>() == 1);

impl Get {
    /// The body of a request. Of a catalogue `name` is empty.
    ///
    /// # Errors
    /// When `id` is 0, or the name breaks a rule.
    pub fn body(id: u32, what: GetWhat, name: &str) -> Result<Vec<u8>, WriteError> {
        let get = Self {
            bulk_type: BulkType::Get.to_wire(),
            what: what as u8,
            reserved: 0,
            id: U32::new(id),
        };
        let mut body = get.as_bytes().to_vec();
        body.extend_from_slice(name.as_bytes());
        Self::parse(&body).map_err(written)?;
        Ok(body)
    }

    pub(super) fn parse(body: &[u8]) -> Result<(&Self, &str), Malformed> {
        let (message, name) =
            Self::ref_from_prefix(body).map_err(|_| too_short(body.len(), size_of::<Self>()))?;
        if message.what > GetWhat::Catalogue as u8 {
            let expected = Expected::OneOf("0 (file), 1 (catalogue)");
            return Err(Malformed::new(Field::What, u64::from(message.what), expected));
        }
        check_reserved(message.reserved)?;
        if message.id.get() == 0 {
            return Err(Malformed::new(Field::Id, 0, Expected::AtLeast(1)));
        }
        if message.what() == GetWhat::Catalogue && !name.is_empty() {
            return Err(Malformed::new(Field::Name, name.len() as u64, Expected::Exactly(0)));
        }
        let least = if message.what() == GetWhat::File { 1 } else { 0 };
        Ok((message, check_name(name, least)?))
    }

    /// The request's own number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id.get()
    }

    /// What it asks for.
    #[must_use]
    pub fn what(&self) -> GetWhat {
        if self.what == 0 { GetWhat::File } else { GetWhat::Catalogue }
    }
}

const _: () = assert!(MAX_NAME_LEN <= u8::MAX as usize);

/// What parsing finds of what was just written is the caller's mistake.
fn written(malformed: Malformed) -> WriteError {
    let Malformed { field, value, expected } = malformed;
    WriteError::Invalid { field, value, expected }
}
