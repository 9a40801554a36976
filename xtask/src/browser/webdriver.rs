//! As much of WebDriver (W3C) as opens a page in Chromium and reads from it.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use ureq::http::Response;
use ureq::{Agent, Body};

use crate::processes::Stopped;

/// How long driver and browser may take to answer.
const TIMEOUT: Duration = Duration::from_secs(60);

/// An answer longer than this is none.
const MAX_ANSWER: u64 = 64 << 20;

/// A Chromium that chromedriver drives. Dropped, both end.
pub(super) struct WebDriver {
    http: Agent,
    /// Where the driver has what belongs to this browser.
    session: String,
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
        // What is wrong is said in the answers of errors too.
        let http =
            Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false);
        let http = Agent::new_with_config(http.build());
        let sessions = format!("http://127.0.0.1:{port}/session");
        let answer = value(http.post(&sessions).send(asked.to_string()), &sessions)?;
        let id = answer["sessionId"].as_str().context("the driver named no session")?;
        Ok(Self { http, session: format!("{sessions}/{id}"), _driver: driver })
    }

    pub(super) fn get(&self, what: &str) -> anyhow::Result<Value> {
        value(self.http.get(format!("{}/{what}", self.session)).call(), what)
    }

    pub(super) fn post(&self, what: &str, body: &Value) -> anyhow::Result<Value> {
        value(self.http.post(format!("{}/{what}", self.session)).send(body.to_string()), what)
    }
}

impl Drop for WebDriver {
    fn drop(&mut self) {
        // The browser ends with its driver if it does not now.
        let _ = self.http.delete(&self.session).call();
    }
}

/// What a driver answers to a request, or the error that it names.
fn value(answer: Result<Response<Body>, ureq::Error>, what: &str) -> anyhow::Result<Value> {
    let text = answer
        .and_then(|mut answer| answer.body_mut().with_config().limit(MAX_ANSWER).read_to_string())
        .with_context(|| what.to_owned())?;
    let mut json: Value = serde_json::from_str(&text)?;
    if let Some(error) = json["value"]["error"].as_str() {
        bail!("{what}: {error}: {}", json["value"]["message"].as_str().unwrap_or_default());
    }
    Ok(json["value"].take())
}
