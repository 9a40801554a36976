//! What a link does when its network is cut: it lives through short cuts, and notices long ones.

use std::time::Duration;

use deltawire::sim::{End, LinkOptions, Random, Simulation};
use deltawire::{Link, LinkEnded};
use deltawire_channels::{Delivery, Order, Reliability};

use crate::carrier::{Carrier, carriers};
use crate::probe::{
    Count, Latencies, MS, SECOND, count, ensure, flood, keep, ms, path, tick, time,
};

const SEEDS: u64 = 50;

/// What became of a link.
enum Outcome {
    /// How long after the network healed everything had come that was sent before.
    Lived(Duration),
    /// How long after the cut both ends knew.
    Ended(Duration),
}

/// Cuts a link that is busy both ways, for so long.
fn cut(on: Carrier, seed: u64, lasts: Duration) -> Result<Outcome, String> {
    let mut sim = Simulation::new(seed);
    let mut random = Random::new(seed);
    let [near, far] = sim.add_hosts();
    sim.set_path(near, far, path(20 * MS));
    let options = LinkOptions::default();
    let (here, there) = on.connect(&mut sim, [near, far], &options)?;
    let links = [here.link.clone(), there.link.clone()];
    let times = [Latencies::default(), Latencies::default()];
    let clock = sim.clock();
    let (End { peer: here, .. }, End { peer: there, .. }) = (here, there);
    for (sender, receiver, times) in
        [(here.send, there.receive, &times[0]), (there.send, here.receive, &times[1])]
    {
        sim.spawn(tick(sender, 20 * MS, clock.clone()));
        sim.spawn(time(receiver, times.clone(), clock.clone()));
    }
    keep(&mut sim, (here.command, there.command));
    sim.run_for(5 * SECOND + Duration::from_micros(random.below(10_000_000)));
    sim.set_cut(&[near], &[far], true);
    let began = sim.now();
    let ended = |links: &[Link; 2]| links.iter().filter(|link| link.ended().is_some()).count();
    while sim.now() < began + lasts && ended(&links) < 2 {
        sim.run_for(MS);
    }
    sim.set_cut(&[near], &[far], false);
    let healed = sim.now();
    while ended(&links) == 0 {
        sim.run_for(MS);
        let passed = sim.now() - healed;
        // What was read last was committed after the network healed, so all before has come.
        if times.iter().all(|times| times.latest() >= healed) {
            return Ok(Outcome::Lived(passed));
        }
        ensure(passed < 60 * SECOND, || "it does not get on".to_owned())?;
    }
    while ended(&links) < 2 {
        sim.run_for(MS);
        ensure(sim.now() < began + lasts + 60 * SECOND, || "one end does not know".to_owned())?;
    }
    let silence =
        |link: &Link| matches!(link.ended(), Some(LinkEnded::Session(_) | LinkEnded::HungUp));
    ensure(links.iter().all(silence), || format!("{:?}", links[0].ended()))?;
    Ok(Outcome::Ended(sim.now() - began))
}

pub(crate) fn check() -> Result<String, String> {
    let mut table = String::from(
        "| carrier | cut for, s | lived, of 50 | then everything had come after, ms: median | most | \
         else both ends knew after, s: least | most |\n|---|---|---|---|---|---|---|",
    );
    for on in carriers() {
        for tenths in [5, 10, 20, 30, 40, 60, 100] {
            let lasts = tenths * 100 * MS;
            let (mut lived, mut ended) = (Vec::new(), Vec::new());
            for seed in 0..SEEDS {
                match cut(on, seed, lasts)? {
                    Outcome::Lived(after) => lived.push(after),
                    Outcome::Ended(after) => ended.push(after),
                }
            }
            lived.sort();
            ended.sort();
            let [first, last] = [ended.first(), ended.last()]
                .map(|at| at.map_or("–".to_owned(), |at| format!("{:.1}", at.as_secs_f64())));
            let [median, most] = [lived.get(lived.len() / 2), lived.last()]
                .map(|at| at.map_or("–".to_owned(), |at| ms(*at)));
            table.push_str(&format!(
                "\n| {} | {:.1} | {} | {median} | {most} | {first} | {last} |",
                on.name(),
                lasts.as_secs_f64(),
                lived.len(),
            ));
            let fail = |what: &str| format!("{table}\n{what}");
            ensure(lasts > 2 * SECOND || ended.is_empty(), || fail("a short cut ended a link"))?;
            ensure(lasts < 6 * SECOND || lived.is_empty(), || fail("a long cut was not noticed"))?;
            let bound = lasts + 2 * SECOND;
            let late = lived.last().is_some_and(|after| *after > bound);
            ensure(!late, || fail("after the network healed it took too long"))?;
            ensure(ended.iter().all(noticed_in_time), || fail(NOT_IN_TIME))?;
        }
    }
    Ok(table)
}

