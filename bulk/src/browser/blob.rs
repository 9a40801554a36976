//! Bytes of a blob, and their hashes.

use std::io;

use js_sys::Uint8Array;
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::JsFuture;
use web_sys::{Blob, File};

use super::error::of_browser;
use crate::hashing::{Hash, hash_piece, merge_group};
use crate::layout::Layout;
use crate::source::root_of;
use crate::unfinished::MAX_KEPT_HASHES;

/// Bytes that are read at a time for a hash: each time the browser does other things too.
const AT_A_TIME: u64 = 1 << 20;

/// Reads a part of a blob.
pub(super) async fn read(blob: &Blob, from: u64, len: u64) -> io::Result<Uint8Array> {
    let part = blob.slice_with_f64_and_f64(from as f64, (from + len) as f64).map_err(of_browser)?;
    let buffer = JsFuture::from(part.array_buffer()).await.map_err(of_browser)?;
    let bytes = Uint8Array::new(&buffer);
    if u64::from(bytes.length()) == len {
        Ok(bytes)
    } else {
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is shorter than it was"))
    }
}

/// The hashes of a blob's pieces.
pub(super) struct HashList {
    pub(super) layout: Layout,
    /// When it was changed last, microseconds since the Unix epoch; 0 of what is no file.
    pub(super) modified: u64,
    pub(super) groups: Vec<Hash>,
    kept: Option<Vec<Hash>>,
}

impl HashList {
    /// Reads a blob, as long as `goes_on` says so.
    pub(super) async fn of(
        blob: &Blob,
        piece_len: u32,
        mut goes_on: impl FnMut() -> bool,
    ) -> io::Result<Option<Self>> {
        let too_long = |error| io::Error::new(io::ErrorKind::FileTooLarge, error);
        let layout = Layout::new(blob.size() as u64, [0; 32], piece_len).map_err(too_long)?;
        let modified = blob.dyn_ref::<File>().map_or(0.0, |file| file.last_modified() * 1e3);
        let mut kept = (layout.pieces() <= MAX_KEPT_HASHES).then(Vec::new);
        let mut groups = Vec::with_capacity(layout.groups() as usize);
        for group in 0..layout.groups() {
            if !goes_on() {
                return Ok(None);
            }
            let hashes = hashes_of(blob, &layout, group).await?;
            groups.push(merge_group(&layout, &hashes));
            if let Some(kept) = &mut kept {
                kept.extend(hashes);
            }
        }
        let root = root_of(&groups);
        let layout = Layout::new(layout.len(), root, piece_len).map_err(too_long)?;
        Ok(Some(Self { layout, modified: modified as u64, groups, kept }))
    }

    /// Those of a group's pieces.
    pub(super) async fn pieces_of(&self, blob: &Blob, group: u32) -> io::Result<Vec<Hash>> {
        let Some(kept) = &self.kept else { return hashes_of(blob, &self.layout, group).await };
        let pieces = self.layout.pieces_of(group);
        let range = pieces.start as usize..pieces.end as usize;
        Ok(kept.get(range).unwrap_or_default().to_vec())
    }
}

async fn hashes_of(blob: &Blob, layout: &Layout, group: u32) -> io::Result<Vec<Hash>> {
    let mut pieces = layout.pieces_of(group);
    let mut hashes = Vec::with_capacity(pieces.len());
    let mut buffer = vec![0; layout.piece_len() as usize];
    while !pieces.is_empty() {
        let from = layout.offset(pieces.start);
        let until = layout.len().min(layout.offset(pieces.end)).min(from + AT_A_TIME);
        let bytes = read(blob, from, until - from).await?;
        while !pieces.is_empty() && layout.offset(pieces.start) < until {
            let (index, len) = (pieces.start, layout.len_of(pieces.start));
            let piece = buffer.get_mut(..len).unwrap_or_default();
            let at = (layout.offset(index) - from) as u32;
            bytes.subarray(at, at + len as u32).copy_to(piece);
            hashes.push(hash_piece(layout, index, piece));
            pieces.start += 1;
        }
    }
    Ok(hashes)
}
