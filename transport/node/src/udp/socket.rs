//! A UDP socket that moves many datagrams with one system call.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::{Context, Poll};

use deltawire_link::runtime::{BindOptions, Datagrams, Received, Runtime, UdpSocket};
use deltawire_link::{Datagram, Transmit};

#[cfg(test)]
mod tests;

/// Places for what one call receives. With GRO, each takes up to 64 datagrams of one sender.
const PLACES: usize = 16;
/// Bytes of a place: the longest datagram that UDP can carry, or so many short ones.
const PLACE: usize = 1 << 16;
/// Most bytes that one call sends.
const MAX_BATCH: usize = 60_000;
/// Most bytes that wait for the system to take them; what comes beyond is dropped, as UDP may.
pub const MAX_WAITING: usize = 4 << 20;

/// The socket, and the datagrams that go in its next call.
pub(crate) struct Socket {
    socket: Box<dyn UdpSocket>,
    local: SocketAddr,
    /// What peers know it by.
    addresses: Vec<SocketAddr>,
    batch: Batch,
    /// Batches that the system did not take yet.
    waiting: VecDeque<Batch>,
    waiting_bytes: usize,
    /// Whether datagrams go one by one, because what is below took none that were together.
    singly: bool,
}

/// What one call received.
pub(crate) struct Inbox {
    local: SocketAddr,
    /// Places of equal length, touched only as far as something comes.
    received: Vec<u8>,
    meta: [Received; PLACES],
}

/// Datagrams of one length, but for the last, to one peer.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    segment: usize,
    ends_short: bool,
    to: Option<(SocketAddr, SocketAddr)>,
    /// Of its bytes, those that the system took already.
    sent: usize,
}

impl Socket {
    /// Binds it; the system's buffers are asked to be `buffer` bytes long.
    pub(crate) fn bind(
        runtime: &dyn Runtime,
        address: SocketAddr,
        buffer: usize,
    ) -> io::Result<Self> {
        Self::new(runtime, address, None, buffer)
    }

