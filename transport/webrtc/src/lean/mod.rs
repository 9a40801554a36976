//! [`Engine`] made of str0m's parts and another SCTP: ICE by [is](https://docs.rs/is), DTLS by
//! [dimpl](https://docs.rs/dimpl), SCTP by [rtc-sctp](https://docs.rs/rtc-sctp).

mod above_dtls;
mod dtls;

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use deltawire_framing::Channel;
use deltawire_framing::control::Role;
use deltawire_link::{
    Capabilities, Datagram, DatagramTransport, Delivers, InFlight, MessageTransport, Output,
    PanicGuard, Transmit, TransportError,
};
use deltawire_sctp::filter::{SctpFilter, Verdict};
use deltawire_sctp::{
    AssociationConfig, Handshake, Init, MessageKind, Recovery, RtcSctp, Sctp, SctpEvent,
};
use deltawire_sdp::{
    Description, DescriptionError, HashFunction, LocalDescription, MAX_CANDIDATES, Setup, stream,
};
use is::stun::{StunMessage, StunPacket};
use is::{Candidate, IceAgent, IceAgentEvent, IceCreds, Protocol, Sha1HmacProvider};

#[doc(hidden)]
pub use self::above_dtls::AboveDtls;
use self::dtls::{DtlsLayer, Event};
use crate::checks::Checks;
use crate::crypto::hmac_sha1;
use crate::engine::{local_candidates, not_an_init, read_candidate, receive_buffer, unusable};
use crate::path::Path;
use crate::sources::Sources;
use crate::stun::Check;
use crate::{Engine, EngineConfig, EngineError, MAX_DATAGRAM_LEN, MAX_SENT};

/// How long the server of DTLS lets the client begin SCTP. Either may (RFC 8831, section 6.2), and
/// most clients do at once; but some stacks leave it to who offered, whoever is the client.
const INITIATIVE: Duration = Duration::from_secs(1);

/// Datagrams of DTLS that wait until ICE has found a way: two flights.
const MAX_HELD: usize = 16;

/// Seals checks of ICE (RFC 8489, section 14.5).
#[derive(Debug)]
struct Hmac;

impl Sha1HmacProvider for Hmac {
    fn sha1_hmac(&self, key: &[u8], payloads: &[&[u8]]) -> [u8; 20] {
        hmac_sha1(key, payloads)
    }
}

/// A link's connection, from three libraries.
pub struct Lean {
    role: Role,
    /// The instant at which `now` is 0.
    start: Instant,
    /// The latest time that it was told.
    now: Duration,
    user_fragment: String,
    /// Whether an answer is waited for.
    offered: bool,
    max_message_len: usize,
    max_buffered: usize,
    /// Candidates that the peer named.
    candidates: usize,
    checks: Checks,
    /// So many bytes may come to the peer's socket at once.
    burst: u32,
    path: Path,
    sources: Sources,
    recovery: Recovery,
    stack: PanicGuard<Stack>,
    opened: bool,
    /// Whether the peer did what ends the link, and that was told.
    faulty: bool,
    closed: bool,
    /// Whether that was told.
    told: bool,
}

/// What may panic: code of others.
struct Stack {
    ice: IceAgent,
    dtls: DtlsLayer,
    sctp: RtcSctp,
    handshake: Handshake,
    /// When this side begins SCTP if the peer does not.
    initiative: Option<Duration>,
    filter: SctpFilter,
    /// Where the peer is, as ICE has it: from where to where.
    way: Option<[SocketAddr; 2]>,
    /// What cannot be sent before there is a way.
    held: VecDeque<Vec<u8>>,
    /// What ended it.
    failure: Option<EngineError>,
    /// Whether the peer hung up.
    hung_up: bool,
    heard: bool,
}

