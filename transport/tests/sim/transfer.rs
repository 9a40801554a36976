//! One run: messages of all lengths over all channels, both ways, read by slow readers.

use std::cell::{Cell as Shared, RefCell};
use std::future::{Future, pending};
use std::rc::Rc;
use std::time::Duration;

use deltawire_channels::session::Closed;
use deltawire_channels::{Limits, Order, Receiver, Reliability, Sender};
use deltawire_framing::control::CloseCode;
use deltawire_transport::sim::{
    Carrier, Clock, End, Host, LinkOptions, Path, PathStats, Random, Simulation,
};
use deltawire_transport::{Ended, Link, LinkStats};

use crate::matrix::Cell;
use crate::stream::{Stream, lengths};

/// How long everything may take, virtual time: far more than a network of the matrix needs.
const LIMIT: Duration = Duration::from_secs(3_600);

/// What happened, for whoever repeats a run.
#[derive(Debug, Default)]
#[expect(dead_code, reason = "most of it is only printed")]
pub(crate) struct Outcome {
    /// Of what happened on the network, and of what the application read and when.
    pub(crate) fingerprints: [u64; 2],
    pub(crate) took: Duration,
    pub(crate) messages: usize,
    pub(crate) came: usize,
    pub(crate) bytes: usize,
    /// From when the network healed until everything had come that had been committed before.
    pub(crate) after_heal: Option<Duration>,
    pub(crate) paths: [PathStats; 2],
    pub(crate) links: [LinkStats; 2],
}

type Result<T> = std::result::Result<T, String>;

/// What the tasks of a run tell.
#[derive(Default)]
struct Progress {
    /// Senders that are not done.
    sending: Shared<usize>,
    /// Readers that have not come to the end of the link.
    reading: Shared<usize>,
    failed: RefCell<Option<String>>,
    /// A hash of what was read, and when.
    read: Shared<u64>,
}

impl Progress {
    /// Runs a part of the application until the run is over, so that it holds what it has.
    fn spawn(
        self: &Rc<Self>,
        sim: &mut Simulation,
        counter: fn(&Self) -> &Shared<usize>,
        work: impl Future<Output = Result<Box<dyn std::any::Any>>> + 'static,
    ) {
        let progress = self.clone();
        counter(&progress).update(|count| count + 1);
        sim.spawn(async move {
            let kept = work.await;
            counter(&progress).update(|count| count - 1);
            if let Err(reason) = &kept {
                progress.failed.borrow_mut().get_or_insert(reason.clone());
            }
            pending::<()>().await;
            drop(kept);
        });
    }
}

/// Sends everything, with pauses.
async fn send(
    stream: Rc<Stream>,
    mut sender: Sender,
    mut random: Random,
    clock: Clock,
) -> Result<Box<dyn std::any::Any>> {
    for (number, len) in stream.lengths.iter().copied().enumerate() {
        if random.chance(0.2) {
            clock.sleep(Duration::from_micros(random.below(30_000))).await;
        }
        let grant = sender.reserve(len).await;
        let mut grant = grant.map_err(|error| format!("{}: sending: {error}", stream.name))?;
        stream.content(number).fill(&mut grant.payload_mut()[..len]);
        grant.commit(stream.fields(number), len).map_err(|error| error.to_string())?;
        stream.committed.set(number + 1);
    }
    Ok(Box::new(sender))
}

/// Reads until the link ends, with pauses.
async fn receive(
    stream: Rc<Stream>,
    mut receiver: Receiver,
    mut random: Random,
    slow: bool,
    clock: Clock,
    progress: Rc<Progress>,
) -> Result<Box<dyn std::any::Any>> {
    while let Ok(frame) = receiver.next().await {
        let number = stream.take(frame)? as u64;
        let word = stream.seed ^ number ^ clock.now().as_nanos() as u64;
        progress.read.update(|hash| Random::new(hash ^ word).number());
        if slow && random.chance(0.1) {
            clock.sleep(Duration::from_micros(random.below(100_000))).await;
        }
    }
    Ok(Box::new(receiver))
}

