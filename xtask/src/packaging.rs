//! What would be published: whether each crate can be packed, and what its package holds.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::manifests;
use crate::steps::{cargo, metadata, run, target};

/// Fields without which crates.io takes no crate, or shows one that nobody finds or can judge.
const FIELDS: [&str; 6] =
    ["categories", "description", "keywords", "license", "readme", "rust_version"];

/// The field that the workspace lacks until the project has a public address.
const ADDRESS: &str = "repository";

/// Files that each package has, as its licences ask and as its page shows.
const FILES: [&str; 5] = ["Cargo.toml", "LICENSE-APACHE", "LICENSE-MIT", "README.md", "src/lib.rs"];

/// The most keywords, and categories, that crates.io takes.
const MOST_WORDS: usize = 5;

/// The longest keyword that crates.io takes, in bytes.
const LONGEST_KEYWORD: usize = 20;

/// Looks at manifests and at lists of files: the part that takes seconds. Gives each package's number of files.
pub(crate) fn check() -> anyhow::Result<Vec<usize>> {
    println!("\n== packages that would be published");
    let metadata = metadata("--no-deps")?;
    let (published, others) = manifests::published(&metadata)?;
    let unpublished: BTreeSet<_> = others.iter().filter_map(|it| it["name"].as_str()).collect();
    let mut faults = Vec::new();
    let mut counts = Vec::new();
    for package in published {
        let files = files(package)?;
        let found = manifest_faults(package, &unpublished).into_iter().chain(file_faults(&files));
        faults.extend(found.map(|fault| format!("{}: {fault}", name(package))));
        counts.push(files.len());
    }
    ensure!(faults.is_empty(), "crates that cannot be published:\n{}", faults.join("\n"));
    println!("== packages that would be published: {}", counts.len());
    Ok(counts)
}

/// Packs each crate that is published and builds it from its package, as its users will; says what is in them.
pub(crate) fn package() -> anyhow::Result<()> {
    let counts = check()?;
    let metadata = metadata("--no-deps")?;
    let (published, others) = manifests::published(&metadata)?;
    // In the order of their dependencies, each from the packages of those before.
    let mut command = cargo("package --workspace --locked --no-metadata");
    for package in others {
        command.args(["--exclude", name(package)]);
    }
    forget_unpacked()?;
    run("packages", &mut command)?;
    println!("\n| would be published | files | compressed, KB |\n|---|---|---|");
    for (package, files) in published.iter().zip(counts) {
        let version = package["version"].as_str().unwrap_or_default();
        let file = format!("{}-{version}.crate", name(package));
        let len = fs::metadata(target().join("package").join(&file)).context(file)?.len();
        println!("| {} {version} | {files} | {} |", name(package), len.div_ceil(1_000));
    }
    if published.iter().any(|package| is_missing(package, ADDRESS)) {
        println!(
            "\nTO DO before publishing: name the {ADDRESS} in [workspace.package] and each crate."
        );
    }
    Ok(())
}

/// Has cargo unpack the packages anew: what it has of an earlier run, of the same version, it takes for the same.
fn forget_unpacked() -> anyhow::Result<()> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    let Some(sources) = home.map(|home| home.join("registry/src")) else { return Ok(()) };
    for registry in fs::read_dir(&sources).into_iter().flatten() {
        let registry = registry?;
        // That of packages that are being made has no host's name.
        if !registry.file_name().as_encoded_bytes().starts_with(b"-") {
            continue;
        }
        for unpacked in fs::read_dir(registry.path())? {
            let unpacked = unpacked?;
            if unpacked.file_name().as_encoded_bytes().starts_with(b"deltawire-") {
                fs::remove_dir_all(unpacked.path())?;
            }
        }
    }
    Ok(())
}

fn name(package: &Value) -> &str {
    package["name"].as_str().unwrap_or_default()
}

