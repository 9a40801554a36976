//! Sessions of whole nodes that go on over link after link, cut at random.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use deltawire::sim::{Clock, Host, Loss, Path, Random, Simulation, certificate};
use deltawire::webrtc::EngineKind;
use deltawire::{Link, LinkChange, Node, NodeBuilder};
use deltawire_channels::{Delivery, Order, Peer, Receiver, Reliability, Sender};
use deltawire_framing::{DeltaFields, DocId};

use crate::probe::{MS, SECOND, ensure};

const URL: &str = "sim://server";

/// What deltas promise, both ways; commands come each once and in order whatever they do. Those that are reliable and unordered
/// end with their link.
const DELIVERIES: [(&str, Delivery); 4] = [
    ("each once, in order", delivery(Order::Ordered, Reliability::Reliable)),
    ("never sent again", delivery(Order::Unordered, Reliability::MaxRetransmits(0))),
    ("sent again once", delivery(Order::Ordered, Reliability::MaxRetransmits(1))),
    (
        "for 200 ms, unordered",
        delivery(Order::Unordered, Reliability::MaxLifetime(Duration::from_millis(200))),
    ),
];

const fn delivery(order: Order, reliability: Reliability) -> Delivery {
    Delivery { order, reliability }
}

/// What becomes of all runs with one delivery.
#[derive(Default)]
struct Sums {
    runs: u64,
    cuts: u64,
    resumed: u64,
    sent: [u64; 2],
    lost: u64,
}

/// A run of each delivery, in turn.
pub(crate) fn check(runs: u64) -> Result<String, String> {
    let mut all = DELIVERIES.map(|_| Sums::default());
    for seed in 0..runs {
        let which = seed as usize % DELIVERIES.len();
        let (name, delivery) = DELIVERIES[which];
        run(seed, delivery, &mut all[which])
            .map_err(|error| format!("seed {seed} ({name}): {error}"))?;
    }
    let mut table =
        "| deltas | runs | cuts | sessions went on | commands, each once and in order | \
                     deltas | lost of them |\n|---|---|---|---|---|---|---|"
            .to_owned();
    for ((name, _), sums) in DELIVERIES.iter().zip(&all) {
        let Sums { runs, cuts, resumed, sent: [commands, deltas], lost } = sums;
        table.push_str(&format!(
            "\n| {name} | {runs} | {cuts} | {resumed} | {commands} | {deltas} | {lost} |"
        ));
        // Most cuts are short, or of a link that is about to be replaced.
        ensure(*resumed >= cuts / 4, || format!("of {cuts} cuts {resumed} sessions went on"))?;
    }
    Ok(table)
}

