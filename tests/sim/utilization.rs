//! How much of a link of 100 Mbit/s a bulk transfer uses, over distances and bottleneck queues, and
//! how long commands beside it take.

use std::fmt::Write;
use std::time::Duration;

use deltawire::sim::{Carrier, End, LinkOptions, Path, Simulation};
use deltawire_channels::{Limits, Peer};

use crate::carrier::engine;
use crate::probe::{
    Count, Latencies, MS, RATE, SECOND, count, ensure, flood, keep, ms, path, tick, time,
};

/// Round trip in ms, queue in KiB, rings and windows in MiB, seconds, the least share of the link.
const ROWS: [(u32, usize, usize, u32, f64); 7] = [
    (1, 128, 1, 4, 0.9),
    (1, 512, 1, 4, 0.9),
    (20, 128, 1, 6, 0.9),
    (20, 512, 1, 6, 0.9),
    (100, 128, 1, 10, 0.6),
    (100, 512, 1, 10, 0.6),
    (100, 512, 4, 10, 0.8),
];

pub(crate) fn check(row: usize) -> Result<String, String> {
    let (round_trip, queue, window, seconds, least) = ROWS[row];
    let mut sim = Simulation::new(1);
    let [near, far] = sim.add_hosts();
    let round_trip = round_trip * MS;
    sim.set_path(near, far, Path { queue: queue << 10, ..path(round_trip) });
    let limits =
        Limits { send_ring: window << 20, data_window: (window as u64) << 20, ..Limits::default() };
    let options = LinkOptions {
        carrier: Carrier::Datagrams,
        engine: engine(),
        limits,
        ..LinkOptions::default()
    };
    let (here, there) = sim.connect_with(near, far, &options).map_err(|error| error.to_string())?;
    let (End { peer: here, link }, Peer { command, receive, send }) = (here, there.peer);
    let (came, latencies, clock) = (Count::default(), Latencies::default(), sim.clock());
    sim.spawn(flood(here.send, 16_000));
    sim.spawn(count(receive, came.clone()));
    sim.spawn(tick(here.command.send, 10 * MS, clock.clone()));
    sim.spawn(time(command.receive, latencies.clone(), clock));
    keep(&mut sim, (send, command.send, here.receive, here.command.receive));
    // The first half is for finding out.
    let half = seconds / 2;
    sim.run_for(SECOND);
    let first = came.take() as f64 / RATE as f64;
    sim.run_for((half - 1) * SECOND);
    came.take();
    latencies.clear();
    sim.run_for((seconds - half) * SECOND);
    let used = came.take() as f64 / (RATE as f64 * f64::from(seconds - half));
    let (stats, network) = (link.stats(), sim.path_stats(near, far));
    let mut line = format!("| {} ms | {queue} KiB | {window} MiB ", round_trip.as_millis());
    let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|share| latencies.quantile(share));
    let _ = write!(
        line,
        "| {:.0} % | {:.0} % | {} | {} | {} | {} | {} | {} | {} |",
        100.0 * first,
        100.0 * used,
        stats.in_flight_limit >> 10,
        network.longest_queue >> 10,
        network.overflowed,
        ms(p50),
        ms(p95),
        ms(p99),
        ms(latencies.quantile(1.0)),
    );
    ensure(used >= least, || format!("{line}\nuses less than {least} of the link"))?;
    ensure(network.overflowed == 0, || format!("{line}\nthe queue overflowed"))?;
    let bound = round_trip + 20 * MS;
    ensure(p95 <= bound, || format!("{line}\ncommands take longer than {bound:?} at p95"))?;
    Ok(line)
}

pub(crate) fn rows() -> usize {
    ROWS.len()
}

pub(crate) const HEAD: &str = "\
| round trip | queue | rings and windows | first second | then | flight, KiB | longest queue, KiB | overflowed | commands p50, ms | p95 | p99 | most |
|---|---|---|---|---|---|---|---|---|---|---|---|";

/// A sender that was quiet for half a minute, but for small messages, still knows its path.
pub(crate) fn quiet() -> Result<String, String> {
    let mut sim = Simulation::new(2);
    let [near, far] = sim.add_hosts();
    sim.set_path(near, far, path(20 * MS));
    let options =
        LinkOptions { carrier: Carrier::Datagrams, engine: engine(), ..LinkOptions::default() };
    let (here, there) = sim.connect_with(near, far, &options).map_err(|error| error.to_string())?;
    let End { peer: Peer { mut send, command, receive }, link } = here;
    let (clock, came) = (sim.clock(), Count::default());
    sim.spawn(count(there.peer.receive, came.clone()));
    sim.spawn(tick(command.send, 50 * MS, clock.clone()));
    keep(&mut sim, (receive, command.receive, there.peer.send));
    let commands = Latencies::default();
    sim.spawn(time(there.peer.command.receive, commands, clock.clone()));
    sim.spawn(async move {
        let until = clock.now() + 3 * SECOND;
        while clock.now() < until
            && let Ok(grant) = send.reserve(16_000).await
        {
            let fields = deltawire_framing::DeltaFields::new(deltawire_framing::DocId([7; 16]));
            if grant.commit(fields, 16_000).is_err() {
                return;
            }
        }
        clock.sleep(30 * SECOND).await;
        flood(send, 16_000).await;
    });
    sim.run_for(3 * SECOND);
    let before = link.stats().in_flight_limit;
    sim.run_for(29 * SECOND + Duration::from_millis(900));
    let after = link.stats().in_flight_limit;
    came.take();
    sim.run_for(SECOND + Duration::from_millis(100));
    let used = came.take() as f64 / RATE as f64;
    let line = format!(
        "flight of {} KiB before 30 s of small messages, {} KiB after; {:.0} % of the link in the \
         first second after that",
        before >> 10,
        after >> 10,
        100.0 * used
    );
    ensure(used >= 0.8 && after >= before / 2, || line.clone())?;
    Ok(line)
}
