//! One session on one transport, without I/O: the same for every driver.

mod datagrams;
mod delivery;
mod ending;
mod observed;
mod roaming;

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use deltawire_channels::session::SessionConfig;
use deltawire_channels::{Peer, Session};
use deltawire_framing::control::CloseCode;

use self::delivery::check_delivery;
use self::roaming::Roaming;
use crate::changes::Resumed;
use crate::error::{Fault, TransportErrorKind};
use crate::link::{LinkEnded, LinkId, LinkState, Route};
use crate::pacing::{Pacing, PacingLimits};
use crate::sessions::Detached;
use crate::transport::{Capabilities, InFlight};
use crate::{MessageTransport, Output, Transmit, TransportError};

/// A session on a transport, without I/O: whoever has a clock moves it.
///
/// Call [`work`](Self::work) when the task is woken that its waker stands for, when something came, and at
/// [`poll_timeout`](Self::poll_timeout), until it is [`Quiet`](Progress::Quiet).
pub struct Connection<T> {
    transport: T,
    capabilities: Capabilities,
    session: Session,
    /// Until the peer has said hello. By itself, as nothing of it is left here then.
    peer: Option<Box<Peer>>,
    pacing: Pacing,
    max_frame_len: usize,
    shared: Arc<LinkState>,
    /// What its log lines belong to.
    span: tracing::Span,
    traffic: Traffic,
    transport_timeout: Option<Duration>,
    valid_until: Option<Duration>,
    /// When a close because of that waits no longer, whatever its peer goes on sending.
    cut_at: Option<Duration>,
    stage: Stage,
    /// How long the last words of the session may go without being acknowledged, and how long the
    /// peer then has to hang up or to answer.
    flush_timeout: Duration,
    /// Datagrams since the last drain.
    fed: usize,
    /// Whether the transport may have something to give.
    dirty: bool,
    /// The latest time that the transport was told.
    transport_now: Duration,
    /// Whether the session has something to send that the pacing has no room for.
    waiting: bool,
    /// Bytes that are on their way: see [`Capabilities::in_flight`].
    buffered: usize,
    /// Bytes that were written, cumulative; of these, up to the last of the application's; and those
    /// that the peer has acknowledged.
    written: u64,
    written_for_application: u64,
    acknowledged: u64,
    ended: Option<LinkEnded>,
    /// The link that it was made for; its session can be another's.
    place: LinkId,
    roaming: Roaming,
    /// The latest time that it was told.
    now: Duration,
    /// Whether its driver knows.
    told: bool,
    /// Whether its driver knows that the transport is gone.
    gone: bool,
}

/// What a connection counts by itself: see [`LinkStats`](crate::LinkStats).
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    route: Route,
    pub(crate) remote_address: Option<SocketAddr>,
    datagrams_received: u64,
    datagrams_sent: u64,
    bytes_received: u64,
    bytes_sent: u64,
    waits: u64,
}

impl Traffic {
    /// Goes on counting where another left off.
    fn add(&mut self, before: &Self) {
        self.datagrams_received += before.datagrams_received;
        self.datagrams_sent += before.datagrams_sent;
        self.bytes_received += before.bytes_received;
        self.bytes_sent += before.bytes_sent;
        self.waits += before.waits;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Until the channels are open.
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
    /// The transport is gone; what came is still handed on to the application.
    Delivering,
}

/// What came of a round of work.
pub enum Progress {
    /// Nothing to tell.
    Quiet,
    /// The peer said hello: here it is.
    Opened(Box<Peer>),
    /// A session that was there before goes on over this connection, in place of the one that was begun, whose peer
    /// this is.
    Merged {
        /// Of the session that was begun: it is over, and was not told to anybody.
        peer: Box<Peer>,
        /// The link whose session goes on.
        link: LinkId,
    },
    /// Both sides have gone on with that session.
    Resumed(Resumed),
    /// The transport is of no more use, and the session waits for another connection: it is to be
    /// [put](crate::Sessions::put) where that finds it.
    Detached(Box<Detached>),
    /// It has ended. What it said last may still be on its way, and what came before may still
    /// have to be handed on.
    Ended(LinkEnded),
    /// The transport is gone.
    Gone,
    /// Everything was handed on: it can be dropped.
    Over,
}

/// What a connection is made with.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionConfig {
    /// What the session is made with.
    pub session: SessionConfig,
    /// How much is on its way, over transports whose peer acknowledges.
    pub pacing: PacingLimits,
    /// How long it may take until the channels are open.
    pub connect_timeout: Duration,
    /// When it is closed, because its peer's [`Identity`](crate::Identity) is no longer valid.
    pub valid_until: Option<Duration>,
}

