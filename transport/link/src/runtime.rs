//! What links need of their surroundings, so that the same code runs over an operating system, in a
//! browser and on a simulated network.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// `Send` where tasks may move between threads: everywhere but in a browser.
#[cfg(not(target_arch = "wasm32"))]
pub trait MaybeSend: Send {}
#[cfg(not(target_arch = "wasm32"))]
impl<T: Send + ?Sized> MaybeSend for T {}
/// `Send` where tasks may move between threads: everywhere but in a browser.
#[cfg(target_arch = "wasm32")]
pub trait MaybeSend {}
#[cfg(target_arch = "wasm32")]
impl<T: ?Sized> MaybeSend for T {}

/// `Send` and `Sync` where tasks may move between threads: everywhere but in a browser.
#[cfg(not(target_arch = "wasm32"))]
pub trait MaybeSync: Send + Sync {}
#[cfg(not(target_arch = "wasm32"))]
impl<T: Send + Sync + ?Sized> MaybeSync for T {}
/// `Send` and `Sync` where tasks may move between threads: everywhere but in a browser.
#[cfg(target_arch = "wasm32")]
pub trait MaybeSync {}
#[cfg(target_arch = "wasm32")]
impl<T: ?Sized> MaybeSync for T {}

/// A future in a box that may go wherever tasks go.
#[cfg(not(target_arch = "wasm32"))]
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
/// A future in a box that may go wherever tasks go.
#[cfg(target_arch = "wasm32")]
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Time, tasks, sockets and randomness.
pub trait Runtime: fmt::Debug + MaybeSync {
    /// Time since any fixed start.
    fn now(&self) -> Duration;

    /// A timer that is not set.
    fn timer(&self) -> Box<dyn Timer>;

    /// Runs a task to its end, beside everything else.
    fn spawn(&self, task: BoxFuture<'static, ()>);

    /// Fills a slice with random bytes, fit for keys.
    ///
    /// # Errors
    ///
    /// When the system gives none.
    fn random(&self, bytes: &mut [u8]) -> io::Result<()>;

    /// Binds a UDP socket.
    ///
    /// # Errors
    ///
    /// When the address cannot be had, or there are no sockets, as in a browser.
    fn bind(&self, options: &BindOptions) -> io::Result<Box<dyn UdpSocket>>;

    /// The addresses of a host, by name or number. Default: no name is known.
    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        let known = host.parse().map(|host: IpAddr| vec![SocketAddr::new(host, port)]);
        let unknown = |_| io::Error::new(io::ErrorKind::Unsupported, "no names are known here");
        Box::pin(std::future::ready(known.map_err(unknown)))
    }

    /// Ready when the host's network has changed, so that links may better go another way. Default: nothing says so.
    fn network_changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }

    /// The address from which the system reaches a host, by name or number. Nothing is sent.
    fn local_address<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<IpAddr>>;
}

/// Wakes one task at a time.
pub trait Timer: MaybeSend {
    /// Sets it: it is over at this time of the runtime's.
    fn set(&mut self, at: Duration);

    /// Whether it is over. If not, the task is woken when it is.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()>;
}

/// How a UDP socket is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindOptions {
    /// Where. Port 0 lets the system choose; `[::]` is reached over IPv4 as well.
    pub address: SocketAddr,
    /// Whether one of IPv6 is not reached over IPv4.
    pub only_v6: bool,
    /// What the system is asked for as its buffers each way, bytes. It may give less.
    pub buffer: usize,
}

/// A UDP socket that moves many datagrams with one call.
pub trait UdpSocket: fmt::Debug + MaybeSend {
    /// Where it is bound.
    ///
    /// # Errors
    ///
    /// When the system does not say.
    fn local_address(&self) -> io::Result<SocketAddr>;

    /// How many datagrams of one length [`try_send`](Self::try_send) takes at most.
    fn max_segments(&self) -> usize;

    /// How many bytes may come at once of which none gets lost, by the buffer that the system gave it; 0 where that is
    /// not known. Default: 0.
    fn burst(&self) -> u32 {
        0
    }

    /// Receives into as many of the buffers as something is there for, and says how many it took.
    fn poll_receive(
        &mut self,
        buffers: &mut [IoSliceMut<'_>],
        received: &mut [Received],
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>>;

    /// Sends datagrams of one length, but for the last, to one peer.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there is no room: [`poll_send_ready`](Self::poll_send_ready) then waits for it.
    fn try_send(&mut self, datagrams: &Datagrams<'_>) -> io::Result<()>;

    /// Waits for room to send.
    fn poll_send_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// What one buffer received.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// Who sent it.
    pub source: SocketAddr,
    /// The local address at which it came, where the system says so.
    pub destination: Option<IpAddr>,
    /// Bytes of the buffer that are filled.
    pub len: usize,
    /// The length of each datagram in it, but for the last.
    pub stride: usize,
}

impl Default for Received {
    fn default() -> Self {
        let source = SocketAddr::from(([0, 0, 0, 0], 0));
        Self { source, destination: None, len: 0, stride: 0 }
    }
}

/// Datagrams of one length, but for the last, to one peer.
#[derive(Clone, Copy, Debug)]
pub struct Datagrams<'a> {
    /// To whom.
    pub destination: SocketAddr,
    /// From which local address, if the system is not to choose.
    pub source: Option<IpAddr>,
    /// What they hold, one after another.
    pub bytes: &'a [u8],
    /// How long each is.
    pub segment: usize,
}

/// Waits until this time of the runtime's.
pub async fn sleep_until(runtime: &dyn Runtime, at: Duration) {
    let mut timer = runtime.timer();
    timer.set(at);
    poll_fn(|context| timer.poll(context)).await;
}

/// Waits so long.
pub async fn sleep(runtime: &dyn Runtime, duration: Duration) {
    sleep_until(runtime, runtime.now().saturating_add(duration)).await;
}

/// What the future gives, if it does within this time.
pub async fn timeout<T>(
    runtime: &dyn Runtime,
    within: Duration,
    future: impl Future<Output = T>,
) -> Option<T> {
    let (mut future, mut late) = (pin!(future), pin!(sleep(runtime, within)));
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => late.as_mut().poll(context).map(|()| None),
    })
    .await
}

/// A random number; 0 where there is no randomness: for jitter, not for keys.
#[must_use]
pub fn jitter(runtime: &dyn Runtime) -> u64 {
    let mut bytes = [0; 8];
    match runtime.random(&mut bytes) {
        Ok(()) => u64::from_le_bytes(bytes),
        Err(_) => 0,
    }
}

/// A runtime that is shared.
pub type SharedRuntime = Arc<dyn Runtime>;
