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

    /// Says that a segment is about to be put elsewhere: nothing changes it until [`archived`](Self::archived) or
    /// [`stays`](Self::stays), but for retention. `false` if that cannot be now, as it is being compacted.
    pub fn leaves(&mut self, segment: u64) -> bool {
        let Some(disk) = self.disk.as_mut() else { return false };
        if disk.compaction.as_ref().is_some_and(|it| it.covers(segment)) {
            return false;
        }
        self.sealed_mut(segment).map(|it| it.leaving = true).is_some()
    }

    /// Says that a segment was not put elsewhere. It is not compacted from now on: what was begun there may still come to its end, and
    /// has to be the same as what is put the next time.
    pub fn stays(&mut self, segment: u64) {
        if let Some(segment) = self.sealed_mut(segment) {
            (segment.leaving, segment.spoiled) = (false, true);
        }
    }

    /// Says that a segment is kept elsewhere from now on: reading it may take long, and nobody waits behind that.
    pub fn archived(&mut self, segment: u64) {
        if let Some(segment) = self.sealed_mut(segment) {
            (segment.leaving, segment.archived) = (false, true);
        }
    }

    fn sealed_mut(&mut self, segment: u64) -> Option<&mut super::Segment> {
        let segment = self.disk.as_mut()?.segment_mut(segment);
        segment.filter(|it| it.state == SegmentState::Sealed)
    }
}
