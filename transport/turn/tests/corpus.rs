//! Runs the fuzz target's checks over the committed corpus.

use std::fs;
use std::path::Path;

#[allow(unreachable_pub, reason = "the fuzz crate exports it")]
#[path = "../../../fuzz/src/turn.rs"]
mod target;

#[test]
fn turn() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/turn");
    let mut files = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        target::turn(&fs::read(path).unwrap());
        files += 1;
    }
    assert!(files >= 8, "{} holds only {files} files", folder.display());
}
