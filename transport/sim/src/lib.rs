//! A simulated network for tests: any number of hosts in one process, on virtual time.
//!
//! What an application does with a link runs on it unchanged: it gets the same [`Peer`] and the same
//! [`Link`] as from a node, while the network between delays, loses, repeats,
//! overtakes and damages what it sends, as its [`Path`] says. Hours pass in moments, and the same
//! seed is the same run.
//!
//! Links can be had in two ways. [`connect`](Simulation::connect) makes one between two hosts, with nothing
//! else around it; the test hands on what it gets. And **whole nodes** run on a host's
//! [runtime](Simulation::runtime): they accept, connect, connect anew and shut down as everywhere, over
//! simulated sockets; only HTTP is not simulated, and [`serve`](Simulation::serve) stands for it.
//!
//! ```
//! # use std::time::Duration;
//! # use deltawire_channels::Peer;
//! # use deltawire_framing::{DeltaFields, DocId};
//! # use deltawire_sim::{Loss, Path, Simulation};
//! # async fn echo(mut peer: Peer) {
//! #     while let Ok(frame) = peer.receive.next().await {
//! #         let payload = frame.delta().unwrap().payload();
//! #         let mut grant = peer.send.reserve(payload.len()).await.unwrap();
//! #         grant.payload_mut().copy_from_slice(payload);
//! #         grant.commit(DeltaFields::new(DocId([7; 16])), payload.len()).unwrap();
//! #     }
//! # }
//! let mut sim = Simulation::new(1); // the seed
//! let [phone, server] = sim.add_hosts();
//! let latency = Duration::from_millis(40);
//! sim.set_path(phone, server, Path { latency, loss: Loss::Independent(0.05), ..Path::default() });
//! let (mut here, there) = sim.connect(phone, server)?;
//! sim.spawn(echo(there.peer)); // the application's own code
//! let asked = sim.now();
//! sim.block_on(Duration::from_secs(5), async {
//!     let grant = here.peer.send.reserve(12).await.unwrap();
//!     grant.commit(DeltaFields::new(DocId([7; 16])), 12).unwrap();
//!     assert_eq!(here.peer.receive.next().await.unwrap().delta().unwrap().payload().len(), 12);
//! })?;
//! assert!(sim.now() - asked >= 2 * latency); // and yet no time has passed
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Time
//!
//! Time passes while [`run_for`](Simulation::run_for), [`run_until`](Simulation::run_until),
//! [`step`](Simulation::step), [`block_on`](Simulation::block_on) and
//! [`connect`](Simulation::connect) run, and then only from one thing that happens to the next. An
//! application's futures are run in between: those that were [spawned](Simulation::spawn), and the
//! one that [`block_on`](Simulation::block_on) waits for. They sleep by
//! [`Clock`]; a future that waits for anything outside of the simulation, such as a socket or
//! tokio's timers, does not get on. Without futures, [`Receiver::try_next`] and
//! [`Sender::try_reserve`] do, between two steps.
//!
//! # What a link runs on
//!
//! [`Carrier::Frames`] is the default: each transport message is a datagram of its own, however
//! long, which a plain transport numbers, acknowledges and sends again. It shows what an
//! application, its session and the network do to each other, and costs next to nothing.
//!
//! [`Carrier::Datagrams`] runs the WebRTC stack of real links at both ends, with ICE, DTLS and
//! SCTP. Only so [`Path::mtu`], congestion control, and what a moved host costs mean anything, and a run
//! takes 10 to 100 times as long.
//!
//! # The same seed
//!
//! With [`Carrier::Frames`] a run follows from the seed, to the last byte. With
//! [`Carrier::Datagrams`] times, lengths, fates and everything that the application sees do, so
//! [`fingerprint`](Simulation::fingerprint) is the same; what stands encrypted in the datagrams
//! is not, because keys are random. An application that draws randomness of its own, or reads a
//! clock other than [`Clock`], has to seed it as well: [`Random`] is there for that.

#![forbid(unsafe_code)]

mod connect;
mod dtls;
mod end;
mod executor;
mod frames;
mod host;
mod network;
mod options;
mod path;
mod paths;
mod random;
mod runtime;
mod signalling;
mod sockets;
#[cfg(test)]
mod tests;
mod trace;
mod way;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::task::Poll;
use std::time::Duration;

#[cfg(doc)]
use deltawire_channels::{Peer, Receiver, Sender};

pub use self::connect::End;
use self::end::EndState;
pub use self::executor::Clock;
use self::executor::{Task, Tasks, Woken};
pub use self::host::Host;
use self::host::HostState;
pub use self::options::{Carrier, LinkOptions, certificate};
pub use self::path::{Loss, Path, PathStats};
use self::paths::Paths;
pub use self::random::Random;
pub use self::runtime::HostRuntime;
use self::runtime::Spawned;
pub use self::signalling::HostSignaller;
use self::signalling::Signalling;
use self::sockets::Sockets;
use self::trace::Trace;
use self::way::{Arrivals, Direction};
#[cfg(doc)]
use deltawire_link::Link;

