//! An echo server and a client that measures it, each a process of its own.

use std::process::Command;

use crate::processes::Server;
use crate::steps::{cargo, release, run};

pub(crate) fn demo(rounds: u32, throughput: &str) -> anyhow::Result<()> {
    run("build", &mut cargo("build --release --example echo_server --example ping"))?;
    // A port that is free.
    let mut server = Command::new(release("examples/echo_server"));
    let server = Server::start(server.args(["--signalling", "127.0.0.1:0"]))?;
    let url = server.address()?;
    let mut ping = Command::new(release("examples/ping"));
    ping.args(["--url", &url, "--rounds", &rounds.to_string(), "--throughput", throughput]);
    run(&format!("ping {url}"), &mut ping)
}
