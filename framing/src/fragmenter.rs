//! Sending a message that is longer than a frame.

use core::fmt;
use core::ops::Deref;

use zerocopy::IntoBytes;

use crate::error::{Expected, Field, WriteError};
use crate::frame::{FRAME_ALIGN, FrameHeader};

/// How one message is cut into frames. Holds numbers only, no bytes: make one where it is needed,
/// copy it, keep it beside the index of the next fragment.
///
/// A message that fits one frame is "cut" into that one, so callers need no special case.
///
/// ```
/// use deltawire_framing::{Channel, Fragmenter, FrameHeader, Frames, Kind};
/// use zerocopy::IntoBytes;
///
/// let header = FrameHeader::whole(Kind::Opaque, Channel::Data, 100)?;
/// let mut message = vec![7; 16 + 100]; // headroom for a frame header, then the body
///
/// let fragmenter = Fragmenter::new(&header, 42, 64)?;
/// assert_eq!(fragmenter.count(), 3); // 48 + 48 + 4 bytes
/// for index in 0..fragmenter.count() {
///     let frame = fragmenter.in_place(&mut message, index)?;
///     // hand `frame` to a transport, which copies it
///     assert_eq!(Frames::new(&frame).count(), 1);
/// }
/// assert_eq!(message, vec![7; 116]); // as it was
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragmenter {
    /// The header of the message as if it were not cut.
    whole: FrameHeader,
    message_id: u32,
    /// Body bytes of every fragment but the last; a multiple of 16.
    fragment_len: usize,
    count: u16,
}

impl Fragmenter {
    /// Cuts the message that `whole` describes into frames of at most `max_frame_len` bytes.
    ///
    /// `message_id` has to differ from those of this sender's other unfinished messages on the
    /// channel, and should come from a counter that wraps. It is not used when one frame is enough.
    ///
    /// # Errors
    /// [`WriteError::Invalid`] when `whole` is itself a fragment, when `max_frame_len` is below
    /// 32, or when the message would need more than 65,535 fragments.
    pub const fn new(
        whole: &FrameHeader,
        message_id: u32,
        max_frame_len: usize,
    ) -> Result<Self, WriteError> {
        let count = whole.fragment_count();
        if count != 1 {
            let expected = Expected::Exactly(1);
            return Err(WriteError::invalid(Field::FragmentCount, count as u64, expected));
        }
        if whole.message_len() == 0 {
            return Err(WriteError::invalid(Field::MessageLen, 0, Expected::AtLeast(1)));
        }
        if whole.whole_frame_len() <= max_frame_len {
            let fragment_len = whole.message_len() as usize;
            return Ok(Self { whole: *whole, message_id: 0, fragment_len, count: 1 });
        }
        if max_frame_len < FrameHeader::SIZE + FRAME_ALIGN {
            let expected = Expected::AtLeast((FrameHeader::SIZE + FRAME_ALIGN) as u64);
            return Err(WriteError::invalid(Field::MaxFrameLen, max_frame_len as u64, expected));
        }
        let fragment_len = (max_frame_len - FrameHeader::SIZE) / FRAME_ALIGN * FRAME_ALIGN;
        let count = (whole.message_len() as usize).div_ceil(fragment_len);
        if count > u16::MAX as usize {
            let expected = Expected::AtMost(u16::MAX as u64);
            return Err(WriteError::invalid(Field::FragmentCount, count as u64, expected));
        }
        Ok(Self { whole: *whole, message_id, fragment_len, count: count as u16 })
    }

    /// How many frames there are; 1 to 65,535.
    #[must_use]
    #[inline]
    pub const fn count(&self) -> u16 {
        self.count
    }

    /// Bytes of the longest of the frames, header included; all but the last are this long.
    #[must_use]
    #[inline]
    pub const fn max_frame_len(&self) -> usize {
        FrameHeader::SIZE + self.fragment_len
    }

