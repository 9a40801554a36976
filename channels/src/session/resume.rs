//! A session that goes on over another link when its own is gone: see WIRE.md, section 6.5.
//!
//! What was sent stays where it was written until the peer has taken it in. The initiator shows the ticket that
//! the acceptor gave it; both say how far they are, and send the rest again.

use core::time::Duration;

use deltawire_framing::Channel;
use deltawire_framing::control::{Hello, HelloFields, Order, Resume, Role, SECRET_LEN, Ticket};

use super::closing::State;
use super::liveness::Liveness;
use super::{CHANNELS, ProtocolError, Session, SessionConfig};
use crate::peer::Message;

/// The shortest `max_frame_len` with which a session can be resumed: a hello and a [`Resume`] go together.
pub const MIN_RESUMABLE_FRAME: usize = 256;

/// What a session knows of going on over another link.
#[derive(Debug)]
pub(super) struct Resumption {
    phase: Phase,
    /// Whether both sides can.
    agreed: bool,
    /// The newest ticket: given, or held.
    ticket: Option<Given>,
    /// The one before, until the peer is known to hold the newest.
    before: Option<Given>,
    /// For how long the peer keeps the session.
    peer_timeout: Duration,
    /// Whether a hello came in the transport message that is being taken in.
    pub(super) hello_came: bool,
    /// As configured; that of a link can be less.
    max_frame_len: usize,
    /// What the peer is not known to have taken in, once it is over.
    returned: Vec<Message>,
}

/// Whether there is a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Both sides are on it.
    Attached,
    /// There is none.
    Detached,
    /// The acceptor is to say by then that the session goes on.
    Resuming { deadline: Duration },
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Given {
    number: u32,
    secret: [u8; SECRET_LEN],
}

impl core::fmt::Debug for Given {
    /// Without the secret.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Given").field("number", &self.number).finish_non_exhaustive()
    }
}

/// What a link can do, for a session that goes on over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkTraits {
    /// The longest transport message that it takes, bytes.
    pub max_frame_len: usize,
    /// As [`SessionConfig::transport_hears`].
    pub transport_hears: bool,
}

/// An initiator asks to go on with a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResumeRequest {
    hello: HelloFields,
    resume: Resume,
}

impl ResumeRequest {
    /// The name that the initiator gave the session.
    #[must_use]
    pub fn session_id(&self) -> [u8; 16] {
        self.hello.session_id
    }
}

/// Why a session does not go on with who asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// It does not have the secret, or one that was used before.
    #[error("the ticket's secret is not the one that was given")]
    Secret,
    /// It is not what the session's peer was.
    #[error("its hello is not that of the session's peer")]
    Hello,
    /// It says to have taken in what was never sent, or part of a message. The session is over.
    #[error(transparent)]
    Position(ProtocolError),
    /// The session has a link, or is over.
    #[error("the session is not without a link")]
    NotDetached,
}

impl Resumption {
    pub(super) fn new(config: &SessionConfig) -> Self {
        Self {
            phase: Phase::Attached,
            agreed: false,
            ticket: None,
            before: None,
            peer_timeout: Duration::MAX,
            hello_came: false,
            max_frame_len: config.limits.max_frame_len,
            returned: Vec::new(),
        }
    }

    /// Whether both sides can.
    #[inline]
    pub(super) fn is_agreed(&self) -> bool {
        self.agreed
    }

    /// The number of the newest ticket; 0 for none.
    pub(super) fn ticket_number(&self) -> u32 {
        self.ticket.map_or(0, |ticket| ticket.number)
    }

    /// Of the acceptor: the initiator holds the ticket of this number. The ones before are worth nothing from then on.
    pub(super) fn confirm(&mut self, number: u32) {
        if number != 0 && number == self.ticket_number() {
            self.before = None;
        }
    }

    /// Whether there is no link on which both sides are.
    #[inline]
    pub(super) fn is_apart(&self) -> bool {
        self.phase != Phase::Attached
    }

