use std::fmt;
use std::process::{Command, Stdio};

use anyhow::bail;
use clap::ValueEnum;

use crate::steps::run;

/// A browser without a screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Browser {
    Chromium,
    Firefox,
}

impl Browser {
    /// Debian's packages of `programs`.
    fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Chromium => &["chromium", "chromium-driver"],
            Self::Firefox => &["firefox-esr"],
        }
    }

    /// The browser and what drives it.
    fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Chromium => &["chromium", "chromedriver"],
            Self::Firefox => &["firefox-esr"],
        }
    }

    fn missing(self) -> Vec<&'static str> {
        self.programs().iter().copied().filter(|program| !is_there(program)).collect()
    }

    /// Installs what is missing, if this user may.
    pub(super) fn install(self) -> anyhow::Result<()> {
        let missing = self.missing();
        if missing.is_empty() {
            return Ok(());
        }
        let packages = self.packages().join(" ");
        let root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
        if root && is_there("apt-get") {
            let mut apt = Command::new("apt-get");
            apt.args(["install", "-y", "-q"]).args(self.packages());
            run("browser", apt.env("DEBIAN_FRONTEND", "noninteractive"))?;
        }
        let missing = self.missing();
        if missing.is_empty() {
            return Ok(());
        }
        bail!("{} not found; install: `sudo apt-get install {packages}`", missing.join(" and "));
    }
}

fn is_there(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok()
}

impl fmt::Display for Browser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chromium => "Chromium",
            Self::Firefox => "Firefox",
        })
    }
}
