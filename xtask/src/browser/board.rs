//! The board in two browsers at a time, with a native peer beside them: Chromium and Firefox draw on one document by real
//! pointer events, and both show the same, before the server is killed and after.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Value, json};

use super::build::Site;
use super::install::Browser;
use super::report::print_results;
use super::session::Session;
use crate::processes::{Server, host_and_port};
use crate::steps::target;

/// How long a page may take to connect, and to see what another one did.
const PATIENCE: Duration = Duration::from_secs(30);

/// Strokes that each browser draws at first.
const STROKES: usize = 3;

/// What a page says of its document.
const SHOWN: &str = "return JSON.stringify(globalThis.deltawireBoard?.shown() ?? {})";

/// What keeps the board: what the pages have to restore by themselves differs.
const HUBS: [(&str, bool); 2] = [("a hub in files", true), ("a hub in memory", false)];

/// Both pages.
struct Pages {
    pages: [(Browser, Session); 2],
    /// The one that was started when the first was killed.
    server: Option<Server>,
}

/// Tries it with both kinds of hubs, and prints how it went.
pub(super) fn check(site: &Site) -> anyhow::Result<()> {
    let [chromium, firefox] = [Browser::Chromium, Browser::Firefox];
    let pages = [(chromium, Session::start(chromium)?), (firefox, Session::start(firefox)?)];
    let mut pages = Pages { pages, server: None };
    let folder = target().join(format!("board-{}", std::process::id()));
    let mut passed = true;
    for (name, in_files) in HUBS {
        let keeper = Keeper { site, folder: in_files.then_some(&*folder) };
        passed &= with_hub(name, &keeper, &mut pages)?;
    }
    pages.server = None;
    // There is none if its server did not start.
    let _ = std::fs::remove_dir_all(&folder);
    ensure!(passed, "the board's checks failed");
    Ok(())
}

/// Starts servers that keep the board in the same place.
struct Keeper<'a> {
    site: &'a Site,
    folder: Option<&'a Path>,
}

impl Keeper<'_> {
    fn start(&self, port: u16) -> anyhow::Result<Server> {
        let command = self.folder.map(|folder| self.site.keeping_server(folder));
        let mut command = command.unwrap_or_else(|| self.site.server());
        Server::start(command.args(["--port", &port.to_string()]))
    }
}

fn with_hub(name: &str, keeper: &Keeper<'_>, pages: &mut Pages) -> anyhow::Result<bool> {
    let server = keeper.start(0)?;
    let address = server.address()?;
    let peer = keeper.site.start_peer(&address)?;
    let mut results = Vec::new();
    let mut tried = |name, result: anyhow::Result<String>| {
        let passed = result.is_ok();
        results.push((name, result));
        passed
    };
    // Each rests on the one before.
    let went_on = tried("both connect", pages.open(&address))
        && tried("strokes by pointer, and a text", pages.draw_and_write())
        && tried("who is there", pages.see_each_other())
        && tried("undo takes back one's own", pages.undo())
        && tried("a picture", pages.picture())
        && tried("a server that is killed", pages.survive(keeper, server, &address))
        && tried("a page that comes later", pages.reload(&address));
    drop(peer);
    if went_on && keeper.folder.is_some() {
        tried("a server that is killed while nobody is there", pages.return_to(keeper, &address));
    }
    Ok(print_results(&format!("the board in Chromium and Firefox, {name}"), &results))
}

impl Pages {
    /// Does it in both.
    fn each(
        &mut self,
        mut what: impl FnMut(usize, &mut Session) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        for (index, (browser, session)) in self.pages.iter_mut().enumerate() {
            what(index, session).with_context(|| browser.to_string())?;
        }
        Ok(())
    }

    fn open(&mut self, address: &str) -> anyhow::Result<String> {
        let names = ["Ada", "Grace"];
        self.each(|index, session| session.open(&format!("{address}?name={}", names[index])))?;
        self.each(|_, session| session.wait_for_text("state", PATIENCE, is_live).map(drop))?;
        let mut kinds = Vec::new();
        self.each(|_, session| {
            kinds.push(session.wait_for_text("kind", PATIENCE, |kind| !kind.is_empty())?);
            Ok(())
        })?;
        Ok(format!("over {}", kinds.join(" and ")))
    }

    fn draw_and_write(&mut self) -> anyhow::Result<String> {
        // The native peer's first flower.
        self.agree(|shown| strokes(shown) == 1)?;
        self.each(|index, session| {
            for number in 0..STROKES {
                // One by touch.
                let pointer = if number == 1 { "touch" } else { "mouse" };
                wave(session, pointer, index, number)?;
            }
            Ok(())
        })?;
        let drawn = 1 + 2 * STROKES;
        self.agree(|shown| strokes(shown) == drawn)?;
        self.each(|index, session| {
            let before =
                session.wait_for_value("notes", PATIENCE, |text| index == 0 || !text.is_empty())?;
            session.write("notes", &format!("{before}{}", ["Deltas, ", "and undo."][index]))
        })?;
        let text = "Deltas, and undo.";
        self.each(|_, session| {
            session.wait_for_value("notes", PATIENCE, |it| it == text).map(drop)
        })?;
        self.agree(|shown| shown["text"] == text)
    }

