//! The page in a browser: built, served, and tried.

mod board;
mod build;
mod faults;
mod install;
mod lacking;
mod marionette;
mod modules;
mod relay;
mod report;
mod rooms;
mod session;
mod stun;
mod turn;
mod webdriver;
mod yardstick;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use base64::prelude::{BASE64_STANDARD, Engine};

use self::build::Site;
pub(crate) use self::install::Browser;
pub(crate) use self::modules::run_in_firefox;
use self::report::Report;
use self::session::Session;
pub(crate) use self::yardstick::{Link, measure};
use crate::packages;
use crate::processes::{Server, Stopped};
use crate::steps::{self, target, took};
use crate::wasm::Compiler;

/// The variable that has modules of wasm tests run in Firefox, and not in Chromium.
pub(crate) const IN_FIREFOX: &str = "DELTAWIRE_WASM_TESTS_IN_FIREFOX";

/// The page of figures and checks.
const FIGURES: &str = "figures.html";

/// How long a run of the page may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Serves the page until Ctrl+C.
pub(crate) fn serve(lan: bool) -> anyhow::Result<()> {
    let site = Site::build(&Compiler::get()?)?;
    let mut command = site.keeping_server(&target().join("board"));
    if lan {
        command.arg("--lan");
    }
    let server = Server::start(&mut command)?;
    let address = server.address()?;
    println!("\nopen {address} in a browser, and once more in another ; Ctrl+C ends");
    let peer = site.peer(&address).spawn().context("the native peer does not start")?;
    let _peer = Stopped(peer);
    server.print()
}

/// Installs both browsers where they are missing.
pub(crate) fn install() -> anyhow::Result<()> {
    [Browser::Chromium, Browser::Firefox].into_iter().try_for_each(Browser::install)
}

/// What runs in CI. Gives what could not be tried with the browsers that this machine has.
pub(crate) fn browser_tests(compiler: &Compiler) -> anyhow::Result<Vec<String>> {
    let site = Site::build_for_tests(compiler)?;
    let mut untried = Vec::new();
    for browser in [Browser::Chromium, Browser::Firefox] {
        if let Some(shortcoming) = browser.shortcoming()? {
            println!("\n== NOT TRIED in {browser}: {shortcoming}");
            untried.push(format!("the page in {browser}: {shortcoming}"));
            continue;
        }
        try_in(browser, &site)?;
        yardstick::check(browser, &site)?;
    }
    if untried.is_empty() {
        let started = Instant::now();
        board::check(&site)?;
        took("the board in both browsers", started);
        let started = Instant::now();
        rooms::check(&site)?;
        took("pages that meet in rooms", started);
    } else {
        untried.push("the board and rooms, which take both browsers".to_owned());
    }
    Ok(untried)
}

/// Tries the page in a browser without a screen.
pub(crate) fn headless(browser: Browser) -> anyhow::Result<()> {
    browser.install()?;
    if let Some(shortcoming) = browser.shortcoming()? {
        bail!("{shortcoming}; install a newer one");
    }
    try_in(browser, &Site::build(&Compiler::get()?)?)
}

/// Tries the board in both browsers, without a screen.
pub(crate) fn board() -> anyhow::Result<()> {
    install()?;
    if let Some(shortcoming) = Browser::Firefox.shortcoming()? {
        bail!("{shortcoming}; install a newer one");
    }
    board::check(&Site::build(&Compiler::get()?)?)
}

/// Has pages of both browsers connect to one another, without a screen. Where they are on a network of their own, the page and
/// its servers are built.
pub(crate) fn rooms(built: &[PathBuf]) -> anyhow::Result<()> {
    if let [folder, programs] = built {
        return rooms::check_here(&Site::of(folder, programs));
    }
    install()?;
    packages::install("network namespaces", &["ip", "unshare"], &["iproute2", "util-linux"])?;
    steps::install_nat()?;
    if let Some(shortcoming) = Browser::Firefox.shortcoming()? {
        bail!("{shortcoming}; install a newer one");
    }
    rooms::check(&Site::build(&Compiler::get()?)?)
}

/// Runs the page once with the channels in the worker for each engine of the server's, once with a relay, once over WebSocket
/// and once over WebTransport, and prints what it reports; then without this and that, and over each kind of link with faults.
fn try_in(browser: Browser, site: &Site) -> anyhow::Result<()> {
    let server = site.start(0)?;
    let url = server.address()? + FIGURES;
    let on_str0m = site.start_on_str0m()?;
    let url_on_str0m = on_str0m.address()? + FIGURES;
    let mut session = Session::start(browser)?;
    let mut passed = true;
    for (name, url, query, touched) in [
        ("channels in the worker", &url, "?run", false),
        ("channels in the worker, the server on str0m", &url_on_str0m, "?run&quick", false),
        ("channels relayed by the window", &url, "?run&quick&relay", true),
        ("WebSocket in the worker", &url, "?run&websocket", false),
        ("WebTransport in the worker", &url, "?run&webtransport", false),
    ] {
        println!("\n== {browser}, {name}");
        let report = wait(&mut session, &format!("{url}{query}"))?;
        report.print();
        if !query.contains("quick") {
            let picture = target().join(format!("page-{}.png", report.kind));
            std::fs::write(&picture, BASE64_STANDARD.decode(session.screenshot()?)?)?;
            println!("a picture of the page: {}", picture.display());
        }
        passed &= report.passed();
        if (report.main_thread_bytes > 0) != touched {
            println!("FAIL the window touched {} bytes", report.main_thread_bytes);
            passed = false;
        }
    }
    drop(on_str0m);
    passed &= lacking::run(&mut session, browser, &url);
    drop(server);
    for (kind, query) in
        [("WebRTC", ""), ("WebSocket", "?websocket"), ("WebTransport", "?webtransport")]
    {
        passed &= faults::run(&mut session, site, kind, query)?;
    }
    passed &= faults::fall_back(&mut session, site)?;
    if !passed {
        bail!("the page's checks failed in {browser}");
    }
    println!("\nAll of the page's checks passed in {browser}.");
    Ok(())
}

/// Opens the page and waits for its report.
fn wait(session: &mut Session, url: &str) -> anyhow::Result<Report> {
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
