use zerocopy::FromBytes;

use super::security::{SecurityHeader, SigningKey};
use super::status::Status;
use crate::delta::{Delta, DeltaHeader};
use crate::error::{CastError, Expected, Field, Malformed};
use crate::frame::{Frame, FrameHeader};

/// Records start at multiples of this many bytes: the two fixed parts fill two cache lines, and
/// the payload starts on a third.
pub const RECORD_ALIGN: usize = 64;

/// Bytes of a record in front of the payload.
const PREFIX: usize = SecurityHeader::SIZE + FrameHeader::SIZE + DeltaHeader::SIZE;
const _: () = assert!(PREFIX == 2 * RECORD_ALIGN);

/// A view over a record's bytes, its frame and delta checked. Cheap to copy and to throw away.
///
/// Bytes 64 on are the frame: [`frame_bytes`](Self::frame_bytes) goes to any number of peers as it
/// lies.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    security: &'a SecurityHeader,
    frame: Frame<'a>,
    delta: Delta<'a>,
}

impl<'a> Record<'a> {
    /// Sees `bytes` as exactly one record.
    ///
    /// # Errors
    /// Names the first field that breaks a rule. Neither checksum nor signature is computed.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let Ok((security, frame)) = SecurityHeader::ref_from_prefix(bytes) else {
            let expected = Expected::AtLeast(PREFIX as u64);
            return Err(Malformed::new(Field::Length, bytes.len() as u64, expected));
        };
        let reserved = u64::from(security.reserved.get());
        if reserved != 0 {
            return Err(Malformed::new(Field::Reserved, reserved, Expected::Exactly(0)));
        }
        let frame = Frame::parse(frame)?;
        Ok(Self { security, frame, delta: frame.delta()? })
    }

    /// What the node knows of the record, as it was when the bytes were read.
    #[must_use]
    pub fn security(&self) -> &'a SecurityHeader {
        self.security
    }

    /// The frame.
    #[must_use]
    pub fn frame(&self) -> Frame<'a> {
        self.frame
    }

    /// The frame's bytes, as they are sent.
    #[must_use]
    pub fn frame_bytes(&self) -> &'a [u8] {
        self.frame.as_bytes()
    }

    /// The delta.
    #[must_use]
    pub fn delta(&self) -> Delta<'a> {
        self.delta
    }

    /// Whether the signature is that of `key`, compared in constant time.
    ///
    /// # Errors
    /// [`Field::Signature`], with its first eight bytes as value, when it is not, or when there is
    /// none.
    pub fn verify_signature(&self, key: &SigningKey) -> Result<(), Malformed> {
        let found = self.security.signature;
        if key.signature_of(self.delta.as_bytes()) == found {
            return Ok(());
        }
        let [b0, b1, b2, b3, b4, b5, b6, b7, ..] = found;
        let value = u64::from_le_bytes([b0, b1, b2, b3, b4, b5, b6, b7]);
        let expected = Expected::That("must be the key's BLAKE3 hash of the delta");
        Err(Malformed::new(Field::Signature, value, expected))
    }
}

/// A record that nobody else can see yet: the node's part may be written.
#[derive(Debug)]
pub struct RecordMut<'a> {
    bytes: &'a mut [u8],
}

impl<'a> RecordMut<'a> {
    /// Sees `bytes` as exactly one record, as [`Record::parse`] does.
    ///
    /// # Errors
    /// Names the first field that breaks a rule.
    pub fn parse(bytes: &'a mut [u8]) -> Result<Self, Malformed> {
        Record::parse(bytes)?;
        Ok(Self { bytes })
    }

    /// Writes what the node knows of the record, and signs it if there is a key. Status bits that
    /// are on stay on.
    pub fn write_security(&mut self, security: SecurityHeader, key: Option<&SigningKey>) {
        let mut security = security;
        if let Some(key) = key {
            let delta = SecurityHeader::SIZE + FrameHeader::SIZE..;
            let delta = self.bytes.get(delta).unwrap_or_default();
            security.signature = *key.signature_of(delta).as_bytes();
        }
        if let Ok((place, _)) = SecurityHeader::mut_from_prefix(self.bytes) {
            security.switch_on(place.status());
            *place = security;
        }
    }

    /// Lets any number of threads see the record, and switch its status bits on.
    ///
    /// # Errors
    /// [`CastError::Alignment`] unless the record starts at a multiple of 4, as one in a
    /// [`RecordBuf`](crate::RecordBuf) does; the record is given up.
    pub fn share(self) -> Result<SharedRecord<'a>, CastError> {
        // The bytes were parsed, so nothing but where they lie can be wrong.
        SharedRecord::new(self.bytes)
            .ok_or(CastError::Alignment { align: align_of::<Status>() as u64 })
    }
}

/// A record that many threads look at while its status bits are being switched on.
///
/// ```
/// use deltawire_framing::{
///     Channel, DeltaFields, DeltaWriter, DocId, FrameHeader, Kind, RecordBuf, StatusBits,
/// };
///
/// let mut buffer = RecordBuf::with_body_capacity(48);
/// let body_len = DeltaWriter::new(buffer.body_mut(), DeltaFields::new(DocId([7; 16])))?.finish(0)?;
/// buffer.seal(FrameHeader::whole(Kind::Delta, Channel::Data, body_len)?)?;
///
/// let record = buffer.record_mut()?.share()?;
/// std::thread::scope(|threads| {
///     threads.spawn(|| record.status().set(StatusBits::VALID_DELTA));
///     threads.spawn(|| record.status().set(StatusBits::PROCESSED));
/// });
/// assert!(record.status().get().contains(StatusBits::VALID_DELTA | StatusBits::PROCESSED));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SharedRecord<'a> {
    status: &'a Status,
    frame: Frame<'a>,
    delta: Delta<'a>,
}

impl<'a> SharedRecord<'a> {
    fn new(record: &'a mut [u8]) -> Option<Self> {
        let (security, frame) = record.split_at_mut_checked(SecurityHeader::SIZE)?;
        let (status, _) = Status::mut_from_prefix(security).ok()?;
        let frame = Frame::parse(frame).ok()?;
        Some(Self { status, frame, delta: frame.delta().ok()? })
    }

    /// The status bits.
    #[must_use]
    pub fn status(&self) -> &'a Status {
        self.status
    }

    /// The frame's bytes, as they are sent.
    #[must_use]
    pub fn frame_bytes(&self) -> &'a [u8] {
        self.frame.as_bytes()
    }

    /// The delta.
    #[must_use]
    pub fn delta(&self) -> Delta<'a> {
        self.delta
    }
}
