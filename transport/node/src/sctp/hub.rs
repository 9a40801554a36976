//! The links over SCTP of one socket: told apart, let in, and moved.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use deltawire_channels::waking::{ReadyHandle, ReadyQueue};
use deltawire_framing::control::Role;
use deltawire_link::runtime::SharedRuntime;
use deltawire_link::{
    Connection, Datagram, Fault, Identity, LinkEnded, Progress, TransportError, TransportErrorKind,
    Undelivered,
};
use deltawire_sctp::{Routed, SctpEndpoint, SctpTransport};
use slab::Slab;
use tokio::sync::mpsc;

use super::arriving::Arriving;
use crate::Admission;
use crate::admission::Verdict;
use crate::network::Network;
use crate::reservation::Reservation;
use crate::settings::Settings;
use crate::udp::timers::Timers;
use crate::udp::{self, Socket};

/// What a hub is asked to do.
pub(crate) enum Request {
    Connect(Box<Connect>),
    /// An application said whether a peer is let in.
    Decided {
        key: usize,
        serial: u64,
        verdict: Verdict,
    },
}

/// A link to be opened.
pub(crate) struct Connect {
    pub(crate) remote: SocketAddr,
    pub(crate) token: Vec<u8>,
    pub(crate) timeout: Duration,
    pub(crate) reservation: Reservation,
}

/// What a hub has of its node.
pub(crate) struct Surroundings {
    pub(crate) network: Network,
    pub(crate) settings: Settings,
    pub(crate) runtime: SharedRuntime,
}

/// The links of one socket.
pub(crate) struct Hub {
    pub(super) endpoint: SctpEndpoint,
    pub(super) entries: Slab<Entry>,
    pub(super) timers: Timers,
    ready: Arc<ReadyQueue>,
    /// Those that have something to do, by key.
    due: Vec<usize>,
    /// Who is let in, if anybody is.
    pub(super) admission: Option<Admission>,
    requests: mpsc::Receiver<Request>,
    /// For those that decide later. Not counted among those who may ask.
    pub(super) requester: mpsc::WeakSender<Request>,
    pub(super) closing: bool,
    /// Peers that were not let in, and are told so for a while.
    pub(super) refused: usize,
    serial: u64,
    pub(super) around: Surroundings,
}

pub(super) struct Entry {
    pub(super) stage: Stage,
    ready: ReadyHandle,
    /// Whether it is among those that have something to do.
    due: bool,
    pub(super) serial: u64,
}

pub(super) enum Stage {
    /// Its peer is not let in yet.
    Arriving(Box<Arriving>),
    Link(Box<Connection<SctpTransport>>),
    Over,
}

impl Hub {
    pub(super) fn new(
        endpoint: SctpEndpoint,
        admission: Option<Admission>,
        requests: (mpsc::WeakSender<Request>, mpsc::Receiver<Request>),
        around: Surroundings,
    ) -> Self {
        let capacity = around.network.limits().max_peers.min(1_024);
        Self {
            endpoint,
            entries: Slab::new(),
            timers: Timers::default(),
            // Of more, all are looked at.
            ready: ReadyQueue::new(capacity),
            due: Vec::new(),
            admission,
            requests: requests.1,
            requester: requests.0,
            closing: false,
            refused: 0,
            serial: 0,
            around,
        }
    }

    fn take_requests(&mut self, socket: &mut Socket, now: Duration, context: &mut Context<'_>) {
        while !self.closing
            && let Poll::Ready(request) = self.requests.poll_recv(context)
        {
            match request {
                Some(Request::Connect(connect)) => self.connect(*connect, socket, now),
                Some(Request::Decided { key, serial, verdict }) => {
                    if self.entries.get(key).is_some_and(|entry| entry.serial == serial) {
                        self.decided(key, verdict, socket, now);
                    }
                }
                None => {
                    self.closing = true;
                    self.endpoint.accept_no_more();
                    self.refuse_all(socket, now);
                }
            }
        }
    }