/// The files that the package would have.
fn files(package: &Value) -> anyhow::Result<BTreeSet<String>> {
    let name = name(package);
    // Without a lock file, which would be resolved for each.
    let list = "package --list --locked --allow-dirty --exclude-lockfile --no-metadata -p";
    let output = cargo(list).arg(name).output()?;
    if !output.status.success() {
        bail!("{name} cannot be packed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
}

fn is_missing(package: &Value, field: &str) -> bool {
    match &package[field] {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(words) => words.is_empty(),
        _ => false,
    }
}

/// What crates.io would refuse in a manifest, or a reader of its page miss.
fn manifest_faults(package: &Value, unpublished: &BTreeSet<&str>) -> Vec<String> {
    let missing = FIELDS.iter().filter(|field| is_missing(package, field));
    let mut faults: Vec<_> =
        missing.map(|field| format!("the manifest has no {}", field.replace('_', "-"))).collect();
    for field in ["categories", "keywords"] {
        let words = package[field].as_array().map_or(0, Vec::len);
        if words > MOST_WORDS {
            faults.push(format!("{words} {field}, at most {MOST_WORDS}"));
        }
    }
    let keywords = package["keywords"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let long = keywords.filter(|keyword| keyword.len() > LONGEST_KEYWORD);
    faults.extend(long.map(|it| format!("keyword {it:?}: at most {LONGEST_KEYWORD} bytes")));
    for dependency in package["dependencies"].as_array().into_iter().flatten() {
        // Those of tests are left out of the package if they have no version.
        if dependency["kind"] == "dev" || dependency["path"].is_null() {
            continue;
        }
        let on = name(dependency);
        if dependency["req"] == "*" {
            faults.push(format!("depends on {on} by path only: name its version as well"));
        }
        if unpublished.contains(on) {
            faults.push(format!("depends on {on}, which is not published"));
        }
    }
    faults
}

/// What a package lacks.
fn file_faults(files: &BTreeSet<String>) -> Vec<String> {
    let missing = FILES.iter().filter(|file| !files.contains(**file));
    missing.map(|file| format!("the package has no {file}")).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::{FILES, file_faults, manifest_faults};

    #[test]
    fn a_complete_manifest_has_no_fault() {
        let package = json!({
            "name": "ours", "description": "Something", "license": "MIT", "readme": "README.md",
            "categories": ["wasm"], "keywords": ["delta"], "rust_version": "1.91", "dependencies": [
                { "name": "known", "req": "^1", "kind": null },
                { "name": "member", "req": "^0.1.0", "kind": null, "path": "/member" },
                { "name": "private", "req": "*", "kind": "dev", "path": "/private" },
            ],
        });
        assert_eq!(manifest_faults(&package, &BTreeSet::from(["private"])), [""; 0]);
    }

    #[test]
    fn what_a_manifest_lacks_is_named() {
        let package = json!({
            "name": "ours", "description": " ", "license": null, "readme": "README.md",
            "categories": [], "keywords": ["a", "b", "c", "d", "e", "a-keyword-that-is-too-long"],
            "rust_version": null, "dependencies": [
                { "name": "private", "req": "*", "kind": null, "path": "/private" },
            ],
        });
        assert_eq!(
            manifest_faults(&package, &BTreeSet::from(["private"])),
            [
                "the manifest has no categories",
                "the manifest has no description",
                "the manifest has no license",
                "the manifest has no rust-version",
                "6 keywords, at most 5",
                "keyword \"a-keyword-that-is-too-long\": at most 20 bytes",
                "depends on private by path only: name its version as well",
                "depends on private, which is not published",
            ]
        );
    }

    #[test]
    fn a_file_that_is_missing_is_named() {
        let all = FILES.map(str::to_owned);
        assert_eq!(file_faults(&BTreeSet::from(all.clone())), [""; 0]);
        let but_one = all.into_iter().filter(|file| file != "LICENSE-MIT").collect();
        assert_eq!(file_faults(&but_one), ["the package has no LICENSE-MIT"]);
    }
}
