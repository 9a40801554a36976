//! What moves a socket's connections: one task that owns the socket, and does for each of them
//! what is due.
//!
//! A socket has any number of connections, told apart by the peer's address. Two between the same two
//! sockets could not be told apart, so of those that this side starts only one leads to each address.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use deltawire_channels::waking::{ReadyHandle, ReadyQueue};
use deltawire_link::runtime::{self, SharedRuntime};
use deltawire_link::{Connection, Datagram, Detached, LinkEnded, LinkId, Progress, Resumed};
use deltawire_webrtc::{Engine, KnownAddresses, Routes};
use slab::Slab;
use tokio::sync::mpsc;

#[cfg(feature = "turn")]
use super::gathering::{Probe, Probes, Relay};
#[cfg(feature = "quic")]
use crate::udp::driver::Hub;
use crate::udp::timers::Timers;
use crate::udp::{Inbox, Socket};

/// Receiving calls before others get their turn.
const RECEIVES: usize = 4;

/// Datagrams that a connection takes from its address at a TURN server before it works on them.
#[cfg(feature = "turn")]
const RELAYED: usize = 16;

/// The least first byte of QUIC's datagrams (RFC 9443).
#[cfg(feature = "quic")]
const FIRST_OF_QUIC: u8 = 64;

/// How long a socket that fails to receive [`RECEIVES`] times in a row is left alone.
const RECEIVE_AGAIN: Duration = Duration::from_millis(10);

/// What a driver is asked to do.
pub(crate) enum Request<E> {
    /// Drive this connection too.
    Add(Added<E>),
    /// Its peer trickled candidates.
    Candidates(LinkId, Vec<String>),
    /// Its peer hung up where signalling said so.
    HangUp(LinkId),
    /// Ask a STUN server about the socket.
    #[cfg(feature = "turn")]
    Probe(Probe),
}

/// A connection for a driver.
pub(crate) struct Added<E> {
    pub(crate) connection: Box<Connection<E>>,
    /// By this its peer names who its checks are for.
    pub(crate) user_fragment: String,
    /// Its address at a TURN server.
    #[cfg(feature = "turn")]
    pub(crate) relay: Option<Relay>,
}

/// What a driver tells of its connections.
pub(crate) trait Observer {
    /// The peer said hello.
    fn opened(&self, id: LinkId, peer: deltawire_channels::Peer);
    /// It has ended. What came before may still have to be handed on to the application.
    fn ended(&self, id: LinkId, ended: LinkEnded);
    /// Its transport is gone too: another can have its place.
    fn gone(&self, id: LinkId);
    /// The session of another link goes on in its place; the peer is of the one that was begun.
    fn merged(&self, id: LinkId, link: LinkId, peer: deltawire_channels::Peer);
    /// That goes on on both sides.
    fn resumed(&self, id: LinkId, resumed: Resumed);
    /// Its transport is gone, and its session waits for another.
    fn detached(&self, id: LinkId, detached: Box<Detached>);
}

/// The future that moves one socket.
pub(crate) struct Driver<E: Engine, O: Observer> {
    inbox: Inbox,
    /// How many of the inbox's places the next call may need.
    places: usize,
    connections: Connections<E, O>,
    ready: Arc<ReadyQueue>,
    requests: mpsc::Receiver<Request<E>>,
    runtime: SharedRuntime,
    alarm: Box<dyn runtime::Timer>,
    alarm_at: Option<Duration>,
    /// When to receive again after failures: nothing else wakes the task for it.
    receive_at: Option<Duration>,
    closing: bool,
    /// Links over QUIC that come in over the same socket (RFC 9443).
    #[cfg(feature = "quic")]
    quic: Option<crate::quic::hub::Hub>,
}

/// The connections of a socket.
struct Connections<E: Engine, O: Observer> {
    socket: Socket,
    entries: Slab<Entry<E>>,
    routes: Routes,
    timers: Timers,
    observer: O,
    /// Those that have something to do, by key.
    due: Vec<usize>,
    #[cfg(feature = "turn")]
    probes: Probes,
}

struct Entry<E> {
    connection: Box<Connection<E>>,
    known: KnownAddresses,
    ready: ReadyHandle,
    /// Whether it is among those that have something to do.
    due: bool,
    /// Its address at a TURN server.
    #[cfg(feature = "turn")]
    relay: Option<Relay>,
}

