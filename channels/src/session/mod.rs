//! What two peers know of each other, as a state machine without I/O.
//!
//! Both peers run the same one. Calls go in the order of the verbs: `handle_*` takes in what
//! happened, `poll_*` gives out what to do.

mod closing;
mod config;
mod control;
mod error;
mod event;
mod incoming;
mod liveness;
mod outgoing;
mod outgoing_message;
mod source;
mod stats;
mod unread;
mod window;

use core::fmt;
use core::task::Context;
use core::time::Duration;

use deltawire_framing::control::{Control, Delivery, Hello, HelloFields, Order, Position};
use deltawire_framing::{Channel, Frame, Frames, Kind, frame_step};

use self::closing::State;
pub use self::control::MAX_PONGS;
use self::control::Pending;
pub use closing::HangUp;
pub use config::SessionConfig;
pub use error::ProtocolError;
use event::Events;
pub use event::{Closed, Event, Missing, Undelivered};
use incoming::{Incoming, check};
use liveness::Liveness;
pub use outgoing::SendPriority;
use outgoing::{Outgoing, PeerLimits};
use outgoing_message::Bytes;
pub use outgoing_message::OutgoingMessage;
pub use source::FrameSource;
use source::{Frames as Asked, Source};
pub use stats::{ChannelStats, Stats};
pub use window::MAX_POSITION;
use window::longest;

use crate::limits::{InvalidLimits, Limits};
use crate::memory::TransportMessage;
use crate::peer::{Command, EndNotice, Peer, Sender, SharedSender};
use crate::ring::byte;

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
}

/// What went over a channel one way.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    transport_messages: u64,
    bytes: u64,
}

/// What this side speaks beyond version 1.
fn features(config: &SessionConfig) -> u64 {
    let hub = if config.serves_documents { HelloFields::HUB } else { 0 };
    HelloFields::CLOSING | HelloFields::GROWING | HelloFields::DOCUMENTS | hub
}

const CHANNELS: [Channel; 2] = [Channel::Command, Channel::Data];

