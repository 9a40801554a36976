#![allow(clippy::disallowed_types)] // only counts

use std::env;
use std::process::{Command, exit};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use loom::model::Builder;

/// Preemptions per execution unless `LOOM_MAX_PREEMPTIONS` says otherwise: about a minute in all.
/// Every error that was planted (see `README.md`) shows with two.
const PREEMPTIONS: usize = 3;

/// Asks a process to explore the model that the next argument names, and no other.
const ONLY: &str = "--only";

/// A name, and what is to be explored.
pub(crate) type Model = (&'static str, fn());

/// Explores the models whose names contain one of the arguments, or all if there is none. Exits
/// with an error when one fails, or when all were asked for and one was not explored.
pub(crate) fn explore_all(models: &[Model]) {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [only, name] = arguments.as_slice()
        && only == ONLY
    {
        return models.iter().filter(|(model, _)| model == name).for_each(explore);
    }
    let filters: Vec<&String> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
    let is_asked_for =
        |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(*filter));
    let start = Instant::now();
    let (explored, failed): (Vec<&str>, Vec<&str>) = models
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| is_asked_for(name))
        .partition(|name| passes(name));

    let seconds = start.elapsed().as_secs();
    println!("{} of {} models passed in {seconds} s", explored.len(), models.len());
    if !failed.is_empty() {
        println!("failed: {}", failed.join(", "));
        exit(1);
    }
    assert!(!explored.is_empty(), "no model matches {filters:?}");
    assert!(!filters.is_empty() || explored.len() == models.len(), "a model was skipped");
}

/// Explores one model in a process of its own: loom aborts when a model fails.
fn passes(name: &str) -> bool {
    let program = env::current_exe().expect("this program has a path");
    Command::new(program).args([ONLY, name]).status().is_ok_and(|status| status.success())
}

fn explore((name, model): &Model) {
    let start = Instant::now();
    let executions = Arc::new(AtomicUsize::new(0));
    let (count, model) = (Arc::clone(&executions), *model);
    let mut builder = Builder::new();
    builder.preemption_bound.get_or_insert(PREEMPTIONS);
    builder.check(move || {
        count.fetch_add(1, Ordering::Relaxed);
        model();
    });
    let executions = executions.load(Ordering::Relaxed);
    assert!(executions > 0, "{name} was not explored");
    println!("{name}: {executions} executions, {:.1?}", start.elapsed());
}
