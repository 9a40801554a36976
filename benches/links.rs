//! Links of all kinds beside the stacks that they are made of, and beside webrtc-rs: `cargo bench -p deltawire --bench links`.
//!
//! The rivals are a crate apart, benches/transport, which nobody else has to build: this runs it, with the words and options that it
//! was given (`-- --quick`, `-- "One way"`).

use std::process::{Command, exit};

fn main() {
    // Cargo says so when it benches. As a test there is nothing to do.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let mut bench = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/transport/Cargo.toml");
    bench.args(["run", "--release", "--manifest-path", manifest, "--"]);
    bench.args(std::env::args_os().skip(1).filter(|argument| argument != "--bench"));
    match bench.status() {
        Ok(status) => exit(status.code().unwrap_or(1)),
        Err(error) => {
            eprintln!("cargo could not be started for {manifest}: {error}");
            exit(1)
        }
    }
}
