//! How much of a link of 100 Mbit/s a bulk transfer uses, over distances and bottleneck queues.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use deltawire_channels::Limits;
use deltawire_framing::{DeltaFields, DocId};
use deltawire_transport::sim::{Carrier, End, LinkOptions, Path, Simulation};

const RATE: u64 = 12_500_000;
const LEN: usize = 16_000;

struct Measured {
    utilization: f64,
    flight: u64,
    delay: Duration,
    stalls: u64,
    overflowed: u64,
    longest_queue: usize,
    by_second: Vec<f64>,
}

fn measure(round_trip: Duration, queue: usize, limits: Limits, seconds: u64) -> Measured {
    let mut sim = Simulation::new(1);
    let [near, far] = sim.add_hosts();
    let path = Path { latency: round_trip / 2, rate: Some(RATE), queue, ..Path::default() };
    sim.set_path(near, far, path);
    let options = LinkOptions { carrier: Carrier::Datagrams, limits, ..LinkOptions::default() };
    let (here, there) = sim.connect_with(near, far, &options).unwrap();
    let End { peer: mut here, link } = here;
    sim.spawn(async move {
        while let Ok(grant) = here.send.reserve(LEN).await {
            grant.commit(DeltaFields::new(DocId([7; 16])), LEN).unwrap();
        }
    });
    let came = Rc::new(Cell::new(0));
    let mut peer = there.peer;
    let counter = came.clone();
    sim.spawn(async move {
        while let Ok(frame) = peer.receive.next().await {
            counter.update(|sum| sum + frame.as_bytes().len());
        }
    });
    let mut by_second = Vec::new();
    for _ in 0..seconds {
        let before = came.get();
        sim.run_for(Duration::from_secs(1));
        by_second.push((came.get() - before) as f64 / RATE as f64);
    }
    let settled = &by_second[by_second.len() / 2..];
    let stats = link.stats();
    let network = sim.path_stats(near, far);
    Measured {
        utilization: settled.iter().sum::<f64>() / settled.len() as f64,
        flight: stats.flight,
        delay: stats.delay.unwrap_or_default(),
        stalls: stats.stalls,
        overflowed: network.overflowed,
        longest_queue: network.longest_queue,
        by_second,
    }
}

pub(crate) fn table() -> Result<(), String> {
    for (round_trip, window) in [(20, 1), (100, 4)] {
        for queue in [128 << 10, 512 << 10] {
            let started = std::time::Instant::now();
            let limits = Limits { send_ring: window << 20, data_window: (window as u64) << 20, ..Limits::default() };
            let m = measure(Duration::from_millis(round_trip), queue, limits, 10);
            println!(
                "{round_trip} ms, {} KiB: {:.2}; flight {} KiB, delay {:?}, stalls {}, overflowed {}, queue {} KiB; {:.2?}; {:?}",
                queue >> 10, m.utilization, m.flight >> 10, m.delay, m.stalls, m.overflowed,
                m.longest_queue >> 10, m.by_second, started.elapsed()
            );
        }
    }
    Ok(())
}
