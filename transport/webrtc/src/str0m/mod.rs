//! [`Engine`] on the sans-IO WebRTC stack [str0m](https://docs.rs/str0m).

mod config;
mod dtls;
mod shared_filter;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deltawire_framing::Channel;
use deltawire_framing::control::Role;
use deltawire_link::{
    Capabilities, Datagram, DatagramTransport, Delivers, InFlight, MessageTransport, Output,
    PanicGuard, Transmit, TransportError,
};
use deltawire_sdp::{
    Description, DescriptionError, HashFunction, LocalDescription, MAX_CANDIDATES, Setup,
    UNSTATED_MAX_MESSAGE_SIZE, stream,
};
use str0m::channel::{ChannelId, SctpInitData};
use str0m::config::Fingerprint;
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, IceConnectionState, IceCreds, Input, Rtc, RtcConfig, RtcError};

use self::config::channels;
use self::dtls::take_filter;
use self::shared_filter::SharedFilter;
use crate::checks::Checks;
use crate::engine::{local_candidates, not_an_init, read_candidate, receive_buffer, unusable};
use crate::path::Path;
use crate::sources::Sources;
use crate::stun::Check;
use crate::{Engine, EngineConfig, EngineError, MAX_DATAGRAM_LEN, MAX_SENT};

/// How long the server of DTLS lets the client begin SCTP. Either may (RFC 8831, section 6.2), and
/// most clients do at once; but some stacks leave it to who offered, whoever is the client.
const INITIATIVE: Duration = Duration::from_secs(1);

/// One connection of str0m's, with data channels only.
pub struct Str0m {
    rtc: PanicGuard<Rtc>,
    role: Role,
    /// The instant at which `now` is 0.
    start: Instant,
    /// The latest time that it was told.
    now: Duration,
    user_fragment: String,
    /// By SCTP stream.
    streams: [Stream; 3],
    /// Whether ICE and DTLS are through. Streams may be open before (draft-hancke-tsvwg-snap).
    connected: bool,
    /// What the offer said of SCTP, until its answer is there.
    offered: Option<SctpInitData>,
    association: Association,
    max_message_len: usize,
    /// Candidates that the peer named.
    candidates: usize,
    checks: Checks,
    /// So many bytes may come to the peer's socket at once.
    burst: u32,
    path: Path,
    sources: Sources,
    filter: Arc<SharedFilter>,
    /// Whether the peer did what ends the link, and that was told.
    faulty: bool,
    closed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Stream {
    id: ChannelId,
    open: bool,
}

/// Who begins SCTP's association.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Association {
    /// It has begun, or the other side is known to begin.
    Begun,
    /// The peer may, once it is connected, until then; later this side does.
    Awaited(Option<Duration>),
}

impl Str0m {
    fn new(
        config: &EngineConfig,
        role: Role,
        local: &[SocketAddr],
        now: Duration,
    ) -> Result<(Self, LocalDescription), EngineError> {
        let start = config.start;
        let mtu = config.mtu.clamp(str0m::DATAGRAM_MTU_TARGET_MIN, crate::MAX_MTU);
        // Of one that failed, the filter may have been left.
        drop(take_filter());
        let mut rtc = RtcConfig::new()
            .set_crypto_provider(config.certificate.shared.provider().clone())
            .set_dtls_cert(config.certificate.dtls())
            .set_ice_lite(config.ice_lite && role == Role::Acceptor)
            .clear_codecs()
            .clear_extension_map()
            .set_sctp_max_buffered_amount(config.max_buffered)
            .set_sctp_max_message_size(receive_buffer(config))
            .set_mtu(mtu..=usize::MAX)
            .build(start + now);
        // Without it, whatever a peer says would reach the stack.
        let Some(filter) = take_filter() else {
            return Err(EngineError::Stack("it made no DTLS with the connection".to_owned()));
        };
        let (peer, delivery) = match role {
            Role::Initiator => (Role::Acceptor, config.acceptor),
            Role::Acceptor => (Role::Initiator, config.initiator),
        };
        filter.configure(receive_buffer(config), stream(peer, Channel::Data), delivery);
        let mut candidates = Vec::with_capacity(local.len());
        for candidate in local_candidates(config, local)? {
            if let Some(candidate) = rtc.add_local_candidate(candidate) {
                candidates.push(candidate.to_sdp_string());
            }
        }
        let mut api = rtc.direct_api();
        let streams = channels(config)
            .map(|config| Stream { id: api.create_data_channel(config), open: false });
        let credentials = api.local_ice_credentials();
        let own = LocalDescription {
            user_fragment: credentials.ufrag.clone(),
            password: credentials.pass,
            fingerprint: api.local_dtls_fingerprint().to_string(),
            setup: "actpass",
            max_message_size: config.max_message_size,
            candidates,
            ..LocalDescription::default()
        };
        let engine = Self {
            rtc: PanicGuard::new(rtc),
            role,
            start,
            now,
            user_fragment: credentials.ufrag,
            streams,
            connected: false,
            offered: None,
            association: Association::Begun,
            max_message_len: UNSTATED_MAX_MESSAGE_SIZE,
            candidates: 0,
            checks: Checks::default(),
            burst: 0,
            path: Path::new(role),
            sources: Sources::default(),
            filter,
            faulty: false,
            closed: false,
        };
        Ok((engine, own))
    }

