//! Datagrams without any promise, many a system call: 1,200 bytes each, or less if the message is
//! shorter. What the receiver is too slow for is dropped, and told.

#![allow(clippy::disallowed_types)] // only counts

use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use hdrhistogram::Histogram;
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};

use crate::deltawire_pair::LOOPBACK;
use crate::harness::Links;
use crate::measure::{FILL, Meter, OneWay, PING, PingPong, RoundTrips};
use crate::plan::{LIMIT, Measured};

/// Bytes of a datagram.
const SEGMENT: usize = 1_200;
/// Most bytes of a call: 50 datagrams.
const CALL: usize = 60_000;
/// Places for what a call receives, each for as much as one call sends.
pub(crate) const PLACES: usize = 16;
/// What the system is asked for as buffers: as much as deltawire asks for.
const BUFFER: usize = 4 << 20;
/// A thread that waits looks so often whether it is over.
const WAIT: Duration = Duration::from_millis(50);

/// A socket with as large buffers as deltawire's.
pub(crate) fn bind_with_buffers() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((LOOPBACK, 0))?;
    enlarge_buffers(&socket)?;
    Ok(socket)
}

pub(crate) fn enlarge_buffers(socket: &UdpSocket) -> io::Result<()> {
    set_socket_send_buffer_size(socket, BUFFER)?;
    set_socket_recv_buffer_size(socket, BUFFER)?;
    Ok(())
}

/// A socket that sends and receives many datagrams a call.
pub(crate) struct Socket {
    socket: UdpSocket,
    state: UdpSocketState,
    pub(crate) local: SocketAddr,
}

impl Socket {
    pub(crate) fn bind() -> anyhow::Result<Self> {
        let socket = bind_with_buffers()?;
        let state = UdpSocketState::new((&socket).into())?;
        let local = socket.local_addr()?;
        Ok(Self { socket, state, local })
    }

    /// Most datagrams of a call.
    pub(crate) fn together(&self, segment: usize) -> usize {
        (CALL / segment).min(self.state.max_gso_segments())
    }

    /// Sends datagrams of this length, the last of which may be shorter.
    pub(crate) fn send(
        &self,
        destination: SocketAddr,
        contents: &[u8],
        segment: usize,
    ) -> anyhow::Result<()> {
        let segment_size = (contents.len() > segment).then_some(segment);
        let transmit = Transmit { destination, ecn: None, contents, segment_size, src_ip: None };
        loop {
            match self.state.try_send((&self.socket).into(), &transmit) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.wait(PollFlags::OUT, WAIT)?;
                }
                result => return Ok(result?),
            }
        }
    }

    /// Waits until something comes, gives the length of all datagrams together; 0 if nothing comes
    /// for a while.
    fn receive(&self, inbox: &mut [u8]) -> anyhow::Result<usize> {
        let (count, meta) = self.receive_calls(inbox, WAIT)?;
        Ok(meta.iter().take(count).map(|meta| meta.len).sum())
    }

    /// Waits for at most so long until something comes, gives how many places of 64 KiB were filled
    /// and with what.
    pub(crate) fn receive_calls(
        &self,
        inbox: &mut [u8],
        wait: Duration,
    ) -> anyhow::Result<(usize, [RecvMeta; PLACES])> {
        let mut meta = [RecvMeta::default(); PLACES];
        let mut places = inbox.chunks_exact_mut(1 << 16);
        let mut places: [IoSliceMut<'_>; PLACES] =
            std::array::from_fn(|_| IoSliceMut::new(places.next().unwrap_or_default()));
        loop {
            match self.state.recv((&self.socket).into(), &mut places, &mut meta) {
                Ok(count) => return Ok((count, meta)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if !self.wait(PollFlags::IN, wait)? {
                        return Ok((0, meta));
                    }
                }
                Err(error) => bail!(error),
            }
        }
    }

    /// Whether it is ready within this time.
    fn wait(&self, what: PollFlags, time: Duration) -> anyhow::Result<bool> {
        let timeout = Timespec::try_from(time)?;
        Ok(poll(&mut [PollFd::new(&self.socket, what)], Some(&timeout))? > 0)
    }
}

pub(crate) fn inbox() -> Vec<u8> {
    vec![0; PLACES << 16]
}

pub(crate) fn one_way(plan: OneWay, _links: &Links) -> anyhow::Result<Measured> {
    let (alice, bob) = (Socket::bind()?, Socket::bind()?);
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let segment = plan.size.min(SEGMENT);
    // Short messages go together, long ones in several calls.
    let together = alice.together(segment);
    let len = if plan.size < SEGMENT { together * segment } else { plan.size };
    let message = vec![FILL; len];
    thread::scope(|scope| {
        let sending = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for call in message.chunks(together * segment) {
                    alice.send(bob.local, call, segment)?;
                    sent.fetch_add(call.len() as u64, Ordering::Relaxed);
                }
            }
            anyhow::Ok(())
        });
        let counted = count(&bob, plan, &sent);
        stop.store(true, Ordering::Relaxed);
        sending.join().expect("the sender does not panic")?;
        counted
    })
}

/// Counts what comes, and compares it with what was sent.
fn count(socket: &Socket, plan: OneWay, sent: &AtomicU64) -> anyhow::Result<Measured> {
    let deadline = Instant::now() + LIMIT;
    let (mut meter, mut inbox, mut received) = (Meter::start(plan), inbox(), 0);
    loop {
        let len = socket.receive(&mut inbox)?;
        received += len as u64;
        if let Some(flow) = meter.count(len) {
            let sent = sent.load(Ordering::Relaxed).max(1) as f64;
            let dropped = (1.0 - received as f64 / sent).max(0.0);
            return Ok(Measured { flow, dropped: Some(dropped) });
        }
        ensure!(Instant::now() < deadline, "not done within {LIMIT:?}: {received} bytes came");
    }
}

pub(crate) fn ping_pong(plan: PingPong, _links: &Links) -> anyhow::Result<Histogram<u64>> {
    let (alice, bob) = (Socket::bind()?, Socket::bind()?);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let echoing = scope.spawn(|| {
            let mut inbox = inbox();
            while !stop.load(Ordering::Relaxed) {
                let len = bob.receive(&mut inbox)?;
                if len > 0 {
                    bob.send(alice.local, &inbox[..len], PING)?;
                }
            }
            anyhow::Ok(())
        });
        let result = ping(&alice, bob.local, plan);
        stop.store(true, Ordering::Relaxed);
        echoing.join().expect("the echo does not panic")?;
        result
    })
}

fn ping(socket: &Socket, to: SocketAddr, plan: PingPong) -> anyhow::Result<Histogram<u64>> {
    let deadline = Instant::now() + LIMIT;
    let (mut inbox, mut round_trips) = (inbox(), RoundTrips::start(plan)?);
    loop {
        socket.send(to, &[FILL; PING], PING)?;
        let mut len = 0;
        while len == 0 {
            ensure!(Instant::now() < deadline, "not done within {LIMIT:?}: a datagram got lost");
            len = socket.receive(&mut inbox)?;
        }
        if let Some(histogram) = round_trips.came_back(&inbox[..len])? {
            return Ok(histogram);
        }
    }
}