    pub(super) fn mark(&mut self, key: usize) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if !entry.due {
            entry.due = true;
            self.due.push(key);
        }
    }

    pub(super) fn add(&mut self, stage: Stage) {
        self.serial += 1;
        let vacant = self.entries.vacant_entry();
        let key = vacant.key();
        let (ready, serial) = (self.ready.handle(key), self.serial);
        vacant.insert(Entry { stage, ready, due: false, serial });
        self.mark(key);
    }

    pub(super) fn remove(&mut self, key: usize) {
        self.endpoint.forget(key);
        self.timers.set(key, None);
        if self.entries.contains(key) {
            let entry = self.entries.remove(key);
            let was_refused = matches!(&entry.stage, Stage::Arriving(it) if it.place.is_none());
            self.refused -= usize::from(was_refused);
        }
    }

    fn connect(&mut self, connect: Connect, socket: &Socket, now: Duration) {
        let Connect { remote, token, timeout, reservation } = connect;
        let state = reservation.state().clone();
        let key = self.entries.vacant_key();
        let way = [socket.local_address(), remote];
        let begun = self.endpoint.connect(key, way, &token, now);
        let begun = begun.map_err(TransportError::from).and_then(|transport| {
            self.connection(transport, Role::Initiator, &reservation, None, Some(timeout))
        });
        reservation.take();
        match begun {
            Ok(mut connection) => {
                connection.set_remote_address(remote);
                self.add(Stage::Link(Box::new(connection)));
                self.attach(key);
            }
            Err(error) => {
                self.endpoint.forget(key);
                let ended = LinkEnded::Transport(error);
                state.end(ended.clone(), Undelivered::default());
                self.around.network.ended(state.id(), ended);
                self.around.network.gone(state.id());
            }
        }
    }

    pub(super) fn attach(&mut self, key: usize) {
        if let Some(Entry { stage: Stage::Link(connection), ready, .. }) = self.entries.get_mut(key)
        {
            connection.attach(ready.waker());
        }
    }

    pub(super) fn connection(
        &self,
        transport: SctpTransport,
        role: Role,
        reservation: &Reservation,
        identity: Option<&Identity>,
        timeout: Option<Duration>,
    ) -> Result<Connection<SctpTransport>, TransportError> {
        let Surroundings { settings, runtime, .. } = &self.around;
        let state = reservation.state().clone();
        let config = settings.connection(role, identity, &**runtime);
        let mut config = config
            .map_err(|error| TransportError::new(TransportErrorKind::SetUp, Fault::Local, error))?;
        config.connect_timeout = timeout.unwrap_or(config.connect_timeout);
        Connection::new(transport, config, state, runtime.now())
    }

    /// Does what one connection has to do.
    pub(super) fn work(&mut self, key: usize, socket: &mut Socket, now: Duration) {
        match self.entries.get(key).map(|entry| &entry.stage) {
            Some(Stage::Arriving(_)) => self.work_arriving(key, socket, now),
            Some(Stage::Link(_)) => self.work_link(key, socket, now),
            Some(Stage::Over) | None => {}
        }
    }

    fn work_link(&mut self, key: usize, socket: &mut Socket, now: Duration) {
        let Some(Entry { stage: Stage::Link(connection), ready, .. }) = self.entries.get_mut(key)
        else {
            return;
        };
        ready.rearm();
        let mut context = Context::from_waker(ready.waker());
        let progress = connection.work(now, &mut context, &mut |transmit| socket.send(transmit));
        socket.flush();
        self.endpoint.learn(key, connection.transport_mut());
        self.timers.set(key, connection.poll_timeout());
        let id = connection.place();
        let network = &self.around.network;
        match progress {
            Progress::Quiet => return,
            Progress::Opened(peer) => network.opened(id, *peer),
            Progress::Merged { peer, link } => network.merged(id, link, *peer),
            Progress::Resumed(resumed) => network.resumed(id, resumed),
            Progress::Detached(detached) => {
                network.detached(id, detached);
                self.endpoint.forget(key);
            }
            Progress::Ended(ended) => network.ended(id, ended),
            Progress::Gone => {
                network.gone(id);
                // What waits for the application needs no association.
                self.endpoint.forget(key);
            }
            Progress::Over => {
                self.remove(key);
                return;
            }
        }
        self.mark(key);
    }

    /// A datagram of the association with this key; `None` if its peer knows nothing of that any more.
    fn take(&mut self, key: usize, packet: Option<&[u8]>, socket: &mut Socket, now: Duration) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let (transport, link) = match &mut entry.stage {
            Stage::Arriving(arriving) => (&mut arriving.transport, false),
            Stage::Link(connection) => (connection.transport_mut(), true),
            Stage::Over => return,
        };
        match packet {
            Some(packet) => transport.handle_packet(packet, now),
            None => transport.lose(),
        }
        let len = packet.map_or(0, <[u8]>::len);
        if link
            && let Stage::Link(connection) = &mut entry.stage
            && connection.note_datagram(len, now)
        {
            return self.work(key, socket, now);
        }
        self.mark(key);
    }
}

impl udp::driver::Hub for Hub {
    fn is_over(&self) -> bool {
        self.closing && self.entries.is_empty()
    }

    fn len(&self) -> usize {
        self.entries.len()
    }

    fn next(&mut self) -> Option<Duration> {
        self.timers.next()
    }

    fn poll(&mut self, socket: &mut Socket, now: Duration, context: &mut Context<'_>) {
        self.ready.register(context.waker());
        self.take_requests(socket, now, context);
        while let Some(key) = self.timers.pop(now) {
            self.mark(key);
        }
        while let Some(key) = self.ready.pop() {
            self.mark(key);
        }
        if self.ready.take_overflow() {
            let keys: Vec<_> = self.entries.iter().map(|(key, _)| key).collect();
            keys.into_iter().for_each(|key| self.mark(key));
        }
        self.work_all(socket, now);
    }

    fn handle_datagram(&mut self, datagram: Datagram<'_>, socket: &mut Socket, now: Duration) {
        match self.endpoint.route(&datagram, now) {
            Routed::Known(key) => self.take(key, Some(datagram.bytes), socket, now),
            Routed::Lost(key) => self.take(key, None, socket, now),
            Routed::New(arrival) => self.arrive(&arrival, socket, now),
            Routed::Answer(transmit) => {
                socket.send(transmit);
                socket.flush();
            }
            Routed::Nothing => {}
        }
    }

    fn work_all(&mut self, socket: &mut Socket, now: Duration) {
        while let Some(key) = self.due.pop() {
            if let Some(entry) = self.entries.get_mut(key) {
                entry.due = false;
                self.work(key, socket, now);
            }
        }
    }
}

/// Whatever ends it, no link is left that seems to live.
impl Drop for Hub {
    fn drop(&mut self) {
        self.requests.close();
        while self.requests.try_recv().is_ok() {}
        for entry in self.entries.drain() {
            if let Stage::Link(connection) = entry.stage {
                let (id, state) = (connection.place(), connection.state().clone());
                drop(connection);
                let ended = state.ended().unwrap_or(LinkEnded::Stopped);
                self.around.network.ended(id, ended);
                self.around.network.gone(id);
            }
        }
    }
}
