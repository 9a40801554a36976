use std::fmt;
use std::process::Command;

use anyhow::Context;
use clap::ValueEnum;

use crate::packages;

/// The first Firefox in which the page was seen to pass; 140 has not what it needs.
const LEAST_FIREFOX: u32 = 153;

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

    /// Installs what is missing or too old, if this user may.
    pub(super) fn install(self) -> anyhow::Result<()> {
        packages::install("browser", self.programs(), self.packages())?;
        // Without a newer one it is said at the end what was not tried.
        if self.shortcoming()?.is_some()
            && let Err(error) = packages::fetch("newer browser", self.packages())
        {
            println!("{error}");
        }
        Ok(())
    }

    /// Why the page's checks cannot pass in the one that is installed, if they cannot.
    pub(super) fn shortcoming(self) -> anyhow::Result<Option<String>> {
        if self == Self::Chromium {
            return Ok(None);
        }
        let output = Command::new("firefox-esr").arg("--version").output()?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let version = text.split(' ').find_map(|word| word.split('.').next()?.parse::<u32>().ok());
        let version =
            version.with_context(|| format!("firefox-esr says its version as {text:?}"))?;
        Ok((version < LEAST_FIREFOX).then(|| {
            format!(
                "{text} transfers no data channels to workers: the page's checks are for Firefox \
                 {LEAST_FIREFOX} and later"
            )
        }))
    }
}

impl fmt::Display for Browser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chromium => "Chromium",
            Self::Firefox => "Firefox",
        })
    }
}
