//! Whether every dependency may be used under a licence that suits MIT OR Apache-2.0 users: of what `cargo deny`
//! checks, what has to be checked each time.

use std::collections::BTreeSet;

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::steps::{XTASK, metadata};

/// Of the file that says it to `cargo deny`.
#[derive(Deserialize)]
struct Deny {
    licenses: Licenses,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

fn accepted() -> anyhow::Result<Vec<String>> {
    let deny: Deny = basic_toml::from_str(include_str!("../../deny.toml")).context("deny.toml")?;
    Ok(deny.licenses.allow)
}

/// Looks at every package that the lock files of library and xtask name, dependencies of tests, benches and
/// optional features included.
pub(crate) fn check() -> anyhow::Result<()> {
    println!("\n== licences");
    let accepted = accepted()?;
    let mut refused = BTreeSet::new();
    let mut packages = 0;
    for workspace in ["", XTASK] {
        let metadata = metadata(&format!("--all-features {workspace}"))?;
        let own = metadata["packages"].as_array().context("cargo metadata names no packages")?;
        packages += own.len();
        for package in own {
            let licence = package["license"].as_str().unwrap_or("none stated");
            if !is_accepted(licence, &accepted) {
                refused.insert(format!("{} {}: {licence}", package["name"], package["version"]));
            }
        }
    }
    if !refused.is_empty() {
        let list: Vec<_> = refused.into_iter().collect();
        bail!("not among the accepted licences (deny.toml):\n{}", list.join("\n"));
    }
    println!("== licences: {packages} packages");
    Ok(())
}

/// Whether an SPDX expression can be met with accepted licences.
fn is_accepted(expression: &str, accepted: &[String]) -> bool {
    spdx::Expression::parse_mode(expression, spdx::ParseMode::LAX).is_ok_and(|expression| {
        expression.evaluate(|licence| accepted.contains(&licence.to_string()))
    })
}

#[cfg(test)]
mod tests {
    use super::{accepted, is_accepted};

    #[test]
    fn expressions_are_understood() {
        let accepted = accepted().unwrap();
        for good in ["MIT", "MIT OR GPL-3.0-only", "(MIT OR Apache-2.0) AND Unicode-3.0"] {
            assert!(is_accepted(good, &accepted), "{good}");
        }
        for bad in ["none stated", "GPL-3.0-only", "MIT AND GPL-3.0-only"] {
            assert!(!is_accepted(bad, &accepted), "{bad}");
        }
    }
}
