//! Pages that connect to one another in a room of the page's server: of both browsers, in tabs of one, and with native
//! processes.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::FIGURES;
use super::build::Site;
use super::install::Browser;
use super::report::{Report, print_results};
use super::session::Session;
use super::stun::Stun;
use super::turn::{self, Turn};
use crate::processes::Server;

/// How long a page may take to connect, to try its link, and to see its end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who accepts, and who connects: browsers by their numbers.
const PAIRS: [(&str, usize, usize); 4] = [
    ("two tabs of Chromium", 0, 0),
    ("two tabs of Firefox", 1, 1),
    ("Chromium accepts, Firefox connects", 0, 1),
    ("Firefox accepts, Chromium connects", 1, 0),
];

/// Who closes a link.
#[derive(Clone, Copy)]
enum Closes {
    Acceptor,
    Connector,
}

/// Both browsers, each with a tab that accepts and one that connects.
struct Pages {
    sessions: [Session; 2],
    tabs: [[String; 2]; 2],
    /// Where the page is.
    url: String,
}

/// `no` where namespaces are not to be had, and it is known.
const NAMESPACES: &str = "DELTAWIRE_TEST_NAMESPACES";

/// A network with one machine in it, where browsers look for one another by multicast and nobody else hears it.
const NETWORK: &str = "ip link set lo up && ip link add here0 type veth peer name nowhere0 \
    && ip addr add 10.9.0.1/24 dev here0 && ip link set here0 up && ip link set nowhere0 up \
    && ip route add default via 10.9.0.254 && exec \"$@\"";

/// Tries all pairs on a network of their own, and prints how it went.
pub(super) fn check(site: &Site) -> anyhow::Result<()> {
    if std::env::var(NAMESPACES).as_deref() == Ok("no") {
        return check_here(site);
    }
    let mut command = Command::new("unshare");
    command.args(["-rn", "sh", "-c", NETWORK, "sh"]).arg(std::env::current_exe()?);
    let status = command.arg("rooms").args(site.folders()).status();
    let status = status.with_context(|| {
        format!("this takes network namespaces; set {NAMESPACES}=no to do without")
    })?;
    ensure!(status.success(), "pages did not meet on a network of their own");
    Ok(())
}

/// Tries all pairs, and prints how it went.
pub(super) fn check_here(site: &Site) -> anyhow::Result<()> {
    let server = site.start(0)?;
    let url = server.address()?;
    let mut sessions = [Session::start(Browser::Chromium)?, Session::start(Browser::Firefox)?];
    let mut tabs = Vec::new();
    for session in &mut sessions {
        tabs.push([session.tab()?, session.new_tab()?]);
    }
    let tabs = tabs.try_into().ok().context("there are two browsers")?;
    let mut pages = Pages { sessions, tabs, url };
    let mut results = Vec::new();
    // As people have it, so that it hides this machine's addresses; and as it has to be to reach a process at loopback.
    pages.set_firefox(false)?;
    for (index, (name, acceptor, connector)) in PAIRS.into_iter().enumerate() {
        results.push((name, pages.meet(&format!("pair-{index}"), acceptor, connector)));
    }
    for (name, acceptor, connector) in
        [("Chromium accepts and is reloaded", 0, 1), ("Firefox accepts and is reloaded", 1, 0)]
    {
        results.push((name, pages.reload(&format!("again-{acceptor}"), acceptor, connector)));
    }
    results.push(("Chromium accepts, its window relays", pages.relay("kept", 0, 1)));
    for (name, browser) in [("Chromium asks a STUN server", 0), ("Firefox asks a STUN server", 1)] {
        results.push((name, pages.ask_for_addresses(&format!("stun-{browser}"), browser)));
    }
    if std::env::var(NAMESPACES).as_deref() != Ok("no") {
        let turn = Turn::start()?;
        for (name, browser) in [
            ("a process behind a wall accepts by a TURN server, Chromium connects", 0),
            ("a process behind a wall accepts by a TURN server, Firefox connects", 1),
        ] {
            results.push((name, pages.meet_walled(site, &format!("wall-{browser}"), browser)));
        }
        drop(turn);
    }
    pages.set_firefox(true)?;
    for (browser, names) in [
        (0, ["Chromium accepts, a process connects", "a process accepts, Chromium connects"]),
        (1, ["Firefox accepts, a process connects", "a process accepts, Firefox connects"]),
    ] {
        results.push((names[0], pages.be_met(site, &format!("met-{browser}"), browser)));
        results.push((names[1], pages.meet_process(site, &format!("meet-{browser}"), browser)));
    }
    drop(server);
    ensure!(print_results("pages that meet in rooms", &results), "pages did not meet");
    Ok(())
}

impl Pages {
    /// Has Firefox talk to peers at loopback, for which it hides nothing, or not.
    fn set_firefox(&mut self, loopback: bool) -> anyhow::Result<()> {
        let [_, firefox] = &mut self.sessions;
        firefox.prefer("media.peerconnection.ice.loopback", loopback)?;
        firefox.prefer("permissions.default.microphone", i32::from(loopback))
    }

    /// The browser, at its tab that accepts or connects.
    fn at(&mut self, browser: usize, tab: usize) -> anyhow::Result<&mut Session> {
        let session = &mut self.sessions[browser];
        session.switch_to(&self.tabs[browser][tab])?;
        Ok(session)
    }

    fn acceptor(&mut self, browser: usize) -> anyhow::Result<&mut Session> {
        self.at(browser, 0)
    }

    fn connector(&mut self, browser: usize) -> anyhow::Result<&mut Session> {
        self.at(browser, 1)
    }

