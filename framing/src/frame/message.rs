use core::iter::FusedIterator;

use super::header::frame_step;
use super::view::Frame;
use crate::error::{Expected, Field, Malformed};

/// Walks a transport message as it lies: one frame, or several unfragmented ones, each starting
/// at a multiple of 16 bytes with zeros in the gaps.
///
/// Yields every frame up to the first error, the error, and then nothing more. Takes time
/// proportional to the number of frames.
///
/// ```
/// # use deltawire_framing::{Channel, FrameHeader, Frames, Kind};
/// # use zerocopy::IntoBytes;
/// let mut message = vec![0; 32 + 18];
/// message[..16].copy_from_slice(FrameHeader::whole(Kind::Opaque, Channel::Data, 1)?.as_bytes());
/// message[32..48].copy_from_slice(FrameHeader::whole(Kind::Opaque, Channel::Data, 2)?.as_bytes());
///
/// let lengths: Result<Vec<_>, _> =
///     Frames::new(&message).map(|frame| frame.map(|frame| frame.body().len())).collect();
/// assert_eq!(lengths?, [1, 2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    /// What has not been walked; `None` once the walk is over.
    rest: Option<&'a [u8]>,
    /// Whether the next frame is the message's first.
    first: bool,
}

impl<'a> Frames<'a> {
    /// Begins at the first byte of a transport message.
    #[must_use]
    #[inline]
    pub const fn new(message: &'a [u8]) -> Self {
        Self { rest: Some(message), first: true }
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        let first = core::mem::replace(&mut self.first, false);
        let frame = match Frame::parse_prefix(rest) {
            Ok(frame) => frame,
            Err(error) => return Some(Err(error)),
        };
        if frame.is_fragment() && !first {
            let count = u64::from(frame.header().fragment_count());
            return Some(Err(Malformed::new(Field::FragmentCount, count, Expected::Exactly(1))));
        }
        let len = frame.as_bytes().len();
        match rest.get(len..) {
            None | Some([]) => {}
            Some(behind) => match behind_zeros(behind, frame_step(len) - len) {
                Ok(rest) => self.rest = Some(rest),
                Err(error) => return Some(Err(error)),
            },
        }
        Some(Ok(frame))
    }
}

impl FusedIterator for Frames<'_> {}

/// What follows `gap_len` zeros at the start of `bytes`: something has to.
#[inline]
pub(crate) fn behind_zeros(bytes: &[u8], gap_len: usize) -> Result<&[u8], Malformed> {
    let Some((gap, rest @ [_, ..])) = bytes.split_at_checked(gap_len) else {
        let expected = Expected::That("must be 0 bytes: nothing follows it");
        return Err(Malformed::new(Field::Padding, bytes.len() as u64, expected));
    };
    match gap.iter().find(|byte| **byte != 0) {
        None => Ok(rest),
        Some(byte) => Err(Malformed::new(Field::Padding, u64::from(*byte), Expected::Exactly(0))),
    }
}

/// Frames that lie one after another and can be sent as they lie, as one transport message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Bytes of the transport message: up to the end of the last frame, without a gap behind it.
    pub len: usize,
    /// How many frames it holds.
    pub frames: usize,
}

/// Joins the unfragmented frames that lie in `bytes`, at 16-byte steps with zeros in the gaps,
/// into the longest transport message of at most `max_len` bytes, without moving any of them:
/// send `&bytes[..run.len]`, go on at [`frame_step`]`(run.len)`.
///
/// Stops before a fragment, before a frame that does not fit, and before bytes that hold no whole
/// frame or a gap that is not zeros. `None` when that is the case at once.
///
/// ```
/// # use deltawire_framing::{run, Channel, FrameHeader, Kind, Run};
/// # use zerocopy::IntoBytes;
/// let mut ring = vec![0; 96];
/// for start in [0, 32, 64] {
///     let header = FrameHeader::whole(Kind::Opaque, Channel::Data, 9)?;
///     ring[start..start + 16].copy_from_slice(header.as_bytes());
/// }
/// assert_eq!(run(&ring, 1_000), Some(Run { len: 64 + 25, frames: 3 }));
/// assert_eq!(run(&ring, 64), Some(Run { len: 32 + 25, frames: 2 }));
/// assert_eq!(run(&ring, 24), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn run(bytes: &[u8], max_len: usize) -> Option<Run> {
    let mut found = None;
    let mut start = 0;
    let mut frames = 0;
    while let Some(rest) = bytes.get(start..) {
        let Ok(frame) = Frame::parse_prefix(rest) else {
            break;
        };
        let end = start + frame.as_bytes().len();
        if frame.is_fragment() || end > max_len {
            break;
        }
        frames += 1;
        found = Some(Run { len: end, frames });
        start = frame_step(end);
        if bytes.get(end..start).is_none_or(|gap| gap.iter().any(|byte| *byte != 0)) {
            break;
        }
    }
    found
}
