//! Deltawire's page beside one of hand-written JavaScript that does nothing but move bytes
//! (`examples/browser/tests/yardstick/`): in one browser, job by job in turn.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::ValueEnum;
use serde::Deserialize;

use super::build::Site;
use super::session::Session;
use super::{Browser, FIGURES};
use crate::processes::Server;
use crate::wasm::Compiler;

/// Bytes of messages, and what they are called.
const SIZES: [(u32, &str); 4] =
    [(1 << 10, "1 KiB"), (16 << 10, "16 KiB"), (64 << 10, "64 KiB"), (1 << 20, "1 MiB")];

/// How long a job may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Over which both pages are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Link {
    Webrtc,
    Websocket,
    Webtransport,
}

impl Link {
    /// What either page's address says of it.
    fn query(self) -> &'static str {
        match self {
            Self::Webrtc => "",
            Self::Websocket => "&websocket",
            Self::Webtransport => "&webtransport",
        }
    }
}

impl fmt::Display for Link {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Webrtc => "WebRTC",
            Self::Websocket => "WebSocket",
            Self::Webtransport => "WebTransport",
        })
    }
}

/// What is measured of a page.
#[derive(Clone, Copy)]
struct Measure {
    link: Link,
    rounds: u32,
    /// A sixteenth of everything.
    quick: bool,
}

/// A page's figures of a job.
#[derive(Debug, Deserialize)]
struct Measured {
    figures: BTreeMap<String, f64>,
    error: Option<String>,
}

/// By job and name: figures of the yardstick and of Deltawire, a pair each round.
type Figures = BTreeMap<(String, String), Vec<[f64; 2]>>;

/// Measures so many rounds and prints medians.
pub(crate) fn measure(
    browser: Browser,
    rounds: u32,
    link: Link,
    str0m: bool,
) -> anyhow::Result<()> {
    browser.install()?;
    let site = Site::build_for_yardstick(&Compiler::get()?)?;
    let beside = if str0m {
        ("Deltawire with a server on str0m", site.start_on_str0m()?, FIGURES)
    } else {
        yardstick(&site)?
    };
    println!("beside {}", beside.0);
    let figures = all(browser, &site, beside, Measure { link, rounds, quick: false })?;
    println!("\n== {browser}, over {link}, medians of {rounds} rounds");
    print(&figures);
    Ok(())
}

/// Whether both pages give all figures. How good the figures are
/// is not looked at: other programs may be running.
pub(super) fn check(browser: Browser, site: &Site) -> anyhow::Result<()> {
    // Other kinds are not built for tests.
    let quickly = Measure { link: Link::Webrtc, rounds: 1, quick: true };
    println!("\n== yardstick in {browser}, over {}, quickly", quickly.link);
    print(&all(browser, site, yardstick(site)?, quickly)?);
    Ok(())
}

/// Which of the pages is what the library is compared with.
const YARDSTICK: usize = 0;

/// A page to be measured beside: its name, its server, and where it is there.
type Beside = (&'static str, Server, &'static str);

fn yardstick(site: &Site) -> anyhow::Result<Beside> {
    Ok(("the yardstick", site.start_yardstick()?, ""))
}

fn all(
    browser: Browser,
    site: &Site,
    (name, server, page): Beside,
    measure: Measure,
) -> anyhow::Result<Figures> {
    let ours = site.start(0)?;
    let pages = [(name, server.address()? + page), ("Deltawire", ours.address()? + FIGURES)];
    let mut session = Session::start(browser)?;
    let sizes = SIZES.iter().map(|(size, _)| format!("rate-{size}"));
    let jobs: Vec<_> = sizes.chain(["echo".to_owned(), "commands".to_owned()]).collect();
    let mut figures = Figures::new();
    for round in 0..measure.rounds {
        for job in &jobs {
            let mut both = [None, None];
            // Neither is always the first.
            for index in [round as usize % 2, (round as usize + 1) % 2] {
                let (name, url) = &pages[index];
                let mut measured = one(&mut session, url, job, measure);
                // What the library is compared with may stall, as happened in Firefox; the library may not.
                if index == YARDSTICK && measured.is_err() {
                    println!("{job} of {name} once more: {:?}", measured.err());
                    measured = one(&mut session, url, job, measure);
                }
                both[index] = Some(measured.with_context(|| format!("{job} of {name}"))?);
            }
            let [Some(yardstick), Some(ours)] = both else { continue };
            for (name, theirs) in yardstick {
                let own = ours.get(&name).with_context(|| format!("{job} has no {name}"))?;
                figures.entry((job.clone(), name)).or_default().push([theirs, *own]);
            }
        }
    }
    Ok(figures)
}

/// Opens a page for a job, and waits for what it measures.
fn one(
    session: &mut Session,
    url: &str,
    job: &str,
    Measure { link, quick, .. }: Measure,
) -> anyhow::Result<BTreeMap<String, f64>> {
    let quick = if quick { "&quick" } else { "" };
    session.open(&format!("{url}?measure={job}{quick}{}", link.query()))?;
    let started = Instant::now();
    loop {
        let result = session.text("result")?;
        if !result.is_empty() {
            let measured: Measured = serde_json::from_str(&result)?;
            if let Some(error) = measured.error {
                bail!("{error}");
            }
            return Ok(measured.figures);
        }
        if started.elapsed() > PATIENCE {
            bail!("nothing came within {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn print(figures: &Figures) {
    println!("\n| MB/s of payload | | yardstick | Deltawire | ratio (goal: 0.9) |");
    println!("|---|---|---|---|---|");
    for (size, name) in SIZES {
        for (way, words) in [("up", "to the server"), ("down", "from the server")] {
            let Some([yardstick, ours, ratio]) = medians(figures, &format!("rate-{size}"), way)
            else {
                continue;
            };
            println!("| {name} | {words} | {yardstick:.1} | {ours:.1} | {ratio:.2} |");
        }
    }
    println!("\n| µs | yardstick | Deltawire | goal |");
    println!("|---|---|---|---|");
    for (job, name, words, goal) in [
        ("echo", "p50", "round trip of 64 B, p50", "200 more"),
        ("echo", "p99", "round trip of 64 B, p99", ""),
        ("commands", "idle-p50", "round trip of a command, p50", ""),
        ("commands", "up-p50", "the same beside 64 KiB messages to the server, p50", ""),
        ("commands", "up-p95", "the same, p95", "idle + 30,000"),
        ("commands", "down-p50", "the same beside 64 KiB messages from the server, p50", ""),
        ("commands", "down-p95", "the same, p95", "idle + 30,000"),
    ] {
        if let Some([yardstick, ours, _]) = medians(figures, job, name) {
            println!("| {words} | {yardstick:.0} | {ours:.0} | {goal} |");
        }
    }
}

/// Of the yardstick, of Deltawire, and of their ratio round by round.
fn medians(figures: &Figures, job: &str, name: &str) -> Option<[f64; 3]> {
    let rounds = figures.get(&(job.to_owned(), name.to_owned()))?;
    let all = rounds.iter().map(|[yardstick, ours]| [*yardstick, *ours, ours / yardstick]);
    let all: Vec<[f64; 3]> = all.collect();
    Some([0, 1, 2].map(|column| median(all.iter().map(|round| round[column]).collect())))
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = |index: usize| figures.get(index).copied().unwrap_or(f64::NAN);
    f64::midpoint(middle((figures.len().max(1) - 1) / 2), middle(figures.len() / 2))
}
