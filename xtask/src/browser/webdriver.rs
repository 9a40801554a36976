//! As much of WebDriver (W3C) as opens a page in Chromium and reads from it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::processes::Stopped;

/// How long driver and browser may take to answer.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A Chromium that chromedriver drives. Dropped, both end.
pub(super) struct WebDriver {
    port: u16,
    id: String,
    _driver: Stopped,
}

impl WebDriver {
    pub(super) fn start(profile: &Path) -> anyhow::Result<Self> {
        // Another program may take the port until the driver does; then it says so.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={port}")).stdout(Stdio::null());
        let driver = Stopped(command.spawn().context("chromedriver does not start")?);
        let started = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if started.elapsed() > TIMEOUT {
                bail!("chromedriver does not listen at port {port}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let asked = json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": { "args": [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--window-size=1100,1300", format!("--user-data-dir={}", profile.display()),
        ]}}}});
        let answer = request(port, "POST", "/session", Some(&asked))?;
        let id = answer["sessionId"].as_str().context("the driver named no session")?.to_owned();
        Ok(Self { port, id, _driver: driver })
    }

    pub(super) fn get(&self, what: &str) -> anyhow::Result<Value> {
        request(self.port, "GET", &format!("/session/{}/{what}", self.id), None)
    }

    pub(super) fn post(&self, what: &str, body: &Value) -> anyhow::Result<Value> {
        request(self.port, "POST", &format!("/session/{}/{what}", self.id), Some(body))
    }
}

impl Drop for WebDriver {
    fn drop(&mut self) {
        // The browser ends with its driver if it does not now.
        let _ = request(self.port, "DELETE", &format!("/session/{}", self.id), None);
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