impl<T: MessageTransport> Connection<T> {
    /// Begins a session on this transport. `state` is the driver's part of the link: see
    /// [`Link::new`](crate::Link::new).
    ///
    /// # Errors
    ///
    /// [`TransportErrorKind::Unsupported`] when the transport cannot deliver as the session is configured,
    /// and [`TransportErrorKind::SetUp`] when its limits cannot be kept.
    pub fn new(
        transport: T,
        mut config: ConnectionConfig,
        shared: Arc<LinkState>,
        now: Duration,
    ) -> Result<Self, TransportError> {
        let capabilities = transport.capabilities();
        check_delivery(&config.session, capabilities)?;
        let limits = &mut config.session.limits;
        limits.max_frame_len = limits.max_frame_len.min(capabilities.max_message_len);
        config.session.transport_hears = capabilities.liveness;
        if let Some(sessions) = shared.sessions() {
            config.session.resumes = true;
            config.session.resume_timeout = sessions.limits().resume_timeout;
        }
        let pacing = match capabilities.in_flight {
            InFlight::Acknowledged => config.pacing,
            // There is nothing to adapt to.
            InFlight::HandedOn { max } => {
                limits.max_frame_len = limits.max_frame_len.min(max);
                PacingLimits { min: max, max }
            }
        };
        // The peer's hello comes after the channels are open.
        limits.hello_timeout = limits.hello_timeout.saturating_add(config.connect_timeout);
        let flush_timeout = limits.close_timeout;
        let (session, peer) = Session::new(config.session, now)
            .map_err(|error| TransportError::new(TransportErrorKind::SetUp, Fault::Local, error))?;
        Ok(Self {
            transport,
            capabilities,
            session,
            peer: Some(Box::new(peer)),
            pacing: Pacing::new(pacing),
            max_frame_len: config.session.limits.max_frame_len,
            place: shared.id(),
            roaming: Roaming::new(config.session, &shared),
            now,
            span: observed::span(shared.id(), config.session.role, capabilities.kind),
            shared,
            traffic: Traffic::default(),
            transport_timeout: Some(now),
            valid_until: config.valid_until,
            cut_at: None,
            stage: Stage::Connecting {
                since: now,
                deadline: now.saturating_add(config.connect_timeout),
            },
            flush_timeout,
            fed: 0,
            dirty: true,
            transport_now: now,
            waiting: false,
            buffered: 0,
            written: 0,
            written_for_application: 0,
            acknowledged: 0,
            ended: None,
            told: false,
            gone: false,
        })
    }

    /// Has this waker woken when there is something to do: by the application, and by a transport that
    /// wakes.
    pub fn attach(&mut self, driver: &Waker) {
        self.shared.attach(driver.clone());
        self.roaming.set_driver(driver);
        self.transport.attach(driver);
    }

    /// The driver's part of the link.
    pub fn state(&self) -> &Arc<LinkState> {
        &self.shared
    }

    /// The link that it was made for: what its driver knows it by. That of its session is
    /// [`state`](Self::state)'s, and another where a session goes on that was there before.
    pub fn place(&self) -> LinkId {
        self.place
    }

    /// What it runs on, to be told something.
    pub fn transport_mut(&mut self) -> &mut T {
        self.dirty = true;
        &mut self.transport
    }

    /// Says which way its messages go within this process.
    pub fn set_route(&mut self, route: Route) {
        self.traffic.route = route;
    }

    /// Says where its peer is, over transports that do not say so themselves.
    pub fn set_remote_address(&mut self, address: SocketAddr) {
        self.traffic.remote_address = Some(address);
    }

