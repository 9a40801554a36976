use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use wasm_bindgen_cli_support::Bindgen;

use crate::steps::{cargo, root, run, target};

const PAGE: &str =
    "build -p deltawire-browser-demo --lib --target wasm32-unknown-unknown --profile wasm";

/// What the page's wasm may take compressed with gzip, bytes: Deltawire, the demo, and std.
const BUDGET: usize = 250_000;

/// Builds server and page. Gives the page's folder.
pub(super) fn build() -> anyhow::Result<PathBuf> {
    run("wasm target", Command::new("rustup").args(["target", "add", "wasm32-unknown-unknown"]))
        .context("without it no page can be built")?;
    run("page", &mut cargo(PAGE))?;
    run(
        "server",
        &mut cargo("build --release -p deltawire-browser-demo --bin browser_demo_server"),
    )?;
    let site = target().join("site");
    let module = target().join("wasm32-unknown-unknown/wasm/deltawire_browser_demo.wasm");
    let mut bindgen = Bindgen::new();
    bindgen
        .input_path(module)
        .web(true)?
        // Without it the module does not know where its own wasm lies.
        .omit_default_module_path(false)
        .typescript(false)
        .remove_name_section(true)
        .remove_producers_section(true)
        .generate(&site)?;
    fs::copy(root().join("examples/browser/index.html"), site.join("index.html"))?;
    let wasm = fs::read(site.join("deltawire_browser_demo_bg.wasm"))?;
    let (plain, compressed) = (wasm.len() / 1_000, compressed_len(&wasm)? / 1_000);
    println!("the page's wasm: {plain} KB, {compressed} KB as a server sends it (gzip -9)");
    Ok(site)
}

/// Fails when the page's wasm is longer than its budget.
pub(super) fn check_len(site: &Path) -> anyhow::Result<()> {
    let len = compressed_len(&fs::read(site.join("deltawire_browser_demo_bg.wasm"))?)?;
    ensure!(len <= BUDGET, "the page's wasm takes {len} bytes compressed, more than {BUDGET}");
    Ok(())
}

fn compressed_len(bytes: &[u8]) -> anyhow::Result<usize> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?.len())
}
