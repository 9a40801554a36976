//! One session on one engine, without I/O: the same for every driver.

#[cfg(all(test, not(target_arch = "wasm32")))]
mod cost;
#[cfg(all(test, not(target_arch = "wasm32")))]
mod silence;

use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use deltawire_channels::session::{Closed, Config, Event, HangUp};
use deltawire_channels::{Peer, Session};
use deltawire_framing::control::CloseCode;

#[cfg(not(target_arch = "wasm32"))]
use crate::engine::{Datagram, Engine};
use crate::engine::{EngineError, Output, Streams, Transmit};
use crate::flight::{Flight, FlightLimits};
use crate::link::{Ended, Route, SenderRequest, Shared};

/// Datagrams that an engine takes in before it is asked what to send: its acknowledgements go
/// together.
#[cfg(not(target_arch = "wasm32"))]
const DATAGRAMS_BETWEEN_DRAINS: usize = 16;

/// A session on an engine.
pub(crate) struct Connection<E> {
    engine: E,
    session: Session,
    /// Until the peer has said hello.
    peer: Option<Peer>,
    flight: Flight,
    max_frame_len: usize,
    shared: Arc<Shared>,
    traffic: Traffic,
    engine_timeout: Option<Duration>,
    stage: Stage,
    /// How long the last words of the session may go without being acknowledged, and how long the
    /// peer then has to hang up or to answer.
    flush_timeout: Duration,
    /// Datagrams since the last drain.
    fed: usize,
    /// Whether the engine may have something to give.
    dirty: bool,
    /// The latest time that the engine was told.
    engine_now: Duration,
    /// Whether the session has something to send that the flight has no room for.
    waiting: bool,
    /// Bytes that the engine holds until the peer has acknowledged them.
    buffered: usize,
    /// Bytes that were written, cumulative; of these, up to the last of the application's; and those
    /// that the peer has acknowledged.
    written: u64,
    written_for_application: u64,
    acknowledged: u64,
    ended: Option<Ended>,
    /// Whether its driver knows.
    told: bool,
    /// Whether its driver knows that the engine is gone.
    gone: bool,
}

/// What a connection counts by itself: see [`LinkStats`](crate::LinkStats).
#[derive(Debug, Default)]
struct Traffic {
    route: Route,
    datagrams_received: u64,
    datagrams_sent: u64,
    bytes_received: u64,
    bytes_sent: u64,
    waits: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Until the streams are open.
    Connecting {
        since: Duration,
        deadline: Duration,
    },
    Open,
    /// The session is over, as everybody knows; what it said last is still on its way, or the peer
    /// is to hang up.
    Flushing {
        deadline: Duration,
        /// For how long the peer is waited for from each acknowledgement on.
        patience: Duration,
    },
    /// The engine is gone; what came is still handed on to the application.
    Delivering,
}

/// What came of a round of work.
pub(crate) enum Progress {
    /// Nothing to tell.
    Quiet,
    /// The peer said hello: here it is.
    Opened(Box<Peer>),
    /// It has ended. What it said last may still be on its way, and what came before may still
    /// have to be handed on.
    Ended(Ended),
    /// The engine is gone.
    Gone,
    /// Everything was handed on: it can be dropped.
    Over,
}

/// What a connection is made with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionConfig {
    pub(crate) session: Config,
    pub(crate) flight: FlightLimits,
    /// How long it may take until the streams are open.
    pub(crate) connect_timeout: Duration,
}

