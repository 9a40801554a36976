//! The commands that each task runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex};
use std::time::Instant;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::wasm::Compiler;
use crate::{browser, licences, manifests, packages};

/// What is in this workspace: it is no part of the library's, whose users would lock what it depends on.
pub(crate) const XTASK: &str = "--manifest-path xtask/Cargo.toml";

/// Tests, and the programs that they start.
/// With all features, so that nothing is built once more for one of them; the lints compile without.
pub(crate) const TESTS: &str = "test --workspace --features deltawire/futures,deltawire/https \
                                --lib --bins --tests --examples";

const DOC_TESTS: &str = "test --workspace --features deltawire/futures,deltawire/https --doc";

/// What needs no std is tested without it, so that CRC-32C by table is too.
const NO_STD: &str = "test -p deltawire-framing --no-default-features --lib --test golden";

/// What is tested in a browser without a server.
const WASM_TESTS: &str = "-p deltawire-transport --lib --test worker";

/// The crates that run in the browser too.
const WASM: &str = "-p deltawire-transport -p deltawire-browser-demo --lib";

/// Without the targets that need the WebRTC stack, which would be built once more: what they check is compiled
/// and run by the tests of transport/.
const FUZZ: &str = "check --manifest-path fuzz/Cargo.toml --no-default-features --bins";

/// All that CI runs, in the order in which failures are quickest to see.
pub(crate) fn test() -> anyhow::Result<()> {
    let started = Instant::now();
    run("format", &mut cargo("fmt --all --check"))?;
    run("format of xtask", &mut cargo(&format!("fmt {XTASK} --check")))?;
    licences::check().context("licences")?;
    manifests::check().context("manifests")?;
    run("lints", &mut cargo("clippy --workspace --all-targets -- -D warnings"))?;
    run("lints of xtask", &mut cargo(&format!("clippy {XTASK} --all-targets -- -D warnings")))?;
    run("docs", cargo("doc --workspace --no-deps").env("RUSTDOCFLAGS", "-D warnings"))?;
    // A host that gets another address needs a network of its own: transport/tests/moves.
    packages::install("network namespaces", &["ip", "unshare"], &["iproute2", "util-linux"])?;
    run("tests", &mut cargo(TESTS))?;
    run("tests of xtask", &mut cargo(&format!("test {XTASK}")))?;
    run("doc tests", &mut cargo(DOC_TESTS))?;
    run("tests without std", &mut cargo(NO_STD))?;
    let compiler = Compiler::get()?;
    compiler.lint(WASM)?;
    browser::install()?;
    compiler.test(WASM_TESTS)?;
    let browsers = Instant::now();
    let untried = browser::browser_tests(&compiler).context("the page in a browser")?;
    took("the page, built and in browsers", browsers);
    loom(3)?;
    run("benches compile", &mut cargo("check --workspace --benches"))?;
    run("fuzz targets compile", &mut cargo(FUZZ))?;
    print_steps();
    println!("\nAll that was tried passed in {} s.", started.elapsed().as_secs());
    for untried in untried {
        println!("NOT TRIED: {untried}");
    }
    Ok(())
}

/// In a folder of its own, because the flag makes everything be built anew.
pub(crate) fn loom(preemptions: u32) -> anyhow::Result<()> {
    let mut command = cargo("test --release -p loom-tests --target-dir");
    command.arg(target().join("loom"));
    command.env("RUSTFLAGS", "--cfg loom").env("LOOM_MAX_PREEMPTIONS", preemptions.to_string());
    run("loom models", &mut command)
}

pub(crate) fn soak(minutes: f64) -> anyhow::Result<()> {
    let plot = target().join("soak.svg");
    let mut command = cargo("run --release -p deltawire-soak --");
    command.env("RUST_BACKTRACE", "0");
    command.args(["--minutes", &minutes.to_string(), "--plot"]).arg(plot);
    run("soak", &mut command)
}

