//! Deltas for tests.
#![allow(dead_code, reason = "each test uses some of it")]

pub(crate) mod disk;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use deltawire_framing::{Channel, DeltaFields, DeltaWriter, DocId, FrameHeader, Kind};
use deltawire_store::Now;
use zerocopy::IntoBytes;

pub(crate) fn doc(number: u8) -> DocId {
    DocId([number; 16])
}

/// Wall time in microseconds; the monotonic clock goes with it.
pub(crate) fn now(wall: u64) -> Now {
    Now { elapsed: Duration::from_micros(wall), wall }
}

pub(crate) fn fields(doc: DocId) -> DeltaFields {
    DeltaFields::new(doc)
}

/// A whole frame, header included.
pub(crate) fn frame_of(doc: DocId, sequence: u32, payload: &[u8]) -> Bytes {
    let mut bytes = vec![0; 16 + 48 + payload.len()];
    let mut writer =
        DeltaWriter::new(&mut bytes[16..], DeltaFields { sequence, ..fields(doc) }).unwrap();
    writer.payload_mut().copy_from_slice(payload);
    let len = writer.finish(payload.len()).unwrap();
    let header = FrameHeader::whole(Kind::Delta, Channel::Data, len).unwrap();
    bytes[..16].copy_from_slice(header.as_bytes());
    Bytes::from(bytes)
}

/// The same bytes at a multiple of 64.
pub(crate) fn aligned(bytes: &[u8]) -> Bytes {
    let mut place = BytesMut::with_capacity(bytes.len() + 64);
    let gap = place.spare_capacity_mut().as_ptr().align_offset(64);
    place.resize(gap, 0);
    place.extend_from_slice(bytes);
    place.freeze().slice(gap..)
}

/// Writes to one document, and remembers what.
pub(crate) struct Writer {
    doc: DocId,
    pub(crate) sent: Vec<Bytes>,
}

impl Writer {
    pub(crate) fn new(doc: DocId) -> Self {
        Self { doc, sent: Vec::new() }
    }

    pub(crate) fn frame(&mut self, payload: &[u8]) -> Bytes {
        let frame = frame_of(self.doc, self.sent.len() as u32, payload);
        self.sent.push(frame.clone());
        frame
    }

    pub(crate) fn aligned_frame(&mut self, payload: &[u8]) -> Bytes {
        let frame = aligned(&self.frame(payload));
        *self.sent.last_mut().unwrap() = frame.clone();
        frame
    }
}
