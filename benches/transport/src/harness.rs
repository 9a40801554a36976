//! Runs jobs in rounds, and gives up those that do not end.

use std::fmt::Write as _;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use clap::Parser;
use deltawire::Link;
use indicatif::{ProgressBar, ProgressStyle};

use crate::report::{self, Outcome, Place};
use crate::{measure, plan};

/// Links beside the stack that they are made of.
#[derive(Parser)]
pub(crate) struct Arguments {
    /// Only jobs whose names have one of these words: a table's title, a row or a column.
    filter: Vec<String>,
    /// How often each job runs.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// One short round, to see that everything works.
    #[arg(long)]
    quick: bool,
    /// Prints the figures of each round to stderr.
    #[arg(long)]
    verbose: bool,
    /// Cargo says so.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What runs once a round.
pub(crate) struct Job {
    pub(crate) place: Place,
    /// Whether all threads share a core.
    pub(crate) one_core: bool,
    /// It is given up after so long.
    pub(crate) limit: Duration,
    pub(crate) run: Arc<Run>,
}

/// Gives a figure for each metric of the table.
type Run = dyn Fn(&Links) -> anyhow::Result<Vec<f64>> + Send + Sync;

/// The links of a job, to tell how they do when it fails.
#[derive(Clone, Debug, Default)]
pub(crate) struct Links {
    links: Arc<Mutex<Vec<(&'static str, Link)>>>,
}

impl Links {
    pub(crate) fn watch(&self, name: &'static str, link: &Link) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.push((name, link.clone()));
    }

    fn describe(&self) -> String {
        let mut text = String::new();
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        // Where there are hundreds, the last ones are those that matter.
        for (name, link) in links.iter().rev().take(2).rev() {
            let _ = write!(text, "\n    {name}: ended: {:?}; {:?}", link.ended(), link.stats());
        }
        text
    }
}

/// How long a job may take to give up by itself, before it is given up.
const GRACE: Duration = Duration::from_secs(5);

impl Job {
    fn name(&self) -> String {
        let Place { table, row, column } = &self.place;
        [table.title, row, column.unwrap_or_default()]
            .join(" / ")
            .trim_end_matches([' ', '/'])
            .into()
    }

    /// Runs it in a thread of its own.
    fn guarded(&self) -> anyhow::Result<Vec<f64>> {
        let links = Links::default();
        let (done, result) = mpsc::channel();
        let (run, one_core, watched) = (self.run.clone(), self.one_core, links.clone());
        thread::Builder::new().name("job".to_owned()).spawn(move || {
            let pinned = if one_core { measure::stay_on_one_core() } else { Ok(()) };
            // Who waited may have given up.
            let _ = done.send(pinned.and_then(|()| run(&watched)));
        })?;
        let result = match result.recv_timeout(self.limit + GRACE) {
            Ok(result) => result,
            Err(RecvTimeoutError::Disconnected) => Err(anyhow!("it panicked")),
            Err(RecvTimeoutError::Timeout) => Err(anyhow!(
                "given up after {:?}; its threads go on and may disturb what follows",
                self.limit + GRACE
            )),
        };
        result.map_err(|error| anyhow!("{}: {error:#}{}", self.name(), links.describe()))
    }
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut jobs = plan::jobs(arguments.quick)?;
    jobs.retain(|job| {
        let name = job.name();
        arguments.filter.is_empty() || arguments.filter.iter().any(|word| name.contains(word))
    });
    anyhow::ensure!(!jobs.is_empty(), "no job has such a name");
    let rounds = if arguments.quick { 1 } else { arguments.rounds.max(1) };
    let mut outcomes: Vec<Outcome> = jobs.iter().map(|_| Outcome::default()).collect();

    let progress = ProgressBar::new((rounds * jobs.len()) as u64);
    progress.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {msg}")?);
    let start = Instant::now();
    for _ in 0..rounds {
        for (job, outcome) in jobs.iter().zip(&mut outcomes) {
            progress.set_message(job.name());
            let result = job.guarded().map_err(|error| format!("{error:#}"));
            match &result {
                Ok(figures) if arguments.verbose => {
                    progress.suspend(|| eprintln!("{}: {figures:.4?}", job.name()));
                }
                Ok(_) => {}
                Err(error) => progress.suspend(|| eprintln!("{error}")),
            }
            outcome.rounds.push(result);
            progress.inc(1);
        }
    }
    progress.finish_and_clear();

    let cores = thread::available_parallelism().map_or(0, usize::from);
    let buffer = std::fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap_or_default();
    println!(
        "Medians of {rounds} rounds, in brackets of the rounds' ratios to deltawire, {cores} cores, \
         net.core.rmem_max {}, {:.0} s.",
        buffer.trim(),
        start.elapsed().as_secs_f64()
    );
    let places = jobs.into_iter().map(|job| job.place);
    report::print(&places.zip(outcomes).collect::<Vec<_>>());
    Ok(())
}
