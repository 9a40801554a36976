//! Links over the operating system, in tokio's runtime.

use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use deltawire_link::runtime::{
    BindOptions, BoxFuture, Datagrams, Received, Runtime, Timer, UdpSocket,
};
use quinn_udp::{RecvMeta, UdpSocketState};
use socket2::{Domain, Protocol, Type};
use tokio::io::Interest;
use tokio::runtime::Handle;
use tokio::time::Sleep;

use crate::network_watch::NetworkWatch;

const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);

/// A receive buffer holds a byte of datagrams of full length for each four of its own, or more: the system counts what it
/// takes to keep them, and Linux gives twice of what it was asked for. All peers share it: what they send is bounded by time, too.
const BUFFER_A_BYTE: usize = 4;

/// Buffers that one receiving call fills at most.
const MAX_BUFFERS: usize = 16;

/// tokio's time and tasks, and the system's sockets.
#[derive(Clone, Debug)]
pub struct TokioRuntime {
    handle: Handle,
    start: Instant,
    network: Arc<NetworkWatch>,
}

impl TokioRuntime {
    /// The runtime that this is called in. It needs I/O and time.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn current() -> Self {
        Self { handle: Handle::current(), start: Instant::now(), network: Arc::default() }
    }
}

impl Runtime for TokioRuntime {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn timer(&self) -> Box<dyn Timer> {
        let _entered = self.handle.enter();
        Box::new(Alarm { start: self.start, sleep: Box::pin(tokio::time::sleep(YEAR)) })
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        drop(self.handle.spawn(task));
    }

    fn random(&self, bytes: &mut [u8]) -> io::Result<()> {
        getrandom::fill(bytes).map_err(io::Error::other)
    }

    fn bind(&self, options: &BindOptions) -> io::Result<Box<dyn UdpSocket>> {
        let _entered = self.handle.enter();
        Ok(Box::new(Socket::bind(options)?))
    }

    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }

    /// When the host's default route leads out from another address: it is looked once a second.
    fn network_changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.network.listen(&self.handle))
    }

    fn local_address<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<IpAddr>> {
        Box::pin(async move {
            let Some(remote) = tokio::net::lookup_host((host, port)).await?.next() else {
                return Err(io::Error::other("the name has no address"));
            };
            let any: IpAddr = match remote {
                SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            };
            let socket = std::net::UdpSocket::bind((any, 0))?;
            socket.connect(remote)?;
            Ok(socket.local_addr()?.ip())
        })
    }
}

struct Alarm {
    start: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl Timer for Alarm {
    fn set(&mut self, at: Duration) {
        // Who waits for ever is woken once a year.
        let at = self.start.checked_add(at).unwrap_or_else(|| Instant::now() + YEAR);
        self.sleep.as_mut().reset(at.into());
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.sleep.as_mut().poll(context)
    }
}

#[derive(Debug)]
struct Socket {
    socket: tokio::net::UdpSocket,
    state: UdpSocketState,
    meta: [RecvMeta; MAX_BUFFERS],
    burst: u32,
}

impl Socket {
    fn bind(options: &BindOptions) -> io::Result<Self> {
        let BindOptions { address, only_v6, buffer } = *options;
        let socket =
            socket2::Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        if address.is_ipv6() {
            // One that is bound to all addresses has those of IPv4 too.
            socket.set_only_v6(only_v6)?;
        }
        socket.bind(&address.into())?;
        let state = UdpSocketState::new((&socket).into())?;
        // The system may allow less; that costs speed, not correctness.
        let _ = state.set_send_buffer_size((&socket).into(), buffer);
        let _ = state.set_recv_buffer_size((&socket).into(), buffer);
        let given = state.recv_buffer_size((&socket).into()).unwrap_or(0);
        let burst = u32::try_from(given / BUFFER_A_BYTE).unwrap_or(u32::MAX);
        let socket = tokio::net::UdpSocket::from_std(socket.into())?;
        Ok(Self { socket, state, meta: [RecvMeta::default(); MAX_BUFFERS], burst })
    }
}

impl UdpSocket for Socket {
    fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn burst(&self) -> u32 {
        self.burst
    }

    fn max_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn poll_receive(
        &mut self,
        buffers: &mut [IoSliceMut<'_>],
        received: &mut [Received],
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let Self { socket, state, meta, .. } = self;
        let most = buffers.len().min(received.len()).min(MAX_BUFFERS);
        loop {
            ready!(socket.poll_recv_ready(context))?;
            let mut taken = 0;
            let result = socket.try_io(Interest::READABLE, || {
                let (buffers, meta) = (&mut buffers[..most], &mut meta[..most]);
                taken = state.recv((&*socket).into(), buffers, meta)?;
                // Fewer than there is room for are all that there were. To say so here spares the
                // call that would find nothing.
                if taken < most { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            match result {
                _ if taken > 0 => {
                    for (received, meta) in received.iter_mut().zip(&meta[..taken]) {
                        *received = Received {
                            source: meta.addr,
                            destination: meta.dst_ip,
                            len: meta.len,
                            stride: meta.stride,
                        };
                    }
                    return Poll::Ready(Ok(taken));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // What a peer's host answered to an earlier datagram.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(()) => return Poll::Ready(Ok(0)),
            }
        }
    }

    fn try_send(&mut self, datagrams: &Datagrams<'_>) -> io::Result<()> {
        let Datagrams { destination, source, bytes, segment } = *datagrams;
        let transmit = quinn_udp::Transmit {
            destination,
            ecn: None,
            contents: bytes,
            segment_size: (bytes.len() > segment).then_some(segment),
            src_ip: source,
        };
        self.socket
            .try_io(Interest::WRITABLE, || self.state.try_send((&self.socket).into(), &transmit))
    }

    fn poll_send_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_send_ready(context)
    }
}
