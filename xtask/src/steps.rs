//! The commands that each task runs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::wasm::{self, Compiler};
use crate::{browser, licences, manifests, packages, packaging};

/// What is in this workspace: it is no part of the library's, whose users would lock what it depends on.
pub(crate) const XTASK: &str = "--manifest-path xtask/Cargo.toml";

/// The benches that are workspaces of their own, because of the rivals: their names, and where they are.
const RIVALS_BENCHES: [(&str, &str); 3] = [
    ("bulk", "--manifest-path benches/bulk/Cargo.toml"),
    ("documents", "--manifest-path benches/documents/Cargo.toml"),
    ("transport", "--manifest-path benches/transport/Cargo.toml"),
];

/// The crate that brings all others.
const LIBRARY: &str = "deltawire";

/// All that it has.
const FEATURES: &str = "--features deltawire/bulk-files,deltawire/futures,deltawire/https,deltawire/hub-archive,deltawire/metrics,deltawire/quic,deltawire/sctp,deltawire/sim,deltawire/str0m,deltawire/tcp,deltawire/turn,deltawire/unix,deltawire/webtransport";

/// Sets of features that compile by themselves, and the most packages that each may bring: README has them.
const FEATURE_SETS: [(&str, usize); 20] = [
    ("", 54),
    ("bulk-files", 60),
    ("documents", 60),
    ("requests", 55),
    ("hub", 75),
    ("hub-files", 77),
    ("hub-archive", 116),
    ("metrics", 58),
    ("tcp", 58),
    ("unix", 58),
    ("quic", 80),
    ("sctp", 98),
    ("webtransport", 120),
    ("lean", 140),
    ("lean,turn", 143),
    ("str0m", 114),
    ("websocket,signalling-client", 116),
    ("lean,signalling-client", 160),
    ("lean,signalling-server", 180),
    ("lean,signalling-client,signalling-server,websocket", 190),
];

/// What of them is tested, and the programs that tests start. Lints compile examples and benches too.
const TARGETS: &str = "--lib --bins --tests";

/// What needs no std is tested without it, so that CRC-32C by table is too.
const NO_STD: &str = "test -p deltawire-framing --no-default-features --lib --test golden";

/// What is tested in a browser without a server.
const WASM_TESTS: &str = "-p deltawire-browser -p deltawire-bulk --features deltawire-bulk/files,deltawire-node/webtransport -p deltawire-node -p deltawire-signalling -p deltawire-websocket -p deltawire-webtransport --lib --test worker";

/// The crates that run in the browser too.
const WASM: &str = "-p deltawire --features deltawire/bulk-files,deltawire/webtransport -p deltawire-browser-demo --lib";

/// A page whose links are WebSockets and nothing else.
const WASM_WEBSOCKET: &str = "-p deltawire --no-default-features --features websocket --lib";

/// A page whose links are WebTransport's and nothing else.
const WASM_WEBTRANSPORT: &str = "-p deltawire --no-default-features --features webtransport --lib";

/// Without the targets that need the WebRTC stack, which would be built once more: what they check is compiled
/// and run by the tests of transport/webrtc.
const FUZZ: &str = "check --manifest-path fuzz/Cargo.toml --no-default-features --bins";

/// All that CI runs, in the order in which failures are quickest to see.
pub(crate) fn test() -> anyhow::Result<()> {
    let started = Instant::now();
    run("format", &mut cargo("fmt --all --check"))?;
    run("format of xtask", &mut cargo(&format!("fmt {XTASK} --check")))?;
    licences::check().context("licences")?;
    manifests::check().context("manifests")?;
    packaging::check().context("packages that would be published")?;
    for (name, manifest) in RIVALS_BENCHES {
        let step = format!("format of the bench of {name}");
        run(&step, &mut cargo(&format!("fmt {manifest} --check")))?;
    }
    // All targets: benches and examples too.
    run(
        "lints",
        &mut cargo(&format!("clippy --workspace {FEATURES} --all-targets -- -D warnings")),
    )?;
    run("lints of xtask", &mut cargo(&format!("clippy {XTASK} --all-targets -- -D warnings")))?;
    // A host that gets another address needs a network of its own: tests/moves.
    packages::install("network namespaces", &["ip", "unshare"], &["iproute2", "util-linux"])?;
    packages::install("HTTP proxy", &["haproxy"], &["haproxy"])?;
    install_nat()?;
    run("tests, built", tests().arg("--no-run"))?;
    // They wait more than they work.
    run_beside("tests", &mut tests(), || {
        let mut docs = cargo(&format!("doc --workspace {FEATURES} --no-deps"));
        run("docs", docs.env("RUSTDOCFLAGS", "-D warnings"))?;
        feature_sets()?;
        run("fuzz targets compile", &mut cargo(FUZZ))?;
        loom(3)
    })?;
    run("tests of xtask", &mut cargo(&format!("test {XTASK}")))?;
    run("doc tests", &mut cargo(&format!("test --workspace {FEATURES} --doc")))?;
    run("tests without std", &mut cargo(NO_STD))?;
    let compiler = Compiler::get()?;
    compiler.lint(WASM)?;
    compiler.lint(WASM_WEBSOCKET)?;
    compiler.lint(WASM_WEBTRANSPORT)?;
    browser::install()?;
    compiler.test(WASM_TESTS)?;
    let browsers = Instant::now();
    let untried = browser::browser_tests(&compiler).context("the page in a browser")?;
    took("the page, built and in browsers", browsers);
    print_steps();
    println!("\nAll that was tried passed in {} s.", started.elapsed().as_secs());
    for untried in untried {
        println!("NOT TRIED: {untried}");
    }
    Ok(())
}