/// Optimized as all tests are: enough, and already built.
pub(crate) fn sim(
    seeds: Option<u64>,
    minutes: Option<u64>,
    seed: Option<u64>,
) -> anyhow::Result<()> {
    let mut command = cargo("test --quiet -p deltawire-transport --test sim --");
    for (name, value) in [("--seed", seed), ("--seeds", seeds), ("--minutes", minutes)] {
        if let Some(value) = value {
            command.args([name, &value.to_string()]);
        }
    }
    run("simulated network", &mut command)
}

pub(crate) fn bench(names: &[String]) -> anyhow::Result<()> {
    let mut command = cargo("bench -p deltawire");
    if names.is_empty() {
        command.arg("--benches");
    }
    for name in names {
        command.args(["--bench", name]);
    }
    run("benches", &mut command)?;
    println!("\nPlots and history: target/criterion/report/index.html");
    Ok(())
}

pub(crate) fn fuzz(mut targets: Vec<String>, runs: u64, minutes: u64) -> anyhow::Result<()> {
    if targets.is_empty() {
        for entry in fs::read_dir(root().join("fuzz/fuzz_targets"))? {
            let path = entry?.path();
            targets.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
        }
        targets.sort();
    }
    for target in targets {
        let runs = format!("-runs={runs}");
        let time = format!("-max_total_time={}", 60 * minutes);
        let mut command = cargo("+nightly fuzz run");
        command.current_dir(root().join("fuzz")).args([
            &target,
            "--",
            &runs,
            &time,
            "-max_len=512",
        ]);
        run(&format!("fuzz {target}"), &mut command)?;
    }
    Ok(())
}

/// The workspace's folder.
pub(crate) fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_path_buf()
}

/// Where cargo builds, which variables and files of the user's may say.
pub(crate) fn target() -> PathBuf {
    static TARGET: LazyLock<PathBuf> = LazyLock::new(|| {
        let named = metadata("--no-deps").ok();
        let named = named.as_ref().and_then(|told| told["target_directory"].as_str());
        named.map_or_else(|| root().join("target"), PathBuf::from)
    });
    TARGET.clone()
}

/// What cargo knows of a workspace, with these arguments.
pub(crate) fn metadata(arguments: &str) -> anyhow::Result<Value> {
    let output = cargo(&format!("metadata --format-version 1 --locked {arguments}")).output()?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// A program that was built for release.
pub(crate) fn release(name: &str) -> PathBuf {
    target().join("release").join(name)
}

/// `cargo` with these arguments, in the workspace's folder.
pub(crate) fn cargo(arguments: &str) -> Command {
    // Not $CARGO: that is one toolchain's own, to which `+nightly` means nothing.
    let mut command = Command::new("cargo");
    command.args(arguments.split_whitespace()).current_dir(root());
    command
}

/// Runs a step with its output on the screen.
pub(crate) fn run(name: &str, command: &mut Command) -> anyhow::Result<()> {
    println!("\n== {name}");
    let started = Instant::now();
    let status = command.status().with_context(|| format!("{name}: cannot start {command:?}"))?;
    if !status.success() {
        bail!("{name} failed; to repeat it: {command:?}");
    }
    took(name, started);
    Ok(())
}

/// Says how long a step took, now and in the table at the end.
pub(crate) fn took(name: &str, started: Instant) {
    let seconds = started.elapsed().as_secs();
    println!("== {name}: {seconds} s");
    if let Ok(mut steps) = STEPS.lock() {
        steps.push((name.to_owned(), seconds));
    }
}

/// What was run, and for how many seconds.
static STEPS: Mutex<Vec<(String, u64)>> = Mutex::new(Vec::new());

/// Where the time went: what took a second or more.
fn print_steps() {
    println!("\n| step | s |\n|---|---|");
    for (name, seconds) in STEPS.lock().iter().flat_map(|steps| steps.iter()) {
        if *seconds > 0 {
            println!("| {name} | {seconds} |");
        }
    }
}
