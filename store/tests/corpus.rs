//! Runs the fuzz target's checks over the committed corpus, and over what a small fuzzer makes of it.

mod common;

use std::fs;
use std::path::Path;

#[allow(unreachable_pub, reason = "the fuzz crate exports it")]
#[path = "../../fuzz/src/store.rs"]
mod target;

#[test]
fn recover() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/recover");
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        let bytes = fs::read(path).unwrap();
        target::recover(&bytes);
        files.push(bytes);
    }
    assert!(files.len() >= 4, "{} holds only {} files", folder.display(), files.len());

    let runs = std::env::var("STORE_RUNS").ok().map_or(5_000, |it| it.parse().unwrap());
    let mut random = fastrand::Rng::with_seed(runs);
    for run in 0..runs {
        let mut bytes = files[random.usize(0..files.len())].clone();
        for _ in 0..random.usize(1..8) {
            let at = random.usize(0..bytes.len());
            // Tables and headers have many small numbers.
            bytes[at] = if random.bool() { random.u8(..) } else { random.u8(0..16) };
        }
        bytes[0] |= 1;
        // Every other one by an index.
        bytes[0] = (bytes[0] & !2) | ((run % 2) as u8 * 2);
        // Now and then as the other kind of segment.
        bytes[0] ^= u8::from(random.u8(0..16) == 0) * 4;
        let result = std::panic::catch_unwind(|| target::recover(&bytes));
        assert!(result.is_ok(), "run {run}: {bytes:02x?}");
    }
}
