//! The rounds, and their table.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

use crate::deltawire_bulk::{self, Kind};
use crate::measure::Took;
use crate::{iroh_blobs, plain};

/// Moves a file over loopback in several ways.
#[derive(Parser)]
struct Arguments {
    /// MiB of the file.
    #[arg(long, default_value_t = 256)]
    mib: u64,
    /// How often each moves it.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Where the files are; default: the folder for temporary files. `/dev/shm` is memory: there `fsync` costs nothing, and nothing is
    /// read without a thread, which its file system cannot.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// 16 MiB, once.
    #[arg(long)]
    quick: bool,
}

/// One contender: what it took, round by round.
struct Row {
    name: &'static str,
    took: Vec<Took>,
}

const ROWS: [&str; 9] = [
    "plain copy over TCP, nothing checked",
    "the link, TCP, no files",
    "deltawire, TCP",
    "the link, QUIC, no files",
    "deltawire, QUIC",
    "iroh-blobs",
    "plain copy, once more",
    "hashing before: deltawire",
    "hashing before: iroh-blobs",
];

/// Against what ratios are.
const REFERENCE: usize = 2;

pub(crate) async fn run() -> anyhow::Result<()> {
    let Arguments { mut mib, mut rounds, dir, quick } = Arguments::parse();
    if quick {
        (mib, rounds) = (16, 1);
    }
    let base = dir.unwrap_or_else(std::env::temp_dir);
    let folder = tempfile::Builder::new().prefix("deltawire-bench-").tempdir_in(&base)?;
    let (source, len) = (folder.path().join("source"), mib << 20);
    write_random(&source, mib)?;
    let mut rows = ROWS.map(|name| Row { name, took: Vec::new() });
    let mut beside = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
    let bar = ProgressBar::new(6 * rounds as u64)
        .with_style(ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}")?);
    for _ in 0..rounds {
        let mut note = |row: usize, took: Took| {
            rows[row].took.push(took);
            bar.set_message(ROWS[row]);
            bar.inc(u64::from(row < 6));
        };
        note(0, plain::copy(&source, &folder.path().join("plain"))?);
        for (at, kind) in [(0, Kind::Tcp), (1, Kind::Quic)] {
            note(1 + 2 * at, deltawire_bulk::alone(kind, len).await?);
            let moved = deltawire_bulk::run(kind, &source, folder.path()).await?;
            note(2 + 2 * at, moved.moved);
            if kind == Kind::Tcp {
                note(7, moved.hashed);
            }
            beside[2 * at].extend(deltawire_bulk::quiet(kind).await?);
            beside[2 * at + 1].extend(moved.beside);
        }
        let scratch = tempfile::tempdir_in(folder.path())?;
        let target = folder.path().join("target");
        let (hashed, moved) = iroh_blobs::run(&source, &target, scratch.path()).await?;
        note(5, moved);
        note(8, hashed);
        note(6, plain::copy(&source, &folder.path().join("plain"))?);
    }
    bar.finish_and_clear();
    print(&rows, len, &base)?;
    let [alone_tcp, beside_tcp, alone_quic, beside_quic] = beside;
    for (kind, alone, beside) in [("TCP", alone_tcp, beside_tcp), ("QUIC", alone_quic, beside_quic)]
    {
        let (alone, beside) = (p95(alone)?, p95(beside)?);
        println!(
            "\nA command's round trip over {kind}, p95: {alone:.1?} alone, {beside:.1?} beside bulk."
        );
    }
    Ok(())
}

fn write_random(path: &Path, mib: u64) -> anyhow::Result<()> {
    let (mut file, mut random) = (File::create(path)?, fastrand::Rng::with_seed(1));
    let mut block = vec![0; 1 << 20];
    for _ in 0..mib {
        random.fill(&mut block);
        file.write_all(&block)?;
    }
    file.sync_all()?;
    Ok(())
}

fn print(rows: &[Row], len: u64, base: &Path) -> anyhow::Result<()> {
    let reference = &rows[REFERENCE];
    println!(
        "{} MiB in {}, medians of {} rounds\n",
        len >> 20,
        base.display(),
        reference.took.len()
    );
    println!("| | MB/s | × {} | CPU of both ends, s a GiB |\n|---|---|---|---|", reference.name);
    for row in rows {
        let rate = |took: &Took| len as f64 / took.time.as_secs_f64() / 1e6;
        let cpu = |took: &Took| took.cpu.as_secs_f64() * (1 << 30) as f64 / len as f64;
        let ratios = row.took.iter().zip(&reference.took).map(|(it, other)| rate(it) / rate(other));
        let (rates, cpus) = (row.took.iter().map(rate), row.took.iter().map(cpu));
        println!(
            "| {} | {:.0} | {:.2} | {:.2} |",
            row.name,
            median(rates)?,
            median(ratios)?,
            median(cpus)?
        );
    }
    Ok(())
}

fn median(values: impl Iterator<Item = f64>) -> anyhow::Result<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().context("no round")
}

fn p95(mut times: Vec<Duration>) -> anyhow::Result<Duration> {
    times.sort();
    times.get(times.len() * 95 / 100).copied().context("no round trips")
}
