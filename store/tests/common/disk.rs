//! A disk in memory that forgets, tears and reorders what was not synced, and fails when it is told to.

use std::collections::BTreeMap;

use bytes::Bytes;
use deltawire_store::{Epoch, Io, IoDone, IoError, LogPosition, Recovery, SegmentIndex, Tail};

use super::aligned;

/// What a disk writes as a whole.
const SECTOR: usize = 512;

#[derive(Clone, Default)]
pub(crate) struct File {
    pub(crate) bytes: Vec<u8>,
    /// Written since the last sync: where and what.
    unsynced: Vec<(usize, Vec<u8>)>,
}

#[derive(Clone, Default)]
pub(crate) struct SimDisk {
    /// As they are on the platter; what is unsynced lies beside.
    pub(crate) files: BTreeMap<u64, File>,
    /// How many of the next creations and writes find the disk full, and syncs fail.
    pub(crate) full: usize,
    pub(crate) broken_syncs: usize,
    pub(crate) syncs: usize,
    pub(crate) torn_indexes: usize,
    pub(crate) indexes: usize,
    /// Segments that are kept elsewhere: safe there, and here by what they would be opened by.
    pub(crate) archived: BTreeMap<u64, Vec<u8>>,
    /// How many of the next reads from there have no answer.
    pub(crate) unreachable: usize,
    /// Files that are to take the place of segments.
    pub(crate) replacements: BTreeMap<u64, File>,
    /// What had the name of a segment before, until that is durable.
    pub(crate) replaced: BTreeMap<u64, File>,
    /// How many of the next that are to take a segment's place do not.
    pub(crate) broken_renames: usize,
    /// Times that the power went after a file had taken a segment's place, and it had it no longer.
    pub(crate) undone: usize,
    /// Where the log was opened last.
    pub(crate) opened: LogPosition,
}

impl SimDisk {
    pub(crate) fn perform(&mut self, io: Io) -> IoDone {
        let token = io.token();
        IoDone { token, result: self.try_perform(io) }
    }

    fn is_full(&mut self) -> bool {
        let full = self.full > 0;
        self.full = self.full.saturating_sub(1);
        full
    }

    fn try_perform(&mut self, io: Io) -> Result<Bytes, IoError> {
        match io {
            Io::Create { segment, header, len, .. } => {
                if self.is_full() {
                    return Err(IoError::Full);
                }
                let mut bytes = vec![0; len as usize];
                bytes[..header.len()].copy_from_slice(&header);
                let before = self.files.insert(segment, File { bytes, unsynced: Vec::new() });
                assert!(before.is_none(), "segment {segment} is made twice");
            }
            Io::Write { segment, at, parts, .. } => {
                if self.is_full() {
                    return Err(IoError::Full);
                }
                let file = self.files.get_mut(&segment).expect("the segment was made");
                let bytes = parts.concat();
                assert!(at as usize + bytes.len() <= file.bytes.len(), "past the end");
                file.unsynced.push((at as usize, bytes));
            }
            Io::Sync { segment, .. } => {
                self.syncs += 1;
                let file = self.files.get_mut(&segment).expect("the segment was made");
                if self.broken_syncs > 0 {
                    self.broken_syncs -= 1;
                    // The kernel has dropped them: a later sync would say that all is well.
                    file.unsynced.clear();
                    return Err(IoError::Failed("input/output error".into()));
                }
                file.settle();
            }
            Io::Seal { segment, len, .. } => {
                let file = self.files.get_mut(&segment).expect("the segment was made");
                file.settle();
                file.bytes.truncate(len as usize);
            }
            Io::Index { segment, len, .. } => {
                if self.is_full() {
                    return Err(IoError::Full);
                }
                if let Some(file) = self.files.get_mut(&segment) {
                    let index = SegmentIndex::of(segment, &file.bytes, len as usize);
                    file.bytes.truncate(len as usize);
                    file.bytes.extend(index.expect("a sealed segment is sound"));
                    // The power may go while it is written.
                    if self.torn_indexes > 0 {
                        self.torn_indexes -= 1;
                        let end = file.bytes.len();
                        let at = len as usize + (end - len as usize) / 2;
                        file.bytes[at..end.min(at + SECTOR)].fill(7);
                        return Err(IoError::Failed("input/output error".into()));
                    }
                    self.indexes += 1;
                }
            }
            Io::Delete { segment, .. } => {
                let archived = self.archived.remove(&segment).is_some();
                let here = self.files.remove(&segment).is_some();
                assert!(here != archived, "the segment was there");
                self.replaced.remove(&segment);
            }
            Io::Rewrite { segment, at, bytes, .. } => {
                if self.is_full() {
                    return Err(IoError::Full);
                }
                let file = self.replacements.entry(segment).or_default();
                let end = at as usize + bytes.len();
                file.bytes.resize(file.bytes.len().max(end), 0);
                file.unsynced.push((at as usize, bytes.to_vec()));
            }
            Io::Replace { segment, .. } => {
                if self.broken_renames > 0 {
                    self.broken_renames -= 1;
                    return Err(IoError::Failed("input/output error".into()));
                }
                let mut file = self.replacements.remove(&segment).expect("it was written");
                file.settle();
                let before = self.files.insert(segment, file).expect("the segment was there");
                assert!(self.replaced.insert(segment, before).is_none(), "one at a time");
            }
            Io::SyncNames { .. } => {
                if self.broken_syncs > 0 {
                    self.broken_syncs -= 1;
                    return Err(IoError::Failed("input/output error".into()));
                }
                self.replaced.clear();
            }
            Io::Discard { segment, .. } => drop(self.replacements.remove(&segment)),
            Io::Read { segment, at, len, .. } => {
                if let Some(bytes) = self.archived.get(&segment) {
                    if self.unreachable > 0 {
                        self.unreachable -= 1;
                        return Err(IoError::Unreachable("no answer".into()));
                    }
                    return Ok(aligned(&bytes[at as usize..at as usize + len]));
                }
                // It may be deleted meanwhile.
                let Some(file) = self.files.get(&segment) else {
                    return Err(IoError::Failed("no such file".into()));
                };
                let mut seen = file.clone();
                seen.settle();
                let at = at as usize;
                return Ok(aligned(&seen.bytes[at..at + len]));
            }
            other => panic!("not known: {other:?}"),
        }
        Ok(Bytes::new())
    }

