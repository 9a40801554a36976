//! Peers that come and go over real sockets for a long time, and what that does to memory and
//! latency: `cargo xtask soak --minutes 10`.
//!
//! One node accepts and echoes. Visitors connect to it, talk for a while, and leave in one of
//! several ways; one guest stays, and measures round trips. All are in this process, so what either
//! side leaks shows in its memory.

#![forbid(unsafe_code)]

mod guest;
mod plot;
mod server;
mod summary;
mod visitors;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser;
use deltawire::prelude::*;
use indicatif::{ProgressBar, ProgressStyle};

use self::guest::Guest;
use self::summary::Summary;
use self::visitors::Visits;

/// Has peers come and go, and shows what that does to memory and latency.
#[derive(Parser)]
struct Arguments {
    /// How long.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// How many visitors there are at a time.
    #[arg(long, default_value_t = 16)]
    visitors: usize,
    /// Where the plot goes.
    #[arg(long, default_value = "target/soak.svg")]
    plot: PathBuf,
}

/// What was seen in one second.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// Since the start, seconds.
    at: f64,
    /// Memory of the process that is resident, bytes.
    resident: f64,
    /// Median round trip of the guest, microseconds; none if there was none.
    round_trip: Option<f64>,
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let length = Duration::try_from_secs_f64(arguments.minutes * 60.0).context("--minutes")?;
    ensure!(length >= 10 * SECOND, "--minutes {} is less than 10 s", arguments.minutes);
    let (server, url) = server::start().await?;
    // Half of the visitors come over each kind of link.
    let kinds = ["webrtc", "websocket"];
    let nodes = kinds.map(|kind| Node::builder().prefer_links([kind]).build());
    let nodes: Vec<_> = nodes.into_iter().collect::<Result<_, _>>()?;
    let visits = Arc::<Visits>::default();
    let visitors: Vec<_> = nodes
        .iter()
        .cycle()
        .take(arguments.visitors)
        .map(|node| visitors::come_and_go(node.clone(), url.clone(), visits.clone()))
        .map(tokio::spawn)
        .collect();
    let guest = Guest::arrive(&url).await?;
    let samples = watch(length, &server, &guest, &visits).await?;
    visitors.iter().for_each(tokio::task::JoinHandle::abort);

    let summary = Summary::of(&samples);
    plot::draw(&arguments.plot, &samples, &summary)?;
    println!("{visits}\n{summary}\nplot: {}", arguments.plot.display());
    visits.check()?;
    summary.check()
}

/// One sample a second.
async fn watch(
    length: Duration,
    server: &Node,
    guest: &Guest,
    visits: &Visits,
) -> anyhow::Result<Vec<Sample>> {
    let bar = ProgressBar::new(length.as_secs());
    let style = "{elapsed_precise} [{wide_bar}] {eta} left · {msg}";
    bar.set_style(ProgressStyle::with_template(style)?);
    let (started, mut samples) = (Instant::now(), Vec::new());
    let mut seconds = tokio::time::interval(SECOND);
    while started.elapsed() < length {
        seconds.tick().await;
        let (resident, round_trip) = (resident()?, guest.median()?);
        samples.push(Sample { at: started.elapsed().as_secs_f64(), resident, round_trip });
        bar.set_position(started.elapsed().as_secs());
        let links = server.peers().len();
        bar.set_message(format!("{:.1} MB, {links} links, {visits}", resident / 1e6));
    }
    bar.finish_and_clear();
    Ok(samples)
}

/// Memory of this process that is resident, bytes.
fn resident() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")
        .context("the memory of a process is read from /proc, which Linux has")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(kibibytes.context("/proc/self/status has no VmRSS")?.trim().parse::<f64>()? * 1_024.0)
}
