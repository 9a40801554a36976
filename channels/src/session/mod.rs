//! What two peers know of each other, as a state machine without I/O.
//!
//! Both peers run the same one. Calls go in the order of the verbs: `handle_*` takes in what
//! happened, `poll_*` gives out what to do.

mod acknowledging;
mod agreement;
mod closing;
mod config;
mod control;
mod error;
mod event;
mod incoming;
mod liveness;
mod outgoing;
mod outgoing_message;
mod receiving;
mod replay;
mod resume;
mod senders;
mod sending;
mod source;
mod stats;
mod unread;
mod window;

use core::fmt;
use core::time::Duration;

use deltawire_framing::Channel;
use deltawire_framing::control::{Delivery, HelloFields};

use self::acknowledging::Acknowledged;
use self::agreement::hello;
use self::closing::State;
pub use self::control::MAX_PONGS;
use self::control::Pending;
pub use acknowledging::{ACKNOWLEDGE_EACH, ACKNOWLEDGE_WITHIN};
pub use closing::HangUp;
pub use config::SessionConfig;
pub use error::ProtocolError;
use event::Events;
pub use event::{Closed, Event, Missing, Undelivered};
use incoming::Incoming;
use liveness::Liveness;
use outgoing::Outgoing;
pub use outgoing::SendPriority;
pub use outgoing_message::OutgoingMessage;
use resume::Resumption;
pub use resume::{LinkTraits, MIN_RESUMABLE_FRAME, ResumeError, ResumeRequest};
pub use source::FrameSource;
pub use stats::{ChannelStats, Stats};
pub use window::MAX_POSITION;

use crate::limits::{InvalidLimits, Limits};
use crate::peer::{Command, EndNotice, Peer};

/// One end of a session. See the [module](self) for the order of calls.
///
/// `now` is time since any fixed start, and never goes back.
pub struct Session {
    config: SessionConfig,
    state: State,
    /// The latest time that it was told.
    now: Duration,
    /// What the peer said of itself.
    peer: Option<HelloFields>,
    pending: Pending,
    events: Events,
    /// What senders and receivers say of the end.
    end_notice: EndNotice,
    liveness: Liveness,
    /// How it has ended.
    closed: Option<Closed>,
    /// When the transport is to be hung up, once it is over.
    hang_up: HangUp,
    /// Whether, when it is over, an answer of the peer's is still of interest.
    awaits_answer: bool,
    /// By channel: command, data.
    outgoing: [Outgoing; 2],
    /// By channel: command, data.
    incoming: [Incoming; 2],
    sent: [Sent; 2],
    received: [Sent; 2],
    control_sent: u64,
    control_received: u64,
    windows_repeated: u64,
    acknowledged: Acknowledged,
    /// Going on over another link.
    resumption: Resumption,
}

/// What went over a channel one way.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    transport_messages: u64,
    bytes: u64,
}

const CHANNELS: [Channel; 2] = [Channel::Command, Channel::Data];

