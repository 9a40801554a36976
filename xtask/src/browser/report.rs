use serde::Deserialize;

/// What the page reports.
#[derive(Debug, Deserialize)]
pub(super) struct Report {
    pub(super) kind: String,
    checks: Vec<Check>,
    round_trips: RoundTrips,
    rates: Vec<Rate>,
    counters: Counters,
    pub(super) main_thread_bytes: u64,
}

#[derive(Debug, Deserialize)]
struct Check {
    name: String,
    passed: bool,
    detail: String,
}

#[derive(Debug, Deserialize)]
struct RoundTrips {
    rounds: u32,
    p50: f64,
    p99: f64,
}

#[derive(Debug, Deserialize)]
struct Rate {
    size: u32,
    up: f64,
    down: f64,
}

#[derive(Debug, Deserialize)]
struct Counters {
    route: String,
}

impl Report {
    pub(super) fn passed(&self) -> bool {
        !self.checks.is_empty() && self.checks.iter().all(|check| check.passed)
    }

    /// What failed, on one line.
    pub(super) fn failures(&self) -> String {
        let failed = self.checks.iter().filter(|check| !check.passed);
        let failed = failed.map(|check| format!("{}: {}", check.name, check.detail));
        failed.collect::<Vec<_>>().join("; ")
    }

    /// How the link came to be and what it carried, on one line.
    pub(super) fn in_short(&self) -> String {
        let opened = self.checks.first().map_or("", |check| &check.detail);
        let RoundTrips { p50, .. } = self.round_trips;
        let fastest = |of: fn(&Rate) -> f64| self.rates.iter().map(of).fold(0.0, f64::max);
        let (up, down) = (fastest(|rate| rate.up), fastest(|rate| rate.down));
        format!("{opened}, round trip p50 {p50:.0} µs, {up:.0} MB/s, and {down:.0} MB/s back")
    }

    pub(super) fn print(&self) {
        for Check { name, passed, detail } in &self.checks {
            println!("{} {name}: {detail}", if *passed { "pass" } else { "FAIL" });
        }
        let RoundTrips { rounds, p50, p99 } = self.round_trips;
        println!("\nround trip of 1 KiB, {rounds} times: p50 {p50:.0} µs, p99 {p99:.0} µs");
        println!("{:>9} {:>16} {:>16}", "message", "to the server", "from the server");
        for Rate { size, up, down } in &self.rates {
            println!("{:>5} KiB {up:>11.1} MB/s {down:>11.1} MB/s", size / 1_024);
        }
        println!("link: {}, {}", self.kind, self.counters.route);
        println!("bytes touched by the window: {}", self.main_thread_bytes);
    }
}

/// Prints how these went. Says whether all passed.
pub(super) fn print_results(title: &str, results: &[(&str, anyhow::Result<String>)]) -> bool {
    println!("\n== {title}");
    for (name, result) in results {
        match result {
            Ok(detail) => println!("pass {name}: {detail}"),
            Err(error) => println!("FAIL {name}: {error:#}"),
        }
    }
    results.iter().all(|(_, result)| result.is_ok())
}