impl Lean {
    fn new(
        config: &EngineConfig,
        role: Role,
        local: &[SocketAddr],
        now: Duration,
    ) -> Result<(Self, LocalDescription), EngineError> {
        let credentials = IceCreds::new();
        let mut ice = IceAgent::with_hmac(credentials.clone(), &Hmac);
        ice.set_ice_lite(config.ice_lite && role == Role::Acceptor);
        let mut candidates = Vec::with_capacity(local.len());
        for candidate in local_candidates(config, local)? {
            if let Some(candidate) = ice.add_local_candidate(candidate) {
                candidates.push(candidate.to_sdp_string());
            }
        }
        let mtu = config.mtu.clamp(576, crate::MAX_MTU);
        let sctp = RtcSctp::new(&association_config(config, mtu - dtls::RECORD), now);
        let (peer, delivery) = match role {
            Role::Initiator => (Role::Acceptor, config.acceptor),
            Role::Acceptor => (Role::Initiator, config.initiator),
        };
        let mut filter = SctpFilter::default();
        filter.configure(receive_buffer(config), stream(peer, Channel::Data), delivery);
        let certificate = config.certificate.certificate_der();
        let own = LocalDescription {
            user_fragment: credentials.ufrag.clone(),
            password: credentials.pass,
            fingerprint: dtls::fingerprint(HashFunction::Sha256, certificate).to_string(),
            setup: "actpass",
            max_message_size: config.max_message_size,
            candidates,
            ..LocalDescription::default()
        };
        let stack = Stack {
            ice,
            dtls: DtlsLayer::new(&config.certificate, config.start + now)?,
            handshake: Handshake::new(sctp.init()),
            sctp,
            initiative: None,
            filter,
            way: None,
            held: VecDeque::new(),
            failure: None,
            hung_up: false,
            heard: false,
        };
        let engine = Self {
            role,
            start: config.start,
            now,
            user_fragment: credentials.ufrag,
            offered: role == Role::Initiator,
            max_message_len: 0,
            max_buffered: config.max_buffered,
            candidates: 0,
            checks: Checks::default(),
            burst: 0,
            path: Path::new(role),
            sources: Sources::default(),
            recovery: Recovery::new(!config.initiator.may_lose() && !config.acceptor.may_lose()),
            stack: PanicGuard::new(stack),
            opened: false,
            faulty: false,
            closed: false,
            told: false,
        };
        Ok((engine, own))
    }

    /// Begins with what the peer's description says, as who opens DTLS or waits for it.
    fn begin(&mut self, peer: &Description<'_>, active: bool) -> Result<(), EngineError> {
        let init = match peer.sctp_init {
            Some(text) => Some(init_from_base64(text).ok_or_else(|| not_an_init(peer))?),
            None => None,
        };
        self.max_message_len = peer.max_message_size.min(MAX_SENT);
        self.checks.count = peer.checks;
        self.burst = peer.burst;
        self.candidates = peer.named;
        self.path.know(peer.user_fragment, peer.password, &self.user_fragment);
        let (ufrag, pass) = (peer.user_fragment.to_owned(), peer.password.to_owned());
        for candidate in &peer.candidates {
            self.add(candidate)?;
        }
        let now = self.now;
        let begun = self.stack.with(|stack| {
            stack.ice.set_remote_credentials(IceCreds { ufrag, pass });
            stack.dtls.expect(peer, active);
            if let Some(init) = init {
                stack.handshake.finish(&init);
                stack.establish(&init, now);
            }
        });
        begun.ok_or_else(|| self.panicked())
    }

    fn add(&mut self, candidate: &str) -> Result<(), EngineError> {
        let read = Candidate::from_sdp_string(candidate)
            .map_err(|error| unusable(candidate, error.to_string()))?;
        self.stack.with(|stack| stack.ice.add_remote_candidate(read));
        Ok(())
    }

    /// What this side's description says of SCTP.
    fn own_init(&mut self) -> Result<String, EngineError> {
        let init = self.stack.with(|stack| init_to_base64(&stack.sctp.init()));
        init.ok_or_else(|| self.panicked())
    }

    /// Writes to any stream, as a peer that breaks the rules would.
    #[doc(hidden)]
    pub fn write_on(&mut self, number: u16, message: &[u8]) -> Result<bool, EngineError> {
        if !self.opened {
            return Err(EngineError::Stream { stream: number, reason: "it is not open" });
        }
        let (now, most) = (self.now, self.max_buffered);
        let written = self.stack.with(|stack| {
            if stack.sctp.in_flight() + message.len() > most {
                return Ok(false);
            }
            stack.sctp.write(number, message, now).map(|()| true)
        });
        match written {
            Some(Ok(written)) => Ok(written),
            Some(Err(reason)) => Err(EngineError::Stack(format!("SCTP: {reason}"))),
            None => Err(self.panicked()),
        }
    }