/// Two nodes with a session that outlives its links, which are cut, one after the other, while both say all sorts of things.
fn run(seed: u64, delivery: Delivery, sums: &mut Sums) -> Result<(), String> {
    let (mut sim, mut random) = (Simulation::new(seed), Random::new(seed));
    let [phone, tower] = sim.add_hosts();
    let path = Path {
        latency: [MS, 10 * MS, 60 * MS][random.below(3) as usize],
        loss: [Loss::None, Loss::None, Loss::Independent(0.01)][random.below(3) as usize],
        rate: [None, Some(2_500_000)][random.below(2) as usize],
        ..Path::default()
    };
    sim.set_path(phone, tower, path);
    let engine = [EngineKind::Lean, EngineKind::Str0m][random.below(2) as usize];
    let listen = (sim.address(tower), 4_000).into();
    let server = node(builder(&mut sim, tower, engine, delivery).listen(listen))?;
    sim.serve(tower, URL, server.clone());
    let client = node(builder(&mut sim, phone, engine, delivery))?;
    let ((near, link), (far, _far_link)) = connect(&mut sim, &client, &server)?;
    // Before its first ticket came, a session ends with its link.
    for _ in 0..10_000 {
        if link.stats().session.resumable {
            break;
        }
        sim.run_for(MS);
    }
    let resumed = Rc::new(Cell::new(0));
    sim.spawn(count(link.clone(), resumed.clone()));
    let (stop, clock) = (Rc::new(Cell::new(false)), sim.clock());
    let ways = [
        (near.command.send, far.command.receive, Delivery::default()),
        (far.command.send, near.command.receive, Delivery::default()),
        (near.send, far.receive, delivery),
        (far.send, near.receive, delivery),
    ];
    let ways = ways.map(|(sender, receiver, delivery)| {
        let lossy = path.loss != Loss::None || path.rate.is_some();
        let way = Way { reliability: delivery.reliability, lossy, ..Way::default() };
        let random = random.fork();
        sim.spawn(say(sender, way.clone(), stop.clone(), random, clock.clone()));
        sim.spawn(hear(receiver, way.clone(), delivery.order));
        way
    });
    let cuts = 4 + random.below(7);
    for number in 1..=cuts {
        sim.run_for(Duration::from_millis(20 + random.below(2_000)));
        cut(&mut sim, &mut random, [phone, tower], path);
        sums.cuts += 1;
        // Every other time at the latest it has the time to go on: it is not to be down for longer than it may be.
        let patient = number % 2 == 0 || number == cuts || random.chance(0.5);
        let until = sim.now() + 40 * SECOND;
        while patient && link.is_down() && sim.now() < until {
            sim.run_for(100 * MS);
        }
    }
    sim.run_for(2 * SECOND);
    ways.iter().for_each(Way::note_healed);
    stop.set(true);
    for _ in 0..600 {
        if ways.iter().all(Way::is_over) {
            break;
        }
        sim.run_for(SECOND);
    }
    // Nothing comes twice later either.
    sim.run_for(5 * SECOND);
    let state = || format!("{ways:?}; {:?}; {:?}", link.ended(), server.peers());
    for way in &ways {
        if let Some(fault) = way.passed.borrow().fault.clone() {
            return Err(fault);
        }
        ensure(way.is_over(), || format!("not all came: {}", state()))?;
    }
    ensure(link.ended().is_none(), || format!("it ended: {}", state()))?;
    ensure(server.peers().len() == 1, || format!("not one session: {}", state()))?;
    let (sent, lost): (Vec<_>, Vec<_>) = ways.iter().map(Way::totals).unzip();
    ensure(lost[0] + lost[1] == 0, || format!("commands got lost: {}", state()))?;
    sums.runs += 1;
    sums.resumed += resumed.get();
    sums.sent[0] += sent[0] + sent[1];
    sums.sent[1] += sent[2] + sent[3];
    sums.lost += lost[2] + lost[3];
    Ok(())
}

/// Cuts the network for a while: both ways or one, or gives the host that connected another address.
fn cut(sim: &mut Simulation, random: &mut Random, hosts: [Host; 2], path: Path) {
    let [phone, tower] = hosts;
    let blocked = Path { cut: true, ..path };
    match random.below(4) {
        0 => sim.set_path_one_way(phone, tower, blocked),
        1 => sim.set_path_one_way(tower, phone, blocked),
        which => {
            if which == 2 {
                sim.change_address(phone);
            }
            sim.set_path(phone, tower, blocked);
        }
    }
    // Half of them are too short for a link to be given up.
    let most = [2_000, 14_000][random.below(2) as usize];
    sim.run_for(Duration::from_millis(random.below(most)));
    sim.set_path(phone, tower, path);
}

fn builder(
    sim: &mut Simulation,
    host: Host,
    engine: EngineKind,
    delivery: Delivery,
) -> NodeBuilder {
    Node::builder()
        .engine(engine)
        .delivery(delivery, delivery)
        .runtime(sim.runtime(host))
        .signaller(sim.signaller(host))
        .certificate(certificate())
}

fn node(builder: NodeBuilder) -> Result<Node, String> {
    builder.build().map_err(|error| error.to_string())
}

type Connected = (Peer, Link);

fn connect(
    sim: &mut Simulation,
    client: &Node,
    server: &Node,
) -> Result<(Connected, Connected), String> {
    let near = sim.block_on(60 * SECOND, client.connect(URL)).map_err(|error| error.to_string())?;
    let far = sim.block_on(60 * SECOND, server.accept()).map_err(|error| error.to_string())?;
    Ok((near.map_err(|error| error.to_string())?, far.ok_or("the node is shutting down")?))
}

