//! As much of Marionette, the protocol by which geckodriver drives Firefox, as opens a page and
//! reads from it: `length:json` both ways, commands with WebDriver's names. So that nothing needs
//! to be installed but Firefox itself.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use crate::processes::Stopped;

/// How long the browser may take to start, and to answer.
const TIMEOUT: Duration = Duration::from_secs(60);

/// An answer longer than this is none.
const MAX_ANSWER: usize = 64 << 20;

/// Without the first two it does not talk to peers on this machine. The rest keeps it from
/// fetching anything, and lets it choose Marionette's port.
const PREFERENCES: &str = r#"
user_pref("media.peerconnection.ice.loopback", true);
user_pref("permissions.default.microphone", 1);
user_pref("app.normandy.enabled", false);
user_pref("app.update.disabledForTesting", true);
user_pref("browser.aboutwelcome.enabled", false);
user_pref("browser.safebrowsing.downloads.remote.enabled", false);
user_pref("browser.safebrowsing.update.enabled", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("extensions.update.enabled", false);
user_pref("marionette.port", 0);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("services.settings.server", "data:,#remote-settings-dummy/v1");
user_pref("toolkit.telemetry.enabled", false);
"#;

/// A Firefox that is driven. Dropped, it ends.
pub(super) struct Marionette {
    stream: TcpStream,
    last: u64,
    _browser: Stopped,
}

impl Marionette {
    pub(super) fn start(profile: &Path) -> anyhow::Result<Self> {
        fs::write(profile.join("user.js"), PREFERENCES)?;
        let mut command = Command::new("firefox-esr");
        command.args(["--marionette", "--headless", "--no-remote", "--profile"]).arg(profile);
        // What lets preferences be set.
        command.arg("--remote-allow-system-access");
        command.args(["--width", "1100", "--height", "1300"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let browser = Stopped(command.spawn().context("firefox-esr does not start")?);
        // Once it listens, it writes where.
        let port = profile.join("MarionetteActivePort");
        let started = Instant::now();
        let port = loop {
            if let Some(port) = fs::read_to_string(&port).ok().and_then(|port| port.parse().ok()) {
                break port;
            }
            ensure!(started.elapsed() < TIMEOUT, "Firefox does not listen for Marionette");
            std::thread::sleep(Duration::from_millis(50));
        };
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let mut marionette = Self { stream, last: 0, _browser: browser };
        let hello = marionette.read()?;
        ensure!(hello["marionetteProtocol"] == 3, "Firefox speaks another Marionette: {hello}");
        marionette.ask("WebDriver:NewSession", &json!({}))?;
        Ok(marionette)
    }

    /// One command and its answer.
    pub(super) fn ask(&mut self, command: &str, parameters: &Value) -> anyhow::Result<Value> {
        self.last += 1;
        let message = json!([0, self.last, command, parameters]).to_string();
        write!(self.stream, "{}:{message}", message.len())?;
        let mut answer = self.read().with_context(|| command.to_owned())?;
        ensure!(answer[1] == self.last, "{command}: the answer is another one's: {answer}");
        if let Some(error) = answer[2]["error"].as_str() {
            bail!("{command}: {error}: {}", answer[2]["message"].as_str().unwrap_or_default());
        }
        Ok(answer[3].take())
    }

    fn read(&mut self) -> anyhow::Result<Value> {
        let mut len = 0_usize;
        loop {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            match byte[0] {
                b':' => break,
                digit @ b'0'..=b'9' => len = len * 10 + usize::from(digit - b'0'),
                other => bail!("Firefox sent {other:#x} where a length belongs"),
            }
            ensure!(len <= MAX_ANSWER, "Firefox announces {len} bytes, more than {MAX_ANSWER}");
        }
        let mut answer = vec![0; len];
        self.stream.read_exact(&mut answer)?;
        Ok(serde_json::from_slice(&answer)?)
    }
}
