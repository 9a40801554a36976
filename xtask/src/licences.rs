//! Whether every dependency may be used under a licence that suits MIT OR Apache-2.0 users.
//!
//! Advisories are not checked: their database is a git repository, and this has to run offline.

use std::collections::BTreeSet;

use anyhow::{Context, bail};

use crate::steps::{XTASK, metadata};

/// Licences that anybody who may use this project may use too.
const ACCEPTED: [&str; 11] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    // Of lists of certificates, which the feature https takes along on Android.
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Zlib",
];

/// Looks at every package that the lock files of library and xtask name, dependencies of tests, benches and
/// optional features included.
pub(crate) fn check() -> anyhow::Result<()> {
    println!("\n== licences");
    let mut refused = BTreeSet::new();
    let mut packages = 0;
    for workspace in ["", XTASK] {
        let metadata = metadata(&format!("--all-features {workspace}"))?;
        let own = metadata["packages"].as_array().context("cargo metadata names no packages")?;
        packages += own.len();
        for package in own {
            let licence = package["license"].as_str().unwrap_or("none stated");
            if !is_accepted(licence) {
                refused.insert(format!("{} {}: {licence}", package["name"], package["version"]));
            }
        }
    }
    if !refused.is_empty() {
        let list: Vec<_> = refused.into_iter().collect();
        bail!("not among the accepted licences (xtask/src/licences.rs):\n{}", list.join("\n"));
    }
    println!("== licences: {packages} packages");
    Ok(())
}

/// Whether an SPDX expression can be met with accepted licences.
fn is_accepted(expression: &str) -> bool {
    spdx::Expression::parse_mode(expression, spdx::ParseMode::LAX).is_ok_and(|expression| {
        expression.evaluate(|licence| ACCEPTED.contains(&licence.to_string().as_str()))
    })
}

#[cfg(test)]
mod tests {
    use super::is_accepted;

    #[test]
    fn expressions_are_understood() {
        for good in ["MIT", "MIT OR GPL-3.0-only", "(MIT OR Apache-2.0) AND Unicode-3.0"] {
            assert!(is_accepted(good), "{good}");
        }
        for bad in ["none stated", "GPL-3.0-only", "MIT AND GPL-3.0-only"] {
            assert!(!is_accepted(bad), "{bad}");
        }
    }
}
