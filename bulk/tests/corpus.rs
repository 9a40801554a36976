//! Runs the fuzz target's checks over the committed corpus, and over what a small fuzzer makes of it.
//!
//! `BULK_RUNS=1000000` has it make more.

use std::fs;
use std::path::Path;

#[allow(unreachable_pub, reason = "the fuzz crate exports it")]
#[path = "../../fuzz/src/bulk.rs"]
mod target;

#[test]
fn bulk() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/bulk");
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        target::bulk(&bytes);
        files.push(bytes);
    }
    assert!(files.len() >= 4, "{} holds only {} files", folder.display(), files.len());
    let runs = std::env::var("BULK_RUNS").ok().map_or(2_000, |it| it.parse().unwrap());
    let mut random = fastrand::Rng::with_seed(runs);
    for _ in 0..runs {
        // Two of them one after the other, and some bytes changed.
        let mut bytes = files[random.usize(0..files.len())].clone();
        bytes.extend_from_slice(&files[random.usize(0..files.len())]);
        for _ in 0..random.usize(0..8) {
            let at = random.usize(0..bytes.len());
            bytes[at] = random.u8(..);
        }
        target::bulk(&bytes);
    }
}
