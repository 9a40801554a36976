use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use wasm_bindgen_cli_support::Bindgen;

use crate::steps::{cargo, root, run, target};

const PAGE: &str =
    "build -p deltawire-browser-demo --lib --target wasm32-unknown-unknown --profile wasm";

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
    let wasm = fs::metadata(site.join("deltawire_browser_demo_bg.wasm"))?.len();
    println!("the page's wasm: {} KB, not compressed", wasm / 1_000);
    Ok(site)
}
