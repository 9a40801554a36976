//! BLAKE3's tree over a file: each piece is a subtree, and each group of 256 pieces.
//!
//! A file's hash is the root. Beside it a receiver needs the hashes of the groups, which it checks against the root, and of the
//! group that it is at the hashes of the pieces, which it checks against the group's: then it can check each piece by
//! itself. None of that has to be believed.

use blake3::Hasher;
use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use deltawire_framing::bulk::HASH_LEN;

use crate::layout::Layout;

/// A hash of BLAKE3: of a file, or the chaining value of a part of it.
pub type Hash = [u8; HASH_LEN];

/// The hash of a piece. Of a file with one piece it is the file's.
#[must_use]
pub fn hash_piece(layout: &Layout, index: u32, bytes: &[u8]) -> Hash {
    if layout.pieces() <= 1 {
        return *blake3::hash(bytes).as_bytes();
    }
    let mut hasher = Hasher::new();
    hasher.set_input_offset(layout.offset(index)).update(bytes);
    hasher.finalize_non_root()
}

/// The hash of a group, of those of its pieces; or of a file, of those of its groups or pieces. At least one.
#[must_use]
pub fn merge(hashes: &[Hash], is_root: bool) -> Hash {
    match hashes {
        [] => *blake3::hash(&[]).as_bytes(),
        [one] => *one,
        _ => {
            // All to the left are full: as many as the greatest power of two below.
            let (left, right) = hashes.split_at(hashes.len().div_ceil(2).next_power_of_two());
            let (left, right) = (merge(left, false), merge(right, false));
            if is_root {
                *merge_subtrees_root(&left, &right, Mode::Hash).as_bytes()
            } else {
                merge_subtrees_non_root(&left, &right, Mode::Hash)
            }
        }
    }
}

/// The hash of a group, of those of its pieces: that of the file, where there is one group.
#[must_use]
pub fn merge_group(layout: &Layout, pieces: &[Hash]) -> Hash {
    merge(pieces, layout.groups() <= 1)
}

#[cfg(test)]
mod tests {
    use deltawire_framing::bulk::GROUP;

    use super::*;

    fn check(len: usize, piece_len: u32) {
        let bytes: Vec<u8> = (0..len).map(|i| ((i * 31) >> 3) as u8).collect();
        let root = *blake3::hash(&bytes).as_bytes();
        let layout = Layout::new(len as u64, root, piece_len).unwrap();
        let piece = |index: u32| {
            let start = layout.offset(index) as usize;
            hash_piece(&layout, index, &bytes[start..start + layout.len_of(index)])
        };
        let groups: Vec<Hash> = (0..layout.groups())
            .map(|group| {
                merge_group(&layout, &layout.pieces_of(group).map(piece).collect::<Vec<_>>())
            })
            .collect();
        assert_eq!(merge(&groups, true), root, "{len} in {piece_len}");
    }

    #[test]
    fn the_tree_is_that_of_blake3() {
        for len in [0, 1, 1_023, 1_024, 1_025, 2_048, 2_049, 3_000, 5_000, 65_536, 65_537] {
            check(len, 1_024);
            check(len, 2_048);
            check(len, 65_536);
        }
        for groups in [1, 2, 3, 5, 8, 9] {
            for more in [0, 1, 1_024, 200_000] {
                check(groups * GROUP as usize * 1_024 + more, 1_024);
            }
        }
        check(20 << 20, 65_536);
    }
}