/// The least that may pass from a cut until a peer is taken for dead: it was heard last before.
const BUSY: Duration = Duration::from_millis(4_500);
/// The same where it is only asked once a second whether it is there.
const QUIET: Duration = Duration::from_millis(3_900);

/// The most: an eighth more than [`Limits::idle_timeout`] of 5 s, and what ticks take.
const MOST: Duration = Duration::from_millis(5_700);

/// Of a peer that falls silent.
fn noticed_in_time(after: &Duration) -> bool {
    *after >= BUSY && *after <= MOST
}

const NOT_IN_TIME: &str = "a dead peer was not noticed after 4.5 to 5.7 s";

/// A peer that is never heard again is noticed, by ends that say something or nothing.
pub(crate) fn dead() -> Result<String, String> {
    let lossy = Reliability::MaxRetransmits(0);
    let lossy = Delivery { reliability: lossy, order: Order::Unordered };
    let mut table = String::from(
        "| carrier | deltas | sent meanwhile | both ends knew after, s: least | most |\n|---|---|---|---|---|",
    );
    for on in carriers() {
        for (name, delivery) in [("reliable", Delivery::default()), ("may get lost", lossy)] {
            for (what, traffic) in
                [("nothing", None), ("64 B each 20 ms", Some(64)), ("bulk", Some(16_000))]
            {
                let mut after = Vec::new();
                // Bulk takes long to simulate.
                let seeds = if traffic == Some(16_000) { 3 } else { SEEDS };
                for seed in 0..seeds {
                    after.push(die(on, delivery, traffic, seed)?);
                }
                after.sort();
                let quiet = traffic.is_none();
                let least = if quiet { QUIET } else { BUSY };
                ensure(after.iter().all(|after| *after >= least && *after <= MOST), || {
                    format!(
                        "{table}\n{name}, {what}: not between {least:?} and {MOST:?}: {after:?}"
                    )
                })?;
                let [first, last] = [after[0], after[after.len() - 1]];
                table.push_str(&format!(
                    "\n| {} | {name} | {what} | {:.1} | {:.1} |",
                    on.name(),
                    first.as_secs_f64(),
                    last.as_secs_f64()
                ));
            }
        }
    }
    Ok(table)
}

/// Cuts a link for ever, and tells after how long both ends knew.
fn die(
    on: Carrier,
    delivery: Delivery,
    traffic: Option<usize>,
    seed: u64,
) -> Result<Duration, String> {
    let mut sim = Simulation::new(seed);
    let [near, far] = sim.add_hosts();
    sim.set_path(near, far, path(20 * MS));
    let options = LinkOptions { initiator: delivery, acceptor: delivery, ..LinkOptions::default() };
    let (here, there) = on.connect(&mut sim, [near, far], &options)?;
    let links = [here.link.clone(), there.link.clone()];
    let (here, there) = (here.peer, there.peer);
    keep(&mut sim, (here.command, there.command));
    for (sender, receiver) in [(here.send, there.receive), (there.send, here.receive)] {
        match traffic {
            None => keep(&mut sim, (sender, receiver)),
            Some(64) => {
                sim.spawn(tick(sender, 20 * MS, sim.clock()));
                sim.spawn(count(receiver, Count::default()));
            }
            Some(len) => {
                sim.spawn(flood(sender, len));
                sim.spawn(count(receiver, Count::default()));
            }
        }
    }
    let wait = Random::new(seed).below(1_500_000);
    sim.run_for(SECOND + Duration::from_micros(wait));
    sim.set_cut(&[near], &[far], true);
    let began = sim.now();
    while links.iter().any(|link| link.ended().is_none()) {
        sim.run_for(MS);
        ensure(sim.now() < began + 60 * SECOND, || "a dead peer is never noticed".to_owned())?;
    }
    Ok(sim.now() - began)
}
