//! A reader that does not read holds up nobody but its own sender.

use std::time::Duration;

use deltawire::sim::{LinkOptions, Simulation};
use deltawire_channels::Peer;

use crate::carrier::{Carrier, carriers};
use crate::probe::{Latencies, MS, SECOND, ensure, flood, keep, ms, path, tick, time};

/// What happens on the other channel meanwhile.
#[derive(Clone, Copy)]
enum Other {
    /// Nothing.
    Quiet,
    /// It is flooded, and nobody reads.
    Stalled,
}

/// The 99th percentile of what the timed channel's messages take.
fn measure(on: Carrier, commands: bool, other: Other) -> Result<Duration, String> {
    let mut sim = Simulation::new(3);
    let [near, far] = sim.add_hosts();
    sim.set_path(near, far, path(20 * MS));
    let options = LinkOptions::default();
    let (here, there) = on.connect(&mut sim, [near, far], &options)?;
    let (Peer { send, command, receive }, there) = (here.peer, there.peer);
    keep(&mut sim, (receive, command.receive, there.send, there.command.send));
    let (deltas, commands_way) = ((send, there.receive), (command.send, there.command.receive));
    let (timed, stalled) = if commands { (commands_way, deltas) } else { (deltas, commands_way) };
    let (latencies, clock) = (Latencies::default(), sim.clock());
    match other {
        Other::Quiet => keep(&mut sim, stalled),
        Other::Stalled => {
            keep(&mut sim, stalled.1);
            sim.spawn(flood(stalled.0, 4_000));
        }
    }
    // Until the window is used up and the stall is complete.
    sim.run_for(2 * SECOND);
    sim.spawn(tick(timed.0, 10 * MS, clock.clone()));
    sim.spawn(time(timed.1, latencies.clone(), clock));
    sim.run_for(10 * SECOND);
    ensure(latencies.count() >= 990, || format!("only {} messages came", latencies.count()))?;
    Ok(latencies.quantile(0.99))
}

pub(crate) fn check() -> Result<String, String> {
    let mut table = String::from(
        "| carrier | timed | p99 while the other channel is quiet, ms | while its reader stalls |\n\
         |---|---|---|---|",
    );
    for on in carriers() {
        for (name, commands) in [("commands", true), ("deltas", false)] {
            let quiet = measure(on, commands, Other::Quiet)?;
            let stalled = measure(on, commands, Other::Stalled)?;
            let line = format!("\n| {} | {name} | {} | {} |", on.name(), ms(quiet), ms(stalled));
            table.push_str(&line);
            ensure(stalled <= quiet.mul_f64(1.05), || {
                format!("{table}\na stall moved the other channel's p99 by more than 5 %")
            })?;
        }
    }
    Ok(table)
}