/// A run in the middle of it.
struct Run {
    sim: Simulation,
    hosts: [Host; 2],
    progress: Rc<Progress>,
    links: [Link; 2],
    /// Deltas there and here, commands there and here.
    streams: [Rc<Stream>; 4],
}

impl Run {
    fn new(cell: &Cell, mut random: Random) -> Result<Self> {
        let mut sim = Simulation::new(random.number());
        let hosts = sim.add_hosts();
        let [near, far] = hosts;
        // A handshake that is damaged fails, as it must: DTLS takes it for an attack.
        sim.set_path(near, far, Path { corrupt: 0.0, ..cell.network.path });
        // Half of the runs with longer rings and windows, which messages of 1 MiB need.
        let room = if random.chance(0.5) { 1 << 20 } else { 4 << 20 };
        let (_, delivery) = cell.delivery;
        let options = LinkOptions {
            carrier: cell.carrier,
            limits: Limits {
                send_ring: room,
                data_window: room as u64,
                idle_timeout: cell.network.patience,
                close_timeout: Duration::from_secs(60),
                ..Limits::default()
            },
            connect_timeout: Duration::from_secs(120),
            command: if random.chance(0.5) { Order::Ordered } else { Order::Unordered },
            initiator: delivery,
            acceptor: delivery,
            ..LinkOptions::default()
        };
        // At a loss of 30 % an attempt may fail.
        let mut opened = sim.connect_with(near, far, &options);
        for _ in 1..cell.network.attempts {
            if opened.is_err() {
                opened = sim.connect_with(near, far, &options);
            }
        }
        let (here, there) = opened.map_err(|ended| format!("the link did not open: {ended}"))?;
        sim.set_path(near, far, cell.network.path);

        let unit = match cell.carrier {
            Carrier::Frames => 256 << 10,
            Carrier::Datagrams => 48 << 10,
        };
        let longest = (room as u64 - 112).min(1 << 20);
        let mut stream = |name, order, volume, longest| {
            Rc::new(Stream {
                name,
                seed: random.number(),
                lengths: lengths(&mut random, volume, longest),
                ordered: order == Order::Ordered,
                may_lose: name.starts_with("deltas") && delivery.may_lose(),
                committed: Shared::new(0),
                came: RefCell::default(),
            })
        };
        let volume = cell.network.volume * unit;
        let streams = [
            stream("deltas there", delivery.order, volume, longest),
            stream("deltas here", delivery.order, volume, longest),
            stream("commands there", options.command, volume / 8, 16 << 10),
            stream("commands here", options.command, volume / 8, 16 << 10),
        ];
        let progress = Rc::new(Progress::default());
        let (End { peer: near, link: here }, End { peer: far, link: there }) = (here, there);
        let ways = [
            (near.send, far.receive),
            (far.send, near.receive),
            (near.command.send, far.command.receive),
            (far.command.send, near.command.receive),
        ];
        for (stream, (sender, receiver)) in streams.iter().zip(ways) {
            let (clock, slow) = (sim.clock(), !cell.network.cut && random.chance(0.3));
            let sending = send(stream.clone(), sender, random.fork(), clock.clone());
            progress.spawn(&mut sim, |progress| &progress.sending, sending);
            let reading =
                receive(stream.clone(), receiver, random.fork(), slow, clock, progress.clone());
            progress.spawn(&mut sim, |progress| &progress.reading, reading);
        }
        Ok(Self { sim, hosts, progress, links: [here, there], streams })
    }

    /// Lets time pass until then, while nothing is wrong.
    fn drive(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) -> Result<()> {
        loop {
            if let Some(ended) = self.links.iter().find_map(Link::ended) {
                return Err(format!("the link ended: {ended}; {}", self.state(what)));
            }
            if let Some(reason) = self.progress.failed.borrow().clone() {
                return Err(reason);
            }
            if done(self) {
                return Ok(());
            }
            if self.sim.now() > LIMIT || !self.sim.step() {
                return Err(format!("it does not get on; {}", self.state(what)));
            }
        }
    }