    /// Whether the way to the peer was found, and is not over.
    fn is_up(&self) -> bool {
        self.opened && !self.closed
    }

    fn panicked(&self) -> EngineError {
        EngineError::Panicked(self.stack.panicked().unwrap_or_default().to_owned())
    }

    /// A message that came. The engine lives on until the peer has been told what is wrong with it.
    fn take_message(&mut self, event: SctpEvent) -> Result<Option<Output>, EngineError> {
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
        Err(EngineError::Stream { stream: came_on, reason })
    }

    /// A datagram, from where to where it goes.
    fn transmit(&mut self, bytes: Vec<u8>, [source, destination]: [SocketAddr; 2]) -> Output {
        let mut transmit = Transmit { source, destination, bytes, segment: None };
        self.path.send(&mut transmit, self.now);
        Output::Transmit(transmit)
    }

    fn note_in_flight(&mut self) {
        let now = self.now;
        let noted = self.stack.with(|stack| (stack.sctp.in_flight(), stack.sctp.round_trip()));
        if let Some((in_flight, round_trip)) = noted {
            self.recovery.note(in_flight, round_trip, now);
        }
    }
}

impl Stack {
    fn establish(&mut self, peer: &Init, now: Duration) {
        self.sctp.establish(peer, now);
        self.filter.begin(peer.tsn);
        self.initiative = None;
    }

    fn fail(&mut self, failed: Result<(), EngineError>) {
        if let Err(error) = failed {
            self.dtls.close();
            self.failure.get_or_insert(error);
        }
    }

    /// Takes in a check; says whether it proves that it is the peer's.
    fn handle_stun(&mut self, datagram: &Datagram<'_>, now: Instant) -> bool {
        let Ok(message) = StunMessage::parse(datagram.bytes) else { return false };
        let Datagram { source, destination, .. } = *datagram;
        let packet = StunPacket { proto: Protocol::Udp, source, destination, message };
        let proven = self.ice.handle_packet(now, packet);
        // What follows from it, it sees only then: that a way was chosen.
        self.ice.handle_timeout(now);
        proven
    }

    fn handle_dtls(&mut self, datagram: &[u8], start: Instant, now: Duration) {
        let Self { dtls, sctp, handshake, initiative, filter, hung_up, heard, .. } = self;
        let mut established = None;
        let result = dtls.handle_datagram(datagram, start + now, |event| match event {
            Event::Data(packet) => {
                *heard = true;
                take_packet(packet, now, handshake, filter, sctp, &mut established);
            }
            Event::Connected => *initiative = Some(now + INITIATIVE),
            Event::Closed => *hung_up = true,
        });
        if let Some(peer) = established {
            filter.begin(peer.tsn);
        }
        if self.handshake.is_done() {
            self.initiative = None;
        } else if self.initiative.is_some() && (self.dtls.is_active() || self.filter.has_begun()) {
            // Who opens DTLS opens this too.
            self.initiative = None;
            if self.dtls.is_active() {
                self.handshake.begin(now);
            }
        }
        self.fail(result);
    }

    fn handle_timeout(&mut self, start: Instant, now: Duration) {
        self.ice.handle_timeout(start + now);
        let Self { dtls, initiative, hung_up, .. } = self;
        let result = dtls.handle_timeout(start + now, |event| match event {
            Event::Connected => *initiative = Some(now + INITIATIVE),
            Event::Closed => *hung_up = true,
            Event::Data(_) => {}
        });
        self.fail(result);
        if self.initiative.take_if(|at| *at <= now).is_some() {
            self.handshake.begin(now);
        }
        if self.dtls.is_connected() && self.sctp.poll_timeout().is_some_and(|at| at <= now) {
            self.sctp.handle_timeout(now);
        }
    }

