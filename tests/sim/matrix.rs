//! Carriers × networks × kinds of delivery: each seed is one cell, and one run in it.

#![allow(clippy::disallowed_types)] // only counts

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use deltawire::sim::{Loss, Path, Random};
use deltawire::webrtc::EngineKind;
use deltawire_channels::{Delivery, Order, Reliability};

use crate::arguments::Arguments;
use crate::carrier::Carrier;
use crate::probe::ensure;
use crate::transfer;

/// What a run is about.
#[derive(Clone, Copy)]
pub(crate) struct Cell {
    pub(crate) carrier: Carrier,
    pub(crate) network: Network,
    pub(crate) delivery: (&'static str, Delivery),
}

/// What the network does, both ways.
#[derive(Clone, Copy)]
pub(crate) struct Network {
    pub(crate) name: &'static str,
    pub(crate) path: Path,
    /// Whether it is cut for a while in the middle of everything.
    pub(crate) cut: bool,
    /// After how much silence a peer is taken for dead.
    pub(crate) patience: Duration,
    /// How often a link may fail to open, and once more.
    pub(crate) attempts: u32,
    /// How many times as many bytes as through the worst network are worth sending.
    pub(crate) volume: u64,
}

const fn path() -> Path {
    Path {
        latency: Duration::from_millis(10),
        jitter: Duration::ZERO,
        rate: Some(12_500_000),
        queue: 256 << 10,
        loss: Loss::None,
        reorder: 0.0,
        reorder_distance: 64,
        duplicate: 0.0,
        corrupt: 0.0,
        mtu: 1_500,
        cut: false,
    }
}

const fn network(name: &'static str, volume: u64, path: Path) -> Network {
    Network { name, path, cut: false, patience: Duration::from_secs(5), attempts: 1, volume }
}

const MS: Duration = Duration::from_millis(1);

/// One of 20 ms each second.
const BURSTS: Loss = Loss::Bursts { good: Duration::from_secs(1), bad: Duration::from_millis(20) };

const NETWORKS: [Network; 12] = [
    network("clean", 20, path()),
    network("loss of 1 %", 10, Path { loss: Loss::Independent(0.01), ..path() }),
    network("loss of 5 %", 5, Path { loss: Loss::Independent(0.05), ..path() }),
    Network {
        patience: Duration::from_secs(600),
        attempts: 3,
        ..network("loss of 30 %", 1, Path { loss: Loss::Independent(0.3), ..path() })
    },
    network("bursts", 5, Path { loss: BURSTS, ..path() }),
    network("reordering", 10, Path { reorder: 0.1, jitter: MS, ..path() }),
    network("duplicates", 20, Path { duplicate: 0.1, ..path() }),
    network("damage", 10, Path { corrupt: 0.01, ..path() }),
    network("far away", 10, Path { latency: Duration::from_millis(150), ..path() }),
    network("narrow", 2, Path { rate: Some(125_000), queue: 32 << 10, ..path() }),
    Network { cut: true, ..network("cut and healed", 10, path()) },
    network(
        "everything",
        2,
        Path {
            jitter: Duration::from_millis(5),
            rate: Some(1_250_000),
            queue: 64 << 10,
            loss: Loss::Independent(0.02),
            reorder: 0.05,
            duplicate: 0.02,
            corrupt: 0.005,
            ..path()
        },
    ),
];

const fn delivery(order: Order, reliability: Reliability) -> Delivery {
    Delivery { order, reliability }
}

const DELIVERIES: [(&str, Delivery); 5] = [
    ("reliable", delivery(Order::Ordered, Reliability::Reliable)),
    ("reliable, unordered", delivery(Order::Unordered, Reliability::Reliable)),
    ("never sent again", delivery(Order::Unordered, Reliability::MaxRetransmits(0))),
    ("sent again once", delivery(Order::Ordered, Reliability::MaxRetransmits(1))),
    (
        "for 200 ms",
        delivery(Order::Unordered, Reliability::MaxLifetime(Duration::from_millis(200))),
    ),
];

const CARRIERS: [Carrier; 4] = [
    Carrier::Frames,
    Carrier::Datagrams(EngineKind::Lean),
    Carrier::Datagrams(EngineKind::Str0m),
    Carrier::Quic,
];

const CELLS: u64 = (NETWORKS.len() * DELIVERIES.len() * CARRIERS.len()) as u64;

/// The cell of a seed: neighbours are in different ones, and each has its turn.
fn cell(seed: u64) -> Cell {
    const NEXT: u64 = CARRIERS.len() as u64;
    let at = |len: usize, by: u64| (seed / by % len as u64) as usize;
    let carrier = CARRIERS[at(CARRIERS.len(), 1)];
    let mut delivery = DELIVERIES[at(DELIVERIES.len(), NEXT * NETWORKS.len() as u64)];
    // What may get lost there is unordered.
    if carrier == Carrier::Quic && delivery.1.may_lose() {
        delivery.1.order = Order::Unordered;
    }
    Cell { carrier, network: NETWORKS[at(NETWORKS.len(), NEXT)], delivery }
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (carrier, network, delivery) =
            (self.carrier.name(), self.network.name, self.delivery.0);
        write!(f, "{carrier}; {network}; {delivery}")
    }
}