    /// Begins with what the peer's description says, as who opens DTLS or waits for it. `init` is
    /// what this side's description says of SCTP.
    fn begin(
        &mut self,
        peer: &Description<'_>,
        active: bool,
        init: Option<SctpInitData>,
    ) -> Result<(), EngineError> {
        self.max_message_len = peer.max_message_size.min(MAX_SENT);
        self.checks.count = peer.checks;
        self.burst = peer.burst;
        self.candidates = peer.named;
        self.path.know(peer.user_fragment, peer.password, &self.user_fragment);
        let known = peer.fingerprints.iter().find(|it| it.function() == HashFunction::Sha256);
        let Some(known) = known else {
            let (field, expected) = ("fingerprint", "must be sha-256: this engine knows no other");
            let value = peer.fingerprints.iter().map(|it| it.function().name()).collect();
            return Err(DescriptionError::Unsupported { field, value, expected }.into());
        };
        let bytes = known.value().to_vec();
        let fingerprint = Fingerprint { hash_func: known.function().name().to_owned(), bytes };
        let (ufrag, pass) = (peer.user_fragment.to_owned(), peer.password.to_owned());
        for candidate in &peer.candidates {
            self.add(candidate)?;
        }
        let begun = self.rtc.with(|rtc| {
            let mut api = rtc.direct_api();
            api.set_remote_ice_credentials(IceCreds { ufrag, pass });
            api.set_remote_fingerprint(fingerprint);
            api.start_dtls(active)?;
            match init {
                Some(init) => return api.start_sctp_with_snap(active, init),
                None if active => api.start_sctp(true),
                None => {}
            }
            Ok(())
        });
        let has_init = peer.sctp_init.is_some();
        if !active && !has_init {
            self.association = Association::Awaited(None);
        }
        match begun {
            Some(Err(_)) if has_init => Err(not_an_init(peer)),
            Some(begun) => begun.map_err(stack_error),
            None => Err(self.panicked()),
        }
    }

    fn add(&mut self, candidate: &str) -> Result<(), EngineError> {
        let read = Candidate::from_sdp_string(candidate)
            .map_err(|error| unusable(candidate, error.to_string()))?;
        self.rtc.with(|rtc| rtc.add_remote_candidate(read));
        Ok(())
    }

    /// Begins SCTP if the peer does not.
    fn take_initiative(&mut self) {
        let Association::Awaited(until) = self.association else { return };
        let has_begun = self.filter.has_begun();
        if !has_begun && until.is_none_or(|until| until > self.now) {
            return;
        }
        self.association = Association::Begun;
        // If the peer has, this only tells the stack to go on.
        self.rtc.with(|rtc| rtc.direct_api().start_sctp(!has_begun));
        let input = Input::Timeout(self.instant(self.now));
        if let Some(Err(error)) = self.rtc.with(|rtc| rtc.handle_input(input)) {
            tracing::debug!(%error, "SCTP did not begin");
        }
    }

    /// Writes to any stream, as a peer that breaks the rules would.
    #[doc(hidden)]
    pub fn write_on(&mut self, number: u16, message: &[u8]) -> Result<bool, EngineError> {
        let Some(stream) = self.streams.get(usize::from(number)) else {
            return Err(EngineError::Stream { stream: number, reason: "there is none" });
        };
        let id = stream.id;
        match self.rtc.with(|rtc| rtc.channel(id).map(|mut stream| stream.write(true, message))) {
            Some(Some(written)) => written.map_err(stack_error),
            Some(None) => Err(EngineError::Stream { stream: number, reason: "it is not open" }),
            None => Err(self.panicked()),
        }
    }

