//! One association over UDP, as what carries a session: what panics under it ends it alone.

mod carrying;
mod side;

use std::net::SocketAddr;
use std::time::Duration;

use deltawire_framing::Channel;
use deltawire_framing::control::Role;
use deltawire_link::{Output, PanicGuard, Transmit};

use self::side::{MAGIC, Side, Token, read_token};
use crate::association::Sctp;
use crate::farewell::Farewell;
use crate::filter::{SctpFilter, Verdict};
use crate::init::COOKIE_ECHO;
use crate::opening::{Hello, Opening};
use crate::packet::{ABORT, DATA, HEADER, SACK, chunks};
use crate::{
    Init, MAX_UNADMITTED, MessageKind, Recovery, RtcSctp, SctpConfig, SctpError, SctpEvent,
    Violation, stream,
};

/// One association of an [`SctpEndpoint`](crate::SctpEndpoint).
///
/// Give it the packets that the endpoint says are its. Who accepts asks for the [`token`](Self::take_token) first, and then
/// [admits](Self::admit) or [refuses](Self::refuse) its peer.
///
/// If the stack panics, the link ends with [`SctpError::Panicked`], and no other does.
pub struct SctpTransport {
    role: Role,
    /// From where, and to where.
    way: [SocketAddr; 2],
    now: Duration,
    tag: u32,
    peer: Option<Init>,
    /// So many bytes may come to the peer's socket at once.
    burst: u32,
    max_buffered: usize,
    side: Side,
    recovery: Recovery,
    stack: PanicGuard<Stack>,
    opened: bool,
    /// What opened it: who accepts says nothing before.
    first: Option<Output>,
    farewell: Farewell,
    /// Whether the peer did what ends the link, and that was told.
    faulty: bool,
    failure: Option<SctpError>,
    /// Whether the peer knows nothing of it any more: what came before is read yet.
    lost: bool,
    closed: bool,
    /// Whether that was told.
    told: bool,
}

/// What may panic: code of others.
struct Stack {
    sctp: RtcSctp,
    filter: SctpFilter,
}

impl SctpTransport {
    pub(crate) fn connect(
        config: &SctpConfig,
        way: [SocketAddr; 2],
        token: Vec<u8>,
        now: Duration,
    ) -> Result<Self, SctpError> {
        let side = |own: Hello| Side::Connects { opening: Opening::ask(own, now), token };
        Self::new(config, Role::Initiator, way, now, side)
    }

    pub(crate) fn accept(
        config: &SctpConfig,
        way: [SocketAddr; 2],
        peer: Hello,
        now: Duration,
    ) -> Result<Self, SctpError> {
        let side = |own: Hello| {
            let hello = own.accept(peer.init.tag);
            Side::Accepts { hello, again: true, token: Token::Awaited, unadmitted: 0 }
        };
        let mut transport = Self::new(config, Role::Acceptor, way, now, side)?;
        transport.establish(peer);
        Ok(transport)
    }

    fn new(
        config: &SctpConfig,
        role: Role,
        way: [SocketAddr; 2],
        now: Duration,
        side: impl FnOnce(Hello) -> Side,
    ) -> Result<Self, SctpError> {
        let association = config.association();
        let made = deltawire_link::caught(|| RtcSctp::new(&association, now));
        let sctp = made.map_err(SctpError::Panicked)?;
        let (peer, delivery) = match role {
            Role::Initiator => (Role::Acceptor, config.acceptor),
            Role::Acceptor => (Role::Initiator, config.initiator),
        };
        let mut filter = SctpFilter::default();
        filter.configure(association.receive_buffer, stream(peer, Channel::Data), delivery);
        let init = sctp.init();
        Ok(Self {
            role,
            way,
            now,
            tag: init.tag,
            peer: None,
            burst: 0,
            max_buffered: config.max_buffered,
            side: side(Hello { init, burst: config.burst }),
            recovery: Recovery::new(!config.initiator.may_lose() && !config.acceptor.may_lose()),
            stack: PanicGuard::new(Stack { sctp, filter }),
            opened: false,
            first: None,
            farewell: Farewell::default(),
            faulty: false,
            failure: None,
            lost: false,
            closed: false,
            told: false,
        })
    }

    /// What the peer says in each packet.
    pub(crate) fn tag(&self) -> u32 {
        self.tag
    }

    /// What this side says in each packet, once it is known.
    pub(crate) fn peer_tag(&self) -> Option<u32> {
        self.peer.map(|peer| peer.tag)
    }

