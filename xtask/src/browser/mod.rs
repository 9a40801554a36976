//! The page in a browser: built, served, and tried.

mod build;
mod faults;
mod install;
mod report;
mod webdriver;
mod yardstick;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

pub(crate) use self::install::Browser;
use self::report::Report;
use self::webdriver::Session;
pub(crate) use self::yardstick::measure;
use crate::processes::Server;
use crate::steps::{release, run, target};

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
    let server = start_server(&site, 0)?;
    let url = server.address()?;
    let session = Session::start(browser)?;
    let mut passed = true;
    for (name, query, touched) in [
        ("channels in the worker", "?run", false),
        ("channels relayed by the window", "?run&quick&relay", true),
    ] {
        println!("\n== {browser}, {name}");
        let report = wait(&session, &format!("{url}{query}"))?;
        report.print();
        if !touched {
            let picture = target().join("page.png");
            std::fs::write(&picture, base64(&session.screenshot()?))?;
            println!("a picture of the page: {}", picture.display());
        }
        passed &= report.passed();
        if (report.main_thread_bytes > 0) != touched {
            println!("FAIL the window touched {} bytes", report.main_thread_bytes);
            passed = false;
        }
    }
    passed &= faults::run(&session, server, &url, &site);
    if !passed {
        bail!("the page's checks failed in {browser}");
    }
    println!("\nAll of the page's checks passed in {browser}.");
    Ok(())
}

/// At this port, or at any that is free if it is 0.
fn start_server(site: &Path, port: u16) -> anyhow::Result<Server> {
    let mut command = Command::new(release("browser_demo_server"));
    Server::start(command.arg("--site").arg(site).args(["--port", &port.to_string()]))
}

/// What runs in CI.
pub(crate) fn browser_tests() -> anyhow::Result<()> {
    headless(Browser::Chromium)?;
    yardstick::check(Browser::Chromium)
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

/// Decodes Base64 (RFC 4648, section 4).
fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut bits, mut waiting) = (Vec::new(), 0_u32, 0);
    for character in text.bytes() {
        let Some(value) = ALPHABET.iter().position(|known| *known == character) else { continue };
        bits = bits << 6 | value as u32;
        waiting += 6;
        if waiting >= 8 {
            waiting -= 8;
            bytes.push((bits >> waiting) as u8);
        }
    }
    bytes
}
