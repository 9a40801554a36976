//! What people do with a page, and what happens to it: how both ends take it.

use std::time::{Duration, Instant};

use anyhow::Context;

use super::FIGURES;
use super::build::Site;
use super::report::print_results;
use super::session::Session;
use crate::processes::Server;

/// A page that is gone is noticed at once: the browser hangs up for it. Unless it keeps the page, frozen, for who goes
/// back.
const AT_ONCE: Duration = Duration::from_secs(4);

/// A server that is gone, or a page that is frozen, is noticed when it was silent for 5 s; then the page tries again.
const AFTER_SILENCE: Duration = Duration::from_secs(30);

/// Tries all of them over a kind of link, which the page takes from its `query`, and prints how it went.
pub(super) fn run(
    session: &mut Session,
    site: &Site,
    kind: &str,
    query: &str,
) -> anyhow::Result<bool> {
    let server = site.start(0)?;
    let address = server.address()?;
    let url = &format!("{address}{FIGURES}{query}");
    Ok(print_results(
        &format!("people and faults, {kind}"),
        &[
            ("a text that is typed", say(session, url)),
            ("a page reloaded in mid-transfer", reload(session, &server, url)),
            ("a page left in mid-transfer", leave(session, &server, url)),
            ("a server that restarts", restart(session, server, &address, url, site)),
        ],
    ))
}

/// Opens the page, and has it send.
fn transfer(session: &mut Session, url: &str) -> anyhow::Result<()> {
    session.open(url)?;
    wait_for_state(session, "connected", AFTER_SILENCE)?;
    session.click("bulk")?;
    // Into the middle of it.
    std::thread::sleep(Duration::from_millis(500));
    Ok(())
}

fn say(session: &mut Session, url: &str) -> anyhow::Result<String> {
    session.open(url)?;
    wait_for_state(session, "connected", AFTER_SILENCE)?;
    session.write("text", "is anybody there?")?;
    session.wait_for_text("answer", AT_ONCE, |answer| answer == "IS ANYBODY THERE?")?;
    let time = session.wait_for_text("round-trip", AT_ONCE, |time| time != "–")?;
    let route = session.text("route")?;
    Ok(format!("it came back louder; the page shows {time}, and {route} as its route"))
}

fn reload(session: &mut Session, server: &Server, url: &str) -> anyhow::Result<String> {
    transfer(session, url)?;
    // What the page before had opened.
    while server.wait_for(Duration::ZERO, |_| true).is_ok() {}
    let started = Instant::now();
    session.open(url)?;
    let ended = server.wait_for(AT_ONCE, is_end)?;
    let noticed = started.elapsed();
    wait_for_state(session, "connected", AT_ONCE)?;
    Ok(format!("the server noticed after {noticed:.1?} ({ended}), and has the new page"))
}

fn leave(session: &mut Session, server: &Server, url: &str) -> anyhow::Result<String> {
    transfer(session, url)?;
    while server.wait_for(Duration::ZERO, |_| true).is_ok() {}
    let started = Instant::now();
    session.open("about:blank")?;
    let ended = server.wait_for(AFTER_SILENCE, is_end)?;
    Ok(format!("the server noticed after {:.1?} ({ended})", started.elapsed()))
}

fn restart(
    session: &mut Session,
    server: Server,
    address: &str,
    url: &str,
    site: &Site,
) -> anyhow::Result<String> {
    session.open(url)?;
    wait_for_state(session, "connected", AT_ONCE)?;
    // Without a word, as when it crashes.
    drop(server);
    let gone = Instant::now();
    let noticed = wait_for_state(session, "next try", AFTER_SILENCE)?;
    let after = gone.elapsed();
    let port = address.trim_end_matches('/').rsplit(':').next().and_then(|port| port.parse().ok());
    let _server = site.start(port.context("the address has no port")?)?;
    wait_for_state(session, "connected", AFTER_SILENCE)?;
    Ok(format!("the page noticed after {after:.1?} ({noticed}), and connected anew"))
}

fn is_end(line: &str) -> bool {
    line.starts_with("link ") && !line.ends_with(": connected")
}

/// Waits until the page says this of its link.
fn wait_for_state(
    session: &mut Session,
    wanted: &str,
    patience: Duration,
) -> anyhow::Result<String> {
    session.wait_for_text("state", patience, |state| state.contains(wanted))
}
