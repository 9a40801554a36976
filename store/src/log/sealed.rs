use super::Log;
use super::disk::{IndexState, SegmentState};

/// A segment that is never written again, with its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedSegment {
    /// Its number.
    pub segment: u64,
    /// Bytes that its batches take, with the header in front.
    pub len: u64,
    /// When its last batch was made, microseconds since the Unix epoch.
    pub newest: u64,
    /// Whether it is kept elsewhere already.
    pub archived: bool,
}

impl Log {
    /// The segments that nothing changes any more but retention: what can be kept elsewhere. Oldest first.
    pub fn sealed(&self) -> impl Iterator<Item = SealedSegment> {
        let segments = self.disk.iter().flat_map(|disk| &disk.segments);
        let is_settled = |it: &&super::Segment| {
            it.state == SegmentState::Sealed && matches!(it.index, IndexState::Written { .. })
        };
        segments.filter(is_settled).map(|it| SealedSegment {
            segment: it.id,
            len: it.len,
            newest: it.newest,
            archived: it.archived,
        })
    }

    /// Says that a segment is kept elsewhere from now on: reading it may take long, and nobody waits behind that.
    pub fn archived(&mut self, segment: u64) {
        let segment = self.disk.as_mut().and_then(|disk| disk.segment_mut(segment));
        if let Some(segment) = segment.filter(|it| it.state == SegmentState::Sealed) {
            segment.archived = true;
        }
    }
}
