use core::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, TryFromBytes, Unaligned};

use super::header::{Channel, FRAME_ALIGN, FrameHeader, Kind};
use crate::delta::Delta;

use crate::error::{Expected, Field, Malformed};

/// A frame as it lies: header, then body.
#[derive(TryFromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Layout {
    header: FrameHeader,
    body: [u8],
}

/// A view over the bytes of one frame, all of its rules checked. Cheap to copy and to throw away.
///
/// ```
/// use deltawire_framing::{Channel, Frame, FrameHeader, Kind};
/// use zerocopy::IntoBytes;
///
/// let mut bytes = [0; 21];
/// bytes[..16].copy_from_slice(FrameHeader::whole(Kind::Opaque, Channel::Data, 5)?.as_bytes());
/// bytes[16..].copy_from_slice(b"hello");
///
/// let frame = Frame::parse(&bytes)?;
/// assert_eq!(frame.kind(), Kind::Opaque);
/// assert_eq!(frame.body(), b"hello");
///
/// let error = Frame::parse(&bytes[..20]).unwrap_err();
/// assert_eq!(error.to_string(), "malformed: message_len is 5, must be at most 4");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct Frame<'a> {
    layout: &'a Layout,
}

impl<'a> Frame<'a> {
    /// Sees `bytes` as exactly one frame.
    ///
    /// # Errors
    /// Names the first field that breaks a rule; bytes left over behind an unfragmented frame are
    /// reported as [`Field::Padding`]. A transport message of several frames is for
    /// [`Frames`](crate::Frames).
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let frame = Self::parse_prefix(bytes)?;
        let left = bytes.len() - frame.as_bytes().len();
        if left != 0 {
            let expected = Expected::That("must be 0 bytes: nothing follows it");
            return Err(Malformed::new(Field::Padding, left as u64, expected));
        }
        Ok(frame)
    }

    /// Sees the frame that `bytes` begin with. A fragment takes them all.
    #[inline]
    pub(super) fn parse_prefix(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let Ok(layout) = Layout::try_ref_from_bytes(bytes) else {
            return Err(bad_header(bytes));
        };
        let header = &layout.header;
        if header.message_len() == 0 {
            return Err(Malformed::new(Field::MessageLen, 0, Expected::AtLeast(1)));
        }
        if header.is_fragment() {
            check_fragment(header, layout.body.len())?;
            return Ok(Self { layout });
        }
        let index = u64::from(header.fragment_index());
        if index != 0 {
            return Err(Malformed::new(
                Field::FragmentIndex,
                index,
                Expected::Below(1),
            ));
        }
        let id = u64::from(header.message_id());
        if id != 0 {
            return Err(Malformed::new(Field::MessageId, id, Expected::Exactly(0)));
        }
        let frame = bytes.get(..header.whole_frame_len());
        match frame.and_then(|frame| Layout::try_ref_from_bytes(frame).ok()) {
            Some(layout) => Ok(Self { layout }),
            None => {
                let value = u64::from(header.message_len());
                let expected = Expected::AtMost(layout.body.len() as u64);
                Err(Malformed::new(Field::MessageLen, value, expected))
            }
        }
    }

    /// The header.
    #[must_use]
    #[inline]
    pub fn header(&self) -> &'a FrameHeader {
        &self.layout.header
    }

    /// What the message's body is.
    #[must_use]
    #[inline]
    pub fn kind(&self) -> Kind {
        self.layout.header.kind()
    }

    /// The channel that the message belongs to.
    #[must_use]
    #[inline]
    pub fn channel(&self) -> Channel {
        self.layout.header.channel()
    }

    /// Whether the frame carries only a part of its message.
    #[must_use]
    #[inline]
    pub fn is_fragment(&self) -> bool {
        self.layout.header.is_fragment()
    }

    /// The frame's own body: the whole message's, unless this is a fragment. Never empty.
    #[must_use]
    #[inline]
    pub fn body(&self) -> &'a [u8] {
        &self.layout.body
    }

    /// Where the body's first byte belongs in the whole message's body, in bytes.
    #[must_use]
    #[inline]
    pub fn body_offset(&self) -> usize {
        let header = &self.layout.header;
        let len = self.layout.body.len();
        if header.fragment_index() + 1 == header.fragment_count() {
            header.message_len() as usize - len
        } else {
            header.fragment_index() as usize * len
        }
    }

    /// Body length that all fragments of the message but the last share, bytes; the whole body's
    /// when this is not a fragment.
    #[must_use]
    #[inline]
    pub fn fragment_len(&self) -> usize {
        let header = &self.layout.header;
        let last = header.fragment_count() - 1;
        if last != 0 && header.fragment_index() == last {
            self.body_offset() / last as usize
        } else {
            self.layout.body.len()
        }
    }

    /// Header and body, as they are sent.
    #[must_use]
    #[inline]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.layout.as_bytes()
    }

    /// The body as a delta: for an unfragmented frame of [`Kind::Delta`].
    ///
    /// # Errors
    /// A frame of another kind ([`Field::Kind`]), a fragment ([`Field::FragmentCount`]), or what
    /// [`Delta::parse`] finds.
    #[inline]
    pub fn delta(&self) -> Result<Delta<'a>, Malformed> {
        if self.kind() != Kind::Delta {
            let expected = Expected::Exactly(Kind::Delta as u64);
            return Err(Malformed::new(Field::Kind, self.kind() as u64, expected));
        }
        if self.is_fragment() {
            let count = u64::from(self.header().fragment_count());
            return Err(Malformed::new(
                Field::FragmentCount,
                count,
                Expected::Exactly(1),
            ));
        }
        Delta::parse(self.body())
    }
}

