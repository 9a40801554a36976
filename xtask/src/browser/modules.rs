//! Modules of wasm tests in Firefox: what serves them to Chromium knows no way to drive it here.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::install::Browser;
use super::session::Session;
use crate::processes::Stopped;

/// How long a module may take, and how long the one that serves it may take to begin.
const PATIENCE: Duration = Duration::from_secs(180);
const START: Duration = Duration::from_secs(60);

/// Has the runner that these arguments are for serve its page, opens that in Firefox, and prints what it says. Does
/// nothing where Firefox is too old.
pub(crate) fn run_in_firefox(arguments: &[String]) -> anyhow::Result<()> {
    if let Some(shortcoming) = Browser::Firefox.shortcoming()? {
        println!("NOT TRIED in Firefox: {shortcoming}");
        return Ok(());
    }
    let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
    let mut server = Command::new(std::env::current_exe()?);
    server.arg("run-wasm").args(arguments).env_remove(super::IN_FIREFOX);
    server.env("NO_HEADLESS", "1").env("WASM_BINDGEN_TEST_ADDRESS", address.to_string());
    let started = server.spawn().with_context(|| format!("cannot start {server:?}"))?;
    let mut server = Stopped(started);
    if !listens(&mut server, address)? {
        // A module without tests.
        return Ok(());
    }
    let mut session = Session::start(Browser::Firefox)?;
    session.open(&format!("http://{address}/"))?;
    let ended = |output: &str| output.contains("test result:");
    let output = session.wait_for_text("output", PATIENCE, ended)?;
    println!("\n{output}");
    let passed = output.contains("test result: ok.") && !output.contains("ok. 0 passed");
    ensure!(passed, "tests failed in Firefox");
    Ok(())
}

/// Waits until it listens; not if it ends in order before.
fn listens(server: &mut Stopped, address: SocketAddr) -> anyhow::Result<bool> {
    let begun = Instant::now();
    while TcpStream::connect(address).is_err() {
        if let Some(status) = server.0.try_wait()? {
            ensure!(status.success(), "what serves a module of tests ended with {status}");
            return Ok(false);
        }
        ensure!(begun.elapsed() < START, "nothing listens at {address} after {START:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(true)
}
