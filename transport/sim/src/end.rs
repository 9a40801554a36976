//! One end of a link: a connection on either transport, and where it is in the network.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use deltawire_channels::Peer;
use deltawire_link::{Connection, Datagram, Progress, Transmit};
use deltawire_webrtc::{AnyEngine, KnownAddresses, Routes};

use super::executor::Woken;
use super::frames::Frames;
use super::host::Host;

/// A connection on what it runs on.
pub(super) enum Stack {
    Frames(Box<Connection<Frames>>),
    Datagrams(Box<Connection<AnyEngine>>),
}

pub(super) struct EndState {
    stack: Stack,
    pub(super) woken: Arc<Woken>,
    pub(super) host: Host,
    /// Where the other end is, for as long as this one has something to send.
    pub(super) peer_host: Host,
    /// The other end's number.
    pub(super) other: usize,
    /// What it takes for its own address.
    pub(super) address: SocketAddr,
    routes: Routes,
    known: KnownAddresses,
    pub(super) timeout: Option<Duration>,
    /// From when its peer said hello until somebody takes it.
    pub(super) peer: Option<Peer>,
}

impl EndState {
    pub(super) fn new(
        stack: Stack,
        [host, peer_host]: [Host; 2],
        other: usize,
        address: SocketAddr,
        user_fragment: &str,
    ) -> Self {
        let woken = Woken::new();
        let shared = match &stack {
            Stack::Frames(connection) => connection.state(),
            Stack::Datagrams(connection) => connection.state(),
        };
        shared.attach(Waker::from(woken.clone()));
        let mut routes = Routes::default();
        let known = routes.add(0, user_fragment);
        let (timeout, peer) = (None, None);
        Self { stack, woken, host, peer_host, other, address, routes, known, timeout, peer }
    }

    pub(super) fn is_frames(&self) -> bool {
        matches!(self.stack, Stack::Frames(_))
    }

    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.woken.is_woken() || self.timeout.is_some_and(|at| at <= now)
    }

    /// Takes in a datagram, if a driver would know whose it is.
    pub(super) fn handle_datagram(&mut self, source: SocketAddr, bytes: &[u8], now: Duration) {
        let datagram = Datagram { source, destination: self.address, bytes };
        match &mut self.stack {
            Stack::Frames(connection) => {
                connection.handle_datagram(datagram, now);
            }
            Stack::Datagrams(connection) => {
                if self.routes.find(source, bytes).is_none() {
                    return;
                }
                connection.handle_datagram(datagram, now);
            }
        }
        self.woken.wake_up();
    }

    /// Does what there is to do.
    pub(super) fn work(&mut self, now: Duration, sent: &mut Vec<Transmit>) -> Progress {
        self.woken.take();
        let waker = Waker::from(self.woken.clone());
        let mut context = Context::from_waker(&waker);
        let Self { stack, routes, known, .. } = self;
        let mut send = |transmit: Transmit| {
            routes.learn(0, known, transmit.destination, &transmit.bytes);
            sent.push(transmit);
        };
        match stack {
            Stack::Frames(connection) => {
                let progress = connection.work(now, &mut context, &mut send);
                self.timeout = connection.poll_timeout();
                progress
            }
            Stack::Datagrams(connection) => {
                let progress = connection.work(now, &mut context, &mut send);
                self.timeout = connection.poll_timeout();
                progress
            }
        }
    }
}