/// A network of hosts, and its time. See the [module](self).
pub struct Simulation {
    clock: Clock,
    seed: u64,
    random: Random,
    hosts: Vec<HostState>,
    default_path: Path,
    ways: Vec<Direction>,
    /// Their places in `ways`, by from and to.
    ways_between: BTreeMap<(Host, Host), usize>,
    arrivals: Arrivals,
    /// Those that are not over.
    ends: BTreeMap<usize, EndState>,
    /// How many there ever were: their numbers.
    ends_made: usize,
    tasks: Tasks,
    spawned: Spawned,
    sockets: Sockets,
    signalling: Signalling,
    paths: Paths,
    trace: Trace,
}

/// A future was not done in the time that it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not done within {0:?} of virtual time")]
pub struct TimedOut(pub Duration);

/// Rounds of work at one time before something is taken to go round in circles.
const MAX_ROUNDS: usize = 1_000_000;

impl Simulation {
    /// An empty network at time 0.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            clock: Clock::new(),
            seed,
            random: Random::new(seed),
            hosts: Vec::new(),
            default_path: Path::default(),
            ways: Vec::new(),
            ways_between: BTreeMap::new(),
            arrivals: Arrivals::default(),
            ends: BTreeMap::new(),
            ends_made: 0,
            tasks: Tasks::default(),
            spawned: Spawned::default(),
            sockets: Sockets::default(),
            signalling: Signalling::default(),
            paths: Paths::default(),
            trace: Trace::default(),
        }
    }

    /// Time since the simulation began.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.clock.now()
    }

    /// The time, for futures.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock.clone()
    }

    /// A generator that follows from the seed, another one each time.
    pub fn random(&mut self) -> Random {
        self.random.fork()
    }

    /// A hash of what was sent so far: when, how long, what the path decided to become of it, and
    /// when links opened and ended. Equal for equal runs. What applications read is not part of it,
    /// and neither are bytes.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.trace.value()
    }

    /// Runs a future of the application's beside everything else. What panics in it panics here.
    pub fn spawn(&mut self, future: impl Future<Output = ()> + 'static) {
        self.tasks.spawn(future);
    }

    /// Lets time pass until the future is done, and gives what it gave.
    ///
    /// # Errors
    ///
    /// When it is not done `within` so much virtual time; it is dropped then.
    pub fn block_on<T>(
        &mut self,
        within: Duration,
        future: impl Future<Output = T>,
    ) -> Result<T, TimedOut> {
        let limit = self.now().saturating_add(within);
        let mut task = Task { woken: Woken::new(), future: Box::pin(future) };
        loop {
            self.settle();
            if let Poll::Ready(result) = task.poll() {
                // What it left to do is done at this time.
                self.settle();
                return Ok(result);
            }
            if task.woken.is_woken() || self.is_due() {
                continue;
            }
            match self.next() {
                Some(next) if next <= limit => self.advance(next),
                _ => {
                    self.clock.set(limit);
                    return Err(TimedOut(within));
                }
            }
        }
    }

    /// Lets so much time pass.
    pub fn run_for(&mut self, time: Duration) {
        self.run_until(self.now().saturating_add(time));
    }

    /// Lets time pass until then.
    pub fn run_until(&mut self, until: Duration) {
        self.settle();
        while let Some(next) = self.next().filter(|next| *next <= until) {
            self.advance(next);
            self.settle();
        }
        self.clock.set(until.max(self.now()));
        self.settle();
    }

    /// Lets everything happen that happens now, then moves on to the next thing that does. `false`
    /// when nothing ever will.
    #[must_use = "a loop that waits for something has to end when nothing happens any more"]
    pub fn step(&mut self) -> bool {
        self.settle();
        let next = self.next();
        if let Some(next) = next {
            self.advance(next);
            self.settle();
        }
        next.is_some()
    }

    /// When something happens next, provided that nothing does now.
    fn next(&self) -> Option<Duration> {
        let ends = self.ends.values().filter_map(|end| end.timeout);
        let held = self.ways.iter().filter_map(Direction::next_release);
        let others = [self.arrivals.next(), self.clock.next()].into_iter().flatten();
        Some(ends.chain(held).chain(others).min()?.max(self.now()))
    }

    fn is_due(&self) -> bool {
        let now = self.now();
        self.ends.values().any(|end| end.is_due(now))
            || self.tasks.is_due()
            || self.spawned.is_due()
            || self.sockets.is_due()
    }

    /// Moves on to then.
    fn advance(&mut self, now: Duration) {
        self.clock.set(now);
        for way in &mut self.ways {
            way.release_late(now, &mut self.arrivals);
        }
        while let Some(parcel) = self.arrivals.pop(now) {
            self.deliver(parcel, now);
        }
    }

    /// Lets everything happen that happens now.
    fn settle(&mut self) {
        let now = self.now();
        for _ in 0..MAX_ROUNDS {
            let mut busy = self.tasks.run();
            busy |= self.adopt();
            busy |= self.send_of_sockets(now);
            let due = self.ends.iter().filter(|(_, end)| end.is_due(now));
            for end in due.map(|(number, _)| *number).collect::<Vec<_>>() {
                self.work(end, now);
                busy = true;
            }
            if !busy {
                return;
            }
        }
        panic!("something goes round in circles at {now:?}: a future that wakes itself?");
    }
}

/// Nodes are kept by who serves them, and keep what they signal with.
impl Drop for Simulation {
    fn drop(&mut self) {
        self.signalling.clear();
    }
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation")
            .field("now", &self.now())
            .field("hosts", &self.hosts.len())
            .field("links", &(self.ends_made / 2))
            .finish_non_exhaustive()
    }
}
