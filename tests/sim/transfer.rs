//! One run: messages of all lengths over all channels, both ways, read by slow readers.

use std::cell::{Cell as Shared, RefCell};
use std::future::{Future, pending};
use std::rc::Rc;
use std::time::Duration;

use deltawire::sim::{Clock, End, Host, LinkOptions, Path, PathStats, Random, Simulation};
use deltawire::{Link, LinkEnded, LinkStats};
use deltawire_channels::session::Closed;
use deltawire_channels::{Limits, Order, Receiver, Reliability, Sender};
use deltawire_framing::control::CloseCode;

use crate::carrier::Carrier;
use crate::matrix::Cell;
use crate::stream::{Stream, lengths};

/// How much longer than a cut it may take, once it is over, until everything has come that had
/// been committed before. With much on its way, SCTP's first try can be followed by a second one
/// 2 s later.
const OVER_CUT: Duration = Duration::from_secs(4);

/// How long ends that close wait for something to get on, by default.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

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
    /// Whether it was checked that everything came although something might have been given up.
    pub(crate) nothing_lost: bool,
    /// Whether it was closed right after the last message had been committed.
    pub(crate) closed_early: bool,
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

/// A cut that is over.
struct Cut {
    lasts: Duration,
    healed: Duration,
    /// How much each stream had committed when the network healed.
    committed: Vec<usize>,
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
        // Half of the ends with longer rings and windows, which messages of 1 MiB need, and half
        // of them more patient.
        let mut limits = || {
            let room = if random.chance(0.5) { 1 << 20 } else { 4 << 20 };
            Limits {
                send_ring: room,
                data_window: room as u64,
                idle_timeout: cell.network.patience * (1 + random.below(2) as u32),
                ..Limits::default()
            }
        };
        let (limits, acceptor_limits) = (limits(), limits());
        let (_, delivery) = cell.delivery;
        let options = LinkOptions {
            limits,
            acceptor_limits: Some(acceptor_limits),
            connect_timeout: Duration::from_secs(120),
            command: if random.chance(0.5) { Order::Ordered } else { Order::Unordered },
            initiator: delivery,
            acceptor: delivery,
            ..LinkOptions::default()
        };
        let connect = |sim: &mut Simulation| cell.carrier.connect(sim, hosts, &options);
        // At a loss of 30 % an attempt may fail.
        let mut opened = connect(&mut sim);
        for _ in 1..cell.network.attempts {
            if opened.is_err() {
                opened = connect(&mut sim);
            }
        }
        let (here, there) = opened.map_err(|ended| format!("the link did not open: {ended}"))?;
        sim.set_path(near, far, cell.network.path);

        let unit = match cell.carrier {
            Carrier::Frames => 256 << 10,
            Carrier::Datagrams(_) | Carrier::Quic => 48 << 10,
        };
        let room = limits.send_ring.min(acceptor_limits.send_ring);
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

    /// Cuts the network for a while in the middle of everything.
    fn cut(&mut self, random: &mut Random) -> Result<Cut> {
        let [near, far] = self.hosts;
        let all = self.streams.iter().map(|stream| stream.lengths.len()).sum::<usize>();
        let begin = (all * random.below(90) as usize).div_ceil(100).max(1);
        self.drive("the cut begins", |run| {
            run.streams.iter().map(|stream| stream.committed.get()).sum::<usize>() >= begin
        })?;
        if self.streams.iter().all(|stream| stream.has(stream.lengths.len())) {
            return Err("everything had come before the cut".to_owned());
        }
        self.sim.set_cut(&[near], &[far], true);
        let lasts = Duration::from_millis(50 + random.below(1_950));
        self.sim.run_for(lasts);
        self.sim.set_cut(&[near], &[far], false);
        let committed = self.streams.iter().map(|stream| stream.committed.get()).collect();
        Ok(Cut { lasts, healed: self.sim.now(), committed })
    }

    /// Closes the link, and checks what both ends are told. It must be `complete`, or must be told to
    /// be `orderly` at least, or may be given up: as it may where the closer hears nothing for as long
    /// as it waits, which SCTP's timers bring about once in some thousand runs that lose much. Says
    /// whether it heard something all the while.
    fn close(&mut self, closer: usize, complete: bool, orderly: bool) -> Result<bool> {
        const REASON: &str = "enough said";
        const CODE: CloseCode = CloseCode(4_242);
        self.links[closer].close(CODE, REASON);
        let limit = self.sim.now() + LIMIT;
        let mut heard = (self.heard(closer), self.sim.now());
        let mut gets_on = true;
        while self.links.iter().any(|link| link.ended().is_none())
            || self.progress.reading.get() > 0
        {
            if self.sim.now() > limit || !self.sim.step() {
                return Err(format!("it does not end; {}", self.state("the link has ended")));
            }
            if self.heard(closer) != heard.0 {
                heard = (self.heard(closer), self.sim.now());
            }
            // The step that ends it comes just then.
            gets_on &= self.sim.now() < heard.1 + CLOSE_TIMEOUT;
            if self.links[closer].ended().is_some() && gets_on {
                heard.1 = Duration::MAX - CLOSE_TIMEOUT;
            }
        }
        if let Some(reason) = self.progress.failed.borrow().clone() {
            return Err(reason);
        }
        let [ours, theirs] = [&self.links[closer], &self.links[1 - closer]].map(Link::ended);
        let ours = match &ours {
            Some(LinkEnded::Session(Closed::ByUs { code: CODE, complete: all, .. })) => {
                *all || !complete
            }
            _ => false,
        };
        let theirs_is = match &theirs {
            Some(LinkEnded::Session(Closed::ByPeer {
                code: CODE, reason, complete: all, ..
            })) => reason == REASON && (*all || !complete),
            _ => false,
        };
        if gets_on && orderly && !(ours && theirs_is) {
            let ends = self.links.each_ref().map(Link::ended);
            return Err(format!("end {closer} closed it, and it did not end in order: {ends:?}"));
        }
        (0..2).try_for_each(|from| self.check_reports(from))?;
        Ok(gets_on)
    }

