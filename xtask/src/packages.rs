//! Programs of the system's that tests need.

use std::process::{Command, Stdio};

use anyhow::bail;

use crate::steps::run;

/// Installs Debian's `packages` if one of their `programs` is missing and this user may.
pub(crate) fn install(name: &str, programs: &[&str], packages: &[&str]) -> anyhow::Result<()> {
    let missing = || programs.iter().copied().filter(|program| !is_there(program));
    if missing().next().is_none() {
        return Ok(());
    }
    fetch(name, packages)?;
    let missing: Vec<_> = missing().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages = packages.join(" ");
    bail!("{} not found; install: `sudo apt-get install {packages}`", missing.join(" and "));
}

/// Installs the newest that Debian has of `packages`, if this user may.
pub(crate) fn fetch(name: &str, packages: &[&str]) -> anyhow::Result<()> {
    let root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    if !root || !is_there("apt-get") {
        return Ok(());
    }
    // Lists from when the machine was made may name versions of then; without others they have to do.
    if let Err(error) = run("list of packages", Command::new("apt-get").args(["update", "-q"])) {
        println!("{error}");
    }
    let mut apt = Command::new("apt-get");
    apt.args(["install", "-y", "-q"]).args(packages);
    run(name, apt.env("DEBIAN_FRONTEND", "noninteractive"))
}

fn is_there(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok()
}