    /// Both sides have said what they begin with.
    fn establish(&mut self, peer: Hello) {
        let (init, now) = (peer.init, self.now);
        (self.peer, self.burst) = (Some(init), peer.burst);
        let shown = match &mut self.side {
            Side::Connects { token, .. } => [&MAGIC[..], token].concat(),
            Side::Accepts { .. } => Vec::new(),
        };
        let begun = self.stack.with(|stack| {
            stack.sctp.establish(&init, now);
            stack.filter.begin(init.tsn);
            if shown.is_empty() { Ok(()) } else { stack.sctp.write(0, &shown, now) }
        });
        if let Some(Err(reason)) = begun {
            self.failure = Some(SctpError::Stack(reason));
        }
    }

    /// Takes in a packet that the endpoint says is this association's.
    pub fn handle_packet(&mut self, packet: &[u8], now: Duration) {
        self.now = self.now.max(now);
        let now = self.now;
        if self.closed {
            // It may not have heard that.
            if packet.get(HEADER) != Some(&ABORT) {
                self.farewell.again();
            }
            return;
        }
        if !self.opened
            && let Some(reason) = Farewell::reason(packet)
        {
            self.failure = Some(SctpError::Refused { reason });
            return;
        }
        match &mut self.side {
            Side::Connects { opening, .. } if self.peer.is_none() => {
                if let Some(peer) = opening.handle_packet(packet, now) {
                    self.establish(peer);
                }
                return;
            }
            Side::Connects { .. } => {}
            Side::Accepts { again, .. } if packet.get(HEADER) == Some(&COOKIE_ECHO) => {
                *again = true;
                return;
            }
            Side::Accepts { token: Token::Admitted, .. } => {}
            Side::Accepts { unadmitted, .. } => {
                // All that showing a token takes.
                let shows = |chunk: &[u8]| matches!(chunk[0], DATA | SACK | ABORT);
                if !chunks(packet).flatten().all(shows) {
                    return;
                }
                if chunks(packet).flatten().any(|chunk| chunk[0] == DATA) {
                    // More is dropped, as if the network had lost it.
                    if *unadmitted + packet.len() > MAX_UNADMITTED {
                        return;
                    }
                    *unadmitted += packet.len();
                }
            }
        }
        self.stack.with(|stack| match stack.filter.admit(packet) {
            Verdict::Drop => {}
            Verdict::Edit => stack.sctp.handle_packet(SctpFilter::edit(packet).into(), now),
            Verdict::Pass => {
                stack.sctp.handle_packet(bytes::Bytes::copy_from_slice(packet), now);
            }
        });
        self.note_in_flight();
        if self.recovery.hear(now) {
            self.stack.with(|stack| stack.sctp.retransmit());
        }
    }

    /// The peer knows nothing of this association: it was restarted, or has ended it.
    pub fn lose(&mut self) {
        self.lost = true;
    }

    /// What the peer shows to be let in, once that has come: empty if it shows nothing. Of who accepts.
    pub fn take_token(&mut self) -> Option<Vec<u8>> {
        let Side::Accepts { token, .. } = &mut self.side else { return None };
        match std::mem::replace(token, Token::Taken) {
            Token::Shown(shown) => Some(shown),
            other => {
                *token = other;
                None
            }
        }
    }

    /// Lets the peer in.
    pub fn admit(&mut self) {
        if let Side::Accepts { token, .. } = &mut self.side {
            *token = Token::Admitted;
        }
    }

    /// Does not let the peer in, and tells it why, each time that it says something.
    pub fn refuse(&mut self, reason: &str) {
        self.hang_up(Some(reason));
    }

    /// Tells it once more: the peer may have nothing to say, and not have heard it.
    pub fn refuse_again(&mut self) {
        self.farewell.again();
    }

    fn hang_up(&mut self, reason: Option<&str>) {
        (self.closed, self.told) = (true, true);
        if let Some(peer) = self.peer {
            self.farewell.say(peer.tag, reason);
        }
    }

    fn note_in_flight(&mut self) {
        let now = self.now;
        let noted = self.stack.with(|stack| (stack.sctp.in_flight(), stack.sctp.round_trip()));
        if let Some((in_flight, round_trip)) = noted {
            self.recovery.note(in_flight, round_trip, now);
        }
    }

    fn panicked(&self) -> SctpError {
        SctpError::Panicked(self.stack.panicked().unwrap_or_default().to_owned())
    }