    /// When to [`work`](Self::work) next even if nothing happens.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let stage = match self.stage {
            Stage::Connecting { deadline, .. } | Stage::Flushing { deadline, .. } => Some(deadline),
            Stage::Open => self.waiting.then(|| self.pacing.poll_timeout()).flatten(),
            Stage::Delivering => return None,
        };
        let others = [
            self.transport_timeout,
            self.session.poll_timeout(),
            self.valid_until,
            self.cut_at,
            self.roaming.poll_timeout(),
        ];
        others.into_iter().chain([stage]).flatten().min()
    }

    /// Does everything that can be done now. To be called again until it is
    /// [`Quiet`](Progress::Quiet).
    pub fn work(
        &mut self,
        now: Duration,
        context: &mut Context<'_>,
        send: &mut impl FnMut(Transmit),
    ) -> Progress {
        let _entered = self.span.clone().entered();
        self.fed = 0;
        self.now = now;
        if self.shared.take_asked() {
            self.take_requests(now);
        }
        if self.valid_until.take_if(|at| *at <= now).is_some() {
            self.expire(now);
        }
        if self.cut_at.take_if(|at| *at <= now).is_some() {
            self.session.cut_short(now);
        }
        if self.session.poll_timeout().is_some_and(|at| at <= now) {
            self.session.handle_timeout(now);
        }
        // One that wakes by itself is told the time whatever woke it.
        if self.capabilities.wakes || self.transport_timeout.is_some_and(|at| at <= now) {
            self.transport.handle_timeout(now);
            self.transport_now = now;
            self.dirty = true;
        }
        if self.dirty || self.capabilities.wakes {
            self.drain(now, send);
            self.note_in_flight(now);
            // That less is in flight shows nothing: what may get lost is given up in time.
            if self.transport.take_heard() {
                self.session.hear(now);
            }
        }
        let turn_ends = self.written.saturating_add(TURN);
        let mut yields = false;
        let more = loop {
            // Registers for what comes after; then looks what is there.
            let ready = self.session.poll_ready(context);
            if !(ready && self.fill(turn_ends, now)) {
                break ready;
            }
            self.drain(now, send);
            if self.capabilities.wakes && self.written >= turn_ends {
                // Others first.
                yields = true;
                context.waker().wake_by_ref();
                break true;
            }
            // What was handed on makes room at once.
            if !self.capabilities.wakes
                && matches!(self.capabilities.in_flight, InFlight::HandedOn { .. })
            {
                self.note_in_flight(now);
            }
        };
        let waits = more && !yields;
        let full = waits && matches!(self.stage, Stage::Open);
        self.traffic.waits += u64::from(full && !self.waiting);
        self.waiting = waits;
        let opened = self.take_events(now);
        if let Some(progress) = self.roam(now, context, send) {
            return progress;
        }
        self.move_on(more, now, send);
        self.publish();
        if let Some(peer) = opened {
            return Progress::Opened(peer);
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

    fn note_in_flight(&mut self, now: Duration) {
        self.buffered = self.transport.in_flight();
        self.pacing.acknowledge(self.buffered, now);
        self.note_acknowledged(now);
    }

    /// What the peer acknowledged is progress; of a session that is open only if it was the
    /// application's, as each ping is acknowledged by a peer that reads nothing.
    fn note_acknowledged(&mut self, now: Duration) {
        let acknowledged = self.written.saturating_sub(self.buffered as u64);
        let before = self.acknowledged;
        self.acknowledged = acknowledged.max(before);
        let (got_on, of_application) = match self.transport.take_progress() {
            // What was handed on may lie there for long, and what is acknowledged was handed on long ago.
            Some(got_on) => (got_on, got_on),
            None => (acknowledged > before, before < self.written_for_application),
        };
        if !got_on {
            return;
        }
        if of_application {
            self.session.note_progress(now);
        }
        if let Stage::Flushing { deadline, patience } = &mut self.stage {
            *deadline = (*deadline).max(now.saturating_add(*patience));
        }
    }

    /// Everything that the transport has to give.
    fn drain(&mut self, now: Duration, send: &mut impl FnMut(Transmit)) {
        self.dirty = false;
        loop {
            match self.transport.poll_output() {
                Ok(Output::Transmit(transmit)) => {
                    self.traffic.remote_address = Some(transmit.destination);
                    self.traffic.datagrams_sent += transmit.datagrams() as u64;
                    self.traffic.bytes_sent += transmit.bytes.len() as u64;
                    send(transmit);
                }
                Ok(Output::Open) => {
                    if matches!(self.stage, Stage::Connecting { .. }) {
                        self.stage = Stage::Open;
                        // Some know only now how much the peer's socket holds.
                        self.pacing.set_queue(self.transport.capabilities().queue);
                    }
                }
                Ok(Output::Message(channel, message)) => {
                    self.session.handle_message(channel, message, now);
                }
                Ok(Output::Closed) => self.lose(LinkEnded::HungUp),
                Ok(Output::Timeout(at)) => {
                    self.transport_timeout = at;
                    return;
                }
                // The channels are there: the peer can be told.
                Err(error) if error.keeps_channels() => {
                    let reason = error.to_string();
                    self.end_by_name(LinkEnded::Transport(error), CloseCode::OUT_OF_PLACE, &reason);
                }
                Err(error) => {
                    self.transport_timeout = None;
                    if self.stage != Stage::Delivering {
                        self.lose(LinkEnded::Transport(error));
                        self.transport.close();
                        self.dirty = true;
                    }
                    return;
                }
            }
        }
    }

    /// Writes what there is room for, and no more once so much was written altogether. Says whether it wrote.
    fn fill(&mut self, turn_ends: u64, now: Duration) -> bool {
        if !matches!(self.stage, Stage::Open | Stage::Flushing { .. }) || self.roaming.is_mute() {
            return false;
        }
        let mut wrote = false;
        while !self.capabilities.wakes || self.written < turn_ends {
            let buffered = self.buffered;
            let room = self.pacing.budget(buffered, self.transport.waiting(), now);
            // Commands do not wait for room among deltas.
            let urgent = (self.pacing.cap() + self.max_frame_len).saturating_sub(buffered);
            let Some(transmit) = self.session.poll_transmit_with(urgent, room) else { break };
            let (len, of_application) = (transmit.len(), transmit.is_application());
            // The transport starts its timers at the latest time that it knows: after a quiet while
            // they would be over at once.
            if now > self.transport_now + MAX_LAG {
                self.transport.handle_timeout(now);
                self.transport_now = now;
            }
            match self.transport.write(transmit.channel(), &transmit) {
                Ok(true) => {}
                // No more is on its way than the transport has room for, so this is a fault of its.
                Ok(false) => {
                    drop(transmit);
                    let reason = format!("it refused {len} bytes beside {buffered}");
                    self.lose(LinkEnded::Transport(failed(reason)));
                    self.transport.close();
                    self.dirty = true;
                    return false;
                }
                Err(error) => {
                    drop(transmit);
                    self.lose(LinkEnded::Transport(error));
                    self.transport.close();
                    self.dirty = true;
                    return false;
                }
            }
            let idle = 2 * (buffered + len) < self.pacing.cap();
            self.pacing.wrote(len, buffered, idle, now);
            self.buffered += len;
            self.written += len as u64;
            if of_application {
                self.written_for_application = self.written;
            }
            wrote = true;
        }
        wrote
    }
}

/// How long a peer that was taken for dead has to acknowledge that it is told so: most likely it hears
/// nothing, and what its link holds is not to wait for it.
pub const LAST_WORDS: Duration = Duration::from_secs(1);

/// What a link whose task is its own writes before others have their turn, bytes: where many read much at once, a
/// live one waits for a turn of each.
const TURN: u64 = 32 << 10;

/// How far the time that a transport knows may lie back when something is written.
const MAX_LAG: Duration = Duration::from_millis(1);

fn failed(reason: String) -> TransportError {
    TransportError::new(TransportErrorKind::Failed, Fault::Local, reason)
}