    /// Changes whenever something of the application's comes to this end.
    fn heard(&self, end: usize) -> [u64; 2] {
        let session = self.links[end].stats().session;
        [session.commands_received.messages, session.data_received.bytes]
    }

    /// Compares what both ends say of what one of them sent with what came of it.
    fn check_reports(&self, from: usize) -> Result<()> {
        // Deltas and commands one way.
        let streams = [&self.streams[from], &self.streams[2 + from]];
        if streams.iter().any(|stream| stream.may_lose) {
            return Ok(());
        }
        let committed = streams.iter().map(|stream| stream.committed.get()).sum::<usize>() as u64;
        let came = streams.iter().map(|stream| stream.came.borrow().len()).sum::<usize>() as u64;
        let lost = self.links[from].undelivered();
        let ends = self.links.each_ref().map(Link::ended);
        let told = |what: &str| {
            let told = format!("{lost:?}, {ends:?}");
            Err(format!("end {from} committed {committed}, {came} came, but {what}: {told}"))
        };
        if lost.unsent > committed - came {
            return told("more are told as not sent");
        }
        if lost.unsent + lost.unread < committed - came {
            return told("fewer are told as not delivered");
        }
        let complete = |ended: &Option<LinkEnded>| {
            use Closed::{ByPeer, ByUs};
            let (ByUs { complete, .. } | ByPeer { complete, .. }) = (match ended {
                Some(LinkEnded::Session(closed)) => closed,
                _ => return false,
            }) else {
                return false;
            };
            *complete
        };
        // That of who answers says what it got; that of who closed both ways.
        let reader_says_all = complete(&ends[1 - from]);
        if reader_says_all && came < committed {
            return told("the reader was told that it is complete");
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
        let Cut { lasts, healed, committed } = run.cut(&mut random)?;
        run.drive("what was committed before the network healed has come", |run| {
            let mut streams = run.streams.iter().zip(&committed);
            streams.all(|(stream, count)| stream.may_lose || stream.has(*count))
        })?;
        let after = run.sim.now() - healed;
        if after > lasts + OVER_CUT {
            return Err(format!("it took {after:?} to get over a cut of {lasts:?}"));
        }
        after_heal = Some(after);
    }
    run.drive("everything is sent", |run| run.progress.sending.get() == 0)?;
    let may_lose = cell.delivery.1.may_lose();
    let closed_early = random.chance(0.5);
    if !closed_early {
        run.drive("everything has come that must", |run| {
            run.streams.iter().all(|stream| stream.may_lose || stream.has(stream.lengths.len()))
        })?;
        run.drive("nothing is on its way", |run| {
            let mut stats = run.links.iter().map(Link::stats);
            stats.all(|link| link.in_flight == 0 && link.session.data_sent.queued_bytes == 0)
        })?;
    }
    let took = run.sim.now() - started;
    let links = run.links.each_ref().map(Link::stats);
    // At a loss of 30 % SCTP waits for up to a minute, and a close does not.
    let gets_on = cell.network.attempts == 1;
    let gets_on = run.close(random.below(2) as usize, gets_on && !may_lose, gets_on)? && gets_on;
    let missing =
        run.streams.iter().find(|stream| !stream.may_lose && !stream.has(stream.lengths.len()));
    if let Some(stream) = missing.filter(|_| gets_on) {
        return Err(format!("{} are missing when the link has ended", stream.name));
    }
    let [near, far] = run.hosts;
    let paths = [run.sim.path_stats(near, far), run.sim.path_stats(far, near)];
    let dropped = |path: &PathStats| path.lost + path.overflowed + path.too_long + path.cut;
    let patient = !matches!(cell.delivery.1.reliability, Reliability::MaxLifetime(_));
    // What was overtaken by enough counts as lost in SCTP, and who closes does not wait for what
    // may get lost.
    let Path { corrupt, reorder, .. } = cell.network.path;
    let undisturbed = corrupt == 0.0 && reorder == 0.0 && !closed_early;
    let nothing_lost =
        may_lose && patient && undisturbed && paths.iter().all(|path| dropped(path) == 0);
    if nothing_lost && !run.streams.iter().all(|stream| stream.has(stream.lengths.len())) {
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
        nothing_lost,
        closed_early,
    })
}