    /// The frame of fragment `index`, where it lies: `message` is the whole message's frame,
    /// 16 bytes of headroom and the body. The frame's header is written over the 16 bytes in front
    /// of the fragment's body, and these are put back when the returned value is dropped. No byte
    /// of a body moves.
    ///
    /// # Errors
    /// [`WriteError::Invalid`] for an index that is not below [`count`](Self::count),
    /// [`WriteError::BufferTooSmall`] when `message` is shorter than the message.
    #[inline]
    pub fn in_place<'a>(
        &self,
        message: &'a mut [u8],
        index: u16,
    ) -> Result<FragmentInPlace<'a>, WriteError> {
        let (start, body_len) = self.place(index)?;
        let (needed, available) = (self.whole.whole_frame_len(), message.len());
        let too_short =
            WriteError::BufferTooSmall { needed: needed as u64, available: available as u64 };
        if available < needed {
            return Err(too_short);
        }
        let frame = start..start + FrameHeader::SIZE + body_len;
        message
            .get_mut(frame)
            .and_then(|frame| FragmentInPlace::new(frame, &self.header(index)))
            .ok_or(too_short)
    }

    /// The frame of fragment `index` in `scratch`, for a message that others read at the same
    /// time: `body` is the whole message's, `scratch` has room for a frame. Copies the fragment's
    /// body.
    ///
    /// # Errors
    /// [`WriteError::Invalid`] for an index that is not below [`count`](Self::count),
    /// [`WriteError::BufferTooSmall`] when `body` or `scratch` is too short.
    #[inline]
    pub fn in_scratch<'a>(
        &self,
        body: &[u8],
        index: u16,
        scratch: &'a mut [u8],
    ) -> Result<&'a [u8], WriteError> {
        let (start, body_len) = self.place(index)?;
        let whole = body.get(..self.whole.message_len() as usize);
        let Some(body) = whole.and_then(|whole| whole.get(start..start + body_len)) else {
            let needed = u64::from(self.whole.message_len());
            return Err(WriteError::BufferTooSmall { needed, available: body.len() as u64 });
        };
        let needed = FrameHeader::SIZE + body_len;
        let available = scratch.len() as u64;
        let Some(frame) = scratch.get_mut(..needed) else {
            return Err(WriteError::BufferTooSmall { needed: needed as u64, available });
        };
        let (header, place) = frame.split_at_mut(FrameHeader::SIZE);
        header.copy_from_slice(self.header(index).as_bytes());
        place.copy_from_slice(body);
        Ok(frame)
    }

    /// Where fragment `index` begins in the message's body, and its length.
    #[inline]
    fn place(&self, index: u16) -> Result<(usize, usize), WriteError> {
        if index >= self.count {
            let expected = Expected::Below(u64::from(self.count));
            return Err(WriteError::invalid(Field::FragmentIndex, u64::from(index), expected));
        }
        let start = index as usize * self.fragment_len;
        Ok((start, self.fragment_len.min(self.whole.message_len() as usize - start)))
    }

    #[inline]
    fn header(&self, index: u16) -> FrameHeader {
        let whole = &self.whole;
        FrameHeader::new(
            whole.kind(),
            whole.channel(),
            self.message_id,
            whole.message_len(),
            index,
            self.count,
        )
    }
}

/// A fragment's frame where it lies in its message; dereferences to the frame's bytes. Dropping it
/// gives the message its bytes back.
pub struct FragmentInPlace<'a> {
    /// Invariant: at least a header long.
    frame: &'a mut [u8],
    /// What the header was written over.
    before: [u8; FrameHeader::SIZE],
}

impl<'a> FragmentInPlace<'a> {
    /// Writes `header` over the start of `frame`; `None` when it has no room.
    #[inline]
    fn new(frame: &'a mut [u8], header: &FrameHeader) -> Option<Self> {
        let place = frame.first_chunk_mut()?;
        let before = *place;
        place.copy_from_slice(header.as_bytes());
        Some(Self { frame, before })
    }
}

impl Deref for FragmentInPlace<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.frame
    }
}

impl Drop for FragmentInPlace<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(place) = self.frame.first_chunk_mut() {
            *place = self.before;
        }
    }
}

impl fmt::Debug for FragmentInPlace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FragmentInPlace").field("len", &self.frame.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Channel, Kind};

    fn whole(len: usize) -> FrameHeader {
        FrameHeader::whole(Kind::Opaque, Channel::Data, len).unwrap()
    }

    #[test]
    fn what_fits_is_one_frame_without_an_id() {
        let fragmenter = Fragmenter::new(&whole(48), 9, 64).unwrap();
        assert_eq!(fragmenter.count(), 1);
        let mut message = [7; 64];
        let frame = fragmenter.in_place(&mut message, 0).unwrap();
        assert_eq!(&frame[..16], whole(48).as_bytes());
        drop(frame);
        assert_eq!(message, [7; 64]);
    }

    #[test]
    fn calls_that_cannot_work_are_refused() {
        let invalid = |field, result: Result<Fragmenter, WriteError>| match result {
            Err(WriteError::Invalid { field: found, .. }) => assert_eq!(found, field),
            other => panic!("{other:?}"),
        };
        invalid(Field::MaxFrameLen, Fragmenter::new(&whole(100), 0, 31));
        invalid(Field::FragmentCount, Fragmenter::new(&whole(65_535 * 16 + 1), 0, 32));
        let fragment = FrameHeader::new(Kind::Opaque, Channel::Data, 1, 100, 0, 2);
        invalid(Field::FragmentCount, Fragmenter::new(&fragment, 0, 64));

        let fragmenter = Fragmenter::new(&whole(65_535 * 16), 0, 32).unwrap();
        assert_eq!(fragmenter.count(), 65_535);
        let fragmenter = Fragmenter::new(&whole(100), 0, 64).unwrap();
        assert!(fragmenter.in_place(&mut [0; 116], 3).is_err());
        for index in 0..3 {
            assert!(fragmenter.in_place(&mut [0; 115], index).is_err());
            assert!(fragmenter.in_scratch(&[0; 99], index, &mut [0; 64]).is_err());
        }
        assert!(fragmenter.in_scratch(&[0; 100], 0, &mut [0; 63]).is_err());
    }
}