impl<E: Engine, O: Observer> Driver<E, O> {
    /// Moves `socket` for at most `capacity` connections. It goes by the time of `runtime`.
    pub(crate) fn new(
        socket: Socket,
        routes: Routes,
        requests: mpsc::Receiver<Request<E>>,
        observer: O,
        runtime: SharedRuntime,
        capacity: usize,
    ) -> Self {
        Self {
            inbox: Inbox::new(socket.local_address()),
            places: 1,
            connections: Connections {
                socket,
                entries: Slab::new(),
                routes,
                timers: Timers::default(),
                observer,
                due: Vec::new(),
                #[cfg(feature = "turn")]
                probes: Probes::default(),
            },
            // Of more, all are looked at.
            ready: ReadyQueue::new(capacity.min(1_024)),
            requests,
            alarm: runtime.timer(),
            runtime,
            alarm_at: None,
            receive_at: None,
            closing: false,
            #[cfg(feature = "quic")]
            quic: None,
        }
    }

    /// Moves links over QUIC that come in over the same socket, too.
    #[cfg(feature = "quic")]
    pub(crate) fn with_quic(mut self, quic: Option<crate::quic::hub::Hub>) -> Self {
        self.quic = quic;
        self
    }

    /// Runs until nobody can ask for anything any more and no connection is left.
    pub(crate) async fn run(mut self) {
        std::future::poll_fn(|context| self.poll(context)).await;
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.ready.register(context.waker());
        let now = self.runtime.now();
        self.take_requests(context);
        self.connections.mark_timers(now);
        while let Some(key) = self.ready.pop() {
            self.connections.mark(key);
        }
        if self.ready.take_overflow() {
            self.connections.mark_all();
        }
        self.connections.work_all(now);
        #[cfg(feature = "quic")]
        if let Some(quic) = &mut self.quic {
            quic.poll(&mut self.connections.socket, now, context);
        }
        let drained = self.receive(context);
        self.connections.socket.poll_waiting(context);
        if self.is_over() {
            return Poll::Ready(());
        }
        self.sleep(context);
        if !drained {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn is_over(&self) -> bool {
        let over = self.closing && self.connections.entries.is_empty();
        #[cfg(feature = "quic")]
        let over = over && self.quic.as_ref().is_none_or(Hub::is_over);
        over
    }

    /// Links that there are.
    fn len(&self) -> usize {
        let links = self.connections.entries.len();
        #[cfg(feature = "quic")]
        let links = links + self.quic.as_ref().map_or(0, Hub::len);
        links
    }

    fn take_requests(&mut self, context: &mut Context<'_>) {
        while !self.closing
            && let Poll::Ready(request) = self.requests.poll_recv(context)
        {
            match request {
                Some(Request::Add(added)) => {
                    let ready = &self.ready;
                    self.connections.add(added, |key| ready.handle(key));
                }
                #[cfg(feature = "turn")]
                Some(Request::Probe(probe)) => {
                    let Connections { socket, probes, .. } = &mut self.connections;
                    socket.send(probes.ask(probe));
                    socket.flush();
                }
                Some(Request::Candidates(id, candidates)) => {
                    self.connections.change(id, |connection| {
                        for candidate in candidates {
                            if let Err(error) = connection.transport_mut().add_candidate(&candidate)
                            {
                                tracing::debug!(%id, %error, "a candidate was ignored");
                            }
                        }
                    });
                }
                Some(Request::HangUp(id)) => self.connections.change(id, Connection::hang_up),
                None => self.closing = true,
            }
        }
    }

    /// Receives for a while. Says whether nothing is left for now.
    fn receive(&mut self, context: &mut Context<'_>) -> bool {
        let mut failed = 0;
        self.receive_at = None;
        for _ in 0..RECEIVES {
            // One call takes many datagrams of one peer in one place, and one place is left free; but
            // where peers send them one by one, as browsers do, each takes a place.
            let most = self.places.max(self.len() + 1);
            let places = match self.connections.socket.poll_receive(&mut self.inbox, most, context)
            {
                Poll::Pending => return true,
                Poll::Ready(Ok(places)) => places,
                // Not the end of the socket: the next call may find more.
                Poll::Ready(Err(error)) => {
                    tracing::debug!(%error, "receiving failed");
                    failed += 1;
                    continue;
                }
            };
            self.places = if places < most { places } else { 2 * places };
            let now = self.runtime.now();
            for datagram in self.inbox.datagrams(places) {
                #[cfg(feature = "quic")]
                if let Some(quic) = &mut self.quic
                    && datagram.bytes.first().is_some_and(|first| *first >= FIRST_OF_QUIC)
                {
                    quic.handle_datagram(datagram, &mut self.connections.socket, now);
                    continue;
                }
                self.connections.handle_datagram(datagram, now);
            }
            self.connections.work_all(now);
            #[cfg(feature = "quic")]
            if let Some(quic) = &mut self.quic {
                quic.work_all(&mut self.connections.socket, now);
            }
        }
        // The socket says that there is something, and wakes nobody until that is taken.
        let fails = failed == RECEIVES;
        self.receive_at = fails.then(|| self.runtime.now() + RECEIVE_AGAIN);
        fails
    }

    /// Sleeps until the next timer. An alarm that is too early, as its timer was put off since, costs a
    /// wake-up for nothing, which is less than to set the clock with every datagram.
    fn sleep(&mut self, context: &mut Context<'_>) {
        let next = self.connections.timers.next().into_iter().chain(self.receive_at);
        #[cfg(feature = "quic")]
        let next = next.chain(self.quic.as_mut().and_then(Hub::next));
        let Some(next) = next.min() else { return };
        if self.alarm_at.is_none_or(|until| next < until) {
            self.alarm.set(next);
            self.alarm_at = Some(next);
        }
        while self.alarm.poll(context).is_ready() {
            if self.alarm_at == Some(next) {
                self.alarm_at = None;
                context.waker().wake_by_ref();
                return;
            }
            // It rang for what was done by now, or was put off.
            self.alarm.set(next);
            self.alarm_at = Some(next);
        }
    }
}

/// Whatever ends the task, no link is left that seems to live.
impl<E: Engine, O: Observer> Drop for Driver<E, O> {
    fn drop(&mut self) {
        self.requests.close();
        while let Ok(request) = self.requests.try_recv() {
            if let Request::Add(added) = request {
                abandon(added.connection, &self.connections.observer);
            }
        }
        for entry in self.connections.entries.drain() {
            abandon(entry.connection, &self.connections.observer);
        }
    }
}

/// Has a connection take what came to its address at a TURN server.
#[cfg(feature = "turn")]
fn take_relayed<E: Engine>(
    connection: &mut Connection<E>,
    relay: &mut Option<Relay>,
    now: Duration,
    context: &mut Context<'_>,
) {
    let Some(from) = relay else { return };
    let destination = from.address();
    for _ in 0..RELAYED {
        match from.poll_receive(context) {
            Poll::Ready(Some((source, bytes))) => {
                connection.handle_datagram(Datagram { source, destination, bytes: &bytes }, now);
            }
            Poll::Ready(None) => {
                *relay = None;
                return;
            }
            Poll::Pending => return,
        }
    }
    // There may be more, after what these ask for.
    context.waker().wake_by_ref();
}

/// Ends a link that nobody moves any more, and tells who counts it.
fn abandon<E: Engine>(connection: Box<Connection<E>>, observer: &impl Observer) {
    let (id, shared) = (connection.place(), connection.state().clone());
    drop(connection);
    observer.ended(id, shared.ended().unwrap_or(LinkEnded::Stopped));
    observer.gone(id);
}

impl<E: Engine, O: Observer> Connections<E, O> {
    fn add(&mut self, mut added: Added<E>, handle: impl FnOnce(usize) -> ReadyHandle) {
        let vacant = self.entries.vacant_entry();
        let key = vacant.key();
        let ready = handle(key);
        added.connection.attach(ready.waker());
        let known = self.routes.add(key, &added.user_fragment);
        #[cfg(feature = "turn")]
        if let Some(relay) = &mut added.relay {
            relay.belongs_to(&added.user_fragment);
        }
        vacant.insert(Entry {
            connection: added.connection,
            known,
            ready,
            due: false,
            #[cfg(feature = "turn")]
            relay: added.relay,
        });
        self.mark(key);
    }

    /// Signalling is rare: no table is worth it.
    fn change(&mut self, id: LinkId, change: impl FnOnce(&mut Connection<E>)) {
        let mut entries = self.entries.iter_mut();
        let found = entries.find(|(_, entry)| entry.connection.place() == id);
        let Some((key, entry)) = found else { return };
        change(&mut entry.connection);
        self.mark(key);
    }

    #[inline]
    fn mark(&mut self, key: usize) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if !entry.due {
            entry.due = true;
            self.due.push(key);
        }
    }

    fn mark_all(&mut self) {
        for (key, entry) in &mut self.entries {
            if !entry.due {
                entry.due = true;
                self.due.push(key);
            }
        }
    }

    fn mark_timers(&mut self, now: Duration) {
        while let Some(key) = self.timers.pop(now) {
            self.mark(key);
        }
    }

    fn handle_datagram(&mut self, mut datagram: Datagram<'_>, now: Duration) {
        #[cfg(feature = "turn")]
        if self.probes.take(&datagram) {
            return;
        }
        let Some(key) = self.routes.find(datagram.source, datagram.bytes) else { return };
        let Some(entry) = self.entries.get_mut(key) else { return };
        // Engines know only what peers know this host by, and drop what comes elsewhere.
        let known = self.socket.known_as(datagram.destination);
        entry.known.note_reached(datagram.source, known.map(|_| datagram.destination.ip()));
        datagram.destination = known.unwrap_or(datagram.destination);
        if entry.connection.handle_datagram(datagram, now) {
            self.work(key, now);
        } else {
            self.mark(key);
        }
    }

    fn work_all(&mut self, now: Duration) {
        while let Some(key) = self.due.pop() {
            if let Some(entry) = self.entries.get_mut(key) {
                entry.due = false;
                self.work(key, now);
            }
        }
    }

    /// Does what one connection has to do.
    fn work(&mut self, key: usize, now: Duration) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let Entry { connection, known, ready, .. } = entry;
        #[cfg(feature = "turn")]
        let relay = &mut entry.relay;
        ready.rearm();
        let mut context = Context::from_waker(ready.waker());
        #[cfg(feature = "turn")]
        take_relayed(connection, relay, now, &mut context);
        let progress = connection.work(now, &mut context, &mut |mut transmit| {
            #[cfg(feature = "turn")]
            if let Some(relay) = relay {
                let Some(not_by_it) = relay.send(transmit) else { return };
                transmit = not_by_it;
            }
            self.routes.learn(key, known, transmit.destination, &transmit.bytes);
            if let Some(reached) = known.reached_from(transmit.destination) {
                transmit.source.set_ip(reached);
            }
            self.socket.send(transmit);
        });
        self.socket.flush();
        self.timers.set(key, connection.poll_timeout());
        let id = connection.place();
        #[cfg(feature = "turn")]
        if let Some(address) = relay {
            let opened = matches!(
                progress,
                Progress::Opened(_) | Progress::Merged { .. } | Progress::Resumed(_)
            );
            if opened {
                address.opened(now);
            }
            let gone = matches!(progress, Progress::Gone | Progress::Detached(_));
            if gone || address.is_unused(now) {
                *relay = None;
            }
        }
        match progress {
            Progress::Quiet => {}
            Progress::Opened(peer) => {
                self.observer.opened(id, *peer);
                self.mark(key);
            }
            Progress::Merged { peer, link } => {
                self.observer.merged(id, link, *peer);
                self.mark(key);
            }
            Progress::Resumed(resumed) => {
                self.observer.resumed(id, resumed);
                self.mark(key);
            }
            Progress::Detached(detached) => {
                self.routes.remove(key, known);
                self.observer.detached(id, detached);
                self.mark(key);
            }
            Progress::Ended(ended) => {
                self.observer.ended(id, ended);
                self.mark(key);
            }
            Progress::Gone => {
                // What waits for the application needs no addresses: another link may have them.
                self.routes.remove(key, known);
                self.observer.gone(id);
                self.mark(key);
            }
            Progress::Over => {
                let entry = self.entries.remove(key);
                self.timers.set(key, None);
                self.routes.remove(key, &entry.known);
                drop(entry);
            }
        }
    }
}
