//! [`Engine`] on the sans-IO WebRTC stack [str0m](https://docs.rs/str0m).

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deltawire_channels::{Delivery, Order, Reliability};
use deltawire_framing::Channel;
use deltawire_framing::control::Role;
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::channel::{ChannelConfig, ChannelId, Reliability as StreamReliability};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, IceConnectionState, Input, Rtc, RtcConfig, RtcError};

use super::admission::Gate;
use super::certificate::{provider, take_gate};
use super::checks::{self, Checks};
use super::description::{UNSTATED_MAX_MESSAGE_SIZE, max_message_size};
use super::path::Path;
use super::shell::Shell;
use super::sources::Sources;
use super::{Datagram, Engine, EngineConfig, EngineError, Output, Streams, Transmit, stream};

/// One connection of str0m's, with data channels only.
pub struct Str0m {
    rtc: Shell<Rtc>,
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
    /// The offer that waits for its answer.
    pending: Option<SdpPendingOffer>,
    max_message_len: usize,
    checks: Checks,
    path: Path,
    sources: Sources,
    gate: Arc<Gate>,
    closed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Stream {
    id: ChannelId,
    open: bool,
}

impl Str0m {
    fn connection(
        config: &EngineConfig,
        role: Role,
        local: &[SocketAddr],
        now: Instant,
    ) -> Result<(Rtc, Arc<Gate>), EngineError> {
        let mtu = config.mtu.clamp(str0m::DATAGRAM_MTU_TARGET_MIN, super::MAX_MTU);
        // Of one that failed, the gate may have been left.
        drop(take_gate());
        let mut rtc = RtcConfig::new()
            .set_crypto_provider(provider(config.certificate.is_reproducible()).clone())
            .set_dtls_cert(config.certificate.dtls())
            .set_ice_lite(config.ice_lite && role == Role::Acceptor)
            .clear_codecs()
            .clear_extension_map()
            .set_sctp_max_buffered_amount(config.max_buffered)
            .set_sctp_max_message_size(receive_buffer(config))
            .set_snap_enabled(true)
            .set_mtu(mtu..=usize::MAX)
            .build(now);
        // Without it, whatever a peer says would reach the stack.
        let Some(gate) = take_gate() else {
            return Err(EngineError::Stack("it made no DTLS with the connection".to_owned()));
        };
        let (peer, delivery) = match role {
            Role::Initiator => (Role::Acceptor, config.acceptor),
            Role::Acceptor => (Role::Initiator, config.initiator),
        };
        gate.configure(receive_buffer(config), stream(peer, Channel::Data), delivery);
        for address in local {
            let candidate = Candidate::host(*address, Protocol::Udp).map_err(|error| {
                let (candidate, reason) = (address.to_string(), error.to_string());
                EngineError::Candidate { candidate, reason }
            })?;
            rtc.add_local_candidate(candidate);
        }
        Ok((rtc, gate))
    }

