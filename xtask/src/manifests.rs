//! Whether the manifests of the crates that are published leave their users the choice of versions.

use anyhow::{Context, bail};
use serde_json::Value;

use crate::steps::cargo;

/// Refuses exact versions in published crates: cargo takes one version of a crate for a whole program, also for
/// targets that it is not built for, so a pin keeps out every program that has another.
pub(crate) fn check() -> anyhow::Result<()> {
    println!("\n== manifests");
    let pins = pins(&metadata()?)?;
    if !pins.is_empty() {
        bail!("exact versions in crates that are published:\n{}", pins.join("\n"));
    }
    Ok(())
}

fn metadata() -> anyhow::Result<Value> {
    let output = cargo("metadata --format-version 1 --locked --no-deps").output()?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The dependencies with exact versions, those of tests and examples included.
fn pins(metadata: &Value) -> anyhow::Result<Vec<String>> {
    let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
    // `publish = false` is an empty list of registries.
    let published =
        packages.iter().filter(|package| package["publish"] != Value::Array(Vec::new()));
    let mut pins = Vec::new();
    for package in published {
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
    use super::{metadata, pins};

    #[test]
    fn crates_that_are_published_pin_nothing() {
        let metadata = metadata().unwrap();
        assert_eq!(pins(&metadata).unwrap(), [""; 0]);
    }

    #[test]
    fn a_pin_is_found() {
        let metadata = serde_json::json!({ "packages": [
            { "name": "ours", "publish": null, "dependencies": [
                { "name": "loose", "req": "^1.2" }, { "name": "exact", "req": "=0.2.130" },
            ]},
            { "name": "private", "publish": [], "dependencies": [
                { "name": "exact", "req": "=0.2.130" },
            ]},
        ]});
        assert_eq!(pins(&metadata).unwrap(), ["\"ours\": \"exact\" =0.2.130"]);
    }
}
