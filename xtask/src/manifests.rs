//! Whether the manifests of the crates that are published leave their users the choice of versions, and whether
//! what belongs together has one.

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::steps::{XTASK, metadata};

/// Reads what pages are built with, which has to be of one version; of the one, in the library's workspace.
const BINDGEN: &str = "wasm-bindgen";

/// And of the others, in xtask's.
const BINDGEN_TOOLS: [&str; 2] = ["wasm-bindgen-cli", "wasm-bindgen-cli-support"];

/// Refuses exact versions in published crates: cargo takes one version of a crate for a whole program, also for
/// targets that it is not built for, so a pin keeps out every program that has another.
pub(crate) fn check() -> anyhow::Result<()> {
    println!("\n== manifests");
    let pins = pins(&metadata("--no-deps")?)?;
    if !pins.is_empty() {
        bail!("exact versions in crates that are published:\n{}", pins.join("\n"));
    }
    one_bindgen(&metadata("")?, &metadata(XTASK)?)
}

/// Whether the page and what prepares it for browsers have the same wasm-bindgen, of which no other version reads
/// the output.
fn one_bindgen(library: &Value, xtask: &Value) -> anyhow::Result<()> {
    let page = version(library, BINDGEN).context("Cargo.lock")?;
    for tool in BINDGEN_TOOLS {
        let other = version(xtask, tool).context("xtask/Cargo.lock")?;
        ensure!(
            page == other,
            "Cargo.lock has {BINDGEN} {page}, xtask/Cargo.lock has {tool} {other}: they have to be the same; \
             name one version in examples/browser/Cargo.toml and xtask/Cargo.toml"
        );
    }
    Ok(())
}

fn version<'a>(metadata: &'a Value, name: &str) -> anyhow::Result<&'a str> {
    let mut packages = metadata["packages"].as_array().into_iter().flatten();
    let package = packages.find(|package| package["name"] == name);
    package.and_then(|it| it["version"].as_str()).with_context(|| format!("{name} is missing"))
}

/// The packages of the workspace that are published, and the others.
pub(crate) fn published(metadata: &Value) -> anyhow::Result<(Vec<&Value>, Vec<&Value>)> {
    let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
    // `publish = false` is an empty list of registries.
    Ok(packages.iter().partition(|package| package["publish"] != Value::Array(Vec::new())))
}

/// The dependencies with exact versions, those of tests and examples included.
fn pins(metadata: &Value) -> anyhow::Result<Vec<String>> {
    let mut pins = Vec::new();
    for package in published(metadata)?.0 {
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let version = dependency["req"].as_str().unwrap_or_default();
            if version.split(',').any(|part| part.trim().starts_with('=')) {
                pins.push(format!("{}: {} {version}", package["name"], dependency["name"]));
            }
        }
    }
    Ok(pins)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{one_bindgen, pins};

    #[test]
    fn a_pin_is_found() {
        let metadata = json!({ "packages": [
            { "name": "ours", "publish": null, "dependencies": [
                { "name": "loose", "req": "^1.2" }, { "name": "exact", "req": "=0.2.130" },
            ]},
            { "name": "private", "publish": [], "dependencies": [
                { "name": "exact", "req": "=0.2.130" },
            ]},
        ]});
        assert_eq!(pins(&metadata).unwrap(), ["\"ours\": \"exact\" =0.2.130"]);
    }

    #[test]
    fn another_wasm_bindgen_is_found() {
        let library = json!({ "packages": [{ "name": "wasm-bindgen", "version": "0.2.130" }] });
        let xtask = |version| {
            json!({ "packages": [
                { "name": "wasm-bindgen-cli", "version": "0.2.130" },
                { "name": "wasm-bindgen-cli-support", "version": version },
            ]})
        };
        one_bindgen(&library, &xtask("0.2.130")).unwrap();
        let error = one_bindgen(&library, &xtask("0.2.131")).unwrap_err().to_string();
        assert!(error.contains("0.2.130") && error.contains("0.2.131"), "{error}");
    }
}
