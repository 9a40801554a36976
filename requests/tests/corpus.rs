//! Runs the fuzz target's checks over the committed corpus.

use std::fs;
use std::path::Path;

#[allow(unreachable_pub, reason = "the fuzz crate exports them")]
#[path = "../../fuzz/src/requests.rs"]
mod target;

#[test]
fn requests() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/requests");
    let mut files = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        target::requests(&fs::read(path).unwrap());
        files += 1;
    }
    assert!(files >= 5, "{} holds only {files} files", folder.display());
}
