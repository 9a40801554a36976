//! Runs the fuzz target's checks over the committed corpus.

use std::fs;
use std::path::Path;

#[allow(unreachable_pub, reason = "the fuzz crate exports it")]
#[path = "../../../fuzz/src/sctp.rs"]
mod target;

#[test]
fn sctp() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/sctp");
    let mut files = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        target::sctp(&fs::read(path).unwrap());
        files += 1;
    }
    assert!(files >= 8, "{} holds only {files} files", folder.display());
}

/// The same over what nobody wrote: bytes of a small generator, behind an opening or not.
#[test]
fn noise() {
    let mut state = 7_u64;
    let mut next = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    for round in 0..3_000 {
        let opening = [0, 0, 1, 0, 0, 0, 1, 0, 0, 0].into_iter().take(2 * (next() % 6));
        let mut data: Vec<u8> = opening.collect();
        for _ in 0..next() % 40 {
            let len = next() % 12;
            data.extend([next() as u8, len as u8]);
            data.extend((0..4 * len).map(|_| if next() % 3 == 0 { next() as u8 } else { 0 }));
        }
        println!("round {round}");
        target::sctp(&data);
    }
}
