//! `cargo xtask`: everything that is done to the project beside building it.

mod browser;
mod licences;
mod native;
mod processes;
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
    /// Builds a page whose worker talks to a native server, serves it, and prints its address.
    Demo {
        /// Instead runs the page in this browser without a screen, and prints what it measured.
        #[arg(long, value_name = "BROWSER", conflicts_with_all = ["native", "lan"])]
        headless: Option<browser::Browser>,
        /// The page can be reached from this machine's network too, by anybody.
        #[arg(long, conflicts_with = "native")]
        lan: bool,
        /// Instead starts an echo server and measures it, each in a native process of its own.
        #[arg(long)]
        native: bool,
        /// Round trips of the native measurement.
        #[arg(long, default_value_t = 1_000, requires = "native")]
        rounds: u32,
        /// How much goes there and back in it.
        #[arg(long, default_value = "256MiB", requires = "native")]
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
        /// Minutes after which a target stops before that: some make a connection for each execution.
        #[arg(long, default_value_t = 30)]
        minutes: u64,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Demo { native: true, rounds, throughput, .. } => native::demo(rounds, &throughput),
        Command::Demo { headless: Some(browser), .. } => browser::headless(browser),
        Command::Demo { lan, .. } => browser::serve(lan),
        Command::Test => steps::test(),
        Command::Loom { preemptions } => steps::loom(preemptions),
        Command::Bench { names } => steps::bench(&names),
        Command::Fuzz { targets, runs, minutes } => steps::fuzz(targets, runs, minutes),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}