    /// What ICE has to say: where the peer is, and a check to be sent from where to where.
    fn poll_ice(&mut self, start: Instant, now: Duration) -> Option<([SocketAddr; 2], Vec<u8>)> {
        while let Some(event) = self.ice.poll_event() {
            if let IceAgentEvent::NominatedSend { source, destination, .. } = event {
                let first = self.way.replace([source, destination]).is_none();
                if first && self.dtls.is_active() {
                    let started = self.dtls.start(start + now);
                    self.fail(started);
                }
            }
        }
        let transmit = self.ice.poll_transmit()?;
        Some(([transmit.source, transmit.destination], transmit.contents.into()))
    }

    /// A datagram of DTLS that is to be sent.
    fn poll_datagram(&mut self, now: Duration) -> Option<Vec<u8>> {
        while let Some(datagram) = self.dtls.poll_datagram() {
            // What there is no way for yet, DTLS says again.
            if self.held.len() < MAX_HELD {
                self.held.push_back(datagram);
            }
        }
        self.way?;
        if let Some(datagram) = self.held.pop_front() {
            return Some(datagram);
        }
        if !self.dtls.is_connected() || self.failure.is_some() {
            return None;
        }
        loop {
            let packet = match self.handshake.poll_packet(now) {
                Some(packet) => Bytes::from(packet),
                None => self.sctp.poll_packet(now)?,
            };
            self.filter.sent(&packet);
            match self.dtls.seal(&packet) {
                Ok(Some(datagram)) => return Some(datagram),
                Ok(None) => {}
                Err(error) => {
                    self.fail(Err(error));
                    return None;
                }
            }
        }
    }

    fn poll_timeout(&mut self, start: Instant) -> Option<Duration> {
        // It knows no time yet, and has to be told.
        let ice = self.ice.poll_timeout().map_or(Some(Duration::ZERO), |at| dtls::soon(at, start));
        let dtls = self.dtls.poll_timeout().and_then(|at| dtls::soon(at, start));
        let connected = self.dtls.is_connected();
        let sctp = [self.sctp.poll_timeout(), self.handshake.poll_timeout()];
        let sctp = sctp.into_iter().flatten().filter(|_| connected);
        [ice, dtls, self.initiative].into_iter().flatten().chain(sctp).min()
    }
}

/// What SCTP is made with, whose packets have so many bytes at most.
fn association_config(config: &EngineConfig, max_packet_len: usize) -> AssociationConfig {
    let EngineConfig { command, initiator, acceptor, start, .. } = *config;
    let receive_buffer = receive_buffer(config);
    AssociationConfig { receive_buffer, max_packet_len, command, initiator, acceptor, start }
}

/// An INIT as signalling has it.
fn init_to_base64(init: &Init) -> String {
    BASE64_STANDARD.encode(init.chunk(None))
}

fn init_from_base64(text: &str) -> Option<Init> {
    Init::read_whole(&BASE64_STANDARD.decode(text).ok()?)
}

/// A packet of SCTP, out of DTLS.
#[inline]
fn take_packet(
    packet: &[u8],
    now: Duration,
    handshake: &mut Handshake,
    filter: &mut SctpFilter,
    sctp: &mut RtcSctp,
    established: &mut Option<Init>,
) {
    if handshake.is_done() && !handshake.is_addressed(packet) {
        return;
    }
    let verdict = filter.admit(packet);
    if verdict == Verdict::Drop {
        return;
    }
    if handshake.concerns(packet)
        && let Some(peer) = handshake.handle_packet(packet, now)
    {
        sctp.establish(&peer, now);
        *established = Some(peer);
    }
    if !handshake.is_done() {
        return;
    }
    match verdict {
        Verdict::Edit => sctp.handle_packet(SctpFilter::edit(packet).into(), now),
        _ => sctp.handle_packet(Bytes::copy_from_slice(packet), now),
    }
}

impl Engine for Lean {
    fn offer(
        config: &EngineConfig,
        local: &[SocketAddr],
        now: Duration,
    ) -> Result<(Self, String), EngineError> {
        let (mut engine, mut own) = Self::new(config, Role::Initiator, local, now)?;
        own.sctp_init = Some(engine.own_init()?);
        own.checks = true;
        own.burst = config.burst;
        engine.stack.with(|stack| stack.ice.set_controlling(true));
        Ok((engine, own.write()))
    }