    fn new(
        (mut rtc, gate): (Rtc, Arc<Gate>),
        role: Role,
        streams: [ChannelId; 3],
        start: Instant,
    ) -> Self {
        Self {
            user_fragment: rtc.direct_api().local_ice_credentials().ufrag,
            rtc: Shell::new(rtc),
            role,
            start,
            now: Duration::ZERO,
            streams: streams.map(|id| Stream { id, open: false }),
            connected: false,
            pending: None,
            max_message_len: UNSTATED_MAX_MESSAGE_SIZE,
            checks: Checks::default(),
            path: Path::new(role),
            sources: Sources::default(),
            gate,
            closed: false,
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
            Event::ChannelOpen(id, _) => {
                let Some(stream) = self.stream_of(id) else {
                    return Err(self.misused(id, "only streams 0, 1 and 2 are in use"));
                };
                self.streams[usize::from(stream)].open = true;
                Ok(self.is_open().then_some(Output::Open))
            }
            Event::Connected => {
                self.connected = true;
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
                    Some(channel) => Ok(Some(Output::Message(channel, data.data))),
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
        EngineError::Stream { stream, reason }
    }
}

impl Engine for Str0m {
    fn offer(
        config: &EngineConfig,
        local: &[SocketAddr],
        now: Duration,
    ) -> Result<(Self, String), EngineError> {
        let start = config.start;
        let (mut rtc, gate) = Self::connection(config, Role::Initiator, local, start + now)?;
        let mut changes = rtc.sdp_api();
        let streams = channels(config).map(|config| changes.add_channel_with_config(config));
        let Some((offer, pending)) = changes.apply() else {
            return Err(EngineError::Stack("it made no offer".to_owned()));
        };
        let mut engine = Self::new((rtc, gate), Role::Initiator, streams, start);
        engine.pending = Some(pending);
        Ok((engine, checks::mark(describe(offer.to_sdp_string(), config)?)))
    }

    fn accept_answer(&mut self, answer: &str, _now: Duration) -> Result<(), EngineError> {
        let Some(pending) = self.pending.take() else {
            return Err(EngineError::Unsupported("an answer that nobody asked for".to_owned()));
        };
        self.max_message_len = max_message_size(answer)?;
        self.checks.count = checks::is_marked(answer);
        self.path.know(answer, &self.user_fragment);
        let answer = SdpAnswer::from_sdp_string(answer)
            .map_err(|error| EngineError::Malformed(error.to_string()))?;
        match self.rtc.with(|rtc| rtc.sdp_api().accept_answer(pending, answer)) {
            Some(accepted) => accepted.map_err(description_error),
            None => Err(self.panicked()),
        }
    }

    fn answer(
        config: &EngineConfig,
        local: &[SocketAddr],
        offer: &str,
        now: Duration,
    ) -> Result<(Self, String), EngineError> {
        let max_message_len = max_message_size(offer)?;
        let marked = checks::is_marked(offer);
        let description = offer;
        let offer = SdpOffer::from_sdp_string(offer)
            .map_err(|error| EngineError::Malformed(error.to_string()))?;
        let start = config.start;
        let (mut rtc, gate) = Self::connection(config, Role::Acceptor, local, start + now)?;
        let answer = rtc.sdp_api().accept_offer(offer).map_err(description_error)?;
        let mut streams = rtc.direct_api();
        let streams = channels(config).map(|config| streams.create_data_channel(config));
        let mut engine = Self::new((rtc, gate), Role::Acceptor, streams, start);
        engine.max_message_len = max_message_len;
        engine.checks.count = marked;
        engine.path.know(description, &engine.user_fragment);
        let answer = describe(answer.to_sdp_string(), config)?;
        Ok((engine, if marked { checks::mark(answer) } else { answer }))
    }

    fn add_candidate(&mut self, candidate: &str) -> Result<(), EngineError> {
        match Candidate::from_sdp_string(candidate) {
            Ok(candidate) => {
                self.rtc.with(|rtc| rtc.add_remote_candidate(candidate));
                Ok(())
            }
            Err(error) => Err(EngineError::Candidate {
                candidate: candidate.to_owned(),
                reason: error.to_string(),
            }),
        }
    }

    fn role(&self) -> Role {
        self.role
    }

    fn user_fragment(&self) -> &str {
        &self.user_fragment
    }

    fn handle_datagram(&mut self, datagram: Datagram<'_>, now: Duration) {
        let Datagram { source, destination, bytes } = datagram;
        if !self.sources.admit(source, bytes) {
            return;
        }
        self.now = now;
        self.checks.received(bytes);
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

impl Streams for Str0m {
    fn max_message_len(&self) -> usize {
        self.max_message_len
    }

    fn handle_timeout(&mut self, now: Duration) {
        self.now = now;
        if self.is_up() {
            self.path.handle_timeout(now);
        }
        let input = Input::Timeout(self.instant(now));
        if let Some(Err(error)) = self.rtc.with(|rtc| rtc.handle_input(input)) {
            tracing::debug!(%error, "a time-out failed");
        }
    }

    fn poll_output(&mut self) -> Result<Output, EngineError> {
        loop {
            if let Some(check) = self.path.poll_check() {
                self.checks.sent(&check.bytes);
                return Ok(Output::Transmit(check));
            }
            let Some(output) = self.rtc.with(Rtc::poll_output) else {
                self.closed = true;
                return Err(self.panicked());
            };
            if let Some(violation) = self.gate.violation() {
                self.closed = true;
                self.rtc.with(Rtc::disconnect);
                return Err(violation);
            }
            match output {
                Ok(str0m::Output::Transmit(transmit)) => {
                    self.checks.sent(&transmit.contents);
                    self.sources.sent(transmit.destination, &transmit.contents);
                    let mut transmit = Transmit {
                        destination: transmit.destination,
                        source: transmit.source,
                        bytes: transmit.contents.into(),
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
                    let at = at.saturating_duration_since(self.start);
                    // str0m says "never" with a time that is years away.
                    let soon = at < Duration::from_secs(365 * 24 * 3_600);
                    let alive = self.rtc.with(|rtc| rtc.is_alive()).unwrap_or(false);
                    let next = (soon && alive).then_some(at);
                    let ask = self.path.poll_timeout().filter(|_| alive && self.is_up());
                    return Ok(Output::Timeout(next.into_iter().chain(ask).min()));
                }
                Err(error) => {
                    self.closed = true;
                    self.rtc.with(Rtc::disconnect);
                    return Err(stack_error(error));
                }
            }
        }
    }

    fn write(&mut self, channel: Channel, message: &[u8]) -> Result<bool, EngineError> {
        self.path.expect(self.now);
        let number = stream(self.role, channel);
        let id = self.streams[usize::from(number)].id;
        match self.rtc.with(|rtc| rtc.channel(id).map(|mut stream| stream.write(true, message))) {
            Some(Some(written)) => written.map_err(stack_error),
            Some(None) => Err(EngineError::Stream { stream: number, reason: "it is not open" }),
            None => Err(self.panicked()),
        }
    }

    fn buffered_amount(&mut self) -> usize {
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

    fn hears(&self) -> bool {
        self.checks.count
    }

    fn take_heard(&mut self) -> bool {
        let acknowledged = self.gate.take_acknowledged() && self.checks.count;
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

/// str0m's receive buffer is as large as the longest message that it takes, and at least 1 MiB. What is
/// longer than the session takes is for the session to refuse, by name: here it would end SCTP's
/// association without a word.
fn receive_buffer(config: &EngineConfig) -> u32 {
    config.receive_buffer.max(config.max_message_size).max(1 << 20)
}

/// What peers are told is the longest message that the session takes.
fn describe(description: String, config: &EngineConfig) -> Result<String, EngineError> {
    let line = |size| format!("a=max-message-size:{size}\r\n");
    let (stated, wanted) = (line(receive_buffer(config)), line(config.max_message_size));
    if !description.contains(&stated) {
        return Err(EngineError::Stack("its description does not say max-message-size".to_owned()));
    }
    Ok(description.replace(&stated, &wanted))
}

/// By stream.
fn channels(config: &EngineConfig) -> [ChannelConfig; 3] {
    [
        channel_config(0, Delivery { order: config.command, ..Delivery::default() }),
        channel_config(1, config.initiator),
        channel_config(2, config.acceptor),
    ]
}

/// A channel that both sides know without being told.
fn channel_config(stream: u16, delivery: Delivery) -> ChannelConfig {
    ChannelConfig {
        ordered: delivery.order == Order::Ordered,
        reliability: match delivery.reliability {
            Reliability::Reliable => StreamReliability::Reliable,
            Reliability::MaxRetransmits(retransmits) => {
                StreamReliability::MaxRetransmits { retransmits }
            }
            Reliability::MaxLifetime(lifetime) => StreamReliability::MaxPacketLifetime {
                lifetime: u16::try_from(lifetime.as_millis()).unwrap_or(u16::MAX),
            },
        },
        negotiated: Some(stream),
        ..ChannelConfig::default()
    }
}

fn description_error(error: RtcError) -> EngineError {
    match error {
        RtcError::RemoteSdp(reason) => EngineError::Unsupported(reason),
        error => EngineError::Malformed(error.to_string()),
    }
}

fn stack_error(error: RtcError) -> EngineError {
    match error {
        RtcError::RemoteSdp(reason) if reason.contains("fingerprint") => EngineError::Fingerprint,
        error => EngineError::Stack(error.to_string()),
    }
}