    pub(super) fn is_resuming(&self) -> bool {
        matches!(self.phase, Phase::Resuming { .. })
    }

    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        match self.phase {
            Phase::Attached | Phase::Detached => None,
            Phase::Resuming { deadline } => Some(deadline),
        }
    }
}

/// Whether a session with this configuration can be resumed: what may have to be sent again is known by its
/// order.
pub(super) fn can_resume(config: &SessionConfig) -> bool {
    let keeps_order = |order: Order, may_lose: bool| order == Order::Ordered || may_lose;
    config.resumes
        && config.limits.max_frame_len >= MIN_RESUMABLE_FRAME
        && config.command == Order::Ordered
        && keeps_order(config.send.order, config.send.may_lose())
        && keeps_order(config.receive.order, config.receive.may_lose())
}

impl Session {
    /// Whether it can go on over another link if its own is lost: both sides can, there is a ticket,
    /// and it is not closed so far that there is nothing to go on with.
    #[must_use]
    pub fn is_resumable(&self) -> bool {
        let goes_on = match &self.state {
            State::Open => true,
            State::Closing(closing) => !closing.is_told(),
            State::Connecting { .. } | State::Closed => false,
        };
        self.resumption.agreed && self.resumption.ticket.is_some() && goes_on
    }

    /// Whether the peer said that its sessions can go on, and this side's can.
    #[must_use]
    pub fn agreed_to_resume(&self) -> bool {
        self.resumption.agreed
    }

    /// For how long it may be without a link: as long as both sides allow.
    #[must_use]
    pub fn resume_timeout(&self) -> Duration {
        self.config.resume_timeout.min(self.resumption.peer_timeout)
    }

    /// What it is called by who started it.
    #[must_use]
    pub fn name(&self) -> Option<[u8; 16]> {
        match self.config.role {
            Role::Initiator => Some(self.config.session_id),
            Role::Acceptor => self.peer.map(|peer| peer.session_id),
        }
    }

    /// Of an acceptor: gives the initiator a ticket with this secret, which is random.
    pub fn give_ticket(&mut self, secret: [u8; SECRET_LEN]) {
        if self.config.role == Role::Initiator || !self.resumption.agreed {
            return;
        }
        let number = self.resumption.ticket.map_or(1, |ticket| ticket.number.wrapping_add(1));
        self.resumption.ticket = Some(Given { number, secret });
        let timeout = self.config.resume_timeout.as_millis();
        let timeout = u32::try_from(timeout).unwrap_or(u32::MAX);
        self.pending.ticket = Some(Ticket::new(number, timeout, secret));
    }

    /// Whether it has a link over which it asked to go on, and no answer yet.
    #[must_use]
    pub fn is_resuming(&self) -> bool {
        self.resumption.is_resuming()
    }