    /// Binds it to no address, so that it stays of use when the host gets another one: the system
    /// chooses the source of each datagram. `known` is what it goes by from first to last.
    pub(crate) fn bind_to_host(
        runtime: &dyn Runtime,
        known: IpAddr,
        buffer: usize,
    ) -> io::Result<Self> {
        let any: IpAddr = match known {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        Self::new(runtime, SocketAddr::new(any, 0), Some(known), buffer)
    }

    fn new(
        runtime: &dyn Runtime,
        address: SocketAddr,
        known: Option<IpAddr>,
        buffer: usize,
    ) -> io::Result<Self> {
        let address = canonical(address);
        let socket = runtime.bind(&BindOptions { address, only_v6: known.is_some(), buffer })?;
        let bound = socket.local_address()?;
        let local = known.map_or(bound, |known| SocketAddr::new(known, bound.port()));
        Ok(Self {
            socket,
            local,
            addresses: vec![local],
            batch: Batch::default(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            singly: false,
        })
    }

    /// How many bytes may come at once: see [`UdpSocket::burst`].
    pub(crate) fn burst(&self) -> u32 {
        self.socket.burst()
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
        let most = most.clamp(1, PLACES);
        let mut places = inbox.received.chunks_exact_mut(PLACE);
        let mut places: [IoSliceMut<'_>; PLACES] =
            std::array::from_fn(|_| IoSliceMut::new(places.next().unwrap_or_default()));
        self.socket.poll_receive(&mut places[..most], &mut inbox.meta[..most], context)
    }

    /// How many datagrams of one length go in one call at most. It gets less where hardware turns out to take one only.
    pub(crate) fn max_segments(&self) -> usize {
        if self.singly { 1 } else { self.socket.max_segments() }
    }

    /// Puts a datagram into the next call, and makes the call when it is full. Several are a call of
    /// their own.
    pub(crate) fn send(&mut self, transmit: Transmit) {
        if let Some(segment) = transmit.segment {
            self.flush();
            let Transmit { destination, source, bytes, .. } = transmit;
            let to = Some((source, destination));
            self.batch = Batch { bytes, segment, ends_short: true, to, sent: 0 };
            self.flush();
            return;
        }
        let max_segments = self.max_segments();
        if !self.batch.takes(&transmit, max_segments) {
            self.flush();
        }
        self.batch.add(&transmit);
    }

    /// Sends what was put aside.
    pub(crate) fn flush(&mut self) {
        if self.batch.to.is_none() {
            return;
        }
        let mut batch = std::mem::take(&mut self.batch);
        if self.waiting.is_empty() && self.send_batch(&mut batch) {
            // Its memory is of use again.
            batch.clear();
            self.batch = batch;
            return;
        }
        if self.waiting_bytes + batch.bytes.len() > MAX_WAITING {
            tracing::debug!(len = batch.bytes.len(), "dropped datagrams: the system takes none");
            return;
        }
        self.waiting_bytes += batch.bytes.len();
        self.waiting.push_back(batch);
    }

    /// Sends what the system had no room for, and registers to be woken when it has again.
    pub(crate) fn poll_waiting(&mut self, context: &mut Context<'_>) {
        while let Some(mut batch) = self.waiting.pop_front() {
            if self.send_batch(&mut batch) {
                self.waiting_bytes -= batch.bytes.len();
                continue;
            }
            self.waiting.push_front(batch);
            match self.socket.poll_send_ready(context) {
                Poll::Ready(Ok(())) => {}
                Poll::Pending => return,
                // Nothing would ever wake who waits for it.
                Poll::Ready(Err(error)) => {
                    tracing::debug!(%error, len = self.waiting_bytes, "dropped datagrams");
                    self.waiting.clear();
                    self.waiting_bytes = 0;
                    return;
                }
            }
        }
    }

    /// Whether the system took it. An error other than "no room" loses what it is of, as UDP may.
    fn send_batch(&mut self, batch: &mut Batch) -> bool {
        let Some((source, destination)) = batch.to else { return true };
        let whole = Datagrams {
            destination: self.for_system(destination),
            source: self.source(source),
            bytes: &batch.bytes,
            segment: batch.segment,
        };
        let mut unsegmented = false;
        if batch.sent == 0 && (self.max_segments() > 1 || batch.bytes.len() <= batch.segment) {
            match self.try_send(whole) {
                Ok(()) => return true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if batch.bytes.len() <= batch.segment => {
                    tracing::trace!(%error, %destination, "a datagram was not sent");
                    return true;
                }
                Err(error) => unsegmented = cannot_segment(&error),
            }
        }
        // Hardware that cannot segment after all, or one of them is too long for the path.
        for bytes in batch.bytes.get(batch.sent..).unwrap_or_default().chunks(batch.segment.max(1))
        {
            match self.try_send(Datagrams { bytes, ..whole }) {
                Ok(()) if unsegmented && !self.singly => {
                    tracing::info!("the system takes no datagrams together: they go one by one");
                    self.singly = true;
                }
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) => tracing::trace!(%error, %destination, "a datagram was not sent"),
            }
            batch.sent += bytes.len();
        }
        true
    }

    fn try_send(&mut self, datagrams: Datagrams<'_>) -> io::Result<()> {
        let sent = self.socket.try_send(&datagrams);
        if datagrams.source.is_some() && sent.as_ref().is_err_and(is_invalid) {
            // Only its NAT has the address that it is known by: the system chooses one of its own.
            return self.socket.try_send(&Datagrams { source: None, ..datagrams });
        }
        sent
    }

    /// The local address to send from, if the system is not to choose.
    fn source(&self, source: SocketAddr) -> Option<IpAddr> {
        let chosen = self.local.ip().is_unspecified() && !source.ip().is_unspecified();
        chosen.then(|| self.for_system(source).ip())
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
}

impl Inbox {
    /// For a socket that is bound to this address, or goes by it.
    pub(crate) fn new(local: SocketAddr) -> Self {
        Self { local, received: vec![0; PLACES * PLACE], meta: [Received::default(); PLACES] }
    }

    /// The datagrams in the first `places` places.
    pub(crate) fn datagrams(&self, places: usize) -> impl Iterator<Item = Datagram<'_>> {
        let local = self.local;
        let places = self.received.chunks_exact(PLACE).zip(&self.meta).take(places);
        places.flat_map(move |(place, meta)| {
            // One that goes by an address may have been reached at another.
            let reached = meta.destination.filter(|_| local.ip().is_unspecified());
            let reached = reached.unwrap_or(local.ip()).to_canonical();
            let destination = SocketAddr::new(reached, local.port());
            let bytes = place.get(..meta.len).unwrap_or_default();
            let source = canonical(meta.source);
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

/// How Linux says that what is below the socket takes no datagrams together: EIO, and EINVAL at times.
fn cannot_segment(error: &io::Error) -> bool {
    const EIO: i32 = 5;
    error.raw_os_error() == Some(EIO) || error.kind() == io::ErrorKind::InvalidInput
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
        self.sent = 0;
    }
}
