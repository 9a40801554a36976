//! The links over QUIC of one socket: told apart, let in, and moved.

mod arriving;

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
use deltawire_quic::{Handle, QuicEndpoint, QuicTransport, QuicTrust, Routed};
use slab::Slab;
use tokio::sync::mpsc;

use self::arriving::Arriving;
use super::Accepts;
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
    /// As the address names it.
    pub(crate) host: String,
    pub(crate) token: Vec<u8>,
    pub(crate) trust: QuicTrust,
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
    endpoint: QuicEndpoint,
    entries: Slab<Entry>,
    /// Keys of connections, by the index of their handles.
    keys: Vec<Option<usize>>,
    timers: Timers,
    ready: Arc<ReadyQueue>,
    /// Those that have something to do, by key.
    due: Vec<usize>,
    accepts: Accepts,
    /// How often the certificate for browsers had become another one when it was shown last.
    #[cfg(feature = "webtransport")]
    renewals: u64,
    requests: mpsc::Receiver<Request>,
    /// For those that decide later. Not counted among those who may ask.
    requester: mpsc::WeakSender<Request>,
    closing: bool,
    /// Peers that were not let in, and are told so for a while.
    refused: usize,
    serial: u64,
    around: Surroundings,
}

struct Entry {
    stage: Stage,
    /// Until its endpoint has forgotten it.
    handle: Option<Handle>,
    ready: ReadyHandle,
    /// Whether it is among those that have something to do.
    due: bool,
    serial: u64,
}

enum Stage {
    /// Its peer is not let in yet.
    Arriving(Box<Arriving>),
    Link(Box<Connection<QuicTransport>>),
    Over,
}

impl Hub {
    pub(crate) fn new(
        endpoint: QuicEndpoint,
        accepts: Accepts,
        requests: (mpsc::WeakSender<Request>, mpsc::Receiver<Request>),
        around: Surroundings,
    ) -> Self {
        let capacity = around.network.limits().max_peers.min(1_024);
        Self {
            endpoint,
            entries: Slab::new(),
            keys: Vec::new(),
            timers: Timers::default(),
            // Of more, all are looked at.
            ready: ReadyQueue::new(capacity),
            due: Vec::new(),
            accepts,
            #[cfg(feature = "webtransport")]
            renewals: 0,
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
                Some(Request::Connect(connect)) => self.connect(*connect, now),
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

    fn mark(&mut self, key: usize) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if !entry.due {
            entry.due = true;
            self.due.push(key);
        }
    }

    fn add(&mut self, handle: Handle, stage: Stage) -> usize {
        self.serial += 1;
        let vacant = self.entries.vacant_entry();
        let key = vacant.key();
        let ready = self.ready.handle(key);
        let (handle_of, serial) = (Some(handle), self.serial);
        vacant.insert(Entry { stage, handle: handle_of, ready, due: false, serial });
        if handle.index() >= self.keys.len() {
            self.keys.resize(handle.index() + 1, None);
        }
        if let Some(place) = self.keys.get_mut(handle.index()) {
            *place = Some(key);
        }
        self.mark(key);
        key
    }

    /// The endpoint knows the connection no more: its peer is told so if it goes on.
    fn forget(&mut self, key: usize) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let Some(handle) = entry.handle.take() else { return };
        if let Some(place) = self.keys.get_mut(handle.index()) {
            *place = None;
        }
        self.endpoint.forget(handle);
    }

    fn remove(&mut self, key: usize) {
        self.forget(key);
        self.timers.set(key, None);
        if self.entries.contains(key) {
            let entry = self.entries.remove(key);
            let was_refused = matches!(&entry.stage, Stage::Arriving(it) if it.place.is_none());
            self.refused -= usize::from(was_refused);
        }
    }

    fn connect(&mut self, connect: Connect, now: Duration) {
        let Connect { remote, host, token, trust, timeout, reservation } = connect;
        let state = reservation.state().clone();
        let begun = self.endpoint.connect(remote, &host, &trust, &token, now);
        let begun = begun.map_err(TransportError::from).and_then(|(handle, transport)| {
            let made =
                self.connection(transport, Role::Initiator, &reservation, None, Some(timeout));
            made.map(|connection| (handle, connection)).inspect_err(|_| {
                self.endpoint.forget(handle);
            })
        });
        reservation.take();
        match begun {
            Ok((handle, connection)) => {
                let key = self.add(handle, Stage::Link(Box::new(connection)));
                self.attach(key);
            }
            Err(error) => {
                let ended = LinkEnded::Transport(error);
                state.end(ended.clone(), Undelivered::default());
                self.around.network.ended(state.id(), ended);
                self.around.network.gone(state.id());
            }
        }
    }

