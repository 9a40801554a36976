//! The page in a browser: built, served, and tried.

mod build;
mod install;
mod report;
mod webdriver;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

pub(crate) use self::install::Browser;
use self::report::Report;
use self::webdriver::Session;
use crate::processes::{Stopped, address};
use crate::steps::{release, run};

/// How long a run of the page may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Serves the page until Ctrl+C.
pub(crate) fn serve(lan: bool) -> anyhow::Result<()> {
    let site = build::build()?;
    let mut server = Command::new(release("browser_demo_server"));
    server.arg("--site").arg(site);
    if lan {
        server.arg("--lan");
    }
    run("server", &mut server)
}

/// Runs the page in a browser without a screen, once with the channels in the worker and once with
/// a relay, and prints what it reports.
pub(crate) fn headless(browser: Browser) -> anyhow::Result<()> {
    browser.install()?;
    let site = build::build()?;
    let mut server = Command::new(release("browser_demo_server"));
    server.arg("--site").arg(site).args(["--port", "0"]).stdout(Stdio::piped());
    let mut server = Stopped(server.spawn().context("the demo's server does not start")?);
    let url = address(&mut server.0)?;
    let session = Session::start(browser)?;
    let mut passed = true;
    for (name, query, touched) in [
        ("channels in the worker", "?run", false),
        ("channels relayed by the window", "?run&quick&relay", true),
    ] {
        println!("\n== {browser}, {name}");
        let report = wait(&session, &format!("{url}{query}"))?;
        report.print();
        passed &= report.passed();
        if (report.main_thread_bytes > 0) != touched {
            println!("FAIL the window touched {} bytes", report.main_thread_bytes);
            passed = false;
        }
    }
    if !passed {
        bail!("the page's checks failed in {browser}");
    }
    println!("\nAll of the page's checks passed in {browser}.");
    Ok(())
}

/// What runs in CI.
pub(crate) fn browser_tests() -> anyhow::Result<()> {
    headless(Browser::Chromium)
}

/// Opens the page and waits for its report.
fn wait(session: &Session, url: &str) -> anyhow::Result<Report> {
    session.open(url)?;
    let started = Instant::now();
    loop {
        let result = session.text("result")?;
        if !result.is_empty() {
            return serde_json::from_str(&result).context("the page's report cannot be read");
        }
        if started.elapsed() > PATIENCE {
            let (state, checks) = (session.text("state")?, session.text("checks")?);
            bail!("the page made no report within {PATIENCE:?}: {state}; {checks}");
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}