    fn accept_answer(&mut self, answer: &str, now: Duration) -> Result<(), EngineError> {
        if !std::mem::take(&mut self.offered) {
            return Err(EngineError::NotOffered);
        }
        self.now = self.now.max(now);
        let answer = Description::read(answer)?;
        self.begin(&answer, answer.setup == Setup::Passive)
    }

    fn answer(
        config: &EngineConfig,
        local: &[SocketAddr],
        offer: &str,
        now: Duration,
    ) -> Result<(Self, String), EngineError> {
        let offer = Description::read(offer)?;
        if config.ice_lite && offer.ice_lite {
            let expected = "must be left to one side, and is this one's";
            let (field, value) = ("ice-lite", String::new());
            return Err(DescriptionError::Unsupported { field, value, expected }.into());
        }
        let (mut engine, mut own) = Self::new(config, Role::Acceptor, local, now)?;
        if offer.sctp_init.is_some() {
            own.sctp_init = Some(engine.own_init()?);
        }
        // Who offers controls ICE, unless it leaves that to the other (RFC 8445, section 6.1.1).
        let controls = offer.ice_lite;
        engine.stack.with(|stack| stack.ice.set_controlling(controls));
        let active = offer.setup == Setup::Passive;
        engine.begin(&offer, active)?;
        own.setup = if active { "active" } else { "passive" };
        (own.transport, own.mid, own.bundled) =
            (offer.transport, offer.mid.to_owned(), offer.bundled);
        own.ice_lite = config.ice_lite;
        own.checks = offer.checks;
        own.burst = config.burst;
        Ok((engine, own.write()))
    }

    fn add_candidate(&mut self, candidate: &str) -> Result<(), EngineError> {
        if self.candidates == MAX_CANDIDATES {
            return Err(DescriptionError::TooManyCandidates { limit: MAX_CANDIDATES }.into());
        }
        self.candidates += 1;
        read_candidate(candidate)?.map_or(Ok(()), |candidate| self.add(candidate))
    }

    fn candidates(&self) -> usize {
        self.candidates
    }

    fn role(&self) -> Role {
        self.role
    }

    fn user_fragment(&self) -> &str {
        &self.user_fragment
    }
}

impl DatagramTransport for Lean {
    fn handle_datagram(&mut self, datagram: Datagram<'_>, now: Duration) {
        let Datagram { source, bytes, .. } = datagram;
        // STUN and DTLS (RFC 7983, section 7); no link has anything else.
        if bytes.len() > MAX_DATAGRAM_LEN || !matches!(bytes.first(), Some(0..=3 | 20..=63)) {
            return;
        }
        self.now = self.now.max(now);
        if let Some(check) = Check::read(bytes) {
            if !self.sources.admit(source, check) {
                return;
            }
            self.checks.received(check);
        }
        let moved = self.opened && self.path.received(&datagram);
        let (start, now) = (self.start, self.now);
        let heard = self.stack.with(|stack| {
            if bytes[0] <= 3 {
                return stack.handle_stun(&datagram, start + now);
            }
            stack.handle_dtls(bytes, start, now);
            std::mem::take(&mut stack.heard)
        });
        self.note_in_flight();
        let back = heard == Some(true) && self.recovery.hear(now);
        // What was in flight went to where the peer is no more.
        if back || (moved && self.recovery.begin_anew(now)) {
            self.stack.with(|stack| stack.sctp.retransmit());
        }
    }
}

