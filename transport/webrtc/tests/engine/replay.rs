//! Runs the fuzz targets' checks over the committed corpus.

use std::fs;
use std::path::Path;

use crate::engine;

fn replay(target: &str, check: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
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
fn datagrams() {
    replay("datagrams", engine::datagrams);
}

#[test]
fn link() {
    replay("link", engine::link);
}

#[test]
fn association() {
    replay("association", engine::association);
}

#[test]
fn description() {
    replay("description", engine::description);
}

#[test]
fn stun() {
    replay("stun", engine::stun);
}

/// More of the same, from a generator: what fuzzing found first, it found within as many.
#[test]
fn random_actions() {
    let mut state = 7_u64;
    for _ in 0..200 {
        let input: Vec<u8> = (0..400)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        engine::link(&input);
        engine::association(&input);
        engine::datagrams(&input);
        engine::description(&input);
        engine::stun(&input);
    }
}
