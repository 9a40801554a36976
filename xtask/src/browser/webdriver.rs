//! As much of WebDriver (W3C) as opens a page and reads from it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::install::Browser;
use crate::processes::Stopped;
use crate::steps::target;

/// How long driver and browser may take to answer.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A browser that is driven. Dropped, it ends.
pub(super) struct Session {
    port: u16,
    id: String,
    profile: PathBuf,
    _driver: Stopped,
}

impl Session {
    pub(super) fn start(browser: Browser) -> anyhow::Result<Self> {
        // Another program may take the port until the driver does; then it says so.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let profile = target().join(format!("browser-profile-{}", std::process::id()));
        let driver = browser.driver();
        let mut command = Command::new(driver);
        command.arg(format!("--port={port}")).stdout(Stdio::null());
        let child = command.spawn().with_context(|| format!("{driver} does not start"))?;
        let driver = Stopped(child);
        let started = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if started.elapsed() > TIMEOUT {
                bail!("{} does not listen at port {port}", browser.driver());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let capabilities = match browser {
            Browser::Chromium => json!({ "goog:chromeOptions": { "args": [
                "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                "--window-size=1100,1300",
                format!("--user-data-dir={}", profile.display()),
            ]}}),
            // Without these two it does not talk to peers on this machine.
            Browser::Firefox => json!({ "moz:firefoxOptions": { "args": ["-headless"], "prefs": {
                "media.peerconnection.ice.loopback": true,
                "permissions.default.microphone": 1,
            }}}),
        };
        let asked = json!({ "capabilities": { "alwaysMatch": capabilities } });
        let answer = request(port, "POST", "/session", Some(&asked))?;
        let id = answer["sessionId"].as_str().context("the driver named no session")?.to_owned();
        Ok(Self { port, id, profile, _driver: driver })
    }

    pub(super) fn open(&self, url: &str) -> anyhow::Result<()> {
        self.ask("url", &json!({ "url": url })).map(drop)
    }

    /// The text of the element with this id.
    pub(super) fn text(&self, id: &str) -> anyhow::Result<String> {
        let script = "return document.getElementById(arguments[0])?.textContent ?? ''";
        let answer = self.ask("execute/sync", &json!({ "script": script, "args": [id] }))?;
        Ok(answer.as_str().unwrap_or_default().to_owned())
    }

    /// Clicks the element with this id.
    pub(super) fn click(&self, id: &str) -> anyhow::Result<()> {
        let script = "document.getElementById(arguments[0]).click()";
        self.ask("execute/sync", &json!({ "script": script, "args": [id] })).map(drop)
    }

    /// Writes into the element with this id, as a person does.
    pub(super) fn write(&self, id: &str, text: &str) -> anyhow::Result<()> {
        let script = "const it = document.getElementById(arguments[0]); it.value = arguments[1]; \
                      it.dispatchEvent(new InputEvent('input'))";
        self.ask("execute/sync", &json!({ "script": script, "args": [id, text] })).map(drop)
    }

    /// A picture of the page: PNG, in Base64.
    pub(super) fn screenshot(&self) -> anyhow::Result<String> {
        let path = format!("/session/{}/screenshot", self.id);
        let answer = request(self.port, "GET", &path, None)?;
        Ok(answer.as_str().unwrap_or_default().to_owned())
    }

    fn ask(&self, what: &str, body: &Value) -> anyhow::Result<Value> {
        request(self.port, "POST", &format!("/session/{}/{what}", self.id), Some(body))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The browser ends with its driver if it does not now.
        let _ = request(self.port, "DELETE", &format!("/session/{}", self.id), None);
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

/// One request over a connection of its own; gives the answer's `value`.
fn request(port: u16, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
    let body = body.map(Value::to_string).unwrap_or_default();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let (mut answer, mut chunk) = (Vec::new(), [0; 16_384]);
    let mut json = loop {
        // Drivers keep the connection open, whatever they are told.
        let len = stream.read(&mut chunk).with_context(|| format!("{method} {path}"))?;
        if len == 0 {
            bail!("{method} {path}: the driver hung up");
        }
        answer.extend_from_slice(&chunk[..len]);
        if let Some(json) = body_of(&answer) {
            break json;
        }
    };
    if let Some(error) = json["value"]["error"].as_str() {
        bail!(
            "{method} {path}: {error}: {}",
            json["value"]["message"].as_str().unwrap_or_default()
        );
    }
    Ok(json["value"].take())
}

/// The document that an answer carries, when all of it is there. One in chunks has their lengths
/// around it.
fn body_of(answer: &[u8]) -> Option<Value> {
    let answer = String::from_utf8_lossy(answer);
    let (_, body) = answer.split_once("\r\n\r\n")?;
    let json = body.get(body.find('{')?..=body.rfind('}')?)?;
    serde_json::from_str(json).ok()
}
