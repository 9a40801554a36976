//! Runs jobs in rounds.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

use crate::report::{self, Outcome, Place};
use crate::{append, fan_out, in_process, memory, replay, slow, storm};

/// Documents beside what else carries them.
#[derive(Parser)]
pub(crate) struct Arguments {
    /// Only jobs whose names have one of these words: a table's title, a row or a column.
    filter: Vec<String>,
    /// How often each job runs.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// One short round, to see that everything works.
    #[arg(long)]
    quick: bool,
    /// Prints the figures of each round to stderr.
    #[arg(long)]
    verbose: bool,
}

/// What runs once a round, and gives a figure for each metric of its table.
pub(crate) struct Job {
    pub(crate) place: Place,
    pub(crate) run: Box<dyn Fn() -> anyhow::Result<Vec<f64>> + Send + Sync>,
}

impl Job {
    pub(crate) fn new(
        place: Place,
        run: impl Fn() -> anyhow::Result<Vec<f64>> + Send + Sync + 'static,
    ) -> Self {
        Self { place, run: Box::new(run) }
    }

    fn name(&self) -> String {
        let Place { table, row, column } = &self.place;
        let name = [table.title, row, column.unwrap_or_default()].join(" / ");
        name.trim_end_matches([' ', '/']).to_owned()
    }

    /// Runs it in a thread of its own, so that a panic is its own.
    fn guarded(&self) -> Result<Vec<f64>, String> {
        let result = thread::scope(|scope| scope.spawn(|| (self.run)()).join());
        let result = result.unwrap_or_else(|_| Err(anyhow!("it panicked")));
        result.map_err(|error| format!("{}: {error:#}", self.name()))
    }
}

/// Jobs, and what to say of those that cannot be run here.
#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) jobs: Vec<Job>,
    pub(crate) remarks: Vec<String>,
}

impl Plan {
    fn new(quick: bool) -> Self {
        let mut plan = Self::default();
        plan.jobs.extend(in_process::jobs(quick));
        plan.jobs.push(memory::job());
        fan_out::add(&mut plan, quick);
        append::add(&mut plan, quick);
        plan.jobs.extend(slow::jobs(quick));
        plan.jobs.extend(storm::jobs(quick));
        replay::add(&mut plan, quick);
        plan
    }

    /// Adds a rival's jobs if its program is there.
    pub(crate) fn add_if(&mut self, there: Result<(), String>, jobs: impl FnOnce() -> Vec<Job>) {
        match there {
            Ok(()) => self.jobs.extend(jobs()),
            Err(remark) if self.remarks.contains(&remark) => {}
            Err(remark) => self.remarks.push(remark),
        }
    }
}

/// Runs a job's future on a runtime of its own, for at most so long.
pub(crate) fn block_on<T>(
    limit: Duration,
    job: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(async { tokio::time::timeout(limit, job).await });
    runtime.shutdown_timeout(Duration::from_secs(1));
    result.unwrap_or_else(|_| bail!("not done within {limit:?}"))
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let Plan { mut jobs, remarks } = Plan::new(arguments.quick);
    jobs.retain(|job| {
        let name = job.name();
        arguments.filter.is_empty() || arguments.filter.iter().any(|word| name.contains(word))
    });
    anyhow::ensure!(!jobs.is_empty(), "no job has such a name");
    let rounds = if arguments.quick { 1 } else { arguments.rounds.max(1) };
    let mut outcomes: Vec<Outcome> = jobs.iter().map(|_| Outcome::default()).collect();

    let progress = ProgressBar::new((rounds * jobs.len()) as u64);
    progress.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {msg}")?);
    for remark in &remarks {
        progress.suspend(|| eprintln!("{remark}"));
    }
    let start = Instant::now();
    for _ in 0..rounds {
        for (job, outcome) in jobs.iter().zip(&mut outcomes) {
            progress.set_message(job.name());
            let result = job.guarded();
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
    println!(
        "Medians of {rounds} rounds, in brackets of the rounds' ratios to deltawire, {cores} cores, {:.0} s.",
        start.elapsed().as_secs_f64()
    );
    for remark in remarks {
        println!("{remark}");
    }
    let places = jobs.into_iter().map(|job| job.place);
    report::print(&places.zip(outcomes).collect::<Vec<_>>());
    Ok(())
}
