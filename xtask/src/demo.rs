//! An echo server and a client that measures it, each a process of its own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use anyhow::{Context, bail};

use crate::steps::{cargo, root, run};

pub(crate) fn demo(rounds: u32, throughput: &str) -> anyhow::Result<()> {
    run("build", &mut cargo("build --release --example echo_server --example ping"))?;
    let examples = root().join("target/release/examples");
    let mut server = std::process::Command::new(examples.join("echo_server"));
    // A port that is free.
    server.args(["--signalling", "127.0.0.1:0"]).stdout(Stdio::piped());
    let mut server = Stopped(server.spawn().context("the echo server does not start")?);
    let url = address(&mut server.0)?;
    let mut ping = std::process::Command::new(examples.join("ping"));
    ping.args(["--url", &url, "--rounds", &rounds.to_string(), "--throughput", throughput]);
    run(&format!("ping {url}"), &mut ping)
}

/// Where the server says that it listens.
fn address(server: &mut Child) -> anyhow::Result<String> {
    let output = server.stdout.take().context("the echo server has no output")?;
    for line in BufReader::new(output).lines() {
        let line = line?;
        let found = line.split_whitespace().find(|word| word.starts_with("http://"));
        if let Some(url) = found {
            return Ok(url.to_owned());
        }
    }
    bail!("the echo server ended before it listened")
}

/// A process that ends with this value.
struct Stopped(Child);

impl Drop for Stopped {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
