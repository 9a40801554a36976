//! A message that is kept for longer than the next one takes to be asked for.

use core::fmt;
use core::ops::Range;

use bytes::Bytes;
use deltawire_framing::{
    Channel, Delta, DeltaFields, DeltaHeader, DeltaWriter, Expected, FRAME_ALIGN, Field, Frame,
    FrameHeader, Kind, Malformed, RecordBuf, WriteError,
};

use super::receiver::{Arrived, Memory, checked};
use crate::sync::{Arc, AtomicUsize, Ordering};
use crate::waking::Credit;

/// A message that came, owned: it can be kept, cloned and sent to other threads. Nothing was copied
/// for it; clones share its memory, and so do messages that came in one transport message.
///
/// Until the last of those that share memory is dropped, that memory counts as not read: it keeps its
/// part of the window, so that a peer cannot make an application hold more than its window by being
/// fast. Who keeps many for long takes [copies](Self::detach). Beside its bytes each memory takes about
/// 100 more, which the window does not count.
///
/// The payload of a delta lies at a multiple of 16.
#[derive(Clone)]
pub struct Message(Place);

/// Where a message's frame lies.
#[derive(Clone)]
enum Place {
    /// There, in memory that others may lie in too.
    Part(Arc<Kept>, Range<usize>),
    /// It is all of this.
    Whole(Bytes),
}

impl Message {
    pub(super) fn new(memory: Arc<Kept>, frame: Range<usize>) -> Self {
        Self(Place::Part(memory, frame))
    }

    /// The message whose whole frame these bytes are, without a copy if they start at a multiple of 16. For what
    /// was checked before and kept, as a log does: a delta's checksum is not looked at.
    ///
    /// # Errors
    /// Names the first field that breaks a rule of the frame's.
    pub fn of_kept(bytes: Bytes) -> Result<Self, Malformed> {
        let frame = Frame::parse(&bytes)?;
        if frame.is_fragment() {
            let count = u64::from(frame.header().fragment_count());
            return Err(Malformed::new(Field::FragmentCount, count, Expected::Exactly(1)));
        }
        if !bytes.as_ptr().addr().is_multiple_of(FRAME_ALIGN) {
            return Ok(Self::copy_of(frame));
        }
        Ok(Self(Place::Whole(bytes)))
    }

    /// The same of what a log has checked as it took it in, and gives back: nothing of it is looked at again.
    ///
    /// # Panics
    /// Later, when it is read, if the bytes are no whole frame.
    #[must_use]
    #[inline]
    pub fn of_log(bytes: Bytes) -> Self {
        if bytes.as_ptr().addr().is_multiple_of(FRAME_ALIGN) {
            return Self(Place::Whole(bytes));
        }
        Self::of_kept(bytes).unwrap_or_else(|error| checked(error))
    }

    /// Its frame's bytes, without a copy, for a log that keeps them by limits of its own: what the message took of
    /// the window goes back to the peer, that of all messages in the same memory.
    #[must_use]
    pub fn into_kept(self) -> Bytes {
        match self.0 {
            Place::Whole(bytes) => bytes,
            Place::Part(kept, frame) => {
                kept.release();
                Bytes::from_owner(Part { kept, frame })
            }
        }
    }

    /// A delta of this side's, to be sent to many with a [`SharedSender`](super::SharedSender): with a
    /// copy of `payload`. A [`RecordBuf`] that is written in place spares the copy.
    ///
    /// # Errors
    /// When the fields or the length cannot be written.
    pub fn delta_of(fields: DeltaFields, payload: &[u8]) -> Result<Self, WriteError> {
        let capacity = payload.len().saturating_add(DeltaHeader::SIZE);
        let mut record = RecordBuf::with_body_capacity(capacity);
        let mut writer = DeltaWriter::new(record.body_mut(), fields)?;
        if let Some(room) = writer.payload_mut().get_mut(..payload.len()) {
            room.copy_from_slice(payload);
        }
        let body_len = writer.finish(payload.len())?;
        record.seal(FrameHeader::whole(Kind::Delta, Channel::Data, body_len)?)?;
        Ok(Self::of_record(record))
    }

    /// A message about documents, for a [`FrameSource`](crate::session::FrameSource) to give.
    #[must_use]
    pub fn document_of(body: &[u8], channel: Channel) -> Self {
        let mut record = RecordBuf::with_body_capacity(body.len());
        let sealed = FrameHeader::whole(Kind::Document, channel, body.len()).and_then(|header| {
            if let Some(room) = record.body_mut().get_mut(..body.len()) {
                room.copy_from_slice(body);
            }
            record.seal(header)
        });
        match sealed {
            Ok(()) => Self::of_record(record),
            Err(error) => unreachable!("messages about documents are short and not empty: {error}"),
        }
    }

