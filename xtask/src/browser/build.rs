use std::fs;
use std::path::PathBuf;

use wasm_bindgen_cli_support::Bindgen;

use crate::steps::{cargo, root, run, target};
use crate::wasm::Compiler;

const PAGE: &str = "build -p deltawire-browser-demo --lib --profile wasm";

/// Builds server and page. Gives the page's folder.
pub(super) fn build(compiler: &Compiler) -> anyhow::Result<PathBuf> {
    run("page", &mut compiler.cargo(PAGE))?;
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