impl fmt::Debug for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("header", self.header())
            .field("body_len", &self.body().len())
            .finish()
    }
}

/// Names the field for which `bytes` are not a header.
#[cold]
fn bad_header(bytes: &[u8]) -> Malformed {
    /// The header with nothing promised of its first four bytes.
    #[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
    #[repr(C)]
    struct Raw {
        version: u8,
        kind: u8,
        channel: u8,
        flags: u8,
        rest: [u8; FrameHeader::SIZE - 4],
    }

    let Ok((raw, _)) = Raw::ref_from_prefix(bytes) else {
        let expected = Expected::AtLeast(FrameHeader::SIZE as u64);
        return Malformed::new(Field::Length, bytes.len() as u64, expected);
    };
    let (field, value, expected) = if raw.version != 1 {
        (Field::Version, raw.version, Expected::Exactly(1))
    } else if !(1..=3).contains(&raw.kind) {
        let kinds = Expected::OneOf("1 (delta), 2 (control), 3 (opaque)");
        (Field::Kind, raw.kind, kinds)
    } else if raw.channel > 1 {
        (
            Field::Channel,
            raw.channel,
            Expected::OneOf("0 (command), 1 (data)"),
        )
    } else {
        (Field::Flags, raw.flags, Expected::Exactly(0))
    };
    Malformed::new(field, u64::from(value), expected)
}

/// The arithmetic of fragments: all but the last carry the same F bytes, a multiple of 16; the
/// last carries 1..=F.
#[inline]
fn check_fragment(header: &FrameHeader, body_len: usize) -> Result<(), Malformed> {
    let count = u64::from(header.fragment_count());
    let index = u64::from(header.fragment_index());
    let message_len = u64::from(header.message_len());
    let body_len = body_len as u64;
    if count == 0 {
        return Err(Malformed::new(
            Field::FragmentCount,
            0,
            Expected::AtLeast(1),
        ));
    }
    if index >= count {
        return Err(Malformed::new(
            Field::FragmentIndex,
            index,
            Expected::Below(count),
        ));
    }
    if body_len == 0 {
        let expected = Expected::AtLeast(FrameHeader::SIZE as u64 + 1);
        return Err(Malformed::new(
            Field::Length,
            FrameHeader::SIZE as u64,
            expected,
        ));
    }
    let full = if index + 1 < count {
        Some(body_len)
    } else {
        // The last one lies at (count - 1) * F, so F follows from where it starts.
        message_len
            .checked_sub(body_len)
            .filter(|start| start % (count - 1) == 0)
            .map(|start| start / (count - 1))
            .filter(|full| body_len <= *full)
    };
    let adds_up = full.is_some_and(|full| {
        full >= FRAME_ALIGN as u64
            && full % FRAME_ALIGN as u64 == 0
            && (count - 1) * full < message_len
            && message_len <= count * full
    });
    if !adds_up {
        let rule = "must be message_len divided by the length that all fragments but the last \
                    share (a multiple of 16), rounded up";
        return Err(Malformed::new(
            Field::FragmentCount,
            count,
            Expected::That(rule),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