    /// A copy in memory of its own, which takes nothing of any window.
    pub(crate) fn copy_of(frame: Frame<'_>) -> Self {
        match RecordBuf::copy_of(frame) {
            Ok(record) => Self::of_record(record),
            Err(error) => unreachable!("a receiver gives whole messages: {error}"),
        }
    }

    fn of_record(record: RecordBuf) -> Self {
        let len = record.frame_bytes().len();
        let arrived = Arrived { memory: Memory::Landed(record), cost: 0 };
        Self::new(Arc::new(Kept::new(arrived, None)), 0..len)
    }

    /// Its frame: what [`Receiver::next`](super::Receiver::next) gives a view of.
    #[must_use]
    #[inline]
    pub fn frame(&self) -> Frame<'_> {
        let bytes = match &self.0 {
            Place::Part(kept, frame) => kept.bytes().get(frame.clone()).unwrap_or_default(),
            Place::Whole(bytes) => bytes,
        };
        Frame::parse(bytes).unwrap_or_else(|error| checked(error))
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.frame().kind()
    }

    /// The delta that it holds.
    ///
    /// # Errors
    /// When it is another kind of message.
    pub fn delta(&self) -> Result<Delta<'_>, Malformed> {
        self.frame().delta()
    }

    /// How much of the window that it came through its memory keeps, bytes: with all messages in the same memory; 0 of a
    /// copy, of one from the same process, and of what was [kept](Self::into_kept).
    #[must_use]
    pub fn kept_window(&self) -> usize {
        match &self.0 {
            Place::Part(kept, _) if kept.home.is_some() => kept.cost.load(Ordering::Relaxed),
            Place::Part(..) | Place::Whole(_) => 0,
        }
    }

    /// A copy in memory of its own. When this one and all that share its memory are dropped, the peer
    /// gets the room back.
    #[must_use]
    pub fn detach(&self) -> Self {
        Self::copy_of(self.frame())
    }
}

impl Message {
    /// It was not read, and never will be: what it took of the window stays taken.
    pub(super) fn forfeit(self) {
        if let Place::Part(kept, _) = &self.0 {
            kept.forfeit();
        }
    }
}

impl TryFrom<RecordBuf> for Message {
    type Error = Malformed;

    /// The message that a record holds, where it lies.
    fn try_from(record: RecordBuf) -> Result<Self, Malformed> {
        check(record.frame()?)?;
        Ok(Self::of_record(record))
    }
}

/// One message in memory that is kept.
struct Part {
    kept: Arc<Kept>,
    frame: Range<usize>,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        self.kept.bytes().get(self.frame.clone()).unwrap_or_default()
    }
}

/// What a session checks of what comes in.
fn check(frame: Frame<'_>) -> Result<(), Malformed> {
    match frame.kind() {
        Kind::Opaque => Ok(()),
        Kind::Document => frame.document().map(drop),
        Kind::Request => frame.request().map(drop),
        Kind::Bulk => frame.bulk().map(drop),
        // Control messages are the session's own.
        Kind::Delta | Kind::Control => frame.delta()?.verify_checksum(),
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("frame", &self.frame()).finish()
    }
}

/// Memory that messages share.
pub(super) struct Kept {
    arrived: Arrived,
    /// What it gives back when it is dropped: what it took of the window, or nothing when its receiver
    /// was dropped before it was read to its end.
    cost: AtomicUsize,
    /// To whom.
    home: Option<Arc<Credit>>,
}

impl Kept {
    pub(super) fn new(arrived: Arrived, home: Option<Arc<Credit>>) -> Self {
        // No window is longer than a `usize`: the memory behind it is not.
        let cost = usize::try_from(arrived.cost).unwrap_or(usize::MAX);
        Self { arrived, cost: AtomicUsize::new(cost), home }
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        self.arrived.bytes()
    }

    /// Gives back what it took of the window, though its memory stays.
    fn release(&self) {
        let cost = self.cost.swap(0, Ordering::Relaxed);
        if let Some(home) = self.home.as_ref().filter(|_| cost > 0) {
            home.give_back(cost);
        }
    }

    /// Not all of it was read, or will be.
    pub(super) fn forfeit(&self) {
        self.cost.store(0, Ordering::Relaxed);
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // The last owner has seen what the others did.
        self.release();
    }
}
