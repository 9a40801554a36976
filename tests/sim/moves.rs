//! What a link makes of a host that gets another address, as by a NAT that forgot it.

use std::time::Duration;

use deltawire::sim::{Carrier, LinkOptions, Random, Simulation};

use crate::carrier::engine;
use crate::probe::{Latencies, MS, SECOND, ensure, keep, ms, path, tick, time};

const SEEDS: u64 = 50;

/// How long nothing may get through.
const GAP: Duration = Duration::from_millis(3_500);

/// Moves the host that connected so often, one address after the other, and tells how long it took
/// each time until what was committed after came: there and here, as far as something is said.
fn moves(seed: u64, says: [bool; 2], often: u32) -> Result<Vec<Duration>, String> {
    let mut sim = Simulation::new(seed);
    let mut random = Random::new(seed);
    let [near, far] = sim.add_hosts();
    sim.set_path(near, far, path(20 * MS));
    let options =
        LinkOptions { carrier: Carrier::Datagrams, engine: engine(), ..LinkOptions::default() };
    let (here, there) = sim.connect_with(near, far, &options).map_err(|error| error.to_string())?;
    let links = [here.link, there.link];
    let (here, there, clock) = (here.peer, there.peer, sim.clock());
    let times = [Latencies::default(), Latencies::default()];
    let ways = [(here.send, there.receive), (there.send, here.receive)];
    for (((sender, receiver), times), says) in ways.into_iter().zip(&times).zip(says) {
        if says {
            sim.spawn(tick(sender, 20 * MS, clock.clone()));
            sim.spawn(time(receiver, times.clone(), clock.clone()));
        } else {
            keep(&mut sim, (sender, receiver));
        }
    }
    keep(&mut sim, (here.command, there.command));
    let mut gaps = Vec::new();
    for _ in 0..often {
        sim.run_for(SECOND + Duration::from_micros(random.below(5_000_000)));
        sim.change_address(near);
        let moved = sim.now();
        loop {
            sim.run_for(MS);
            let passed = sim.now() - moved;
            if let Some(ended) = links.iter().find_map(|link| link.ended()) {
                return Err(format!("seed {seed}: it ended after {passed:?}: {ended}"));
            }
            let over = times.iter().zip(says).all(|(it, says)| !says || it.latest() >= moved);
            // Who says nothing shows by staying that it is well.
            if over && (says != [false; 2] || passed > 20 * SECOND) {
                gaps.push(passed);
                break;
            }
            ensure(passed < 60 * SECOND, || format!("seed {seed}: it does not get on"))?;
        }
    }
    Ok(gaps)
}

pub(crate) fn check() -> Result<String, String> {
    let mut table = format!(
        "| who says something each 20 ms | moves of {SEEDS} hosts | messages got through again \
         after, ms: median | most |\n|---|---|---|---|"
    );
    for (who, says, often) in [
        ("both", [true, true], 4),
        ("the host that moves", [true, false], 4),
        ("the other", [false, true], 4),
        ("nobody", [false, false], 2),
    ] {
        let mut gaps = Vec::new();
        for seed in 0..SEEDS {
            gaps.extend(moves(seed, says, often).map_err(|error| format!("{who}: {error}"))?);
        }
        gaps.sort();
        let [median, most] = [gaps[gaps.len() / 2], gaps[gaps.len() - 1]];
        let quiet = says == [false; 2];
        let show = |gap| if quiet { "all lived".to_owned() } else { ms(gap) };
        table.push_str(&format!(
            "\n| {who} | {} | {} | {} |",
            gaps.len(),
            show(median),
            show(most)
        ));
        ensure(quiet || most < GAP, || format!("{table}\nit took too long"))?;
    }
    Ok(table)
}