/// Compiles each set of features, without a warning, and counts what it brings.
fn feature_sets() -> anyhow::Result<()> {
    let started = Instant::now();
    for (features, most) in FEATURE_SETS {
        let set = format!("-p {LIBRARY} --no-default-features --features={features}");
        let name = format!("features {features:?}");
        run(&name, &mut cargo(&format!("clippy {set} --lib -- -D warnings")))?;
        let tree = cargo(&format!("tree {set} --edges normal --prefix none")).output()?;
        let text = String::from_utf8_lossy(&tree.stdout);
        let packages: BTreeSet<_> =
            text.lines().filter_map(|line| line.split(" (").next()).collect();
        println!("{} packages", packages.len());
        if !tree.status.success() || packages.len() > most {
            bail!("{name}: {} packages, at most {most} as README says", packages.len());
        }
    }
    took("sets of features", started);
    Ok(())
}

/// With all features, so that nothing is built once more for one of them; all of them, whichever fail.
pub(crate) fn tests() -> Command {
    cargo(&format!("test --no-fail-fast --workspace {FEATURES} {TARGETS}"))
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

pub(crate) fn links(kind: Option<String>) -> anyhow::Result<()> {
    let mut command = cargo(&format!("test --quiet -p deltawire {FEATURES} --test links --"));
    if let Some(kind) = kind {
        command.args(["--kind", &kind]);
    }
    run("links", &mut command)
}

/// NATs, and a TURN server that is not this project's: tests/nat.
pub(crate) fn install_nat() -> anyhow::Result<()> {
    packages::install("NATs in network namespaces", &["nft"], &["nftables"])?;
    packages::install("TURN server", &["turnserver"], &["coturn"])
}

pub(crate) fn nat() -> anyhow::Result<()> {
    packages::install("network namespaces", &["ip", "unshare"], &["iproute2", "util-linux"])?;
    install_nat()?;
    run("NATs", &mut cargo(&format!("test --quiet -p deltawire {FEATURES} --test nat")))
}

/// Optimized as all tests are: enough, and already built.
pub(crate) fn sim(
    seeds: Option<u64>,
    minutes: Option<u64>,
    seed: Option<u64>,
    engine: Option<String>,
) -> anyhow::Result<()> {
    let mut command = cargo(&format!("test --quiet -p deltawire {FEATURES} --test sim --"));
    for (name, value) in [("--seed", seed), ("--seeds", seeds), ("--minutes", minutes)] {
        if let Some(value) = value {
            command.args([name, &value.to_string()]);
        }
    }
    if let Some(engine) = engine {
        command.args(["--engine", &engine]);
    }
    run("simulated network", &mut command)
}

pub(crate) fn bench(names: &[String]) -> anyhow::Result<()> {
    let of_rivals = |name: &&String| RIVALS_BENCHES.iter().any(|(bench, _)| name == bench);
    let (of_rivals, criterion): (Vec<_>, Vec<_>) = names.iter().partition(of_rivals);
    if names.is_empty() || !criterion.is_empty() {
        let mut command = cargo("bench -p deltawire");
        if criterion.is_empty() {
            command.arg("--benches");
        }
        for name in criterion {
            command.args(["--bench", name.as_str()]);
        }
        run("benches", &mut command)?;
        println!("\nPlots and history: target/criterion/report/index.html");
    }
    for (bench, manifest) in RIVALS_BENCHES {
        if names.is_empty() || of_rivals.iter().any(|name| *name == bench) {
            let mut command = cargo(&format!("run --release --locked {manifest} --target-dir"));
            run(&format!("bench of {bench}"), command.arg(target()))?;
        }
    }
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

/// Has cargo-deny check the dependencies of library and xtask.
pub(crate) fn deny(checks: &[String]) -> anyhow::Result<()> {
    let program = tool("cargo-deny")?;
    for workspace in ["--manifest-path Cargo.toml --workspace", XTASK] {
        let mut deny = Command::new(&program);
        deny.args(workspace.split_whitespace()).current_dir(root());
        deny.args(["--all-features", "--config", "deny.toml", "check"]).args(checks);
        run("dependencies", &mut deny)?;
    }
    Ok(())
}

/// Has cargo-semver-checks say what of the public interfaces changed since a revision, and which version that asks for.
pub(crate) fn semver(since: &str) -> anyhow::Result<()> {
    let program = tool("cargo-semver-checks")?;
    let metadata = metadata("--no-deps")?;
    let (published, _) = manifests::published(&metadata)?;
    let mut check = Command::new(program);
    check.args(["semver-checks", "--baseline-rev", since]).current_dir(root());
    for package in published.iter().filter_map(|package| package["name"].as_str()) {
        check.args(["--package", package]);
    }
    run("public interfaces", &mut check)
}

/// A tool of cargo's, which is installed into the target folder if it is not there.
fn tool(name: &str) -> anyhow::Result<PathBuf> {
    let tools = target().join("tools");
    let mut install = cargo(&format!("install {name} --locked --debug --root"));
    run(name, install.arg(&tools))?;
    Ok(tools.join("bin").join(name))
}

/// Checks what is published with the oldest compiler that it names, for this machine and for browsers.
pub(crate) fn msrv() -> anyhow::Result<()> {
    let metadata = metadata("--no-deps")?;
    let (published, _) = manifests::published(&metadata)?;
    let oldest = published.first().and_then(|package| package["rust_version"].as_str());
    let oldest = oldest.context("no rust-version is named")?;
    let mut rustup = Command::new("rustup");
    rustup.args(["toolchain", "install", oldest, "--profile", "minimal", "--target", wasm::TARGET]);
    run(&format!("Rust {oldest}"), &mut rustup).context(
        "this takes a toolchain that rustup cannot install here; where there is a network it can",
    )?;
    let packages: Vec<_> =
        published.iter().filter_map(|package| package["name"].as_str()).collect();
    let packages = packages.join(" -p ");
    for (name, platform) in [
        (format!("Rust {oldest}, for this machine"), format!("-p {packages}")),
        (format!("Rust {oldest}, for browsers"), format!("-p {LIBRARY} --target {}", wasm::TARGET)),
    ] {
        let mut command = cargo(&format!("+{oldest} check --locked --lib {platform} {FEATURES}"));
        run(&name, command.arg("--target-dir").arg(target().join("msrv")))?;
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

/// Runs a step while `others` run, builds nothing meanwhile, and prints what it said after them.
fn run_beside(
    name: &str,
    command: &mut Command,
    others: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let path = target().join(format!("{name}.log"));
    println!("\n== {name}, beside what follows; what they say: {}", path.display());
    let output = fs::File::create(&path)?;
    command.stdout(output.try_clone()?).stderr(output);
    let started = Instant::now();
    let mut child = command.spawn().with_context(|| format!("{name}: cannot start {command:?}"))?;
    // Cargo builds for one command at a time: this one has to look through what is built before others begin.
    let is_built = |said: Vec<u8>| said.windows(7).any(|word| word == b"Running");
    while !fs::read(&path).is_ok_and(is_built) && matches!(child.try_wait(), Ok(None)) {
        thread::sleep(Duration::from_millis(100));
    }
    let (others, status) = thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let status = child.wait();
            took(name, started);
            status
        });
        (others(), waiting.join())
    });
    println!("\n== {name}\n{}", String::from_utf8_lossy(&fs::read(&path)?));
    let passed = status.is_ok_and(|status| status.is_ok_and(|status| status.success()));
    if let Err(error) = &others {
        println!("beside {name}: {error:#}");
    }
    ensure!(passed, "{name} failed; to repeat it: {command:?}");
    others
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
