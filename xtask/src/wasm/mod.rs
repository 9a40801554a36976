//! Compiling for the browser: rustup's target, or else Debian's packages.

mod debian;

use std::iter;
use std::process::Command;

use anyhow::Context;
use wasm_bindgen_cli::wasm_bindgen_test_runner::run_cli_with_args;

use self::debian::Debian;
use crate::browser::{IN_FIREFOX, run_in_firefox};
use crate::steps::{cargo, run};

/// What code for the browser is compiled for.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Gets a compiler for the browser, and tries it.
pub(crate) fn set_up(debian: bool) -> anyhow::Result<()> {
    let compiler = if debian { Compiler::of_debian() } else { Compiler::get() }?;
    run("framing for wasm32", &mut compiler.cargo("build -p deltawire-framing"))
}

/// Runs a module of tests.
pub(crate) fn run_tests(arguments: Vec<String>) -> anyhow::Result<()> {
    if std::env::var_os(IN_FIREFOX).is_some() {
        return run_in_firefox(&arguments);
    }
    let program = "wasm-bindgen-test-runner".to_owned();
    run_cli_with_args(iter::once(program).chain(arguments))
}

/// A compiler for the browser.
pub(crate) enum Compiler {
    /// The one that compiles everything else.
    Ours,
    /// One of Debian's, for where rustup cannot download. It has no clippy.
    Debian(Debian),
}

impl Compiler {
    /// Gets one, and says how.
    pub(crate) fn get() -> anyhow::Result<Self> {
        let added = run("wasm target", Command::new("rustup").args(["target", "add", TARGET]));
        let Err(error) = added else { return Ok(Self::Ours) };
        println!("{error:#}\nDebian's packages may do instead.");
        Self::of_debian()
    }

    /// The one of Debian's packages.
    pub(crate) fn of_debian() -> anyhow::Result<Self> {
        Debian::get().map(Self::Debian).context(
            "nothing here compiles for the browser; where there is a network, \
             `rustup target add wasm32-unknown-unknown` is all that is needed",
        )
    }

    /// `cargo` with these arguments and the browser for a target.
    pub(crate) fn cargo(&self, arguments: &str) -> Command {
        let mut command = cargo(arguments);
        command.args(["--target", TARGET]);
        if let Self::Debian(debian) = self {
            debian.compile(&mut command);
        }
        command
    }

    /// Runs tests in Chromium, and then in Firefox.
    pub(crate) fn test(&self, tests: &str) -> anyhow::Result<()> {
        run("wasm32 tests in Chromium", &mut self.tests(tests)?)?;
        run("wasm32 tests in Firefox", self.tests(tests)?.env(IN_FIREFOX, "1"))
    }

    fn tests(&self, tests: &str) -> anyhow::Result<Command> {
        let mut command = self.cargo(&format!("test {tests}"));
        let runner = format!("{} run-wasm", std::env::current_exe()?.display());
        command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", runner);
        command.env("CHROMEDRIVER", "chromedriver");
        // Machines that test are busy. Seconds.
        command.env("WASM_BINDGEN_TEST_DRIVER_TIMEOUT", "60");
        command.env("WASM_BINDGEN_TEST_TIMEOUT", "120");
        Ok(command)
    }

    /// Lints, where there are any; else compiles.
    pub(crate) fn lint(&self, packages: &str) -> anyhow::Result<()> {
        match self {
            Self::Ours => {
                let mut command = self.cargo(&format!("clippy {packages}"));
                run("wasm32 lints", command.args(["--", "-D", "warnings"]))
            }
            Self::Debian(_) => {
                println!("Debian's compiler has no clippy: what is for wasm32 is not linted.");
                run("wasm32 compiles", &mut self.cargo(&format!("check {packages}")))
            }
        }
    }
}