fn one(seed: u64) -> Result<transfer::Outcome, String> {
    let cell = cell(seed);
    let run = || transfer::run(&cell, Random::new(seed).number());
    let again = || {
        let outcome = run()?;
        // Each cell's first run is made twice, and every tenth after.
        if (seed / CELLS).is_multiple_of(10) && outcome.fingerprints != run()?.fingerprints {
            return Err("the same seed was not the same run".to_owned());
        }
        Ok(outcome)
    };
    let result = catch_unwind(AssertUnwindSafe(again));
    let reason = match result {
        Ok(Ok(outcome)) => return Ok(outcome),
        Ok(Err(reason)) => reason,
        Err(panic) => match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
            (Some(message), _) => format!("panic: {message}"),
            (_, Some(message)) => format!("panic: {message}"),
            _ => "panic".to_owned(),
        },
    };
    Err(format!("seed {seed} ({cell}): {reason}\nto repeat it: cargo xtask sim --seed {seed}"))
}

pub(crate) fn replay(seed: u64) -> Result<(), String> {
    println!("seed {seed}: {}", cell(seed));
    let started = Instant::now();
    let outcome = one(seed)?;
    println!("{outcome:#?}\npassed in {:?}\n{}", started.elapsed(), mark(outcome.fingerprints));
    Ok(())
}

fn mark([network, application]: [u64; 2]) -> String {
    format!("fingerprints: {network:016x} of the network, {application:016x} of what was read")
}

/// The same seed is the same run in another process too, whose keys and hash maps are others.
pub(crate) fn in_another_process() -> Result<String, String> {
    const SEEDS: u64 = (CARRIERS.len() * NETWORKS.len()) as u64;
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    // Steps that come by each network, each kind of delivery and each carrier.
    for seed in (0..CELLS).step_by((CELLS / SEEDS) as usize) {
        let here = mark(one(seed)?.fingerprints);
        let mut there = std::process::Command::new(&program);
        let there = there.args(["--seed", &seed.to_string()]).output();
        let there = there.map_err(|error| error.to_string())?.stdout;
        let there = String::from_utf8_lossy(&there);
        if there.lines().last() != Some(&*here) {
            return Err(format!("seed {seed} ({}) is another run:\n{here}\n{there}", cell(seed)));
        }
    }
    Ok(format!("{SEEDS} seeds were the same runs in another process"))
}

/// On a path that loses nothing, a channel loses nothing that may.
pub(crate) fn nothing_lost() -> Result<String, String> {
    let mut runs = 0;
    for seed in (0..10 * CELLS).filter(|seed| cell(*seed).network.name == "clean") {
        runs += u64::from(one(seed)?.nothing_lost);
    }
    ensure(runs >= 10, || format!("only {runs} runs lost nothing on their way"))?;
    Ok(format!("{runs} runs over channels that may lose messages lost none on a clean path"))
}

/// How often progress is told.
const TELL: Duration = Duration::from_secs(10);

/// Runs seeds from 0 on, on all cores.
pub(crate) fn run(arguments: &Arguments) -> Result<(), String> {
    let started = Instant::now();
    let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let (failed, failures) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let told = Mutex::new(started);
    let late = || arguments.limit.is_some_and(|limit| started.elapsed() >= limit);
    let work = || {
        while !failed.load(Ordering::Relaxed) && !late() {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= arguments.seeds {
                return;
            }
            if let Err(failure) = one(seed) {
                failed.store(true, Ordering::Relaxed);
                failures.lock().unwrap().push(failure);
            }
            let done = 1 + done.fetch_add(1, Ordering::Relaxed);
            let mut told = told.lock().unwrap();
            if told.elapsed() >= TELL {
                println!("{done} seeds after {:.0?}", started.elapsed());
                *told = Instant::now();
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let failures = failures.into_inner().unwrap();
    if !failures.is_empty() {
        return Err(failures.join("\n\n"));
    }
    let done = done.into_inner();
    println!("{done} seeds over {CELLS} cells passed in {:.0?}", started.elapsed());
    Ok(())
}
