//! A runtime whose sockets go deaf, as a phone's do that was asleep.
#![allow(clippy::disallowed_types, reason = "a test's counters")]

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use deltawire::link::Runtime;
use deltawire::link::runtime::{BindOptions, BoxFuture, Datagrams, Received, Timer, UdpSocket};
use deltawire::sim::HostRuntime;

#[derive(Clone, Debug)]
pub(crate) struct Deaf {
    pub(crate) inner: HostRuntime,
    /// Sockets that were bound so far, and those that are deaf.
    pub(crate) bound: Arc<AtomicUsize>,
    pub(crate) deaf: Arc<AtomicUsize>,
}

thread_local! {
    pub(crate) static ALIVE: std::cell::Cell<isize> = const { std::cell::Cell::new(0) };
}

#[derive(Debug)]
struct Socket(Box<dyn UdpSocket>, usize, Arc<AtomicUsize>);

impl Drop for Socket {
    fn drop(&mut self) {
        ALIVE.with(|alive| alive.set(alive.get() - 1));
    }
}

impl UdpSocket for Socket {
    fn local_address(&self) -> io::Result<SocketAddr> {
        self.0.local_address()
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
        loop {
            let got = self.0.poll_receive(buffers, received, context);
            if got.is_pending() || self.1 >= self.2.load(Ordering::Relaxed) {
                return got;
            }
        }
    }
    fn try_send(&mut self, datagrams: &Datagrams<'_>) -> io::Result<()> {
        if self.1 < self.2.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::NotConnected.into());
        }
        self.0.try_send(datagrams)
    }
    fn poll_send_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_send_ready(context)
    }
}

impl Runtime for Deaf {
    fn now(&self) -> Duration {
        self.inner.now()
    }
    fn timer(&self) -> Box<dyn Timer> {
        self.inner.timer()
    }
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.inner.spawn(task);
    }
    fn random(&self, bytes: &mut [u8]) -> io::Result<()> {
        self.inner.random(bytes)
    }
    fn bind(&self, options: &BindOptions) -> io::Result<Box<dyn UdpSocket>> {
        let number = self.bound.fetch_add(1, Ordering::Relaxed);
        ALIVE.with(|alive| alive.set(alive.get() + 1));
        Ok(Box::new(Socket(self.inner.bind(options)?, number, self.deaf.clone())))
    }
    fn local_address<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<IpAddr>> {
        self.inner.local_address(host, port)
    }
}