    /// Shows recovery what there is, with the indexes or without them; returns how many were used.
    pub(crate) fn show(&self, recovery: &mut Recovery, indexed: bool) -> usize {
        let mut used = 0;
        let all: BTreeMap<u64, &Vec<u8>> = self
            .files
            .iter()
            .map(|(id, file)| (*id, &file.bytes))
            .chain(self.archived.iter().map(|(id, bytes)| (*id, bytes)))
            .collect();
        assert_eq!(all.len(), self.files.len() + self.archived.len(), "here or there");
        for (id, bytes) in &all {
            if self.archived.contains_key(id) {
                recovery.archived(*id, &stub(*id, bytes));
                continue;
            }
            let len = bytes.len();
            let index = bytes
                .get(len.saturating_sub(64)..)
                .and_then(|last| Recovery::index_len(*id, last, len as u64));
            let index = index.filter(|_| indexed).and_then(|it| bytes.get(len - it as usize..));
            if index.is_some_and(|it| recovery.indexed(*id, &bytes[..64], it, len as u64)) {
                used += 1;
            } else {
                recovery.segment(*id, bytes);
            }
        }
        used
    }

    /// Moves a sealed segment of a shard elsewhere, unless its index is broken.
    pub(crate) fn archive(&mut self, shard: u32, segment: u64) -> bool {
        let file = self.files.get(&segment).expect("the segment was there");
        let mut recovery = Recovery::new(shard, Epoch(0));
        recovery.archived(segment, &stub(segment, &file.bytes));
        if matches!(recovery.finish().tail(), Tail::Damaged { .. }) {
            return false;
        }
        let file = self.files.remove(&segment).expect("it was there");
        assert!(file.unsynced.is_empty(), "it is sealed");
        // Its name is made durable with that.
        self.replaced.remove(&segment);
        self.archived.insert(segment, file.bytes);
        true
    }

    /// The process ends: what was written stays.
    pub(crate) fn kill(&mut self) {
        self.files.values_mut().for_each(File::settle);
        self.replacements.clear();
    }

    /// Makes names durable, as whoever opens a log does.
    pub(crate) fn sync_names(&mut self) {
        self.replaced.clear();
    }

    /// The power goes: of what was not synced, any sectors are there, and others are not.
    pub(crate) fn cut_power(&mut self, random: &mut fastrand::Rng) {
        self.replacements.clear();
        for (segment, before) in std::mem::take(&mut self.replaced) {
            if random.bool() {
                self.files.insert(segment, before);
                self.undone += 1;
            }
        }
        for file in self.files.values_mut() {
            for (at, bytes) in std::mem::take(&mut file.unsynced) {
                let kept = random.u8(..=4);
                let mut start = 0;
                while start < bytes.len() {
                    let end = ((at + start) / SECTOR * SECTOR + SECTOR - at).min(bytes.len());
                    if random.u8(0..4) < kept {
                        file.bytes[at + start..at + end].copy_from_slice(&bytes[start..end]);
                    }
                    start = end;
                }
            }
        }
    }

    pub(crate) fn cut(&mut self, segment: u64, len: u64) {
        let Some(file) = self.files.get_mut(&segment) else {
            assert!(self.archived.contains_key(&segment));
            return;
        };
        file.settle();
        file.bytes.truncate(len as usize);
    }
}

/// The header and the index of a segment.
fn stub(id: u64, bytes: &[u8]) -> Vec<u8> {
    let len = bytes.len();
    let index = Recovery::index_len(id, &bytes[len - 64..], len as u64).expect("it has an index");
    [&bytes[..64], &bytes[len - index as usize..]].concat()
}

impl File {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, unsynced: Vec::new() }
    }

    fn settle(&mut self) {
        for (at, bytes) in self.unsynced.drain(..) {
            self.bytes[at..at + bytes.len()].copy_from_slice(&bytes);
        }
    }
}
