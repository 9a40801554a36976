//! A UDP socket that moves many datagrams with one system call.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::{Context, Poll, ready};

use quinn_udp::{RecvMeta, UdpSocketState};
use socket2::{Domain, Protocol, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::engine::{Datagram, Transmit};

/// Places for what one call receives. With GRO, each takes up to 64 datagrams of one sender.
const PLACES: usize = 16;
/// Bytes of a place: the longest datagram that UDP can carry, or so many short ones.
const PLACE: usize = 1 << 16;
/// Most bytes that one call sends.
const MAX_BATCH: usize = 60_000;
/// Most bytes that wait for the system to take them; what comes beyond is dropped, as UDP may.
pub(crate) const MAX_WAITING: usize = 4 << 20;

/// The socket, and the datagrams that go in its next call.
pub(crate) struct Socket {
    socket: UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
    /// What peers know it by.
    addresses: Vec<SocketAddr>,
    batch: Batch,
    /// Batches that the system did not take yet.
    waiting: VecDeque<Batch>,
    waiting_bytes: usize,
    /// Receiving calls that are to fail.
    #[cfg(test)]
    pub(crate) failures: usize,
}

/// What one call received.
pub(crate) struct Inbox {
    local: SocketAddr,
    /// Places of equal length, touched only as far as something comes.
    received: Vec<u8>,
    meta: [RecvMeta; PLACES],
}

/// Datagrams of one length, but for the last, to one peer.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    segment: usize,
    ends_short: bool,
    to: Option<(SocketAddr, SocketAddr)>,
}

impl Socket {
    /// Binds it; the system's buffers are asked to be `buffer` bytes long.
    pub(crate) fn bind(address: SocketAddr, buffer: usize) -> io::Result<Self> {
        Self::new(address, None, buffer)
    }

