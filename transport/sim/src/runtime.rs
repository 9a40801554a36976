//! What whole nodes run on: the simulation's time, tasks, sockets and randomness, as a runtime.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use deltawire_link::runtime::{BindOptions, BoxFuture, Runtime, Timer, UdpSocket};

use super::Simulation;
use super::executor::{Clock, Sleeper};
use super::host::Host;
use super::random::Random;
use super::sockets::Sockets;

/// The [`Runtime`] of one host: for `NodeBuilder::runtime`. Clones are of the same host.
#[derive(Clone, Debug)]
pub struct HostRuntime {
    host: Host,
    address: IpAddr,
    clock: Clock,
    random: Arc<Mutex<Random>>,
    sockets: Sockets,
    spawned: Spawned,
}

/// Tasks that were spawned and are to be run, each with the host whose it is.
#[derive(Clone, Default)]
pub(super) struct Spawned(Arc<Mutex<Vec<OfHost>>>);

/// A task, and whose it is.
type OfHost = (Host, BoxFuture<'static, ()>);

impl Spawned {
    fn tasks(&self) -> MutexGuard<'_, Vec<OfHost>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_due(&self) -> bool {
        !self.tasks().is_empty()
    }

    pub(super) fn take(&self) -> Vec<OfHost> {
        std::mem::take(&mut *self.tasks())
    }
}

impl std::fmt::Debug for Spawned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spawned").finish_non_exhaustive()
    }
}

impl Simulation {
    /// What a node on this host has its time, tasks, sockets and randomness from.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use deltawire_node::Node;
    /// # use deltawire_sim::{Simulation, certificate};
    /// let mut sim = Simulation::new(1);
    /// let [phone, server] = sim.add_hosts();
    /// let builder = |host, sim: &mut Simulation| {
    ///     let node = Node::builder().runtime(sim.runtime(host)).signaller(sim.signaller(host));
    ///     node.certificate(certificate()) // of known length, so that the same seed is the same run
    /// };
    /// let listen = (sim.address(server), 4_000).into();
    /// let accepting = builder(server, &mut sim).listen(listen).build()?;
    /// sim.serve(server, "sim://server", accepting.clone());
    /// let connecting = builder(phone, &mut sim).build()?;
    /// let (_peer, link) = sim.block_on(Duration::from_secs(5), connecting.connect("sim://server"))??;
    /// assert!(link.ended().is_none() && accepting.peers().len() == 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    ///
    /// When there is no such host: it is of another simulation.
    pub fn runtime(&mut self, host: Host) -> HostRuntime {
        HostRuntime {
            host,
            address: self.address(host),
            clock: self.clock(),
            random: Arc::new(Mutex::new(self.random())),
            sockets: self.sockets.clone(),
            spawned: self.spawned.clone(),
        }
    }

    /// Where sockets of this host are bound.
    ///
    /// # Panics
    ///
    /// When there is no such host: it is of another simulation.
    #[must_use]
    pub fn address(&self, host: Host) -> IpAddr {
        self.hosts[host.0].address()
    }

    /// Ends what runs on a host as if its process was killed: its tasks are dropped, with their sockets and
    /// links, and nobody is told. Its nodes are of no more use; a new one can be built there.
    pub fn kill(&mut self, host: Host) {
        self.adopt();
        self.tasks.kill(host);
        self.sockets.close_all(host);
        self.signalling.forget(host);
    }

    /// Takes over tasks that were spawned. Says whether there were any.
    pub(super) fn adopt(&mut self) -> bool {
        let spawned = self.spawned.take();
        let any = !spawned.is_empty();
        for (host, task) in spawned {
            self.tasks.spawn_on(host, task);
        }
        any
    }
}

impl Runtime for HostRuntime {
    fn now(&self) -> Duration {
        self.clock.now()
    }

    fn timer(&self) -> Box<dyn Timer> {
        Box::new(Alarm { sleeper: Sleeper::new(self.clock.clone()), at: None })
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.spawned.tasks().push((self.host, task));
    }

    fn random(&self, bytes: &mut [u8]) -> io::Result<()> {
        self.random.lock().unwrap_or_else(PoisonError::into_inner).fill(bytes);
        Ok(())
    }

    fn bind(&self, options: &BindOptions) -> io::Result<Box<dyn UdpSocket>> {
        let BindOptions { address, buffer, .. } = *options;
        if !address.ip().is_unspecified() && address.ip() != self.address {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        let local = SocketAddr::new(self.address, address.port());
        Ok(Box::new(self.sockets.bind(self.host, local, buffer)?))
    }

    fn local_address<'a>(
        &'a self,
        _host: &'a str,
        _port: u16,
    ) -> BoxFuture<'a, io::Result<IpAddr>> {
        Box::pin(std::future::ready(Ok(self.address)))
    }
}

struct Alarm {
    sleeper: Sleeper,
    at: Option<Duration>,
}

impl Timer for Alarm {
    fn set(&mut self, at: Duration) {
        self.sleeper.leave();
        self.at = Some(at);
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else { return Poll::Pending };
        let over = self.sleeper.poll(at, context);
        if over.is_ready() {
            self.sleeper.leave();
            self.at = None;
        }
        over
    }
}
