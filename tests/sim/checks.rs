//! The checks that have a table each, run on all cores.

use std::panic::catch_unwind;
use std::sync::Mutex;
use std::time::Instant;

use crate::{matrix, moves, outages, quiet, resuming, sharing, stalls, utilization};

type Check = (&'static str, Box<dyn Fn() -> Result<String, String> + Send>);

/// The slowest first, so that no core is left with one in the end.
fn all(seeds: u64) -> Vec<Check> {
    fn check(name: &'static str, run: fn() -> Result<String, String>) -> Check {
        (name, Box::new(run))
    }
    let rows = (0..utilization::rows()).rev();
    let mut all: Vec<Check> = rows
        .map(|row| -> Check { (UTILIZATION, Box::new(move || utilization::check(row))) })
        .collect();
    // Seven cuts each: with 20,000 seeds, 10,000 cuts.
    let runs = if seeds == u64::MAX { 72 } else { seeds.div_ceil(14).max(72) };
    all.push(("Sessions over links that are cut", Box::new(move || resuming::check(runs))));
    all.extend([
        check("The same seed", matrix::in_another_process),
        check("A path that loses nothing", matrix::nothing_lost),
        check("A cut network", outages::check),
        check("A cut network and links that say little", quiet::check),
        check("A dead peer", outages::dead),
        check("A host that gets another address", moves::check),
        check("After a quiet while", utilization::quiet),
        check("A reader that stalls", stalls::check),
        check("Senders of different weight", sharing::weights),
        check("Senders of different priority", sharing::priorities),
    ]);
    all
}

const UTILIZATION: &str = "Bulk and commands over 100 Mbit/s";

fn failure(name: &str, reason: &str) -> String {
    format!(
        "{name}:\n{reason}\nto repeat it: cargo test -p deltawire --features sim --test sim -- --check '{name}'"
    )
}

/// Runs all of them, or only those of this name.
/// `seeds` are those of the matrix.
pub(crate) fn run(only: Option<&str>, seeds: u64) -> Result<(), String> {
    let started = Instant::now();
    let mut all = all(seeds);
    all.retain(|(name, _)| only.is_none_or(|only| only == *name));
    if all.is_empty() {
        return Err(format!("there is no check {only:?}"));
    }
    let waiting = Mutex::new(all.into_iter().enumerate().collect::<Vec<_>>().into_iter());
    let results = Mutex::new(Vec::new());
    let work = || loop {
        let next = waiting.lock().unwrap().next();
        let Some((place, (name, check))) = next else { return };
        let result = catch_unwind(std::panic::AssertUnwindSafe(check));
        let result = result.unwrap_or_else(|_| Err("it panicked".to_owned()));
        results.lock().unwrap().push((place, name, result));
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let mut results = results.into_inner().unwrap();
    results.sort_by_key(|(place, ..)| *place);
    let (bulk, others): (Vec<_>, Vec<_>) =
        results.into_iter().partition(|(_, name, _)| *name == UTILIZATION);
    let mut failures = Vec::new();
    if !bulk.is_empty() {
        println!("\n{UTILIZATION}\n\n{}", utilization::HEAD);
    }
    for (_, name, result) in bulk.into_iter().rev() {
        match result {
            Ok(line) => println!("{line}"),
            Err(reason) => failures.push(failure(name, &reason)),
        }
    }
    for (_, name, result) in others {
        match result {
            Ok(table) => println!("\n{name}\n\n{table}"),
            Err(reason) => failures.push(failure(name, &reason)),
        }
    }
    if !failures.is_empty() {
        return Err(failures.join("\n\n"));
    }
    println!("\nall checks passed in {:.0?}", started.elapsed());
    Ok(())
}