    /// Binds it to no address, so that it stays of use when the host gets another one: the system
    /// chooses the source of each datagram. `known` is what it goes by from first to last.
    pub(crate) fn bind_to_host(known: IpAddr, buffer: usize) -> io::Result<Self> {
        let any: IpAddr = match known {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        Self::new(SocketAddr::new(any, 0), Some(known), buffer)
    }

    fn new(address: SocketAddr, known: Option<IpAddr>, buffer: usize) -> io::Result<Self> {
        let address = canonical(address);
        let socket =
            socket2::Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        if address.is_ipv6() {
            // One that is bound to all addresses has those of IPv4 too.
            socket.set_only_v6(known.is_some())?;
        }
        socket.bind(&address.into())?;
        let state = UdpSocketState::new((&socket).into())?;
        // The system may allow less; that costs speed, not correctness.
        let _ = state.set_send_buffer_size((&socket).into(), buffer);
        let _ = state.set_recv_buffer_size((&socket).into(), buffer);
        let socket = UdpSocket::from_std(socket.into())?;
        let bound = socket.local_addr()?;
        let local = known.map_or(bound, |known| SocketAddr::new(known, bound.port()));
        Ok(Self {
            socket,
            state,
            local,
            addresses: vec![local],
            batch: Batch::default(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            #[cfg(test)]
            failures: 0,
        })
    }

    /// Where it is bound, or what it goes by.
    pub(crate) fn local_address(&self) -> SocketAddr {
        self.local
    }

    /// Has peers know it by these addresses, in place of the one that it is bound to.
    pub(crate) fn advertise(&mut self, addresses: &[IpAddr]) {
        let port = self.local.port();
        self.addresses =
            addresses.iter().map(|address| SocketAddr::new(address.to_canonical(), port)).collect();
    }

    /// What peers know it by.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// By which address a peer knows it whose datagram came to `reached`, if that is another one: behind a
    /// NAT peers know one and reach another. Where several may be meant, one of them is as good.
    #[inline]
    pub(crate) fn known_as(&self, reached: SocketAddr) -> Option<SocketAddr> {
        if self.addresses.contains(&reached) {
            return None;
        }
        let mut addresses = self.addresses.iter().copied();
        addresses.find(|address| address.is_ipv4() == reached.is_ipv4())
    }

    /// Receives with one system call into at most so many of the inbox's places, and says how many
    /// it took.
    pub(crate) fn poll_receive(
        &mut self,
        inbox: &mut Inbox,
        most: usize,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let Self { socket, state, .. } = self;
        let most = most.clamp(1, PLACES);
        loop {
            ready!(socket.poll_recv_ready(context))?;
            #[cfg(test)]
            if let Some(left) = self.failures.checked_sub(1) {
                self.failures = left;
                return Poll::Ready(Err(io::ErrorKind::NetworkDown.into()));
            }
            let mut places = inbox.received.chunks_exact_mut(PLACE);
            let mut places: [IoSliceMut<'_>; PLACES] =
                std::array::from_fn(|_| IoSliceMut::new(places.next().unwrap_or_default()));
            let mut taken = 0;
            let result = socket.try_io(Interest::READABLE, || {
                let (places, meta) = (&mut places[..most], &mut inbox.meta[..most]);
                taken = state.recv((&*socket).into(), places, meta)?;
                // Fewer than there is room for are all that there were. To say so here spares the
                // call that would find nothing.
                if taken < most { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            match result {
                _ if taken > 0 => return Poll::Ready(Ok(taken)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // What a peer's host answered to an earlier datagram.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(()) => return Poll::Ready(Ok(0)),
            }
        }
    }

    /// Puts a datagram into the next call, and makes the call when it is full.
    pub(crate) fn send(&mut self, transmit: &Transmit) {
        let max_segments = self.state.max_gso_segments();
        if !self.batch.takes(transmit, max_segments) {
            self.flush();
        }
        self.batch.add(transmit);
    }

    /// Sends what was put aside.
    pub(crate) fn flush(&mut self) {
        if self.batch.to.is_none() {
            return;
        }
        if self.waiting.is_empty() && self.send_batch(&self.batch) {
            self.batch.clear();
            return;
        }
        let batch = std::mem::take(&mut self.batch);
        if self.waiting_bytes + batch.bytes.len() > MAX_WAITING {
            tracing::debug!(len = batch.bytes.len(), "dropped datagrams: the system takes none");
            return;
        }
        self.waiting_bytes += batch.bytes.len();
        self.waiting.push_back(batch);
    }

    /// Sends what the system had no room for, and registers to be woken when it has again.
    pub(crate) fn poll_waiting(&mut self, context: &mut Context<'_>) {
        while let Some(batch) = self.waiting.pop_front() {
            if self.send_batch(&batch) {
                self.waiting_bytes -= batch.bytes.len();
                continue;
            }
            self.waiting.push_front(batch);
            match self.socket.poll_send_ready(context) {
                Poll::Ready(Ok(())) => {}
                _ => return,
            }
        }
    }

    /// Whether the system took it. An error other than "no room" loses it, as UDP may.
    fn send_batch(&self, batch: &Batch) -> bool {
        let Some((source, destination)) = batch.to else { return true };
        let mut whole = quinn_udp::Transmit {
            destination: self.for_system(destination),
            ecn: None,
            contents: &batch.bytes,
            segment_size: (batch.bytes.len() > batch.segment).then_some(batch.segment),
            src_ip: self.local.ip().is_unspecified().then(|| self.for_system(source).ip()),
        };
        let mut sent = self.try_send(&whole);
        if sent.as_ref().is_err_and(is_invalid) && whole.src_ip.take().is_some() {
            // Only its NAT has the address that it is known by: the system chooses one of its own.
            sent = self.try_send(&whole);
        }
        match sent {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            // Hardware that cannot segment after all: quinn-udp remembers it, so one by one.
            Err(_) if whole.segment_size.is_some() => {
                for contents in batch.bytes.chunks(batch.segment) {
                    let one = quinn_udp::Transmit { contents, segment_size: None, ..whole.clone() };
                    if let Err(error) = self.try_send(&one) {
                        tracing::trace!(%error, %destination, "a datagram was not sent");
                    }
                }
                true
            }
            Err(error) => {
                tracing::trace!(%error, %destination, "a datagram was not sent");
                true
            }
        }
    }

    /// An address as a socket of this family is told it.
    fn for_system(&self, address: SocketAddr) -> SocketAddr {
        match address {
            SocketAddr::V4(address) if self.local.is_ipv6() => {
                SocketAddr::new(address.ip().to_ipv6_mapped().into(), address.port())
            }
            address => address,
        }
    }

    fn try_send(&self, transmit: &quinn_udp::Transmit<'_>) -> io::Result<()> {
        self.socket
            .try_io(Interest::WRITABLE, || self.state.try_send((&self.socket).into(), transmit))
    }
}

impl Inbox {
    /// For a socket that is bound to this address, or goes by it.
    pub(crate) fn new(local: SocketAddr) -> Self {
        Self { local, received: vec![0; PLACES * PLACE], meta: [RecvMeta::default(); PLACES] }
    }

    /// The datagrams in the first `places` places.
    pub(crate) fn datagrams(&self, places: usize) -> impl Iterator<Item = Datagram<'_>> {
        let local = self.local;
        let places = self.received.chunks_exact(PLACE).zip(&self.meta).take(places);
        places.flat_map(move |(place, meta)| {
            // One that goes by an address may have been reached at another.
            let reached = meta.dst_ip.filter(|_| local.ip().is_unspecified());
            let reached = reached.unwrap_or(local.ip()).to_canonical();
            let destination = SocketAddr::new(reached, local.port());
            let bytes = place.get(..meta.len).unwrap_or_default();
            let source = canonical(meta.addr);
            let datagrams = bytes.chunks(meta.stride.max(1));
            datagrams.map(move |bytes| Datagram { source, destination, bytes })
        })
    }
}

/// An address of IPv4 as such where IPv6 has it.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        // With its scope.
        IpAddr::V6(_) => address,
    }
}

/// How the system refuses a source that is not its own.
fn is_invalid(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::AddrNotAvailable)
}

impl Batch {
    fn takes(&self, transmit: &Transmit, max_segments: usize) -> bool {
        let len = transmit.bytes.len();
        let Some(to) = self.to else { return true };
        to == (transmit.source, transmit.destination)
            && !self.ends_short
            && len <= self.segment
            && self.bytes.len() + len <= MAX_BATCH
            && self.bytes.len() < max_segments * self.segment
    }

    fn add(&mut self, transmit: &Transmit) {
        if self.to.is_none() {
            self.to = Some((transmit.source, transmit.destination));
            self.segment = transmit.bytes.len();
        }
        self.ends_short = transmit.bytes.len() < self.segment;
        self.bytes.extend_from_slice(&transmit.bytes);
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.to = None;
        self.ends_short = false;
    }
}
