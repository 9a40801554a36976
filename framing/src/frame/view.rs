use core::fmt;

use zerocopy::FromBytes;

use super::header::{Channel, FRAME_ALIGN, FrameHeader, Kind};
use crate::bulk::Bulk;
use crate::control::Control;
use crate::delta::Delta;
use crate::documents::Document;
use crate::error::{Expected, Field, Malformed};
use crate::requests::RequestMessage;

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
    header: &'a FrameHeader,
    /// Header and body.
    bytes: &'a [u8],
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
        let Ok((header, behind)) = FrameHeader::ref_from_prefix(bytes) else {
            let expected = Expected::AtLeast(FrameHeader::SIZE as u64);
            return Err(Malformed::new(Field::Length, bytes.len() as u64, expected));
        };
        if header.is_sound_whole() {
            match bytes.get(..header.whole_frame_len()) {
                Some(bytes) if bytes.len() > FrameHeader::SIZE => Ok(Self { header, bytes }),
                _ => Err(bad_length(header, behind.len())),
            }
        } else {
            check_header(header)?;
            check_fragment(header, behind.len())?;
            Ok(Self { header, bytes })
        }
    }

    /// The header.
    #[must_use]
    #[inline]
    pub fn header(&self) -> &'a FrameHeader {
        self.header
    }

    /// What the message's body is.
    #[must_use]
    #[inline]
    pub fn kind(&self) -> Kind {
        self.header.kind()
    }

    /// The channel that the message belongs to.
    #[must_use]
    #[inline]
    pub fn channel(&self) -> Channel {
        self.header.channel()
    }

    /// Whether the frame carries only a part of its message.
    #[must_use]
    #[inline]
    pub fn is_fragment(&self) -> bool {
        self.header.is_fragment()
    }

    /// The frame's own body: the whole message's, unless this is a fragment. Never empty.
    #[must_use]
    #[inline]
    pub fn body(&self) -> &'a [u8] {
        self.bytes.get(FrameHeader::SIZE..).unwrap_or_default()
    }

    /// Where the body's first byte belongs in the whole message's body, in bytes.
    #[must_use]
    #[inline]
    pub fn body_offset(&self) -> usize {
        let header = self.header;
        let len = self.body().len();
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
        let header = self.header;
        let last = usize::from(header.fragment_count()) - 1;
        match self.body_offset().checked_div(last) {
            Some(len) if usize::from(header.fragment_index()) == last => len,
            _ => self.body().len(),
        }
    }

    /// Header and body, as they are sent.
    #[must_use]
    #[inline]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The body as a control message: for an unfragmented frame of [`Kind::Control`] on the command
    /// channel.
    ///
    /// # Errors
    /// A frame of another kind ([`Field::Kind`]) or channel ([`Field::Channel`]), a fragment
    /// ([`Field::FragmentCount`]), or what [`Control::parse`] finds.
    pub fn control(&self) -> Result<Control<'a>, Malformed> {
        self.expect_whole(Kind::Control)?;
        if self.channel() != Channel::Command {
            let expected = Expected::Exactly(Channel::Command as u64);
            return Err(Malformed::new(Field::Channel, self.channel() as u64, expected));
        }
        Control::parse(self.body())
    }

    /// The body as a message about documents: for an unfragmented frame of [`Kind::Document`] on the channel
    /// that it belongs to: marks on the data channel, all others on the command channel.
    ///
    /// # Errors
    /// A frame of another kind ([`Field::Kind`]) or channel ([`Field::Channel`]), a fragment
    /// ([`Field::FragmentCount`]), or what [`Document::parse`] finds.
    pub fn document(&self) -> Result<Document<'a>, Malformed> {
        self.expect_whole(Kind::Document)?;
        let document = Document::parse(self.body())?;
        let channel = document.channel();
        if self.channel() != channel {
            let expected = Expected::Exactly(channel as u64);
            return Err(Malformed::new(Field::Channel, self.channel() as u64, expected));
        }
        Ok(document)
    }

    /// The body as a message of a request or stream: for an unfragmented frame of [`Kind::Request`].
    ///
    /// # Errors
    /// A frame of another kind ([`Field::Kind`]), a fragment ([`Field::FragmentCount`]), or what
    /// [`RequestMessage::parse`] finds.
    #[inline]
    pub fn request(&self) -> Result<RequestMessage<'a>, Malformed> {
        self.expect_whole(Kind::Request)?;
        RequestMessage::parse(self.body())
    }

    /// The body as a message about bulk: for an unfragmented frame of [`Kind::Bulk`] on the data channel.
    ///
    /// # Errors
    /// A frame of another kind ([`Field::Kind`]) or channel ([`Field::Channel`]), a fragment
    /// ([`Field::FragmentCount`]), or what [`Bulk::parse`] finds.
    pub fn bulk(&self) -> Result<Bulk<'a>, Malformed> {
        self.expect_whole(Kind::Bulk)?;
        if self.channel() != Channel::Data {
            let expected = Expected::Exactly(Channel::Data as u64);
            return Err(Malformed::new(Field::Channel, self.channel() as u64, expected));
        }
        Bulk::parse(self.body())
    }

    /// The body as a delta: for an unfragmented frame of [`Kind::Delta`].
    ///
    /// # Errors
    /// A frame of another kind ([`Field::Kind`]), a fragment ([`Field::FragmentCount`]), or what
    /// [`Delta::parse`] finds.
    #[inline]
    pub fn delta(&self) -> Result<Delta<'a>, Malformed> {
        self.expect_whole(Kind::Delta)?;
        Delta::parse(self.body())
    }

    #[inline]
    fn expect_whole(&self, kind: Kind) -> Result<(), Malformed> {
        if self.kind() != kind {
            let expected = Expected::Exactly(kind as u64);
            return Err(Malformed::new(Field::Kind, self.kind() as u64, expected));
        }
        if self.is_fragment() {
            let count = u64::from(self.header().fragment_count());
            return Err(Malformed::new(Field::FragmentCount, count, Expected::Exactly(1)));
        }
        Ok(())
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

/// What is wrong with the length in a header that is sound but for it, with `left` bytes behind.
#[cold]
fn bad_length(header: &FrameHeader, left: usize) -> Malformed {
    let expected = if header.message_len() == 0 {
        Expected::AtLeast(1)
    } else {
        Expected::AtMost(left as u64)
    };
    Malformed::new(Field::MessageLen, u64::from(header.message_len()), expected)
}

/// Every rule that concerns the header alone, for one that is not that of a sound unfragmented
/// frame.
fn check_header(header: &FrameHeader) -> Result<(), Malformed> {
    let (index, count) = (header.fragment_index(), header.fragment_count());
    let (field, value, expected) = if header.version != FrameHeader::VERSION {
        let expected = Expected::Exactly(u64::from(FrameHeader::VERSION));
        (Field::Version, u32::from(header.version), expected)
    } else if !(1..=6).contains(&header.kind) {
        let kinds = Expected::OneOf(
            "1 (delta), 2 (control), 3 (opaque), 4 (document), 5 (request), 6 (bulk)",
        );
        (Field::Kind, u32::from(header.kind), kinds)
    } else if header.channel > 1 {
        let channels = Expected::OneOf("0 (command), 1 (data)");
        (Field::Channel, u32::from(header.channel), channels)
    } else if header.flags != 0 {
        (Field::Flags, u32::from(header.flags), Expected::Exactly(0))
    } else if header.message_len() == 0 {
        (Field::MessageLen, 0, Expected::AtLeast(1))
    } else if count == 0 {
        (Field::FragmentCount, 0, Expected::AtLeast(1))
    } else if index >= count {
        (Field::FragmentIndex, u32::from(index), Expected::Below(u64::from(count)))
    } else if count == 1 && header.message_id() != 0 {
        (Field::MessageId, header.message_id(), Expected::Exactly(0))
    } else {
        return Ok(());
    };
    Err(Malformed::new(field, u64::from(value), expected))
}

/// The arithmetic of fragments: all but the last carry the same F bytes, a multiple of 16; the
/// last carries 1..=F.
fn check_fragment(header: &FrameHeader, body_len: usize) -> Result<(), Malformed> {
    let count = u64::from(header.fragment_count());
    let index = u64::from(header.fragment_index());
    let message_len = u64::from(header.message_len());
    let body_len = body_len as u64;
    if count == 0 {
        return Err(Malformed::new(Field::FragmentCount, 0, Expected::AtLeast(1)));
    }
    if index >= count {
        return Err(Malformed::new(Field::FragmentIndex, index, Expected::Below(count)));
    }
    if body_len == 0 {
        let expected = Expected::AtLeast(FrameHeader::SIZE as u64 + 1);
        return Err(Malformed::new(Field::Length, FrameHeader::SIZE as u64, expected));
    }
    let full = if index + 1 < count {
        Some(body_len)
    } else {
        // The last one lies at (count - 1) * F, so F follows from where it starts.
        message_len
            .checked_sub(body_len)
            .filter(|start| start.is_multiple_of(count - 1))
            .and_then(|start| start.checked_div(count - 1))
            .filter(|full| body_len <= *full)
    };
    let adds_up = full.is_some_and(|full| {
        full >= FRAME_ALIGN as u64
            && full.is_multiple_of(FRAME_ALIGN as u64)
            && (count - 1) * full < message_len
            && message_len <= count * full
    });
    if !adds_up {
        let rule = "must be message_len divided by the length that all fragments but the last \
                    share (a multiple of 16), rounded up";
        return Err(Malformed::new(Field::FragmentCount, count, Expected::That(rule)));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
