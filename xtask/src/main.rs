//! `cargo xtask`: everything that is done to the project beside building it.

mod browser;
mod licences;
mod manifests;
mod native;
mod packages;
mod packaging;
mod processes;
mod steps;
mod wasm;

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
    /// The board of the page, which all share that have it open: the same as `demo`.
    Board {
        /// Instead has Chromium and Firefox draw on one board without a screen, and kills the server meanwhile; status
        /// 1 unless both show the same.
        #[arg(long)]
        headless: bool,
    },
    /// Has pages of Chromium and Firefox, and native processes, connect to one another in rooms of the page's server, without a
    /// screen, on a network of their own.
    Rooms {
        /// The page's folder and that of its servers, for who is on that network.
        #[arg(hide = true)]
        built: Vec<std::path::PathBuf>,
    },
    /// Measures the page beside one of hand-written JavaScript that only moves bytes.
    Yardstick {
        /// In this browser, without a screen.
        #[arg(long, default_value = "chromium")]
        browser: browser::Browser,
        /// How often each figure is measured.
        #[arg(long, default_value_t = 5)]
        rounds: u32,
        /// Over this kind of link.
        #[arg(long, default_value = "webrtc")]
        link: browser::Link,
        /// Beside the same page whose server has links over WebRTC on str0m's engine, instead.
        #[arg(long, conflicts_with = "link")]
        str0m: bool,
    },
    /// Runs all that CI runs: format, lints, docs, tests, licences; benches and fuzz targets
    /// compile.
    Test,
    /// Asks cargo-deny, which it installs into the target folder, about dependencies.
    Deny {
        /// Of what; advisories take a network from which their database comes.
        #[arg(default_values = ["licenses", "bans", "sources"])]
        checks: Vec<String>,
    },
    /// Asks cargo-semver-checks, which it installs into the target folder, what of the public interfaces changed.
    Semver {
        /// Since this revision.
        since: String,
    },
    /// Compiles what is published with the oldest compiler that it names, which rustup installs.
    Msrv,
    /// Packs what is published, builds it from the packages, and says what would be published.
    Package,
    /// Makes this machine compile for the browser, if it does not yet. The other tasks do it
    /// themselves.
    Wasm {
        /// With the compiler of Debian's packages, though rustup may have a better one.
        #[arg(long)]
        debian: bool,
    },
    /// Runs a module of tests in a browser: what cargo calls for tests that are for wasm32.
    #[command(hide = true, disable_help_flag = true)]
    RunWasm {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Runs the loom models: of the rings and of what wakes drivers.
    Loom {
        /// How often a thread is interrupted in one execution: 2 takes seconds, 3 a minute, 4
        /// several.
        #[arg(long, default_value_t = 3)]
        preemptions: u32,
    },
    /// Has peers come and go over real sockets for a long time, and plots memory and latency:
    /// target/soak.svg.
    Soak {
        /// How long.
        #[arg(long, default_value_t = 10.0)]
        minutes: f64,
    },
    /// Has every kind of link go through the same checks over real sockets, and prints a table; status 1 on any
    /// failure.
    Links {
        /// This kind only.
        #[arg(long)]
        kind: Option<String>,
        /// Instead the page's checks over each kind that a browser has, in this browser, without a screen.
        #[arg(long, conflicts_with = "kind")]
        browser: Option<browser::Browser>,
    },
    /// Has native nodes behind NATs reach each other, by a STUN and TURN server (coturn) and in network namespaces, and prints a
    /// table; status 1 on any failure.
    Nat,
    /// Tries links on a simulated network: reliability in a matrix of networks, and tables of
    /// utilization, latency and outages.
    Sim {
        /// So many runs, each in another cell of the matrix. Default: 1,000, or with `--minutes`
        /// as many as it takes.
        #[arg(long)]
        seeds: Option<u64>,
        /// Begins no run after so long.
        #[arg(long)]
        minutes: Option<u64>,
        /// Instead repeats this one run, and says what happened in it.
        #[arg(long, conflicts_with_all = ["seeds", "minutes"])]
        seed: Option<u64>,
        /// Instead runs the checks with tables on this engine of WebRTC: `lean` or `str0m`.
        #[arg(long, conflicts_with_all = ["seeds", "minutes", "seed"])]
        engine: Option<String>,
    },
    /// Runs the benches of these names, or all of them: criterion's, and those beside rivals.
    Bench {
        /// Names of files or folders in benches/.
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
        Command::Board { headless: true } => browser::board(),
        Command::Board { headless: false } => browser::serve(false),
        Command::Rooms { built } => browser::rooms(&built),
        Command::Yardstick { browser, rounds, link, str0m } => {
            browser::measure(browser, rounds, link, str0m)
        }
        Command::Test => steps::test(),
        Command::Deny { checks } => steps::deny(&checks),
        Command::Semver { since } => steps::semver(&since),
        Command::Msrv => steps::msrv(),
        Command::Package => packaging::package(),
        Command::Wasm { debian } => wasm::set_up(debian),
        Command::RunWasm { arguments } => wasm::run_tests(arguments),
        Command::Loom { preemptions } => steps::loom(preemptions),
        Command::Soak { minutes } => steps::soak(minutes),
        Command::Links { browser: Some(browser), .. } => browser::headless(browser),
        Command::Links { kind, .. } => steps::links(kind),
        Command::Nat => steps::nat(),
        Command::Sim { seeds, minutes, seed, engine } => steps::sim(seeds, minutes, seed, engine),
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