    fn instant(&self, now: Duration) -> Instant {
        self.start + now
    }

    fn stream_of(&self, id: ChannelId) -> Option<u16> {
        let found = self.streams.iter().position(|stream| stream.id == id)?;
        u16::try_from(found).ok()
    }

    fn is_open(&self) -> bool {
        self.connected && self.streams.iter().all(|stream| stream.open)
    }

    /// Whether the way to the peer was found, and is not over.
    fn is_up(&self) -> bool {
        self.connected && !self.closed
    }

    /// Takes in what happened; `None` when it is of no interest.
    fn take_event(&mut self, event: Event) -> Result<Option<Output>, EngineError> {
        match event {
            Event::ChannelOpen(_, _) if self.faulty => Ok(None),
            Event::ChannelOpen(id, _) => {
                let Some(stream) = self.stream_of(id) else {
                    return Err(self.misused(id, "only streams 0, 1 and 2 are in use"));
                };
                self.streams[usize::from(stream)].open = true;
                Ok(self.is_open().then_some(Output::Open))
            }
            Event::Connected => {
                self.connected = true;
                if let Association::Awaited(until @ None) = &mut self.association {
                    *until = Some(self.now.saturating_add(INITIATIVE));
                }
                Ok(self.is_open().then_some(Output::Open))
            }
            Event::ChannelData(data) => {
                let peer = match self.role {
                    Role::Initiator => Role::Acceptor,
                    Role::Acceptor => Role::Initiator,
                };
                let came_on = self.stream_of(data.id);
                let channel = [Channel::Command, Channel::Data]
                    .into_iter()
                    .find(|channel| came_on == Some(stream(peer, *channel)));
                match channel {
                    // Nobody listens to a peer that is to be left.
                    _ if self.faulty => Ok(None),
                    Some(channel) => Ok(Some(Output::Message(channel, data.data.into()))),
                    None => Err(self.misused(data.id, "it carries nothing this way")),
                }
            }
            Event::ChannelClose(_) | Event::Closed => {
                self.closed = true;
                Ok(Some(Output::Closed))
            }
            Event::IceConnectionStateChange(state) => {
                if state == IceConnectionState::Disconnected {
                    tracing::debug!("ICE disconnected; the session's time-out decides");
                }
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    fn panicked(&self) -> EngineError {
        EngineError::Panicked(self.rtc.panicked().unwrap_or_default().to_owned())
    }

    fn misused(&mut self, id: ChannelId, reason: &'static str) -> EngineError {
        let stream = self.rtc.with(|rtc| rtc.direct_api().sctp_stream_id_by_channel_id(id));
        // The engine lives on until the peer has been told why.
        let stream = stream.flatten().unwrap_or(u16::MAX);
        self.faulty = true;
        EngineError::Stream { stream, reason }
    }
}

impl Engine for Str0m {
    fn offer(
        config: &EngineConfig,
        local: &[SocketAddr],
        now: Duration,
    ) -> Result<(Self, String), EngineError> {
        let (mut engine, mut own) = Self::new(config, Role::Initiator, local, now)?;
        let mut init = SctpInitData::new();
        own.sctp_init = Some(init.local_init_string().map_err(|error| stack_error(error.into()))?);
        own.checks = true;
        own.burst = config.burst;
        engine.offered = Some(init);
        engine.rtc.with(|rtc| rtc.direct_api().set_ice_controlling(true));
        Ok((engine, own.write()))
    }

    fn accept_answer(&mut self, answer: &str, _now: Duration) -> Result<(), EngineError> {
        let Some(mut init) = self.offered.take() else { return Err(EngineError::NotOffered) };
        let answer = Description::read(answer)?;
        let init = match answer.sctp_init {
            Some(theirs) => {
                init.set_remote_init_string(theirs).map_err(|_| not_an_init(&answer))?;
                Some(init)
            }
            None => None,
        };
        self.begin(&answer, answer.setup == Setup::Passive, init)
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
        let mut init = None;
        if let Some(theirs) = offer.sctp_init {
            let mut ours = SctpInitData::new();
            ours.set_remote_init_string(theirs).map_err(|_| not_an_init(&offer))?;
            let text = ours.local_init_string().map_err(|error| stack_error(error.into()))?;
            own.sctp_init = Some(text);
            init = Some(ours);
        }
        // Who offers controls ICE, unless it leaves that to the other (RFC 8445, section 6.1.1).
        let controls = offer.ice_lite;
        engine.rtc.with(|rtc| rtc.direct_api().set_ice_controlling(controls));
        let active = offer.setup == Setup::Passive;
        engine.begin(&offer, active, init)?;
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

impl DatagramTransport for Str0m {
    fn handle_datagram(&mut self, datagram: Datagram<'_>, now: Duration) {
        let Datagram { source, destination, bytes } = datagram;
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
        if self.connected {
            self.path.received(&datagram);
        }
        let Ok(receive) = Receive::new(Protocol::Udp, source, destination, bytes) else {
            return;
        };
        let input = Input::Receive(self.instant(now), receive);
        if let Some(Err(error)) = self.rtc.with(|rtc| rtc.handle_input(input)) {
            // Anybody can send garbage. What ends the link shows in the next output.
            tracing::trace!(%error, "dropped a datagram");
        }
    }
}

impl MessageTransport for Str0m {
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
        self.take_initiative();
        let input = Input::Timeout(self.instant(now));
        if let Some(Err(error)) = self.rtc.with(|rtc| rtc.handle_input(input)) {
            tracing::debug!(%error, "a time-out failed");
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
            let Some(output) = self.rtc.with(Rtc::poll_output) else {
                self.closed = true;
                return Err(self.panicked().into());
            };
            if let Some(violation) = self.filter.take_violation() {
                self.faulty = true;
                return Err(EngineError::from(violation).into());
            }
            match output {
                Ok(str0m::Output::Transmit(transmit)) => {
                    if let Some(check) = Check::read(&transmit.contents) {
                        self.checks.sent(check);
                        self.sources.sent(transmit.destination, check);
                    }
                    let mut transmit = Transmit {
                        destination: transmit.destination,
                        source: transmit.source,
                        bytes: transmit.contents.into(),
                        segment: None,
                    };
                    self.path.send(&mut transmit, self.now);
                    return Ok(Output::Transmit(transmit));
                }
                Ok(str0m::Output::Event(event)) => {
                    if let Some(output) = self.take_event(event)? {
                        return Ok(output);
                    }
                }
                Ok(str0m::Output::Timeout(at)) => {
                    if self.association != Association::Begun && self.filter.has_begun() {
                        self.take_initiative();
                        continue;
                    }
                    let at = at.saturating_duration_since(self.start);
                    // str0m says "never" with a time that is years away.
                    let soon = at < Duration::from_secs(365 * 24 * 3_600);
                    let until = match self.association {
                        Association::Awaited(until) => until,
                        Association::Begun => None,
                    };
                    let at = soon.then_some(at).into_iter().chain(until).min();
                    let alive = self.rtc.with(|rtc| rtc.is_alive()).unwrap_or(false);
                    let ask = self.path.poll_timeout().filter(|_| self.is_up());
                    let next = at.into_iter().chain(ask).min();
                    return Ok(Output::Timeout(next.filter(|_| alive)));
                }
                Err(error) => {
                    self.closed = true;
                    self.rtc.with(Rtc::disconnect);
                    return Err(stack_error(error).into());
                }
            }
        }
    }

    fn write(&mut self, channel: Channel, message: &[u8]) -> Result<bool, TransportError> {
        self.path.expect(self.now);
        Ok(self.write_on(stream(self.role, channel), message)?)
    }

    fn in_flight(&mut self) -> usize {
        let Self { rtc, streams, .. } = self;
        let all = rtc.with(|rtc| {
            let buffered =
                |stream: &Stream| rtc.channel(stream.id).map(|mut it| it.buffered_amount());
            streams.iter().filter_map(buffered).sum()
        });
        let all = all.unwrap_or(0);
        if all > 0 {
            self.path.expect(self.now);
        }
        all
    }

    fn take_heard(&mut self) -> bool {
        let acknowledged = self.filter.take_acknowledged() && self.checks.count;
        self.checks.take_heard() || acknowledged
    }

    fn close(&mut self) {
        self.closed = true;
        if let Some(Err(error)) = self.rtc.with(Rtc::close) {
            tracing::debug!(%error, "hanging up failed");
            self.rtc.with(Rtc::disconnect);
        }
    }
}

impl fmt::Debug for Str0m {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Str0m")
            .field("role", &self.role)
            .field("user_fragment", &self.user_fragment)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

fn stack_error(error: RtcError) -> EngineError {
    match error {
        RtcError::RemoteSdp(reason) if reason.contains("fingerprint") => EngineError::Fingerprint,
        error => EngineError::Stack(error.to_string()),
    }
}
