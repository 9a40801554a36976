//! `deltawire`: see the crate.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    deltawire_cli::main()
}
