//! The index of a sealed segment, made from its batches. No I/O: works on bytes.

use zerocopy::FromBytes;

use crate::format::{self, BatchHeader, Listed, STEP};

/// Makes the index block of a segment: what [`Io::Index`](crate::Io::Index) asks for. Every batch is checked on the way, so
/// that an index never says of a segment what is not there.
#[derive(Debug)]
pub struct SegmentIndex {
    id: u64,
    listed: Listed,
}

/// Why a segment gets no index: it is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("segment {segment} at byte {at}: field {field} is wrong")]
pub struct NoIndex {
    /// The segment.
    pub segment: u64,
    /// Where, bytes from its start.
    pub at: u64,
    /// The field at fault, named as in `FORMAT.md`.
    pub field: &'static str,
}

impl SegmentIndex {
    /// Begins with the segment's first 64 bytes.
    ///
    /// # Errors
    /// If they are not the header of segment `id`.
    pub fn new(id: u64, header: &[u8]) -> Result<Self, NoIndex> {
        let header = format::segment_header(header, id);
        let header = header.map_err(|field| NoIndex { segment: id, at: 0, field })?;
        Ok(Self { id, listed: Listed::new(id, header) })
    }

    /// Where the next batch begins, bytes from the segment's start; the first 64 bytes of it say how long it is
    /// ([`batch_len`](Self::batch_len)).
    #[must_use]
    pub const fn at(&self) -> u64 {
        self.listed.at
    }

    /// Bytes of the batch that begins with `header`, 64 bytes. It is not checked yet.
    #[must_use]
    pub fn batch_len(header: &[u8]) -> usize {
        let header = BatchHeader::ref_from_prefix(header);
        header.map_or(0, |(header, _)| header.len.get() as usize)
    }

    /// Takes in the next batch, as a whole.
    ///
    /// # Errors
    /// If it is not one, or not the next.
    pub fn batch(&mut self, bytes: &[u8]) -> Result<(), NoIndex> {
        let (segment, at) = (self.id, self.listed.at);
        let wrong = |field| NoIndex { segment, at, field };
        let batch = self.listed.check(bytes).map_err(wrong)?;
        self.listed.push(&batch).map_err(wrong)
    }

    /// The bytes that go behind the last batch, to the end of the file.
    ///
    /// # Errors
    /// If the segment is too long to have an index.
    pub fn finish(self) -> Result<Vec<u8>, NoIndex> {
        let (segment, at) = (self.id, self.listed.at);
        self.listed.finish().map_err(|field| NoIndex { segment, at, field })
    }

    /// The same of a segment that is in memory, with batches up to `len`.
    ///
    /// # Errors
    /// If it is not what it should be.
    pub fn of(id: u64, segment: &[u8], len: usize) -> Result<Vec<u8>, NoIndex> {
        let mut index = Self::new(id, segment)?;
        let segment = segment.get(..len).unwrap_or_default();
        while (index.at() as usize) < len {
            index.batch(segment.get(index.at() as usize..).unwrap_or_default())?;
        }
        index.finish()
    }
}

const _: () = assert!(BatchHeader::SIZE == STEP);
