//! Ends of stacks without I/O, driven over sockets of simulated hosts.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::IoSliceMut;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use anyhow::{anyhow, ensure};
use deltawire::link::runtime::{BindOptions, Datagrams, Received, Runtime, UdpSocket};
use deltawire::sim::{Host, HostRuntime, Simulation};

use super::{CONNECT, Flow};

/// One end of a stack, without I/O: it sends bulk or counts it.
pub(super) trait End {
    /// Takes in a datagram.
    fn handle_datagram(
        &mut self,
        source: SocketAddr,
        datagram: &[u8],
        now: Instant,
    ) -> anyhow::Result<()>;

    /// What was due by now is done.
    fn handle_timeout(&mut self, now: Instant) -> anyhow::Result<()>;

    /// Writes as much as there is room for, or reads what came, and sends every datagram that there is. Says
    /// when the next timeout is.
    fn poll(
        &mut self,
        now: Instant,
        send: &mut dyn FnMut(SocketAddr, &[u8]),
    ) -> anyhow::Result<Option<Instant>>;
}

/// What an end does once it is connected.
pub(super) enum Task {
    /// Sends messages for ever.
    Send(Started),
    /// Counts what comes.
    Count(Count),
}

/// Whether the sender could write.
#[derive(Clone, Default)]
pub(super) struct Started(Rc<Cell<bool>>);

impl Started {
    pub(super) fn set(&self) {
        self.0.set(true);
    }
}

/// Bytes of messages that came, or why nothing more comes.
#[derive(Clone, Default)]
pub(super) struct Count {
    bytes: Rc<Cell<u64>>,
    failed: Rc<RefCell<Option<anyhow::Error>>>,
}

impl Count {
    pub(super) fn add(&self, bytes: usize) {
        self.bytes.update(|sum| sum + bytes as u64);
    }

    /// Takes what came since the last time.
    pub(super) fn take(&self) -> anyhow::Result<u64> {
        match self.failed.take() {
            Some(error) => Err(error),
            None => Ok(self.bytes.take()),
        }
    }
}

/// Runs an end at each host, the first of which sends. `make` is given the end's own address, the other's,
/// the time, and what to do.
pub(super) fn start<E: End + 'static>(
    sim: &mut Simulation,
    hosts: [Host; 2],
    make: impl FnOnce([SocketAddr; 2], Instant, [Task; 2]) -> anyhow::Result<[E; 2]>,
) -> anyhow::Result<Flow> {
    let (started, came) = (Started::default(), Count::default());
    let addresses = hosts.map(|host| SocketAddr::new(sim.address(host), PORT));
    let zero = Instant::now();
    let tasks = [Task::Send(started.clone()), Task::Count(came.clone())];
    let ends = make(addresses, zero + sim.now(), tasks)?;
    for ((host, address), end) in hosts.into_iter().zip(addresses).zip(ends) {
        let runtime = sim.runtime(host);
        let socket = runtime.bind(&BindOptions { address, only_v6: false, buffer: BUFFER })?;
        let came = came.clone();
        sim.spawn(async move {
            let error = drive(end, socket, &runtime, zero).await;
            came.failed.replace(Some(error));
        });
    }
    let deadline = sim.now() + CONNECT;
    while !started.0.get() {
        ensure!(sim.step() && sim.now() < deadline, "they did not connect within {CONNECT:?}");
    }
    Ok(Flow { came, commands: None })
}

const PORT: u16 = 4_000;
/// Of a socket.
const BUFFER: usize = 4 << 20;
const LONGEST_DATAGRAM: usize = 2_000;

/// Drives an end for ever, or until it fails.
async fn drive(
    mut end: impl End,
    mut socket: Box<dyn UdpSocket>,
    runtime: &HostRuntime,
    zero: Instant,
) -> anyhow::Error {
    let mut timer = runtime.timer();
    let mut bytes = vec![0; LONGEST_DATAGRAM];
    loop {
        let now = zero + runtime.now();
        let mut sent = Ok(());
        let next = end.poll(now, &mut |destination, bytes| {
            let segment = bytes.len();
            let datagrams = Datagrams { destination, source: None, bytes, segment };
            if let Err(error) = socket.try_send(&datagrams) {
                sent = Err(error);
            }
        });
        let next = match (next, sent) {
            (Err(error), _) => return error,
            (_, Err(error)) => return error.into(),
            (Ok(next), Ok(())) => next,
        };
        let next = next.map_or(Duration::MAX, |at| at.saturating_duration_since(zero));
        timer.set(next);
        let mut received = [Received::default()];
        let came = poll_fn(|context| {
            let mut buffers = [IoSliceMut::new(&mut bytes)];
            match socket.poll_receive(&mut buffers, &mut received, context) {
                Poll::Ready(came) => Poll::Ready(came.map(|_| true)),
                Poll::Pending => timer.poll(context).map(|()| Ok(false)),
            }
        });
        let came = came.await;
        let now = zero + runtime.now();
        let handled = match came {
            Ok(true) => end.handle_datagram(received[0].source, &bytes[..received[0].len], now),
            Ok(false) => end.handle_timeout(now),
            Err(error) => Err(anyhow!(error)),
        };
        if let Err(error) = handled {
            return error;
        }
    }
}