impl Session {
    /// A session, which is for the driver, and the handle on it, which is for the application.
    ///
    /// # Errors
    /// When [`SessionConfig::limits`] cannot be kept: see [`Limits::validate`].
    pub fn new(config: SessionConfig, now: Duration) -> Result<(Self, Peer), InvalidLimits> {
        config.limits.validate()?;
        let Limits { data_window, command_window, send_ring, command_ring, .. } = config.limits;
        let end_notice = EndNotice::default();
        let incoming = |channel, windows, delivery| {
            let end = end_notice.clone();
            Incoming::new(channel, windows, delivery, &config.limits, config.seed, end)
        };
        let command = Delivery { order: config.command, ..Delivery::default() };
        let command_windows = [command_window, command_window];
        let (commands, command_receiver) = incoming(Channel::Command, command_windows, command);
        let data_windows = [data_window, config.limits.largest_data_window()];
        let (data, receiver) = incoming(Channel::Data, data_windows, config.receive);
        let mut session = Self {
            state: State::Connecting { deadline: now.saturating_add(config.limits.hello_timeout) },
            now,
            peer: None,
            pending: Pending::new(hello(&config)),
            events: Events::default(),
            end_notice,
            liveness: Liveness::new(
                now,
                config.limits.idle_timeout,
                config.role,
                config.transport_hears,
            ),
            closed: None,
            hang_up: HangUp::Wait,
            awaits_answer: false,
            outgoing: [Outgoing::new(command_ring), Outgoing::new(send_ring)],
            incoming: [commands, data],
            sent: [Sent::default(); 2],
            received: [Sent::default(); 2],
            control_sent: 0,
            control_received: 0,
            windows_repeated: 0,
            acknowledged: Acknowledged::default(),
            resumption: Resumption::new(&config),
            config,
        };
        let command_sender = session.add_sender(
            Channel::Command,
            config.limits.command_ring,
            SendPriority::default(),
        );
        let sender =
            session.add_sender(Channel::Data, config.limits.send_ring, SendPriority::default());
        let command = Command { send: command_sender, receive: command_receiver };
        Ok((session, Peer { command, send: sender, receive: receiver }))
    }

    /// Tells the session that the transport has heard of the peer: it is there.
    pub fn hear(&mut self, now: Duration) {
        self.now = self.now.max(now);
        self.liveness.heard(now);
    }

    /// Lets time pass. Call it when [`poll_timeout`](Self::poll_timeout) says so.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.now = self.now.max(now);
        match &self.state {
            State::Closed => return,
            State::Connecting { deadline } if now >= *deadline => {
                self.fail(ProtocolError::NoHello(self.config.limits.hello_timeout));
                return;
            }
            _ if self.is_late_to_resume(now) => {
                self.events.silent();
                return;
            }
            _ if self.is_apart_or_new() => {}
            _ if self.liveness.is_dead(now) && self.is_resumable() => {
                self.events.silent();
                return;
            }
            _ if self.liveness.is_dead(now) => {
                let timed_out = ProtocolError::TimedOut(self.config.limits.idle_timeout);
                if self.is_ending() {
                    self.give_up();
                }
                match self.heard_close() {
                    Some(closed) => self.end(closed),
                    None => self.fail(timed_out),
                }
                return;
            }
            _ => {}
        }
        for channel in CHANNELS {
            self.incoming[channel as usize].handle_timeout(now);
        }
        self.tell_taken(now);
        if !self.is_apart_or_new()
            && let Some(ping) = self.liveness.poll_ping(now)
        {
            self.pending.ping = Some(ping);
            self.repeat();
            // Who waits goes on asking.
            let waits = self.outgoing.iter().any(|outgoing| outgoing.window.blocked);
            if waits || matches!(self.state, State::Closing(_)) {
                self.liveness.mark_busy();
            }
        }
        self.settle();
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next; `None` when the session is over.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let state = match &self.state {
            State::Closed => return None,
            State::Connecting { deadline } => Some(*deadline),
            State::Closing(closing) => Some(closing.deadline),
            State::Open => None,
        };
        let incoming = self.incoming.iter().filter_map(Incoming::poll_timeout).min();
        let liveness = (!self.is_apart_or_new()).then(|| self.liveness.poll_timeout());
        let others = [self.resumption.poll_timeout(), self.acknowledged.poll_timeout()];
        [state, incoming, liveness].into_iter().chain(others).flatten().min()
    }

    /// Whether there is nobody on the link to be heard of, or not yet.
    fn is_apart_or_new(&self) -> bool {
        self.peer.is_none() || self.resumption.is_apart()
    }

    /// What happened, one event a call.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop()
    }

    /// Whether the session is over and has nothing more to say; what it holds for the application
    /// has been handed on.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        matches!(self.state, State::Closed)
            && self.pending.is_empty()
            && !self.incoming.iter().any(Incoming::is_waiting)
    }
}

impl Sent {
    #[inline]
    fn add(&mut self, len: usize) {
        self.transport_messages += 1;
        self.bytes += len as u64;
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("role", &self.config.role)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