impl Session {
    /// A session, which is for the driver, and the handle on it, which is for the application.
    ///
    /// # Errors
    /// When [`SessionConfig::limits`] cannot be kept: see [`Limits::validate`].
    pub fn new(config: SessionConfig, now: Duration) -> Result<(Self, Peer), InvalidLimits> {
        config.limits.validate()?;
        let Limits { max_frame_len, data_window, command_window, .. } = config.limits;
        let hello = Hello::new(HelloFields {
            role: config.role,
            max_frame_len: u32::try_from(max_frame_len).unwrap_or(u32::MAX),
            max_message_len: u32::try_from(longest(data_window.max(command_window)))
                .unwrap_or(u32::MAX),
            data_window,
            command_window,
            max_unfinished: config.limits.max_unfinished,
            idle_timeout_ms: u32::try_from(config.limits.idle_timeout.as_millis())
                .unwrap_or(u32::MAX),
            features: features(&config),
            command: config.command,
            deltas: config.send,
            session_id: config.session_id,
        });
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
            pending: Pending::new(hello),
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
            outgoing: [Outgoing::new(), Outgoing::new()],
            incoming: [commands, data],
            sent: [Sent::default(); 2],
            received: [Sent::default(); 2],
            control_sent: 0,
            control_received: 0,
            windows_repeated: 0,
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

    /// One more sender for the data channel, with a ring of its own, so that its messages go
    /// between the fragments of other senders' long ones. `None` when there are
    /// [`max_senders`](Limits::max_senders), or the session is closing.
    pub fn open_sender(&mut self, share: SendPriority) -> Option<Sender> {
        let capacity = self.config.limits.send_ring;
        self.takes_senders().then(|| self.add_sender(Channel::Data, capacity, share))
    }

    /// One more sender for the data channel, of [messages that others send too](SharedSender). It counts as
    /// any other.
    pub fn open_shared_sender(&mut self, share: SendPriority) -> Option<SharedSender> {
        let limit = self.outgoing[1].limit.clone();
        let (end, capacity) = (self.end_notice.clone(), self.config.limits.send_ring);
        let (sender, source) = SharedSender::new(capacity, end, limit);
        self.open_source(source, share).then_some(sender)
    }

    /// Has the data channel's messages come from `source` too, which is asked when there is room. It
    /// counts as a sender: `false` when there are [`max_senders`](Limits::max_senders), or the session is
    /// closing.
    pub fn open_source(&mut self, source: Box<dyn FrameSource>, share: SendPriority) -> bool {
        let open = self.takes_senders();
        if open {
            self.outgoing[1].add(Source::Frames(Box::new(Asked::new(source))), share);
        }
        open
    }

    fn takes_senders(&self) -> bool {
        let full = self.outgoing[1].lane_count() >= self.config.limits.max_senders;
        !full && matches!(self.state, State::Connecting { .. } | State::Open)
    }

    fn add_sender(&mut self, channel: Channel, capacity: usize, share: SendPriority) -> Sender {
        let (producer, consumer) = byte::ring(capacity.next_power_of_two().max(64));
        let end = self.end_notice.clone();
        let outgoing = &mut self.outgoing[channel as usize];
        outgoing.add(Source::Ring(consumer), share);
        Sender::of_session(producer, channel, end, outgoing.limit.clone())
    }

    /// Takes in a transport message that came on `channel`. It is kept where it lies; only
    /// fragments are copied, once, to their place.
    ///
    /// Nothing that it holds is an error of the caller's: what breaks the protocol ends the
    /// session, and shows as an event.
    pub fn handle_message(
        &mut self,
        channel: Channel,
        message: impl Into<TransportMessage>,
        now: Duration,
    ) {
        let message = message.into();
        if matches!(self.state, State::Closed) {
            self.handle_late(channel, &message);
            return;
        }
        self.now = self.now.max(now);
        self.liveness.heard(now);
        self.received[channel as usize].add(message.len());
        self.incoming[channel as usize].take_returns(None);
        if let Err(error) = self.take_message(channel, message, now)
            && !matches!(self.state, State::Closed)
        {
            self.fail(error);
        }
        self.settle();
    }

    fn take_message(
        &mut self,
        channel: Channel,
        message: TransportMessage,
        now: Duration,
    ) -> Result<(), ProtocolError> {
        let allowed = self.config.limits.max_frame_len.max(Hello::MIN_FRAME_LEN as usize);
        if message.len() > allowed {
            return Err(ProtocolError::FrameTooLong { len: message.len(), allowed });
        }
        let (mut messages, mut cost) = (0, 0);
        for frame in Frames::new(&message) {
            let frame = frame?;
            if frame.channel() != channel {
                return Err(ProtocolError::OutOfPlace("a frame of the other channel"));
            }
            if frame.is_fragment() && frame.kind() != Kind::Control {
                self.liveness.mark_busy();
                self.progress();
                return self.incoming[channel as usize].take_fragment(frame, now);
            }
            if frame.kind() == Kind::Control {
                self.control_received += 1;
                self.handle_control(frame, now)?;
            } else {
                check(frame.kind(), frame.body())?;
                messages += 1;
                cost += frame_step(frame.as_bytes().len()) as u64;
            }
        }
        if messages == 0 {
            return Ok(());
        }
        self.liveness.mark_busy();
        self.progress();
        self.incoming[channel as usize].take_whole(message, messages, cost)
    }

    fn handle_control(&mut self, frame: Frame<'_>, now: Duration) -> Result<(), ProtocolError> {
        if frame.channel() != Channel::Command {
            return Err(ProtocolError::OutOfPlace("a control message on the data channel"));
        }
        if frame.is_fragment() {
            return Err(ProtocolError::OutOfPlace("a control message in fragments"));
        }
        match Control::parse(frame.body())? {
            Control::Hello(hello) => self.handle_hello(hello),
            Control::Window(window) => {
                let channel = window.channel();
                let in_order = self.config.command == Order::Ordered;
                let outgoing = &mut self.outgoing[channel as usize];
                let before = outgoing.known_read();
                outgoing.unread.grow(window.grown().into());
                outgoing.window.grant(channel, window.limit(), in_order)?;
                // More room alone is none: a peer can grant it for ever.
                if outgoing.known_read() > before {
                    self.progress();
                }
                Ok(())
            }
            Control::Position(position) => {
                let lost_at = now.saturating_add(self.config.limits.loss_timeout);
                let (sent, unsent) = (position.sent(), position.unsent());
                let incoming = &mut self.incoming[position.channel() as usize];
                // What was read until now shows whether it was in time.
                let read = incoming.take_returns(None);
                incoming.take_position(sent, unsent, lost_at)?;
                if read {
                    self.progress();
                }
                Ok(())
            }
            Control::Ping(ping) => {
                self.pending.answer(ping);
                Ok(())
            }
            Control::Pong(pong) => {
                self.liveness.handle_pong(pong, now);
                Ok(())
            }
            Control::Close(close) => {
                self.handle_close(close, now);
                Ok(())
            }
            _ => Err(ProtocolError::OutOfPlace("a control message of a later version")),
        }
    }

    fn handle_hello(&mut self, hello: &Hello) -> Result<(), ProtocolError> {
        let fields = hello.fields();
        if fields.role == self.config.role {
            return Err(ProtocolError::OutOfPlace("a hello in the same role"));
        }
        match self.peer {
            Some(before) if before == fields => return Ok(()),
            Some(_) => return Err(ProtocolError::OutOfPlace("a second hello that differs")),
            None => self.peer = Some(fields),
        }
        self.check_delivery(&fields)?;
        // The hello's windows are the first limits: control messages that came ahead of it on an
        // unordered channel may have raised them already.
        for (channel, limit) in
            [(Channel::Command, fields.command_window), (Channel::Data, fields.data_window)]
        {
            let allowed = self.peer_limits(channel, &fields).max_message();
            let outgoing = &mut self.outgoing[channel as usize];
            outgoing.window.grant(channel, limit, false)?;
            outgoing.unread.begin(limit);
            outgoing.limit.set(allowed);
            let max_frame_len = self.max_frame_len(&fields);
            let incoming = &mut self.incoming[channel as usize];
            incoming.learn(&self.config.limits, max_frame_len, fields.features);
        }
        if matches!(self.state, State::Connecting { .. }) {
            self.state = State::Open;
        }
        self.events.opened(fields);
        Ok(())
    }

    fn tell_position(&mut self, channel: Channel) {
        let sent = self.outgoing[channel as usize].window.sent;
        let position = &mut self.pending.positions[channel as usize];
        // The last word stays.
        if position.is_none_or(|position| position.unsent().is_none()) {
            *position = Some(Position::new(channel, sent));
        }
    }

    /// Tells the session that the transport has heard of the peer: it is there.
    pub fn hear(&mut self, now: Duration) {
        self.now = self.now.max(now);
        self.liveness.heard(now);
    }

    /// Both ends have to say the same of each channel: otherwise one waits for ever for what the
    /// other has given up.
    fn check_delivery(&self, peer: &HelloFields) -> Result<(), ProtocolError> {
        let command = |order| Delivery { order, ..Delivery::default() };
        for (channel, theirs, ours) in [
            (Channel::Command, command(peer.command), command(self.config.command)),
            (Channel::Data, peer.deltas, self.config.receive.on_wire()),
        ] {
            if theirs != ours {
                return Err(ProtocolError::Delivery { channel, theirs, ours });
            }
        }
        Ok(())
    }

    /// The longest frame that both sides take.
    fn max_frame_len(&self, peer: &HelloFields) -> usize {
        self.config.limits.max_frame_len.min(peer.max_frame_len as usize)
    }

    fn peer_limits(&self, channel: Channel, peer: &HelloFields) -> PeerLimits {
        let window = match channel {
            Channel::Command => peer.command_window,
            Channel::Data => peer.data_window,
        };
        PeerLimits {
            max_frame_len: self.max_frame_len(peer),
            max_message_len: peer.max_message_len,
            window,
            max_unfinished: peer.max_unfinished,
        }
    }

    /// Ends the session if it cannot deliver what it has accepted.
    fn check_lengths(&mut self) {
        let Some(peer) = self.peer else { return };
        if matches!(self.state, State::Closed) {
            return;
        }
        for channel in CHANNELS {
            let allowed = self.peer_limits(channel, &peer).max_message();
            if let Some(len) = self.outgoing[channel as usize].find_too_long(allowed) {
                self.fail(ProtocolError::MessageTooLong { channel, len, allowed });
                return;
            }
        }
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
            _ if self.peer.is_some() && self.liveness.is_dead(now) => {
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
        if self.peer.is_some()
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

    /// Says once more what may have got lost.
    fn repeat(&mut self) {
        for channel in CHANNELS {
            self.pending.windows[channel as usize] =
                Some(self.incoming[channel as usize].advertise());
            self.windows_repeated += 1;
            if self.outgoing[channel as usize].window.blocked {
                self.tell_position(channel);
            }
        }
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
        let liveness = self.peer.map(|_| self.liveness.poll_timeout());
        [state, incoming, liveness].into_iter().flatten().min()
    }

    /// What happened, one event a call.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop()
    }

    /// The next transport message to send, of at most `budget` bytes: as much as the transport
    /// takes now. It counts as sent. Call it until it gives nothing. A long message needs a budget of
    /// [`max_frame_len`](Limits::max_frame_len) to get on.
    ///
    /// Control messages go first, then commands, then deltas.
    pub fn poll_transmit(&mut self, budget: usize) -> Option<OutgoingMessage<'_>> {
        self.poll_transmit_with(budget, budget)
    }

    /// The same with a budget of its own for what is `urgent`, control messages and commands: so
    /// that they need not wait for room that `deltas` have taken.
    pub fn poll_transmit_with(
        &mut self,
        urgent: usize,
        deltas: usize,
    ) -> Option<OutgoingMessage<'_>> {
        self.outgoing.iter_mut().for_each(Outgoing::release_sent);
        self.check_lengths();
        self.prepare_control();
        self.settle();
        if self.pending.is_empty() {
            self.transmit_application([urgent, deltas])
        } else {
            self.transmit_control(urgent)
        }
    }

