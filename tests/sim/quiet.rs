//! What a link that says little makes of a cut: nothing shows it but its own signs of life.

use std::time::Duration;

use deltawire::Link;
use deltawire::sim::{Clock, LinkOptions, Random, Simulation};
use deltawire_channels::{Limits, Receiver, Sender};
use deltawire_framing::{DeltaFields, DocId};

use crate::carrier::{Carrier, carriers};
use crate::probe::{Latencies, MS, SECOND, ensure, flood, keep, ms, path, tick, time};

/// After so long ICE checks as seldom as it will: until then each check comes later than the last.
const SETTLED: Duration = Duration::from_secs(20);

/// Longer than signs of life are apart, microseconds.
const PHASES: u64 = 5_000_000;

/// What goes over the link.
#[derive(Clone, Copy, PartialEq)]
enum Traffic {
    /// Nothing at all.
    Nothing,
    /// One delta each way, committed while the network is cut.
    Word,
    /// Bulk one way, to a reader that takes a hundred deltas a second.
    SlowReader,
    /// A delta one way each two seconds.
    NowAndThen,
}

/// And how many links are tried with it: bulk takes long to simulate.
const TRAFFIC: [(&str, Traffic, u64); 4] = [
    ("nothing", Traffic::Nothing, 150),
    ("a word each way", Traffic::Word, 100),
    ("one word in two seconds", Traffic::NowAndThen, 50),
    ("bulk to a slow reader", Traffic::SlowReader, 10),
];

/// How long after the network healed what was committed in the cut may take.
const OVER_CUT: Duration = Duration::from_secs(2);

/// Says one word after a while.
async fn say(mut sender: Sender, wait: Duration, clock: Clock) {
    clock.sleep(wait).await;
    if let Ok(mut grant) = sender.reserve(64).await {
        let now = clock.now().as_nanos() as u64;
        grant.payload_mut()[..8].copy_from_slice(&now.to_le_bytes());
        let _ = grant.commit(DeltaFields::new(DocId([7; 16])), 64);
    }
    std::future::pending::<()>().await;
}

async fn read_slowly(mut receiver: Receiver, clock: Clock) {
    while receiver.next().await.is_ok() {
        clock.sleep(10 * MS).await;
    }
}

/// Cuts a link for so long. Says how long after the cut everything had come, if it lived.
fn cut(
    on: Carrier,
    traffic: Traffic,
    limits: [Limits; 2],
    seed: u64,
    lasts: Duration,
) -> Result<Option<Duration>, String> {
    let mut sim = Simulation::new(seed);
    let mut random = Random::new(seed);
    let [near, far] = sim.add_hosts();
    sim.set_path(near, far, path(20 * MS));
    let [limits, acceptor_limits] = limits;
    let acceptor_limits = Some(acceptor_limits);
    let options = LinkOptions { limits, acceptor_limits, ..LinkOptions::default() };
    let (here, there) = on.connect(&mut sim, [near, far], &options)?;
    let links = [here.link.clone(), there.link.clone()];
    let (here, there) = (here.peer, there.peer);
    keep(&mut sim, (here.command, there.command));
    let phase = SETTLED + Duration::from_micros(random.below(PHASES));
    let clock = sim.clock();
    let times = [Latencies::default(), Latencies::default()];
    let (mut words, mut ways) = (0, [(here.send, there.receive), (there.send, here.receive)]);
    if random.chance(0.5) {
        ways.reverse();
    }
    let [one, other] = ways;
    match traffic {
        Traffic::Nothing => keep(&mut sim, (one, other)),
        Traffic::Word => {
            words = 1;
            for ((sender, receiver), times) in [one, other].into_iter().zip(&times) {
                let wait = phase + lasts.mul_f64(random.below(1_000) as f64 / 1_000.0);
                sim.spawn(say(sender, wait, clock.clone()));
                sim.spawn(time(receiver, times.clone(), clock.clone()));
            }
        }
        Traffic::NowAndThen => {
            sim.spawn(tick(one.0, 2 * SECOND, clock.clone()));
            sim.spawn(time(one.1, times[0].clone(), clock.clone()));
            keep(&mut sim, other);
        }
        Traffic::SlowReader => {
            sim.spawn(flood(one.0, 1_000));
            sim.spawn(read_slowly(one.1, clock.clone()));
            keep(&mut sim, other);
        }
    }
    sim.run_for(phase);
    sim.set_cut(&[near], &[far], true);
    sim.run_for(lasts);
    sim.set_cut(&[near], &[far], false);
    let healed = sim.now();
    let ended = |links: &[Link; 2]| links.iter().any(|link| link.ended().is_some());
    let mut came = None;
    // Longer than either end would wait for a sign of life.
    while sim.now() < healed + 12 * SECOND && !ended(&links) {
        sim.run_for(MS);
        if came.is_none() && times.iter().all(|times| times.count() >= words) {
            came = Some(sim.now() - healed);
        }
    }
    if ended(&links) {
        return Ok(None);
    }
    let came = came.ok_or_else(|| format!("seed {seed}: what was said in the cut never came"))?;
    Ok(Some(came))
}