    /// What to do next; `None` to ask again.
    fn poll(&mut self) -> Result<Option<Output>, SctpError> {
        if self.stack.panicked().is_some() {
            if std::mem::replace(&mut self.told, true) {
                let last = self.farewell.poll().map(|bytes| self.transmit(bytes));
                return Ok(Some(last.unwrap_or(Output::Timeout(None))));
            }
            self.closed = true;
            return Err(self.panicked());
        }
        if let Some(failure) = self.failure.take() {
            (self.closed, self.told) = (true, true);
            return Err(failure);
        }
        if let Some(Some(violation)) = self.stack.with(|stack| stack.filter.take_violation()) {
            self.faulty = true;
            return Err(violation.into());
        }
        if let Some(output) = self.poll_opening()? {
            return Ok(Some(output));
        }
        if self.opened {
            if let Some(first) = self.first.take() {
                return Ok(Some(first));
            }
            if let Some(event) = self.stack.with(|stack| stack.sctp.poll_event()).flatten() {
                return self.take_event(event);
            }
        }
        self.closed |= self.lost;
        self.closed |= self.stack.with(|stack| stack.filter.is_closed()).unwrap_or(false);
        if self.closed && !self.told {
            self.told = true;
            return Ok(Some(Output::Closed));
        }
        if let Some(bytes) = self.poll_packet() {
            return Ok(Some(self.transmit(bytes)));
        }
        if self.closed {
            return Ok(Some(Output::Timeout(None)));
        }
        let asks = match &self.side {
            Side::Connects { opening, .. } => opening.poll_timeout(),
            Side::Accepts { .. } => None,
        };
        let at = self.stack.with(|stack| stack.sctp.poll_timeout()).flatten();
        let next = [asks, at, self.recovery.poll_timeout()].into_iter().flatten().min();
        Ok(Some(Output::Timeout(next)))
    }

    fn transmit(&self, bytes: Vec<u8>) -> Output {
        let [source, destination] = self.way;
        Output::Transmit(Transmit { destination, source, bytes, segment: None })
    }

    /// Looks at what comes before a link is open.
    fn poll_opening(&mut self) -> Result<Option<Output>, SctpError> {
        if self.opened || self.closed || self.peer.is_none() {
            return Ok(None);
        }
        match &mut self.side {
            Side::Accepts { token: Token::Admitted, .. } => {
                self.opened = true;
                return Ok(Some(Output::Open));
            }
            // What else it says is read once it is let in.
            Side::Accepts { token: Token::Shown(_) | Token::Taken, .. } => return Ok(None),
            Side::Accepts { .. } | Side::Connects { .. } => {}
        }
        let event = self.stack.with(|stack| stack.sctp.poll_event()).flatten();
        let Some(event) = event else { return Ok(None) };
        match (&mut self.side, event) {
            (_, SctpEvent::Closed) => self.closed = true,
            (Side::Accepts { token, .. }, SctpEvent::Message { stream: 0, bytes, .. }) => {
                *token = Token::Shown(read_token(&bytes)?);
            }
            (Side::Accepts { .. }, SctpEvent::Message { stream, .. }) => {
                let reason = "it began before the peer was let in";
                return Err(Violation::Stream { stream, reason }.into());
            }
            (Side::Connects { .. }, event) => {
                self.first = self.take_event(event)?;
                self.opened = true;
                return Ok(Some(Output::Open));
            }
        }
        Ok(None)
    }

    /// A message that came. The association lives on until the peer has been told what is wrong with it.
    fn take_event(&mut self, event: SctpEvent) -> Result<Option<Output>, SctpError> {
        let SctpEvent::Message { stream: came_on, kind, bytes } = event else {
            self.closed = true;
            return Ok(None);
        };
        // Nobody listens to a peer that is to be left.
        if self.faulty {
            return Ok(None);
        }
        let peer = match self.role {
            Role::Initiator => Role::Acceptor,
            Role::Acceptor => Role::Initiator,
        };
        let channels = [Channel::Command, Channel::Data];
        let channel = channels.into_iter().find(|channel| came_on == stream(peer, *channel));
        let reason = match (channel, kind) {
            (Some(channel), MessageKind::Data) => return Ok(Some(Output::Message(channel, bytes))),
            (_, MessageKind::Dcep) => "channels are known, and none is opened",
            (None, _) => "it carries nothing this way",
        };
        self.faulty = true;
        Err(Violation::Stream { stream: came_on, reason }.into())
    }

    fn poll_packet(&mut self) -> Option<Vec<u8>> {
        if self.closed {
            return self.farewell.poll();
        }
        let now = self.now;
        match &mut self.side {
            Side::Connects { opening, .. } => {
                if let Some(packet) = opening.poll_packet(now) {
                    return Some(packet);
                }
            }
            Side::Accepts { hello, again, .. } => {
                if std::mem::take(again) {
                    return Some(hello.clone());
                }
            }
        }
        self.peer?;
        self.stack
            .with(|stack| {
                let packet = stack.sctp.poll_packet(now)?;
                stack.filter.sent(&packet);
                Some(packet)
            })
            .flatten()
            // Nobody else has it, so it is not copied.
            .map(Vec::from)
    }
}

impl std::fmt::Debug for SctpTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SctpTransport")
            .field("role", &self.role)
            .field("way", &self.way)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}