    fn state(&self, what: &str) -> String {
        let streams = self.streams.iter().map(|stream| {
            let (came, all) = (stream.came.borrow().len(), stream.lengths.len());
            format!("{}: {} of {} sent, {came} came", stream.name, stream.committed.get(), all)
        });
        let streams = streams.collect::<Vec<_>>().join("; ");
        format!("at {:?}, waiting until {what}; {streams}", self.sim.now())
    }

    /// Cuts the network for a while in the middle of everything. Tells when it healed, and what had
    /// been committed before.
    fn cut(&mut self, random: &mut Random) -> (Duration, Vec<usize>) {
        let [near, far] = self.hosts;
        self.sim.run_for(Duration::from_micros(random.below(300_000)));
        self.sim.set_cut(&[near], &[far], true);
        self.sim.run_for(Duration::from_millis(50 + random.below(1_950)));
        self.sim.set_cut(&[near], &[far], false);
        let committed = self.streams.iter().map(|stream| stream.committed.get()).collect();
        (self.sim.now(), committed)
    }

    /// Closes the link, and checks that both ends are told that everything arrived.
    fn close(&mut self) -> Result<()> {
        self.links[0].close(CloseCode::NORMAL, "done");
        let limit = self.sim.now() + Duration::from_secs(200);
        while self.links.iter().any(|link| link.ended().is_none())
            || self.progress.reading.get() > 0
        {
            if self.sim.now() > limit || !self.sim.step() {
                return Err(format!("it does not end; {}", self.state("the link has ended")));
            }
        }
        Ok(())
    }
}

pub(crate) fn run(cell: &Cell, seed: u64) -> Result<Outcome> {
    let mut random = Random::new(seed);
    let mut run = Run::new(cell, random.fork())?;
    let started = run.sim.now();
    let mut after_heal = None;
    if cell.network.cut {
        let (healed, committed) = run.cut(&mut random);
        run.drive("what was committed before the network healed has come", |run| {
            let mut streams = run.streams.iter().zip(&committed);
            streams.all(|(stream, count)| stream.may_lose || stream.has(*count))
        })?;
        after_heal = Some(run.sim.now() - healed);
    }
    run.drive("everything is sent", |run| run.progress.sending.get() == 0)?;
    run.drive("everything has come that must", |run| {
        run.streams.iter().all(|stream| stream.may_lose || stream.has(stream.lengths.len()))
    })?;
    run.drive("nothing is on its way", |run| {
        let stats = run.links.iter().map(Link::stats);
        stats.into_iter().all(|link| link.buffered == 0 && link.session.data_sent.queued_bytes == 0)
    })?;
    let took = run.sim.now() - started;
    let links = run.links.each_ref().map(Link::stats);
    run.close()?;
    for link in &run.links {
        let complete = match link.ended() {
            Some(Ended::Session(Closed::ByUs { complete, .. })) => complete,
            Some(Ended::Session(Closed::ByPeer { complete, .. })) => complete,
            _ => false,
        };
        if !complete && !cell.delivery.1.may_lose() {
            return Err(format!("it did not end in order: {:?}", link.ended()));
        }
    }
    let [near, far] = run.hosts;
    let paths = [run.sim.path_stats(near, far), run.sim.path_stats(far, near)];
    let whole = paths.iter().all(|path| path.sent + path.duplicated == path.arrived);
    let patient = !matches!(cell.delivery.1.reliability, Reliability::MaxLifetime(_));
    let all = run.streams.iter().all(|stream| stream.has(stream.lengths.len()));
    // What was overtaken by enough counts as lost in SCTP.
    let Path { corrupt, reorder, .. } = cell.network.path;
    if whole && patient && corrupt == 0.0 && reorder == 0.0 && !all {
        return Err("the network lost nothing, the link did".to_owned());
    }
    Ok(Outcome {
        fingerprints: [run.sim.fingerprint(), run.progress.read.get()],
        took,
        messages: run.streams.iter().map(|stream| stream.lengths.len()).sum(),
        came: run.streams.iter().map(|stream| stream.came.borrow().len()).sum(),
        bytes: run.streams.iter().flat_map(|stream| &stream.lengths).sum(),
        after_heal,
        paths,
        links,
    })
}