/// Counts how often a link's session goes on.
async fn count(link: Link, resumed: Rc<Cell<u64>>) {
    let mut changes = link.changes();
    loop {
        match changes.next().await {
            LinkChange::Resumed(_) => resumed.update(|count| count + 1),
            LinkChange::Over(_) => return,
            _ => {}
        }
    }
}

/// What went one way.
#[derive(Clone, Default)]
struct Way {
    reliability: Reliability,
    /// Whether the path loses some, be it because it is narrow.
    lossy: bool,
    passed: Rc<RefCell<Passed>>,
}

#[derive(Default)]
struct Passed {
    /// How many messages were accepted, once no more are.
    sent: Option<u64>,
    came: BTreeSet<u64>,
    /// How many of them before the network was well for good.
    came_before: usize,
    fault: Option<String>,
}

impl Way {
    fn note_healed(&self) {
        let mut passed = self.passed.borrow_mut();
        passed.came_before = passed.came.len();
    }

    /// Whether nothing more is to be waited for: all was accepted, and came where it must.
    fn is_over(&self) -> bool {
        let passed = self.passed.borrow();
        let Some(sent) = passed.sent else { return passed.fault.is_some() };
        let all = passed.came.len() as u64 == sent;
        // Where messages may get lost, some come again when the network is well; where it loses none, most of the very last, behind
        // whatever had waited for too long.
        let last = passed.came.range(sent.saturating_sub(LAST / 10)..).count() as u64;
        let some = passed.came.len() > passed.came_before && (self.lossy || last >= LAST / 12);
        passed.fault.is_some() || all || (some && self.reliability != Reliability::Reliable)
    }

    /// How many messages were accepted, and how many of them did not come.
    fn totals(&self) -> (u64, u64) {
        let passed = self.passed.borrow();
        let sent = passed.sent.unwrap_or(0);
        (sent, sent - passed.came.len() as u64)
    }
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let passed = self.passed.borrow();
        write!(f, "{} of {:?}", passed.came.len(), passed.sent)
    }
}

/// Messages that are sent, one by one, when it is enough.
const LAST: u64 = 100;

/// Says numbers, each in a message of a length of its own, until it is enough, and then a few more.
async fn say(mut sender: Sender, way: Way, stop: Rc<Cell<bool>>, mut random: Random, clock: Clock) {
    const LONGEST: u64 = 30_000;
    let (mut next, mut more) = (0_u64, 0);
    while !stop.get() || more < LAST {
        more += u64::from(stop.get());
        let long = if random.chance(0.05) { LONGEST } else { 600 };
        let mut payload = vec![next as u8; 8 + random.below(long) as usize];
        payload[..8].copy_from_slice(&next.to_le_bytes());
        if let Err(error) = sender.send(DeltaFields::new(DocId([7; 16])), &payload).await {
            way.passed.borrow_mut().fault = Some(format!("{next} was not accepted: {error}"));
            return;
        }
        next += 1;
        if stop.get() {
            clock.sleep(200 * MS).await;
        } else if random.chance(0.3) {
            clock.sleep(Duration::from_millis(random.below(40))).await;
        }
    }
    way.passed.borrow_mut().sent = Some(next);
    // Dropped, it would say goodbye.
    std::future::pending::<()>().await;
    drop(sender);
}

async fn hear(mut receiver: Receiver, way: Way, order: Order) {
    loop {
        let heard = receiver.next().await.map(|message| {
            let payload = message.delta().map_or_else(|_| Vec::new(), |it| it.payload().to_vec());
            let number = payload.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
            number.filter(|number| payload[8..].iter().all(|byte| *byte == *number as u8))
        });
        let mut passed = way.passed.borrow_mut();
        let latest = passed.came.last().copied();
        passed.fault = match heard {
            Err(closed) => Some(format!("behind {latest:?} it was over: {closed}")),
            Ok(None) => Some(format!("behind {latest:?} came something else")),
            Ok(Some(number)) => {
                let ordered = order == Order::Unordered || latest < Some(number);
                if passed.came.insert(number) && ordered {
                    continue;
                }
                Some(format!("{number} came behind {latest:?}"))
            }
        };
        return;
    }
}
