//! `cargo xtask`: everything that is done to the project beside building it.

mod demo;
mod licences;
mod steps;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Checks and measures Deltawire.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts an echo server and measures it over WebRTC, each in a process of its own.
    Demo {
        /// Round trips.
        #[arg(long, default_value_t = 1_000)]
        rounds: u32,
        /// How much goes there and back.
        #[arg(long, default_value = "256MiB")]
        throughput: String,
    },
    /// Runs all that CI runs: format, lints, docs, tests, licences; benches and fuzz targets
    /// compile.
    Test,
    /// Runs the loom models of everything that uses atomics.
    Loom {
        /// How often a thread is interrupted in one execution: 2 takes seconds, 3 a minute, 4
        /// several.
        #[arg(long, default_value_t = 3)]
        preemptions: u32,
    },
    /// Runs the criterion benches of these names, or all of them.
    Bench {
        /// Names of files in benches/.
        names: Vec<String>,
    },
    /// Runs fuzz targets on the nightly toolchain (`cargo install cargo-fuzz` first).
    Fuzz {
        /// Names of files in fuzz/fuzz_targets/; all of them if none is named.
        targets: Vec<String>,
        /// Executions of each target.
        #[arg(long, default_value_t = 10_000_000)]
        runs: u64,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Demo { rounds, throughput } => demo::demo(rounds, &throughput),
        Command::Test => steps::test(),
        Command::Loom { preemptions } => steps::loom(preemptions),
        Command::Bench { names } => steps::bench(&names),
        Command::Fuzz { targets, runs } => steps::fuzz(targets, runs),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}