    /// Bytes that it holds for its application and of it.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        let outgoing =
            self.outgoing.iter().map(|it| it.queued_bytes() as u64 + it.kept_bytes()).sum::<u64>();
        let incoming = self.incoming.iter().map(|it| it.window.held()).sum::<u64>();
        outgoing + incoming
    }

    /// Its link is lost, and it waits for another. Says whether it can: see
    /// [`is_resumable`](Self::is_resumable).
    pub fn detach(&mut self, now: Duration) -> bool {
        self.now = self.now.max(now);
        if !self.is_resumable() {
            return false;
        }
        self.resumption.phase = Phase::Detached;
        self.acknowledged.forget_due();
        self.events.forget_link();
        self.pending.clear();
        self.incoming.iter_mut().for_each(|incoming| incoming.forget_unfinished());
        self.outgoing.iter_mut().for_each(|outgoing| outgoing.lose_unkept());
        true
    }

    /// Of an initiator without a link: has a link, and asks over it to go on.
    pub fn resume(&mut self, link: LinkTraits, now: Duration) {
        debug_assert!(self.resumption.phase == Phase::Detached);
        self.begin_link(link, now);
        // The channels are open: who is silent now is as one that is silent later.
        let limits = &self.config.limits;
        let patience = match limits.idle_timeout.is_zero() {
            true => limits.hello_timeout,
            false => limits.hello_timeout.min(limits.idle_timeout),
        };
        let deadline = now.saturating_add(patience);
        self.resumption.phase = Phase::Resuming { deadline };
        let ticket = self.resumption.ticket.unwrap_or(Given { number: 0, secret: [0; SECRET_LEN] });
        self.pending.hello = Some(self.hello());
        self.pending.resume = Some(self.positions(ticket.number, ticket.secret));
    }

    /// Of an acceptor without a link: goes on over this one, on which somebody asked for it; `secret` is that of
    /// the next ticket.
    ///
    /// # Errors
    /// When who asks is not its peer: then nothing has changed; or its positions are not possible: then the
    /// session is over.
    pub fn accept_resume(
        &mut self,
        request: &ResumeRequest,
        secret: [u8; SECRET_LEN],
        link: LinkTraits,
        now: Duration,
    ) -> Result<(), ResumeError> {
        if self.resumption.phase != Phase::Detached || matches!(self.state, State::Closed) {
            return Err(ResumeError::NotDetached);
        }
        let shown = self.shown_ticket(&request.resume).ok_or(ResumeError::Secret)?;
        if !self.is_peer(&request.hello) {
            return Err(ResumeError::Hello);
        }
        self.begin_link(link, now);
        self.peer = Some(request.hello);
        if let Err(error) = self.go_on(&request.resume) {
            self.fail(error);
            return Err(ResumeError::Position(error));
        }
        self.resumption.before = Some(shown);
        self.give_ticket(secret);
        self.pending.hello = Some(self.hello());
        self.pending.resume = Some(self.positions(shown.number, [0; SECRET_LEN]));
        Ok(())
    }

    /// Whether who asks holds its ticket, and is its peer.
    #[must_use]
    pub fn shows_ticket(&self, request: &ResumeRequest) -> bool {
        self.shown_ticket(&request.resume).is_some() && self.is_peer(&request.hello)
    }

    /// Of an acceptor: a session that was asked to go on is not there, or not for who asks.
    pub fn refuse_resume(&mut self, why: &str) {
        self.say_not_resumed(why);
    }

    /// What the peer is not known to have taken in of what was committed, oldest first of each sender: once the
    /// session is over that was to go on over another link. What was sent before may have been taken in.
    pub fn take_returned(&mut self) -> Vec<Message> {
        core::mem::take(&mut self.resumption.returned)
    }

    /// Keeps what is not known to have been taken in, for [`take_returned`](Self::take_returned).
    pub(super) fn keep_returned(&mut self) {
        let none = self.resumption.returned.is_empty();
        if self.resumption.is_apart() && none && !matches!(self.state, State::Closed) {
            self.resumption.returned =
                self.outgoing.iter_mut().flat_map(|outgoing| outgoing.give_back()).collect();
        }
    }

    /// Takes in whether the peer can go on too. Before anything is sent.
    pub(super) fn agree_to_resume(&mut self, peer: &HelloFields) {
        let frames = self.max_frame_len(peer) >= MIN_RESUMABLE_FRAME;
        let both = can_resume(&self.config) && peer.features & HelloFields::RESUME != 0;
        self.resumption.agreed = both && frames;
        if self.resumption.agreed {
            self.outgoing[Channel::Command as usize].keep();
            if !self.config.send.may_lose() {
                self.outgoing[Channel::Data as usize].keep();
            }
        }
    }

    pub(super) fn handle_resume(&mut self, resume: &Resume) -> Result<(), ProtocolError> {
        match (self.config.role, self.resumption.phase, self.peer) {
            (Role::Initiator, Phase::Resuming { .. }, Some(peer)) => {
                if peer.features & HelloFields::RESUME == 0 {
                    return Err(ProtocolError::OutOfPlace("a resume without its feature"));
                }
                self.go_on(resume)
            }
            (Role::Acceptor, Phase::Attached, Some(hello))
                if self.resumption.hello_came && can_resume(&self.config) =>
            {
                self.events.resume_requested(ResumeRequest { hello, resume: *resume });
                Ok(())
            }
            _ => Err(ProtocolError::OutOfPlace("a resume that is not beside a hello")),
        }
    }

    pub(super) fn handle_ticket(&mut self, ticket: &Ticket) -> Result<(), ProtocolError> {
        if self.config.role == Role::Acceptor || !self.resumption.agreed {
            return Err(ProtocolError::OutOfPlace("a ticket"));
        }
        if self.resumption.is_resuming() {
            return Err(ProtocolError::OutOfPlace("a ticket before the session goes on"));
        }
        let (number, secret) = (ticket.number(), *ticket.secret());
        if self.resumption.ticket.is_none_or(|held| held.number < number) {
            self.resumption.ticket = Some(Given { number, secret });
        }
        self.resumption.peer_timeout = Duration::from_millis(ticket.timeout_ms().into());
        // Says that it is here.
        self.acknowledge(Channel::Command);
        Ok(())
    }

    /// When the peer does not answer over the link over which the session is to go on.
    pub(super) fn is_late_to_resume(&self, now: Duration) -> bool {
        matches!(self.resumption.phase, Phase::Resuming { deadline } if deadline <= now)
    }

    /// Whether a hello is of the peer that the session had.
    fn is_peer(&self, hello: &HelloFields) -> bool {
        self.peer.is_some_and(|peer| {
            let frames = self.max_frame_len(hello) >= MIN_RESUMABLE_FRAME;
            let same = HelloFields { max_frame_len: peer.max_frame_len, ..*hello };
            frames && same == peer
        })
    }

    /// The ticket whose secret is shown. Takes the same time whatever the secret is.
    fn shown_ticket(&self, resume: &Resume) -> Option<Given> {
        let given = [self.resumption.ticket, self.resumption.before];
        given.into_iter().flatten().find(|given| {
            let same = constant_time_eq::constant_time_eq_n(&given.secret, resume.secret());
            same && given.number == resume.ticket()
        })
    }

    fn begin_link(&mut self, link: LinkTraits, now: Duration) {
        self.now = self.now.max(now);
        self.config.transport_hears = link.transport_hears;
        let limits = &mut self.config.limits;
        limits.max_frame_len = self.resumption.max_frame_len.min(link.max_frame_len);
        self.liveness =
            Liveness::new(self.now, limits.idle_timeout, self.config.role, link.transport_hears);
        self.pending.clear();
    }

    fn positions(&self, ticket: u32, secret: [u8; SECRET_LEN]) -> Resume {
        let sent = [self.outgoing[0].window.sent, self.outgoing[1].window.sent];
        Resume::new(ticket, self.taken(), sent, secret)
    }

    /// Both sides are on the link: sends again what the peer has not taken in.
    fn go_on(&mut self, resume: &Resume) -> Result<(), ProtocolError> {
        let mut repeated = 0;
        let Some(peer) = self.peer else {
            return Err(ProtocolError::OutOfPlace("a resume before the hello"));
        };
        let max_frame_len = self.max_frame_len(&peer);
        for channel in CHANNELS {
            let at = channel as usize;
            self.incoming[at].learn(&self.config.limits, max_frame_len, peer.features);
            let (taken, sent) = (resume.taken()[at], resume.sent()[at]);
            let outgoing = &mut self.outgoing[at];
            let ahead = outgoing.window.sent;
            repeated += outgoing.begin_again(taken).ok_or(ProtocolError::Acknowledged {
                channel,
                taken,
                sent: ahead,
            })?;
            self.incoming[at].lose_until(sent)?;
            self.pending.windows[at] = Some(self.incoming[at].advertise());
        }
        self.resumption.phase = Phase::Attached;
        self.acknowledged.begin_again(self.taken());
        self.events.resumed(repeated);
        self.progress();
        Ok(())
    }

    fn hello(&self) -> Hello {
        super::agreement::hello(&self.config)
    }
}