impl MessageTransport for Lean {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::new(self.max_message_len, InFlight::Acknowledged);
        capabilities.kind = "webrtc";
        capabilities.delivers = Delivers::AsAsked;
        capabilities.liveness = self.checks.count;
        capabilities.queue = crate::engine::queue(self.burst);
        capabilities
    }

    fn handle_timeout(&mut self, now: Duration) {
        self.now = self.now.max(now);
        if self.is_up() {
            self.path.handle_timeout(now);
        }
        let (start, now) = (self.start, self.now);
        self.stack.with(|stack| stack.handle_timeout(start, now));
        self.note_in_flight();
        let round_trip = self.stack.with(|stack| stack.sctp.round_trip()).flatten();
        if self.recovery.handle_timeout(round_trip, now) {
            self.stack.with(|stack| stack.sctp.retransmit());
        }
    }

    fn poll_output(&mut self) -> Result<Output, TransportError> {
        loop {
            if let Some(check) = self.path.poll_check() {
                if let Some(check) = Check::read(&check.bytes) {
                    self.checks.sent(check);
                }
                return Ok(Output::Transmit(check));
            }
            let (start, now) = (self.start, self.now);
            let polled = self.stack.with(|stack| stack.poll_ice(start, now));
            let Some(check) = polled else {
                self.closed = true;
                return Err(self.panicked().into());
            };
            if let Some((way, bytes)) = check {
                if let Some(check) = Check::read(&bytes) {
                    self.checks.sent(check);
                    self.sources.sent(way[1], check);
                }
                return Ok(self.transmit(bytes, way));
            }
            if let Some(output) = self.poll_stack()? {
                return Ok(output);
            }
        }
    }

    fn write(&mut self, channel: Channel, message: &[u8]) -> Result<bool, TransportError> {
        self.path.expect(self.now);
        let written = self.write_on(stream(self.role, channel), message)?;
        self.note_in_flight();
        Ok(written)
    }

    fn in_flight(&mut self) -> usize {
        let in_flight = self.stack.with(|stack| stack.sctp.in_flight()).unwrap_or(0);
        if in_flight > 0 {
            self.path.expect(self.now);
        }
        in_flight
    }

    fn waiting(&mut self) -> Option<usize> {
        // What is given up before it was sent is not told.
        if !self.recovery.is_reliable() {
            return None;
        }
        self.stack.with(|stack| stack.sctp.waiting())
    }

    fn take_heard(&mut self) -> bool {
        let acknowledged = self.stack.with(|stack| stack.filter.take_acknowledged());
        let acknowledged = acknowledged.unwrap_or(false) && self.checks.count;
        self.checks.take_heard() || acknowledged
    }

    fn close(&mut self) {
        self.closed = true;
        self.told = true;
        self.stack.with(|stack| stack.dtls.close());
    }
}

impl Lean {
    /// What there is beside checks; `None` to ask again.
    fn poll_stack(&mut self) -> Result<Option<Output>, EngineError> {
        let now = self.now;
        let Some(ended) = self.stack.with(|stack| {
            let violation = stack.filter.take_violation();
            (violation, stack.failure.clone(), stack.hung_up || stack.filter.is_closed())
        }) else {
            return Err(self.panicked());
        };
        let (violation, failure, hung_up) = ended;
        if let Some(violation) = violation {
            self.faulty = true;
            return Err(violation.into());
        }
        if let Some(failure) = failure.filter(|_| !self.told) {
            (self.closed, self.told) = (true, true);
            return Err(failure);
        }
        if !self.opened && !self.closed {
            let open = self.stack.with(|stack| {
                stack.dtls.is_connected() && stack.handshake.is_done() && stack.way.is_some()
            });
            if open == Some(true) {
                self.opened = true;
                return Ok(Some(Output::Open));
            }
        }
        if let Some(event) = self.stack.with(|stack| stack.sctp.poll_event()).flatten() {
            return self.take_message(event);
        }
        self.closed |= hung_up;
        if self.closed && !self.told {
            self.told = true;
            return Ok(Some(Output::Closed));
        }
        let sent = self.stack.with(|stack| (stack.poll_datagram(now), stack.way));
        if let Some((Some(datagram), Some(way))) = sent {
            return Ok(Some(self.transmit(datagram, way)));
        }
        // Sending may have failed.
        if self.stack.with(|stack| stack.failure.is_some()) == Some(true) && !self.told {
            return Ok(None);
        }
        let start = self.start;
        let at = self.stack.with(|stack| stack.poll_timeout(start)).flatten();
        let ask = self.path.poll_timeout().filter(|_| self.is_up());
        let again = self.recovery.poll_timeout();
        let next = [at, ask, again].into_iter().flatten().min();
        Ok(Some(Output::Timeout(next.filter(|_| !self.closed))))
    }
}

impl fmt::Debug for Lean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lean")
            .field("role", &self.role)
            .field("user_fragment", &self.user_fragment)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