    fn prepare_control(&mut self) {
        if matches!(self.state, State::Closed) {
            for incoming in &mut self.incoming {
                incoming.take_returns(None);
            }
            return;
        }
        for channel in CHANNELS {
            let blocked = self.peer.is_some_and(|peer| {
                let max_frame_len = peer.max_frame_len as usize;
                self.outgoing[channel as usize].is_newly_blocked(max_frame_len)
            });
            if blocked {
                self.tell_position(channel);
                self.liveness.mark_busy();
            }
            if self.incoming[channel as usize].take_returns(None) {
                self.progress();
            }
            let incoming = &mut self.incoming[channel as usize];
            if incoming.is_window_due() && self.peer.is_some() {
                self.pending.windows[channel as usize] = Some(incoming.advertise());
            }
        }
    }

    fn transmit_control(&mut self, budget: usize) -> Option<OutgoingMessage<'_>> {
        let peer = self.peer.map_or(Hello::MIN_FRAME_LEN, |peer| peer.max_frame_len) as usize;
        if budget < Hello::MIN_FRAME_LEN as usize {
            return None;
        }
        let bytes = self.pending.next(peer.min(budget))?;
        self.control_sent += 1;
        Some(OutgoingMessage { channel: Channel::Command, bytes: Bytes::Control(bytes) })
    }

    /// With budgets by channel.
    fn transmit_application(&mut self, budgets: [usize; 2]) -> Option<OutgoingMessage<'_>> {
        let peer = self.peer?;
        if self.state.is_silent() {
            return None;
        }
        let limits = CHANNELS.map(|channel| self.peer_limits(channel, &peer));
        // Deltas that need less room must not overtake a command that waits for more.
        let channels = if self.outgoing[0].waits_for_room(budgets[0]) { 1 } else { 2 };
        let deadline = self.now.saturating_add(self.config.limits.close_timeout);
        let Self { outgoing: [commands, data], sent: [commands_sent, data_sent], .. } = self;
        let by_urgency =
            [(Channel::Command, commands, commands_sent), (Channel::Data, data, data_sent)];
        let by_urgency = by_urgency.into_iter().zip(limits).zip(budgets);
        for (((channel, outgoing, sent), limits), budget) in by_urgency.take(channels) {
            if let Some(bytes) = outgoing.next(budget, limits) {
                sent.add(bytes.len());
                self.liveness.mark_busy();
                if let State::Closing(closing) = &mut self.state {
                    closing.deadline = deadline;
                }
                return Some(OutgoingMessage { channel, bytes: Bytes::Outbound(bytes) });
            }
        }
        None
    }

    /// Registers the task to be woken when the application has written or read something, so that
    /// [`poll_transmit`](Self::poll_transmit) may have more to give. Says whether it has now.
    pub fn poll_ready(&mut self, context: &mut Context<'_>) -> bool {
        let mut ready = !self.pending.is_empty();
        let mut read = false;
        for incoming in &mut self.incoming {
            read |= incoming.take_returns(Some(context));
            let open = self.peer.is_some() && !matches!(self.state, State::Closed);
            ready |= incoming.is_window_due() && open;
        }
        if read {
            self.progress();
        }
        if self.peer.is_some() && !self.state.is_silent() {
            for outgoing in &mut self.outgoing {
                ready |= outgoing.poll_ready(context);
            }
        }
        ready || self.is_abandoned()
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
