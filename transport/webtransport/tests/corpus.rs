//! Runs the fuzz target's checks over the committed corpus.

#![cfg(not(target_arch = "wasm32"))]

use std::fs;
use std::path::Path;

#[allow(unreachable_pub, reason = "the fuzz crate exports it")]
#[path = "../../../fuzz/src/webtransport.rs"]
mod target;

#[test]
fn webtransport() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/webtransport");
    let mut files = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        target::webtransport(&fs::read(path).unwrap());
        files += 1;
    }
    assert!(files >= 8, "{} holds only {files} files", folder.display());
}
