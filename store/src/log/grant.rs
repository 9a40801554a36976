use deltawire_framing::{Channel, DeltaFields, DeltaHeader, DeltaWriter, DocId, FrameHeader, Kind};
use zerocopy::IntoBytes;

use super::Log;
use super::appending::Appended;
use crate::error::Refused;
use crate::format::STEP;
use crate::position::{Now, Origin};

/// Bytes in front of a payload: frame header and delta header.
const HEADERS: usize = FrameHeader::SIZE + DeltaHeader::SIZE;

/// Room for a delta where it will be stored, read and sent from. Dropped without [`commit`](Self::commit), it is as if it
/// had never been.
#[derive(Debug)]
pub struct Grant<'a> {
    log: &'a mut Log,
    doc: DocId,
    number: Option<u32>,
    /// Of the item, in steps from the batch's start.
    offset: u32,
    payload_len: usize,
    now: Now,
    committed: bool,
}

impl Log {
    /// Reserves room for a delta of `doc` with `payload_len` bytes of payload, to be written in place.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn reserve(&mut self, doc: DocId, payload_len: usize) -> Result<Grant<'_>, Refused> {
        let now = Now { wall: self.wall, ..Now::default() };
        let len = payload_len.saturating_add(HEADERS);
        let number = self.admit(&doc, len, now)?;
        self.make_chunk(STEP + len, now);
        let offset = self.open.push_room(len);
        Ok(Grant { log: self, doc, number, offset, payload_len, now, committed: false })
    }
}

impl Grant<'_> {
    /// The payload: zeros at first, at a multiple of 64.
    #[must_use]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        let frame = self.log.open.room_mut(self.offset, HEADERS + self.payload_len);
        frame.get_mut(HEADERS..).unwrap_or_default()
    }

    /// Stores the delta, with the headers that `fields` ask for; their document is that of the grant, whatever they say.
    ///
    /// # Errors
    /// None that [`Log::reserve`] did not find, today.
    pub fn commit(
        mut self,
        fields: DeltaFields,
        origin: Origin,
        now: Now,
    ) -> Result<Appended, Refused> {
        let len = HEADERS + self.payload_len;
        let fields = DeltaFields { doc_id: self.doc, ..fields };
        let header = FrameHeader::whole(Kind::Delta, Channel::Data, len - FrameHeader::SIZE);
        let frame = self.log.open.room_mut(self.offset, len);
        if let (Ok(header), Some((place, body))) =
            (header, frame.split_at_mut_checked(FrameHeader::SIZE))
        {
            place.copy_from_slice(header.as_bytes());
            // The room is as long as the payload and no longer than `max_record`: it cannot be too short or too long.
            let finished =
                DeltaWriter::new(body, fields).and_then(|writer| writer.finish(self.payload_len));
            debug_assert!(finished.is_ok());
        }
        self.committed = true;
        let now = Now { elapsed: now.elapsed, wall: now.wall.max(self.now.wall) };
        let (doc, number, offset) = (self.doc, self.number, self.offset);
        Ok(self.log.commit(doc, number, offset, len, fields.sequence, origin, now))
    }
}

impl Drop for Grant<'_> {
    fn drop(&mut self) {
        if !self.committed {
            self.log.open.roll_back(self.offset);
        }
    }
}
