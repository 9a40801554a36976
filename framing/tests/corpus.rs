//! Runs the fuzz targets' checks over the committed corpus.

use std::fs;
use std::path::Path;

#[allow(unreachable_pub, reason = "the fuzz crate exports them")]
#[path = "../../fuzz/src/framing.rs"]
mod targets;

fn replay(target: &str, check: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut files = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        check(&fs::read(path).unwrap());
        files += 1;
    }
    assert!(files >= 5, "{} holds only {files} files", folder.display());
}

#[test]
fn frame() {
    replay("frame", targets::frame);
}

#[test]
fn delta() {
    replay("delta", targets::delta);
}

#[test]
fn operations() {
    replay("operations", targets::operations);
}

#[test]
fn control() {
    replay("control", targets::control);
}

#[test]
fn reassembler() {
    replay("reassembler", targets::reassembler);
}