/// Both ends with the defaults, or one of them more patient, with other windows and rings.
fn options() -> [(&'static str, [Limits; 2]); 3] {
    let patient = Limits {
        idle_timeout: 10 * SECOND,
        send_ring: 256 << 10,
        data_window: 128 << 10,
        command_window: 16 << 10,
        ..Limits::default()
    };
    let default = Limits::default();
    [
        ("the defaults", [default, default]),
        ("a patient initiator", [patient, default]),
        ("a patient acceptor", [default, patient]),
    ]
}

/// Datagrams each way of a link that lives and says nothing for a minute.
fn healthy(on: Carrier) -> Result<(u64, u64), String> {
    let mut sim = Simulation::new(1);
    let [near, far] = sim.add_hosts();
    sim.set_path(near, far, path(20 * MS));
    let options = LinkOptions::default();
    let (here, there) = on.connect(&mut sim, [near, far], &options)?;
    keep(&mut sim, (here, there));
    sim.run_for(10 * SECOND);
    let count = |sim: &Simulation| (sim.path_stats(near, far).sent, sim.path_stats(far, near).sent);
    let before = count(&sim);
    sim.run_for(60 * SECOND);
    let after = count(&sim);
    Ok((after.0 - before.0, after.1 - before.1))
}

pub(crate) fn check() -> Result<String, String> {
    const CUTS: [Duration; 4] =
        [Duration::from_millis(500), SECOND, Duration::from_millis(1_500), Duration::from_secs(2)];
    let mut table = String::from(
        "| carrier | ends | what is said | links of each | cut for 0.5 s: lived | 1 s | 1.5 s | 2 s \
         | then everything had come after, ms: most |\n|---|---|---|---|---|---|---|---|---|",
    );
    let mut broken = false;
    for on in carriers() {
        for (number, (ends, limits)) in options().into_iter().enumerate() {
            for (what, traffic, seeds) in TRAFFIC {
                // Whole nodes take longer to simulate.
                let fewer = on == Carrier::Quic && number > 0;
                let seeds = if fewer { seeds.div_ceil(5) } else { seeds };
                let (mut counts, mut latest) = (String::new(), Duration::ZERO);
                for lasts in CUTS {
                    let mut lived = 0;
                    for seed in 0..seeds {
                        let Some(after) = cut(on, traffic, limits, seed, lasts)? else { continue };
                        lived += 1;
                        latest = latest.max(after);
                        broken |= after > lasts + OVER_CUT;
                    }
                    broken |= lived < seeds;
                    counts.push_str(&format!(" {lived} |"));
                }
                let (on, latest) = (on.name(), ms(latest));
                table.push_str(&format!(
                    "\n| {on} | {ends} | {what} | {seeds} |{counts} {latest} |"
                ));
            }
        }
    }
    table.push_str("\n\nA link that is not cut and says nothing: datagrams in a minute");
    // Pings of the session and their acknowledgements; a check each three seconds and its answer; over QUIC one side's four signs of life in the time
    // until silence ends a link, and the answers.
    for on in carriers() {
        let most = match on {
            Carrier::Frames => 125,
            Carrier::Datagrams(_) => 21,
            Carrier::Quic => 55,
        };
        let (there, here) = healthy(on)?;
        table.push_str(&format!("; {}: {there} there and {here} back", on.name()));
        ensure(there <= most && here <= most, || format!("{table}\nmore than {most}"))?;
    }
    ensure(!broken, || format!("{table}\nlinks ended, or were late, though the cut was short"))?;
    Ok(table)
}
