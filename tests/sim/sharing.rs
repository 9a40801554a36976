//! How the senders of a link share it.

use deltawire::sim::{Clock, LinkOptions, Path, Simulation};
use deltawire_channels::session::SendPriority;
use deltawire_channels::{Peer, Receiver, Sender};
use deltawire_framing::{DeltaFields, DocId};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::carrier::{Carrier, carriers};
use crate::probe::{MS, SECOND, ensure, keep, ms, path};

/// A link of 10 Mbit/s, so that senders have to share.
const SLOW: u64 = 1_250_000;

/// Bytes, and the latencies, by sender.
type Ledger = Rc<RefCell<Vec<(u64, Vec<Duration>)>>>;

/// Sends deltas that say who sent them and when.
async fn send(mut sender: Sender, who: u8, len: usize, pause: Duration, clock: Clock) {
    while let Ok(mut grant) = sender.reserve(len).await {
        let now = clock.now().as_nanos() as u64;
        grant.payload_mut()[..8].copy_from_slice(&now.to_le_bytes());
        if grant.commit(DeltaFields::new(DocId([who; 16])), len).is_err() {
            return;
        }
        if !pause.is_zero() {
            clock.sleep(pause).await;
        }
    }
}

async fn read(mut receiver: Receiver, ledger: Ledger, clock: Clock) {
    while let Ok(frame) = receiver.next().await {
        let Ok(delta) = frame.delta() else { return };
        let sent = u64::from_le_bytes(delta.payload()[..8].try_into().unwrap());
        let entry = &mut ledger.borrow_mut()[usize::from(delta.doc_id().0[0])];
        entry.0 += delta.payload().len() as u64;
        entry.1.push(clock.now() - Duration::from_nanos(sent));
    }
}

/// Senders with these shares, lengths of their messages and pauses between them.
fn run(on: Carrier, senders: &[(SendPriority, usize, Duration)]) -> Result<Ledger, String> {
    let mut sim = Simulation::new(4);
    let [near, far] = sim.add_hosts();
    sim.set_path(near, far, Path { rate: Some(SLOW), ..path(20 * MS) });
    let options = LinkOptions::default();
    let (here, there) = on.connect(&mut sim, [near, far], &options)?;
    let Peer { receive, send: back, command } = there.peer;
    let ledger = Rc::new(RefCell::new(vec![(0, Vec::new()); senders.len()]));
    let clock = sim.clock();
    sim.spawn(read(receive, ledger.clone(), clock.clone()));
    keep(&mut sim, (here.peer, back, command));
    for (who, (share, len, pause)) in senders.iter().enumerate() {
        let sender = sim.block_on(SECOND, here.link.open_sender(*share));
        let sender =
            sender.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        sim.spawn(send(sender, who as u8, *len, *pause, clock.clone()));
    }
    sim.run_for(5 * SECOND);
    ledger.borrow_mut().fill((0, Vec::new()));
    sim.run_for(20 * SECOND);
    Ok(ledger)
}

pub(crate) fn weights() -> Result<String, String> {
    const WEIGHTS: [u8; 3] = [1, 2, 4];
    let mut table = String::from("| carrier | shares of the bytes that came |\n|---|---|");
    for on in carriers() {
        let sender =
            |weight| (SendPriority { weight, ..SendPriority::default() }, 4_000, Duration::ZERO);
        let ledger = run(on, &WEIGHTS.map(sender))?;
        let bytes = ledger.borrow().iter().map(|(bytes, _)| *bytes as f64).collect::<Vec<_>>();
        let all = bytes.iter().sum::<f64>();
        let shares = bytes.iter().map(|bytes| format!("{:.1} %", 100.0 * bytes / all));
        let shares = shares.collect::<Vec<_>>().join(", ");
        table.push_str(&format!("\n| {} | {shares} |", on.name()));
        for (bytes, weight) in bytes.iter().zip(WEIGHTS) {
            let due = f64::from(weight) / 7.0;
            ensure((bytes / all - due).abs() < 0.05 * due, || {
                format!("{table}\na share is off by more than 5 %")
            })?;
        }
        let used = all / (20.0 * SLOW as f64);
        ensure(used > 0.85, || format!("{table}\ntogether they use only {used:.2} of the link"))?;
    }
    Ok(table)
}

pub(crate) fn priorities() -> Result<String, String> {
    let mut table = String::from(
        "| carrier | small deltas beside bulk | p50, ms | p99 | most |\n|---|---|---|---|---|",
    );
    for on in carriers() {
        for (name, priority, bound) in
            [("of the same priority", 64, 150 * MS), ("of a higher one", 65, 80 * MS)]
        {
            let bulk = (SendPriority::default(), 60_000, Duration::ZERO);
            let small = (SendPriority { priority, ..SendPriority::default() }, 64, 50 * MS);
            let ledger = run(on, &[bulk, bulk, bulk, small])?;
            let mut times = ledger.borrow()[3].1.clone();
            times.sort();
            ensure(times.len() > 300, || format!("only {} came", times.len()))?;
            let [p50, p99, most] =
                [times.len() / 2, times.len() * 99 / 100, times.len() - 1].map(|at| times[at]);
            table.push_str(&format!(
                "\n| {} | {name} | {} | {} | {} |",
                on.name(),
                ms(p50),
                ms(p99),
                ms(most)
            ));
            // Its congestion control fills the queues of the path, which hold 210 ms.
            let bound = if on == Carrier::Quic { bound + 400 * MS } else { bound };
            ensure(p99 <= bound, || format!("{table}\nmore than {bound:?} at p99"))?;
        }
    }
    Ok(table)
}