    /// Opens a page that accepts.
    fn accept(&mut self, room: &str, browser: usize) -> anyhow::Result<()> {
        let url = format!("{}{FIGURES}?accept={room}", self.url);
        let session = self.acceptor(browser)?;
        session.open(&url)?;
        session.wait_for_text("state", PATIENCE, |state| state == "accepting").map(drop)
    }

    /// Opens a page that connects, and gives what it reports.
    fn connect(&mut self, room: &str, browser: usize) -> anyhow::Result<Report> {
        let url = format!("{}{FIGURES}?meet={room}", self.url);
        let session = self.connector(browser)?;
        session.open(&url)?;
        let result = session.wait_for_text("result", PATIENCE, |result| !result.is_empty())?;
        let report: Report = serde_json::from_str(&result).context("the report")?;
        ensure!(report.passed(), "{}", report.failures());
        ensure!(report.main_thread_bytes == 0, "the window touched what was sent");
        Ok(report)
    }

    fn meet(&mut self, room: &str, acceptor: usize, connector: usize) -> anyhow::Result<String> {
        self.accept(room, acceptor)?;
        let mut said = String::new();
        for closes in [Closes::Connector, Closes::Acceptor] {
            let report = self.connect(room, connector)?;
            said = report.in_short();
            let state = self.acceptor(acceptor)?.text("state")?;
            ensure!(state == "connected over webrtc", "who accepts says: {state}");
            match closes {
                Closes::Connector => self.connector(connector)?.write("text", "close")?,
                Closes::Acceptor => self.acceptor(acceptor)?.write("text", "close")?,
            }
            let ends = |state: &str| state.starts_with("closed by");
            self.connector(connector)?.wait_for_text("state", PATIENCE, ends)?;
            self.acceptor(acceptor)?.wait_for_text("state", PATIENCE, ends)?;
        }
        self.acceptor(acceptor)?.open("about:blank")?;
        self.connector(connector)?.open("about:blank")?;
        Ok(said)
    }

    /// A page that accepts is loaded anew: its session is gone, which who connected is told, and may connect again.
    fn reload(&mut self, room: &str, acceptor: usize, connector: usize) -> anyhow::Result<String> {
        self.accept(room, acceptor)?;
        self.connect(room, connector)?;
        let started = Instant::now();
        self.accept(room, acceptor)?;
        let is_over = |state: &str| state != "all checks passed";
        let over = self.connector(connector)?.wait_for_text("state", PATIENCE, is_over)?;
        let after = started.elapsed();
        self.connect(room, connector)?;
        self.acceptor(acceptor)?.open("about:blank")?;
        self.connector(connector)?.open("about:blank")?;
        Ok(format!("noticed after {after:.1?} ({over}), and connected again"))
    }

    /// A page accepts whose window keeps the channels.
    fn relay(&mut self, room: &str, acceptor: usize, connector: usize) -> anyhow::Result<String> {
        self.accept(&format!("{room}&relay"), acceptor)?;
        let report = self.connect(room, connector)?;
        self.acceptor(acceptor)?.open("about:blank")?;
        self.connector(connector)?.open("about:blank")?;
        Ok(report.in_short())
    }

    /// Both pages ask a STUN server for their addresses.
    fn ask_for_addresses(&mut self, room: &str, browser: usize) -> anyhow::Result<String> {
        let stun = Stun::start()?;
        let room = format!("{room}&stun={}", stun.address());
        self.accept(&room, browser)?;
        let report = self.connect(&room, browser)?;
        let (answered, said) = (stun.answered(), report.in_short());
        self.acceptor(browser)?.open("about:blank")?;
        self.connector(browser)?.open("about:blank")?;
        ensure!(answered >= 2, "the STUN server was asked {answered} times");
        Ok(format!("{answered} times; {said}"))
    }

    /// A process connects to a page.
    fn be_met(&mut self, site: &Site, room: &str, browser: usize) -> anyhow::Result<String> {
        self.accept(room, browser)?;
        let said = site.meet(&self.room(room))?;
        let session = self.acceptor(browser)?;
        session.wait_for_text("state", PATIENCE, |state| state.starts_with("closed by"))?;
        session.open("about:blank")?;
        Ok(said)
    }

    /// A page connects to a process.
    fn meet_process(&mut self, site: &Site, room: &str, browser: usize) -> anyhow::Result<String> {
        let process: Server = site.start_acceptor(&self.room(room))?;
        let report = self.connect(room, browser)?;
        self.connector(browser)?.write("text", "close")?;
        process.wait_for(PATIENCE, |line| line.contains("closed by"))?;
        self.connector(browser)?.open("about:blank")?;
        Ok(report.in_short())
    }

    /// A page connects to a process of whose sockets only its TURN server sees one. The page asks that server too, as STUN: a browser
    /// hides its own addresses from the process, which could let none of them send to it.
    fn meet_walled(&mut self, site: &Site, room: &str, browser: usize) -> anyhow::Result<String> {
        let (at, turn) = (self.room(room), format!("turn:{}", Turn::address()));
        let process = site.start_acceptor_at(&at, turn::WALLED, &turn, turn::USER)?;
        let report = self.connect(&format!("{room}&stun={}", Turn::address()), browser)?;
        self.connector(browser)?.write("text", "close")?;
        process.wait_for(PATIENCE, |line| line.contains("closed by"))?;
        self.connector(browser)?.open("about:blank")?;
        Ok(report.in_short())
    }

    fn room(&self, name: &str) -> String {
        format!("{}webrtc/rooms/{name}", self.url)
    }
}