    fn attach(&mut self, key: usize) {
        if let Some(Entry { stage: Stage::Link(connection), ready, .. }) = self.entries.get_mut(key)
        {
            connection.attach(ready.waker());
        }
    }

    fn connection(
        &self,
        transport: QuicTransport,
        role: Role,
        reservation: &Reservation,
        identity: Option<&Identity>,
        timeout: Option<Duration>,
    ) -> Result<Connection<QuicTransport>, TransportError> {
        let Surroundings { settings, runtime, .. } = &self.around;
        let state = reservation.state().clone();
        let config = settings.connection(role, identity, &**runtime);
        let mut config = config
            .map_err(|error| TransportError::new(TransportErrorKind::SetUp, Fault::Local, error))?;
        config.connect_timeout = timeout.unwrap_or(config.connect_timeout);
        Connection::new(transport, config, state, runtime.now())
    }

    /// Does what one connection has to do.
    fn work(&mut self, key: usize, socket: &mut Socket, now: Duration) {
        match self.entries.get(key).map(|entry| &entry.stage) {
            Some(Stage::Arriving(_)) => self.work_arriving(key, socket, now),
            Some(Stage::Link(_)) => self.work_link(key, socket, now),
            Some(Stage::Over) | None => {}
        }
    }

    fn work_link(&mut self, key: usize, socket: &mut Socket, now: Duration) {
        let Some(Entry { stage: Stage::Link(connection), handle, ready, .. }) =
            self.entries.get_mut(key)
        else {
            return;
        };
        ready.rearm();
        let mut context = Context::from_waker(ready.waker());
        connection.transport_mut().set_max_segments(socket.max_segments());
        let progress = connection.work(now, &mut context, &mut |transmit| socket.send(transmit));
        socket.flush();
        let mut again = false;
        if let Some(handle) = *handle {
            while let Some(event) = connection.transport_mut().poll_endpoint_event() {
                if let Some(event) = self.endpoint.handle_event(handle, event, now) {
                    connection.transport_mut().handle_event(event);
                    again = true;
                }
            }
        }
        self.timers.set(key, connection.poll_timeout());
        let id = connection.place();
        let network = &self.around.network;
        match progress {
            Progress::Quiet if again => self.mark(key),
            Progress::Quiet => {}
            Progress::Opened(peer) => {
                network.opened(id, *peer);
                self.mark(key);
            }
            Progress::Merged { peer, link } => {
                network.merged(id, link, *peer);
                self.mark(key);
            }
            Progress::Resumed(resumed) => {
                network.resumed(id, resumed);
                self.mark(key);
            }
            Progress::Detached(detached) => {
                network.detached(id, detached);
                self.forget(key);
                self.mark(key);
            }
            Progress::Ended(ended) => {
                network.ended(id, ended);
                self.mark(key);
            }
            Progress::Gone => {
                network.gone(id);
                // What waits for the application needs no connection.
                self.forget(key);
                self.mark(key);
            }
            Progress::Over => self.remove(key),
        }
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
        let len = datagram.bytes.len();
        match self.endpoint.handle_datagram(datagram, now) {
            Routed::Known(handle, event) => {
                let Some(key) = self.keys.get(handle.index()).copied().flatten() else { return };
                let Some(entry) = self.entries.get_mut(key) else { return };
                match &mut entry.stage {
                    Stage::Arriving(arriving) => {
                        arriving.transport.handle_event(event);
                        self.mark(key);
                    }
                    Stage::Link(connection) => {
                        connection.transport_mut().handle_event(event);
                        if connection.note_datagram(len, now) {
                            self.work(key, socket, now);
                        } else {
                            self.mark(key);
                        }
                    }
                    Stage::Over => {}
                }
            }
            Routed::New(arrival) => self.arrive(arrival, socket, now),
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
