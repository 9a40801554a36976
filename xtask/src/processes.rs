//! Programs that run beside this one.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// A server, and what it says.
pub(crate) struct Server {
    _process: Stopped,
    lines: mpsc::Receiver<String>,
}

/// How long a server may take to say where it listens.
const START: Duration = Duration::from_secs(30);

impl Server {
    pub(crate) fn start(command: &mut Command) -> anyhow::Result<Self> {
        let started = command.stdout(Stdio::piped()).spawn();
        let mut process = Stopped(started.with_context(|| format!("cannot start {command:?}"))?);
        let output = process.0.stdout.take().context("the server has no output")?;
        let (sender, lines) = mpsc::channel();
        // Reads on when nobody listens, so that the server never waits.
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Ok(Self { _process: process, lines })
    }

    /// Where it says that it listens.
    pub(crate) fn address(&self) -> anyhow::Result<String> {
        let line = self.wait_for(START, |line| line.contains("http://"))?;
        let url = line.split_whitespace().find(|word| word.starts_with("http://"));
        Ok(url.unwrap_or_default().to_owned())
    }

    /// Prints what it says until it ends.
    pub(crate) fn print(&self) -> anyhow::Result<()> {
        while let Ok(line) = self.lines.recv() {
            println!("{line}");
        }
        bail!("the server has ended")
    }

    /// The next line like this.
    pub(crate) fn wait_for(
        &self,
        patience: Duration,
        is_it: impl Fn(&str) -> bool,
    ) -> anyhow::Result<String> {
        let started = Instant::now();
        loop {
            let left = patience.saturating_sub(started.elapsed());
            match self.lines.recv_timeout(left) {
                Ok(line) if is_it(&line) => return Ok(line),
                Ok(_) => {}
                Err(error) => bail!("the server did not say what was expected: {error}"),
            }
        }
    }
}

/// Of a URL that has no more than that.
pub(crate) fn host_and_port(url: &str) -> anyhow::Result<SocketAddr> {
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    address.parse().with_context(|| format!("{url} has no address and port"))
}

/// A process that ends with this value.
pub(crate) struct Stopped(pub(crate) Child);

impl Drop for Stopped {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
