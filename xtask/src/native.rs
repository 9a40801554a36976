//! An echo server and a client that measures it, each a process of its own.

use std::process::Stdio;

use anyhow::Context;

use crate::processes::{Stopped, address};
use crate::steps::{cargo, release, run};

pub(crate) fn demo(rounds: u32, throughput: &str) -> anyhow::Result<()> {
    run("build", &mut cargo("build --release --example echo_server --example ping"))?;
    let mut server = std::process::Command::new(release("examples/echo_server"));
    // A port that is free.
    server.args(["--signalling", "127.0.0.1:0"]).stdout(Stdio::piped());
    let mut server = Stopped(server.spawn().context("the echo server does not start")?);
    let url = address(&mut server.0)?;
    let mut ping = std::process::Command::new(release("examples/ping"));
    ping.args(["--url", &url, "--rounds", &rounds.to_string(), "--throughput", throughput]);
    run(&format!("ping {url}"), &mut ping)
}