impl<E: Streams> Connection<E> {
    pub(crate) fn new(
        engine: E,
        mut config: ConnectionConfig,
        shared: Arc<Shared>,
        now: Duration,
    ) -> Self {
        let limits = &mut config.session.limits;
        limits.max_frame_len = limits.max_frame_len.min(engine.max_message_len());
        config.session.transport_hears = engine.hears();
        // The peer's hello comes after the streams are open.
        limits.hello_timeout = limits.hello_timeout.saturating_add(config.connect_timeout);
        let flush_timeout = limits.close_timeout;
        let (session, peer) = match Session::new(config.session, now) {
            Ok(made) => made,
            Err(error) => unreachable!("nodes and simulations check their limits: {error}"),
        };
        Self {
            engine,
            session,
            peer: Some(peer),
            flight: Flight::new(config.flight),
            max_frame_len: config.session.limits.max_frame_len,
            shared,
            traffic: Traffic::default(),
            engine_timeout: Some(now),
            stage: Stage::Connecting {
                since: now,
                deadline: now.saturating_add(config.connect_timeout),
            },
            flush_timeout,
            fed: 0,
            dirty: true,
            engine_now: now,
            waiting: false,
            buffered: 0,
            written: 0,
            written_for_application: 0,
            acknowledged: 0,
            ended: None,
            told: false,
            gone: false,
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    #[cfg(target_arch = "wasm32")]
    pub(crate) fn streams(&self) -> &E {
        &self.engine
    }

    /// Says which way its messages go.
    #[cfg(target_arch = "wasm32")]
    pub(crate) fn set_route(&mut self, route: Route) {
        self.traffic.route = route;
    }

    /// When to [`work`](Self::work) next even if nothing happens.
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        let stage = match self.stage {
            Stage::Connecting { deadline, .. } | Stage::Flushing { deadline, .. } => Some(deadline),
            Stage::Open => self.waiting.then(|| self.flight.poll_timeout()).flatten(),
            Stage::Delivering => return None,
        };
        [self.engine_timeout, self.session.poll_timeout(), stage].into_iter().flatten().min()
    }

    /// Does everything that can be done now. To be called again until it is
    /// [`Quiet`](Progress::Quiet).
    pub(crate) fn work(
        &mut self,
        now: Duration,
        context: &mut Context<'_>,
        send: &mut impl FnMut(Transmit),
    ) -> Progress {
        self.fed = 0;
        if self.shared.take_asked() {
            self.take_requests(now);
        }
        if self.session.poll_timeout().is_some_and(|at| at <= now) {
            self.session.handle_timeout(now);
        }
        if self.engine_timeout.is_some_and(|at| at <= now) {
            self.engine.handle_timeout(now);
            self.engine_now = now;
            self.dirty = true;
        }
        if self.dirty || self.engine.moves_by_itself() {
            self.drain(now, send);
            self.buffered = self.engine.buffered_amount();
            self.flight.acknowledge(self.buffered, now);
            self.note_acknowledged(now);
            // That less is buffered shows nothing: what may get lost is given up in time.
            if self.engine.take_heard() {
                self.session.hear(now);
            }
        }
        let more = loop {
            // Registers for what comes after; then looks what is there.
            let ready = self.session.poll_ready(context);
            if !(ready && self.fill(now)) {
                break ready;
            }
            self.drain(now, send);
        };
        let full = more && matches!(self.stage, Stage::Open);
        self.traffic.waits += u64::from(full && !self.waiting);
        self.waiting = more;
        let opened = self.take_events(now);
        self.move_on(more, now, send);
        self.publish();
        if let Some(peer) = opened {
            return Progress::Opened(Box::new(peer));
        }
        match (self.stage, &self.ended) {
            (Stage::Flushing { .. } | Stage::Delivering, Some(ended)) if !self.told => {
                self.told = true;
                Progress::Ended(ended.clone())
            }
            (Stage::Delivering, _) if !self.gone => {
                self.gone = true;
                Progress::Gone
            }
            (Stage::Delivering, _) if self.session.is_finished() => Progress::Over,
            _ => Progress::Quiet,
        }
    }

    /// What the peer acknowledged is progress; of a session that is open only if it was the
    /// application's, as each ping is acknowledged by a peer that reads nothing.
    fn note_acknowledged(&mut self, now: Duration) {
        let acknowledged = self.written.saturating_sub(self.buffered as u64);
        if acknowledged <= self.acknowledged {
            return;
        }
        if self.acknowledged < self.written_for_application {
            self.session.note_progress(now);
        }
        if let Stage::Flushing { deadline, patience } = &mut self.stage {
            *deadline = (*deadline).max(now.saturating_add(*patience));
        }
        self.acknowledged = acknowledged;
    }

    /// Everything that the engine has to give.
    fn drain(&mut self, now: Duration, send: &mut impl FnMut(Transmit)) {
        self.dirty = false;
        loop {
            match self.engine.poll_output() {
                Ok(Output::Transmit(transmit)) => {
                    self.traffic.datagrams_sent += 1;
                    self.traffic.bytes_sent += transmit.bytes.len() as u64;
                    send(transmit);
                }
                Ok(Output::Open) => {
                    if matches!(self.stage, Stage::Connecting { .. }) {
                        self.stage = Stage::Open;
                    }
                }
                Ok(Output::Message(channel, message)) => {
                    self.session.handle_message(channel, message, now);
                }
                Ok(Output::Closed) => self.lose(Ended::HungUp),
                Ok(Output::Timeout(at)) => {
                    self.engine_timeout = at;
                    return;
                }
                // The engine lives: the peer can be told.
                Err(error) if error.leaves_streams() => {
                    let reason = error.to_string();
                    self.end_by_name(Ended::Engine(error), CloseCode::OUT_OF_PLACE, &reason);
                }
                Err(error) => {
                    self.engine_timeout = None;
                    if self.stage != Stage::Delivering {
                        self.lose(Ended::Engine(error));
                        self.engine.close();
                        self.dirty = true;
                    }
                    return;
                }
            }
        }
    }

    /// Writes what there is room for. Says whether it wrote.
    fn fill(&mut self, now: Duration) -> bool {
        if !matches!(self.stage, Stage::Open | Stage::Flushing { .. }) {
            return false;
        }
        let mut wrote = false;
        loop {
            let buffered = self.buffered;
            let room = self.flight.budget(buffered, now);
            // Commands do not wait for room among deltas.
            let urgent = (self.flight.cap() + self.max_frame_len).saturating_sub(buffered);
            let Some(transmit) = self.session.poll_transmit_with(urgent, room) else { break };
            let (len, of_application) = (transmit.len(), transmit.is_application());
            // It starts its timers at the latest time that it knows: after a quiet while they would
            // be over at once.
            if now > self.engine_now + MAX_LAG {
                self.engine.handle_timeout(now);
                self.engine_now = now;
            }
            match self.engine.write(transmit.channel(), &transmit) {
                Ok(true) => {}
                // The flight is never larger than the engine's buffer, so this is a fault of its.
                Ok(false) => {
                    drop(transmit);
                    let reason = format!("it refused {len} bytes beside {buffered}");
                    self.lose(Ended::Engine(EngineError::Stack(reason)));
                    self.engine.close();
                    self.dirty = true;
                    return false;
                }
                Err(error) => {
                    drop(transmit);
                    self.lose(Ended::Engine(error));
                    self.engine.close();
                    self.dirty = true;
                    return false;
                }
            }
            let idle = 2 * (buffered + len) < self.flight.cap();
            self.flight.wrote(len, buffered, idle, now);
            self.buffered += len;
            self.written += len as u64;
            if of_application {
                self.written_for_application = self.written;
            }
            wrote = true;
        }
        wrote
    }

    fn take_requests(&mut self, now: Duration) {
        if let Some((code, reason)) = self.shared.take_close() {
            self.session.close(code, &reason, now);
        }
        if self.shared.take_cut() {
            self.session.cut_short(now);
        }
        while let Some(request) = self.shared.take_sender_request() {
            // Who asked may have gone; who gets none is told that there are no more.
            match request {
                SenderRequest::Ring(share, reply) => {
                    let _ = self.session.open_sender(share).map(|sender| reply.send(sender));
                }
                SenderRequest::Shared(share, reply) => {
                    let _ = self.session.open_shared_sender(share).map(|sender| reply.send(sender));
                }
            }
        }
    }

    fn take_events(&mut self, now: Duration) -> Option<Peer> {
        let mut opened = None;
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Opened(hello) => {
                    tracing::debug!(?hello, "session open");
                    opened = self.peer.take();
                }
                Event::Closed(closed) => {
                    if matches!(self.stage, Stage::Connecting { .. } | Stage::Open) {
                        let silent = matches!(&closed, Closed::Error(error) if error.is_silence());
                        // What may get lost is given up as if it had been acknowledged: of a peer that
                        // is silent, that shows nothing.
                        let (limit, patience) = if silent {
                            (self.flush_timeout.min(LAST_WORDS), Duration::ZERO)
                        } else {
                            (self.flush_timeout, self.flush_timeout)
                        };
                        let deadline = now.saturating_add(limit);
                        self.stage = Stage::Flushing { deadline, patience };
                    }
                    self.ended.get_or_insert(Ended::Session(closed));
                    self.publish_end();
                }
                _ => {}
            }
        }
        opened
    }

    /// Goes to the next stage when this one is through; `more` says that the session has more to
    /// say.
    fn move_on(&mut self, more: bool, now: Duration, send: &mut impl FnMut(Transmit)) {
        match self.stage {
            Stage::Connecting { since, deadline } if now >= deadline => {
                self.lose(Ended::NotReached(deadline - since));
                self.engine.close();
                self.drain(now, send);
            }
            Stage::Flushing { deadline, .. } => {
                let over = match self.session.hang_up() {
                    HangUp::Now => true,
                    HangUp::Flushed => !more && self.buffered == 0,
                    HangUp::Wait => false,
                };
                if over || now >= deadline {
                    self.finish();
                    self.engine.close();
                    self.drain(now, send);
                }
            }
            _ => {}
        }
    }

    /// The engine is of no more use: `ended` is why, unless the session has ended before.
    fn lose(&mut self, ended: Ended) {
        if self.stage == Stage::Delivering {
            return;
        }
        let hung_up = ended == Ended::HungUp;
        let in_order = hung_up && self.session.has_heard_close();
        if self.ended.is_none() && !in_order {
            self.session.explain_loss(&ended);
        }
        let closed = self.session.lose_link();
        let known = hung_up && closed != Closed::LinkLost;
        self.ended.get_or_insert(if known { Ended::Session(closed) } else { ended });
        self.finish();
    }

    /// Ends the link because of `ended`, and lets the peer know as far as it can.
    fn end_by_name(&mut self, ended: Ended, code: CloseCode, reason: &str) {
        match self.stage {
            Stage::Connecting { .. } => {
                self.lose(ended);
                self.engine.close();
                self.dirty = true;
            }
            Stage::Open => {
                self.session.explain_loss(&ended);
                self.ended.get_or_insert(ended);
                self.session.abort(code, reason);
            }
            Stage::Flushing { .. } | Stage::Delivering => {}
        }
    }

    fn finish(&mut self) {
        self.stage = Stage::Delivering;
        // What it did not get to say, such as a close that found no room, nobody will hear.
        self.session.lose_link();
        self.publish_end();
    }

    /// Tells everybody how it ended. Only the first time counts.
    fn publish_end(&mut self) {
        let Some(ended) = self.ended.clone() else { return };
        let undelivered = self.session.undelivered();
        tracing::debug!(%ended, ?undelivered, "link ended");
        self.publish();
        self.shared.end(ended, undelivered);
    }

    fn publish(&mut self) {
        let Self { shared, session, flight, traffic, buffered, .. } = self;
        shared.publish(|stats| {
            stats.session = session.stats();
            stats.route = traffic.route;
            stats.datagrams_received = traffic.datagrams_received;
            stats.datagrams_sent = traffic.datagrams_sent;
            stats.bytes_received = traffic.bytes_received;
            stats.bytes_sent = traffic.bytes_sent;
            stats.flight = flight.cap() as u64;
            stats.buffered = *buffered as u64;
            stats.delay = flight.delay();
            stats.rate = flight.rate();
            stats.stalls = flight.stalls();
            stats.waits = traffic.waits;
        });
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl<E: Engine> Connection<E> {
    pub(crate) fn add_candidate(&mut self, candidate: &str) -> Result<(), EngineError> {
        self.dirty = true;
        self.engine.add_candidate(candidate)
    }

    /// Takes in a datagram. Says whether it is time to [`work`](Self::work).
    pub(crate) fn handle_datagram(&mut self, datagram: Datagram<'_>, now: Duration) -> bool {
        self.traffic.datagrams_received += 1;
        self.traffic.bytes_received += datagram.bytes.len() as u64;
        self.engine.handle_datagram(datagram, now);
        self.engine_now = now;
        self.dirty = true;
        self.fed += 1;
        self.fed >= DATAGRAMS_BETWEEN_DRAINS
    }

    /// The peer hung up where signalling said so. A session that is being closed goes on to its
    /// end: it hears by itself when the peer is gone.
    pub(crate) fn hang_up(&mut self) {
        if !self.session.is_ending() {
            let reason = "the peer hung up over signalling";
            self.end_by_name(Ended::HungUp, CloseCode::NORMAL, reason);
        }
    }
}

/// How long a peer that was taken for dead has to acknowledge that it is told so: most likely it hears
/// nothing, and what its link holds is not to wait for it.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(1);

/// How far the time that an engine knows may lie back when something is written.
const MAX_LAG: Duration = Duration::from_millis(1);

impl<E> Drop for Connection<E> {
    fn drop(&mut self) {
        self.session.lose_link();
        // Its driver is gone, and nobody moves it any more.
        let ended = self.ended.take().unwrap_or(Ended::Stopped);
        self.shared.end(ended, self.session.undelivered());
    }
}
