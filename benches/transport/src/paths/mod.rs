//! How much of a path each stack uses, over the simulated network on virtual time: the same path, and the
//! same seeds of what it loses, for all of them.
//!
//! - `deltawire`: two ends of a simulated link, the WebRTC stack of real ones, defaults.
//! - `str0m plain`, `str0m tuned`: the stack as its documentation shows it, and with a send buffer and
//!   datagrams made for such paths.
//! - `webrtc-rs, SCTP`: the SCTP of webrtc-rs, without the rest of it.
//! - `quinn`: QUIC, a stream.
//!
//! What each is given stands at the head of its file. Each round is another seed; how fast the machine is
//! makes no difference.

mod deltawire;
mod end;
mod quinn;
mod sctp;
mod str0m;

#[allow(clippy::disallowed_types)] // only counts
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::deltawire::sim::{Host, Loss, Path, Simulation};
use anyhow::ensure;

use crate::harness::Job;
use crate::plan;
use crate::report::{Place, Table, metric};

static TABLE: Table = Table {
    title: "Paths",
    notes: "Simulated paths of 100 Mbit/s whose queue holds 128 KiB, by their round trip and by which share of the \
            datagrams is lost, each way. Messages of 64 KiB one way for 10 s of virtual time, as the receiver's \
            application gets them; each round is another seed. From the second in which the sender could first \
            write. Datagrams have up to 1,200 bytes (deltawire), 1,150 (str0m plain), 1,400 (str0m tuned), 1,228 \
            (webrtc-rs), and 1,452 (quinn), so the most is 94 to 98 %. A command of 64 B each 10 ms beside that, \
            from when it is committed to when the peer's application has it.",
    metrics: &[
        metric("1st second, % of the path"),
        metric("2nd second, % of the path"),
        metric("4th second, % of the path"),
        metric("seconds 2 to 10, % of the path"),
        metric("commands p95, ms"),
    ],
    baseline: None,
};

/// 100 Mbit/s, in bytes per second.
const RATE: u64 = 12_500_000;
const QUEUE: usize = 128 << 10;
const MESSAGE: usize = 64 << 10;
const SECOND: Duration = Duration::from_secs(1);
const SECONDS: usize = 10;
/// How long it may take until both ends are there.
const CONNECT: Duration = Duration::from_secs(20);
/// Some stacks take seconds to simulate one.
const LIMIT: Duration = Duration::from_secs(300);

/// Round trips and losses.
const PATHS: [(&str, u32, f64); 8] = [
    ("20 ms", 20, 0.0),
    ("20 ms, 0.1 %", 20, 0.001),
    ("20 ms, 1 %", 20, 0.01),
    ("20 ms, 5 %", 20, 0.05),
    ("100 ms", 100, 0.0),
    ("100 ms, 0.1 %", 100, 0.001),
    ("100 ms, 1 %", 100, 0.01),
    ("100 ms, 5 %", 100, 0.05),
];

/// Brings both ends together and has the first send to the second, for ever.
type Start = fn(&mut Simulation, [Host; 2]) -> anyhow::Result<Flow>;

const STACKS: [(&str, Start); 6] = [
    ("deltawire", deltawire::start),
    ("deltawire on str0m", deltawire::start_on_str0m),
    ("str0m plain", str0m::start_plain),
    ("str0m tuned", str0m::start_tuned),
    ("webrtc-rs, SCTP", sctp::start),
    ("quinn", quinn::start),
];

/// What goes one way.
struct Flow {
    /// Bytes of messages that came.
    came: end::Count,
    /// How long commands beside them took so far, where there are any.
    commands: Option<deltawire::Delays>,
}

pub(crate) fn jobs(quick: bool) -> impl Iterator<Item = Job> {
    let paths = PATHS.into_iter().filter(move |(_, _, loss)| !quick || *loss == 0.0);
    let both = paths.flat_map(|path| STACKS.map(|stack| (path, stack)));
    both.map(|((column, round_trip, loss), (row, start))| {
        let latency = Duration::from_millis(round_trip.into()) / 2;
        let loss = if loss > 0.0 { Loss::Independent(loss) } else { Loss::None };
        let path = Path { latency, rate: Some(RATE), queue: QUEUE, loss, ..Path::default() };
        let seeds = AtomicU64::new(1);
        let place = Place { table: &TABLE, row, column: Some(column) };
        let run = move |_: &_| measure(start, path, seeds.fetch_add(1, Ordering::Relaxed));
        Job { limit: LIMIT, ..plan::job(place, run) }
    })
}

fn measure(start: Start, path: Path, seed: u64) -> anyhow::Result<Vec<f64>> {
    let mut sim = Simulation::new(seed);
    let hosts = sim.add_hosts();
    let [near, far] = hosts;
    sim.set_path(near, far, path);
    let flow = start(&mut sim, hosts)?;
    let mut shares = [0.0; SECONDS];
    for share in &mut shares {
        sim.run_for(SECOND);
        *share = 100.0 * flow.came.take()? as f64 / RATE as f64;
    }
    ensure!(shares.iter().any(|share| *share > 0.0), "nothing came");
    let later = shares[1..].iter().sum::<f64>() / (SECONDS - 1) as f64;
    let p95 = flow.commands.map_or(f64::NAN, |delays| delays.milliseconds(0.95));
    Ok(vec![shares[0], shares[1], shares[3], later, p95])
}