    fn see_each_other(&mut self) -> anyhow::Result<String> {
        self.each(|index, session| {
            let other = ["Grace", "Ada"][index];
            let are_there = |text: &str| text.contains(other) && text.contains("native peer");
            session.wait_for_text("people", PATIENCE, are_there).map(drop)
        })?;
        Ok("each other by name, and the native peer".to_owned())
    }

    fn undo(&mut self) -> anyhow::Result<String> {
        self.each(|_, session| session.click("undo"))?;
        self.agree(|shown| strokes(shown) == 1 + 2 * (STROKES - 1))
    }

    fn picture(&mut self) -> anyhow::Result<String> {
        let [(_, session), _] = &mut self.pages;
        let picture = target().join("board.png");
        std::fs::write(&picture, BASE64_STANDARD.decode(session.screenshot()?)?)?;
        Ok(picture.display().to_string())
    }

    fn survive(
        &mut self,
        keeper: &Keeper<'_>,
        server: Server,
        address: &str,
    ) -> anyhow::Result<String> {
        let before = self.shown()?[0].clone();
        // By SIGKILL.
        drop(server);
        let gone = Instant::now();
        self.each(|_, session| {
            session
                .wait_for_text("state", PATIENCE, |state| state.contains("reconnecting"))
                .map(drop)
        })?;
        let noticed = gone.elapsed();
        // Both draw on by themselves.
        self.each(|index, session| wave(session, "mouse", index, STROKES))?;
        self.server = Some(keeper.start(host_and_port(address)?.port())?);
        self.each(|_, session| session.wait_for_text("state", PATIENCE, is_live).map(drop))?;
        let agreed = self.agree(|shown| {
            strokes(shown) == strokes(&before) + 2 && shown["text"] == before["text"]
        })?;
        let begin = |shown: &Value| shown["positions"].as_u64();
        let after = self.shown()?[0].clone();
        ensure!(begin(&after) > begin(&before), "deltas are missing: {before}, then {after}");
        Ok(format!("noticed after {noticed:.1?}; then {agreed}"))
    }

    /// Where nobody is there who has what the server had: all of it comes from the files.
    fn return_to(&mut self, keeper: &Keeper<'_>, address: &str) -> anyhow::Result<String> {
        let before = self.shown()?[0].clone();
        self.each(|_, session| session.open("about:blank"))?;
        // By SIGKILL.
        self.server = None;
        let server = keeper.start(host_and_port(address)?.port())?;
        // It listens then.
        server.address()?;
        self.server = Some(server);
        self.open(address)?;
        self.agree(|shown| *shown == before)
    }

    /// Whoever comes later has the same from the hub.
    fn reload(&mut self, address: &str) -> anyhow::Result<String> {
        let before = self.shown()?[1].clone();
        let [_, (_, session)] = &mut self.pages;
        session.open(&format!("{address}?name=Grace"))?;
        session.wait_for_text("state", PATIENCE, is_live)?;
        self.agree(|shown| shown["digest"] == before["digest"])
    }

    fn shown(&mut self) -> anyhow::Result<[Value; 2]> {
        let mut shown = [Value::Null, Value::Null];
        self.each(|index, session| {
            let answer = session.execute(SHOWN, &[])?;
            shown[index] = serde_json::from_str(answer.as_str().unwrap_or("{}"))?;
            Ok(())
        })?;
        Ok(shown)
    }

    /// Waits until both show the same document, which is like this.
    fn agree(&mut self, is_it: impl Fn(&Value) -> bool) -> anyhow::Result<String> {
        let started = Instant::now();
        loop {
            let [a, b] = self.shown()?;
            let is_whole = a["digest"].is_string() && a["positions"] == a["last"];
            if is_whole && a == b && is_it(&a) {
                let digest = a["digest"].as_str().unwrap_or_default();
                return Ok(format!("both show {} strokes, digest {digest}", strokes(&a)));
            }
            ensure!(started.elapsed() < PATIENCE, "one shows {a}, and the other {b}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn is_live(state: &str) -> bool {
    state == "live"
}

fn strokes(shown: &Value) -> usize {
    shown["strokes"].as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or_default()
}

/// Draws a wave with a pointer of this kind: each browser in a half of the board, one below the other.
fn wave(session: &mut Session, pointer: &str, side: usize, number: usize) -> anyhow::Result<()> {
    let [left, top, width, height] = session.place("ink")?;
    // A colour of its own.
    let pick = "document.getElementById('palette').children[arguments[0]].click()";
    session.execute(pick, &[&(1 + (number + 3 * side) % 7).to_string()])?;
    let point = |step: usize| {
        let along = step as f64 / 24.0;
        let x = left + width * (0.1 + 0.45 * side as f64 + 0.35 * along);
        let swing = (along * 9.0 + side as f64).sin() * (0.09 - 0.02 * number as f64);
        let y = top + height * (0.22 + 0.13 * number as f64 + swing);
        json!({ "type": "pointerMove", "duration": 10, "x": x as i64, "y": y as i64 })
    };
    let mut actions = vec![point(0), json!({ "type": "pointerDown", "button": 0 })];
    actions.extend((1..=24).map(point));
    actions.push(json!({ "type": "pointerUp", "button": 0 }));
    session.perform(&json!({ "actions": [{
        "type": "pointer", "id": pointer, "parameters": { "pointerType": pointer }, "actions": actions,
    }]}))
}
