//! UDP sockets of simulated hosts.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use deltawire_link::runtime::{Datagrams, Received, UdpSocket};

use super::host::Host;

/// The first port that is given to who asks for none in particular: below are those that links take.
const FIRST_PORT: u16 = 32_768;

/// All sockets of a simulation.
#[derive(Clone, Debug, Default)]
pub(super) struct Sockets(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    bound: BTreeMap<SocketAddr, Bound>,
    /// How many were ever bound.
    count: u64,
    sent: Vec<Sent>,
}

#[derive(Debug)]
struct Bound {
    host: Host,
    /// Which of those that were ever bound.
    number: u64,
    /// What came and was not read, and bytes of it.
    inbox: VecDeque<(SocketAddr, Vec<u8>)>,
    waiting: usize,
    buffer: usize,
    reader: Option<Waker>,
}

/// A datagram that was sent and is not on its way yet.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) host: Host,
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    pub(super) bytes: Vec<u8>,
}

impl Sockets {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn bind(
        &self,
        host: Host,
        mut local: SocketAddr,
        buffer: usize,
    ) -> io::Result<Socket> {
        let mut table = self.table();
        if local.port() == 0 {
            let free = (FIRST_PORT..=u16::MAX)
                .find(|port| !table.bound.contains_key(&SocketAddr::new(local.ip(), *port)));
            local.set_port(free.ok_or(io::ErrorKind::AddrInUse)?);
        }
        if table.bound.contains_key(&local) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        table.count += 1;
        let (number, inbox, reader) = (table.count, VecDeque::new(), None);
        table.bound.insert(local, Bound { host, number, inbox, waiting: 0, buffer, reader });
        Ok(Socket { local, host, number, buffer, sockets: self.clone() })
    }

    /// Whether something was sent since the last time.
    pub(super) fn is_due(&self) -> bool {
        !self.table().sent.is_empty()
    }

    /// What was sent since the last time.
    pub(super) fn take_sent(&self) -> Vec<Sent> {
        std::mem::take(&mut self.table().sent)
    }

    /// Hands a datagram to the socket that is bound here. Says whether it had room, or `None` if there is no
    /// such socket.
    pub(super) fn deliver(
        &self,
        local: SocketAddr,
        source: SocketAddr,
        bytes: Vec<u8>,
    ) -> Option<bool> {
        let mut table = self.table();
        let bound = table.bound.get_mut(&local)?;
        if bound.waiting > 0 && bound.waiting + bytes.len() > bound.buffer {
            return Some(false);
        }
        bound.waiting += bytes.len();
        bound.inbox.push_back((source, bytes));
        let reader = bound.reader.take();
        drop(table);
        if let Some(reader) = reader {
            reader.wake();
        }
        Some(true)
    }

    /// Closes what a host has bound.
    pub(super) fn close_all(&self, host: Host) {
        self.table().bound.retain(|_, bound| bound.host != host);
    }
}

/// A host's socket.
#[derive(Debug)]
pub(super) struct Socket {
    local: SocketAddr,
    host: Host,
    number: u64,
    buffer: usize,
    sockets: Sockets,
}

impl UdpSocket for Socket {
    fn local_address(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    fn burst(&self) -> u32 {
        u32::try_from(self.buffer / 4).unwrap_or(u32::MAX)
    }

    fn max_segments(&self) -> usize {
        1
    }

    fn poll_receive(
        &mut self,
        buffers: &mut [IoSliceMut<'_>],
        received: &mut [Received],
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut table = self.sockets.table();
        let Some(bound) = table.bound.get_mut(&self.local) else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let mut taken = 0;
        for (buffer, received) in buffers.iter_mut().zip(received) {
            let Some((source, bytes)) = bound.inbox.pop_front() else { break };
            bound.waiting -= bytes.len();
            // What is longer than the buffer is cut off, as systems do.
            let len = bytes.len().min(buffer.len());
            buffer[..len].copy_from_slice(&bytes[..len]);
            *received = Received { source, destination: Some(self.local.ip()), len, stride: len };
            taken += 1;
        }
        if taken == 0 {
            bound.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(taken))
    }

    fn try_send(&mut self, datagrams: &Datagrams<'_>) -> io::Result<()> {
        let Datagrams { destination, bytes, segment, .. } = *datagrams;
        let mut table = self.sockets.table();
        for bytes in bytes.chunks(segment.max(1)) {
            let (host, source, bytes) = (self.host, self.local, bytes.to_vec());
            table.sent.push(Sent { host, source, destination, bytes });
        }
        Ok(())
    }

    fn poll_send_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let mut table = self.sockets.table();
        // A later one's stays.
        if table.bound.get(&self.local).is_some_and(|bound| bound.number == self.number) {
            table.bound.remove(&self.local);
        }
    }
}
