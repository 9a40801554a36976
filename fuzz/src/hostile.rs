//! A peer that holds all keys of its link and says in SCTP whatever it likes, beside an engine of
//! ours. No time passes unless it is let pass, and nothing is lost on the way.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use allocation_counter::{AllocationInfo, measure, opt_out};
use deltawire_framing::Channel;
use deltawire_link::{Datagram, DatagramTransport, MessageTransport, Output, Transmit};
use deltawire_webrtc::{AnyEngine, Certificate, Engine, EngineConfig, EngineError};
use str0m::change::SdpAnswer;
use str0m::channel::{ChannelConfig, ChannelId};
use str0m::config::{CryptoProvider, DtlsCert, DtlsVersion};
use str0m::crypto::dtls::{DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, ProtocolVersion};
use str0m::crypto::{CryptoError, from_feature_flags};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Rtc, RtcConfig};

/// The link between a hostile peer and an engine that answered its offer.
pub struct Link {
    /// How far the clock is.
    pub now: Duration,
    /// The engine under attack.
    pub victim: AnyEngine,
    /// Why it ended, if it did.
    pub error: Option<EngineError>,
    /// Whether it says that the link is over.
    pub closed: bool,
    /// What it handed on.
    pub messages: Vec<(Channel, Vec<u8>)>,
    /// The last connectivity check of the hostile peer's, as a datagram.
    pub check: Vec<u8>,
    /// Datagrams that the engine sent.
    pub sent: usize,
    /// What the engine has allocated and not freed since the link was open, bytes.
    pub held: i64,
    /// How much of it there was at most.
    pub held_max: i64,
    hostile: Rtc,
    dtls: Shared,
    commands: ChannelId,
    start: Instant,
    timeout: Option<Duration>,
    open: bool,
}

/// Where the two are.
pub const HOSTILE: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1_000);
/// The engine's own address.
pub const VICTIM: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1_001);

/// What its engine may hold of messages, by default, bytes.
pub const RECEIVE_BUFFER: u32 = 1 << 20;

type Shared = Arc<Mutex<Box<dyn DtlsInstance>>>;

thread_local! {
    /// The DTLS of the hostile peer that was made last.
    static DTLS: RefCell<Option<Shared>> = const { RefCell::new(None) };
    /// The first packet with a message that its own stack would have sent. From then on what that
    /// stack says is not sent.
    static GENUINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// Whether its own stack is still listened to.
    static HONEST: Cell<bool> = const { Cell::new(true) };
}

impl Link {
    /// An open link to an engine with the defaults.
    pub fn open() -> Self {
        Self::with(&Self::config())
    }

    /// The defaults.
    pub fn config() -> EngineConfig {
        static CERTIFICATE: OnceLock<Arc<Certificate>> = OnceLock::new();
        let certificate =
            CERTIFICATE.get_or_init(|| Arc::new(Certificate::generate().expect("randomness")));
        let mut config = EngineConfig::new(certificate.clone());
        config.kind = crate::ENGINE;
        config.max_message_size = 16_384;
        config.receive_buffer = RECEIVE_BUFFER;
        config
    }

    /// An open link to an engine with this configuration.
    pub fn with(config: &EngineConfig) -> Self {
        Self::with_offer(config, |offer| offer)
    }

    /// The same, by an offer that is changed on its way.
    pub fn with_offer(config: &EngineConfig, edit: impl FnOnce(String) -> String) -> Self {
        HONEST.set(true);
        let start = Instant::now();
        let provider = CryptoProvider { dtls_provider: &Tampering, ..from_feature_flags() };
        let mut hostile = RtcConfig::new()
            .set_crypto_provider(Arc::new(provider))
            .set_dtls_cert(certificate())
            .clear_codecs()
            .set_snap_enabled(true)
            .build(start);
        hostile.add_local_candidate(Candidate::host(HOSTILE, Protocol::Udp).unwrap());
        let mut changes = hostile.sdp_api();
        let channels = [0, 1, 2].map(|stream| {
            changes.add_channel_with_config(ChannelConfig {
                negotiated: Some(stream),
                ..ChannelConfig::default()
            })
        });
        let (offer, pending) = changes.apply().unwrap();
        let offer = edit(offer.to_sdp_string());
        let (victim, answer) =
            AnyEngine::answer(config, &[VICTIM], &offer, Duration::ZERO).unwrap();
        let answer = SdpAnswer::from_sdp_string(&answer).unwrap();
        hostile.sdp_api().accept_answer(pending, answer).unwrap();
        let mut link = Self {
            now: Duration::ZERO,
            victim,
            error: None,
            closed: false,
            messages: Vec::new(),
            check: Vec::new(),
            sent: 0,
            held: 0,
            held_max: 0,
            hostile,
            dtls: DTLS.take().unwrap(),
            commands: channels[0],
            start,
            timeout: None,
            open: false,
        };
        for _ in 0..1_000 {
            if link.open && link.hostile.channel(link.commands).is_some() {
                link.turn();
                return link;
            }
            link.now += Duration::from_millis(5);
            link.exchange();
        }
        panic!("the link does not open");
    }

    /// From here on its own stack says nothing, and hears nothing.
    fn turn(&mut self) {
        HONEST.set(false);
        self.hostile.channel(self.commands).unwrap().write(true, &[7]).unwrap();
        self.exchange();
        assert!(!GENUINE.with_borrow(Vec::is_empty));
        self.messages.clear();
        (self.held, self.held_max, self.sent) = (0, 0, 0);
    }

    /// Sends these SCTP packets over the link, as they are.
    pub fn say(&mut self, packets: Vec<Vec<u8>>) {
        let mut buffer = vec![0; 1 << 16];
        for packet in packets {
            let mut datagrams = Vec::new();
            {
                let mut dtls = self.dtls.lock().unwrap();
                dtls.send_application_data(&packet).unwrap();
                loop {
                    match dtls.poll_output(&mut buffer) {
                        DtlsOutput::Packet(datagram) => datagrams.push(datagram.to_vec()),
                        DtlsOutput::Timeout(_) => break,
                        DtlsOutput::BufferTooSmall { needed } => {
                            panic!("{needed} bytes are needed")
                        }
                        _ => {}
                    }
                }
            }
            datagrams.iter().for_each(|datagram| self.datagram(HOSTILE, datagram));
        }
    }

    /// An SCTP packet with these chunks, which has the header that the engine expects.
    pub fn packet(&self, chunks: &[u8]) -> Vec<u8> {
        let mut packet = GENUINE.with_borrow(|genuine| genuine[..12].to_vec());
        packet[8..].fill(0);
        packet.extend_from_slice(chunks);
        let checksum = crc32c::crc32c(&packet);
        packet[8..12].copy_from_slice(&checksum.to_le_bytes());
        packet
    }

    /// The TSN of what the hostile peer has to say next: the engine got nothing from it on.
    pub fn next_tsn(&self) -> u32 {
        GENUINE.with_borrow(|genuine| u32::from_be_bytes(genuine[16..20].try_into().unwrap()))
    }

    /// Moves the clock.
    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        self.exchange();
    }

    /// A datagram for the engine, from anywhere.
    pub fn datagram(&mut self, source: SocketAddr, bytes: &[u8]) {
        let now = self.now;
        let info = {
            let victim = &mut self.victim;
            measure(|| victim.handle_datagram(Datagram { source, destination: VICTIM, bytes }, now))
        };
        self.count(info);
        for transmit in self.drain() {
            self.answer(&transmit);
        }
    }

    fn count(&mut self, info: AllocationInfo) {
        self.held_max = self.held_max.max(self.held + info.bytes_max as i64);
        self.held += info.bytes_current;
    }

    fn instant(&self) -> Instant {
        self.start + self.now
    }

    /// Everything that the engine has to give; the datagrams are for the hostile peer.
    fn drain(&mut self) -> Vec<Transmit> {
        let mut sent = Vec::new();
        let info = {
            let Self { victim, messages, error, closed, open, timeout, .. } = self;
            measure(|| {
                loop {
                    match victim.poll_output() {
                        // What was handed on is no more the engine's.
                        Ok(Output::Transmit(transmit)) => {
                            let mut copy = None;
                            opt_out(|| {
                                copy = Some(Transmit {
                                    destination: transmit.destination,
                                    source: transmit.source,
                                    bytes: transmit.bytes.clone(),
                                    segment: transmit.segment,
                                });
                                sent.extend(copy.take());
                            });
                        }
                        Ok(Output::Open) => *open = true,
                        Ok(Output::Message(channel, message)) => {
                            opt_out(|| messages.push((channel, message.to_vec())));
                        }
                        Ok(Output::Closed) => *closed = true,
                        Ok(Output::Timeout(at)) => {
                            *timeout = at;
                            return;
                        }
                        Err(ended) => {
                            *error = ended.downcast_ref().cloned();
                            *timeout = None;
                            return;
                        }
                    }
                }
            })
        };
        self.count(info);
        self.sent += sent.len();
        sent
    }

    fn answer(&mut self, transmit: &Transmit) {
        // Of a peer that has turned hostile, only ICE goes on.
        if !HONEST.get() && !transmit.bytes.starts_with(&[1, 1]) {
            return;
        }
        let now = self.instant();
        let receive =
            Receive::new(Protocol::Udp, transmit.source, transmit.destination, &transmit.bytes);
        if let Ok(receive) = receive {
            let _ = self.hostile.handle_input(Input::Receive(now, receive));
        }
    }

    /// Lets both say what they have to say now.
    fn exchange(&mut self) {
        let now = self.instant();
        let _ = self.hostile.handle_input(Input::Timeout(now));
        if self.timeout.is_none_or(|at| at <= self.now) && self.error.is_none() {
            let now = self.now;
            let info = {
                let victim = &mut self.victim;
                measure(|| victim.handle_timeout(now))
            };
            self.count(info);
        }
        for _ in 0..100 {
            let mut quiet = true;
            loop {
                match self.hostile.poll_output() {
                    Ok(str0m::Output::Transmit(transmit)) => {
                        quiet = false;
                        let bytes: Vec<u8> = transmit.contents.into();
                        if bytes.starts_with(&[0, 1]) {
                            self.check = bytes.clone();
                        }
                        self.datagram(HOSTILE, &bytes);
                    }
                    Ok(str0m::Output::Event(Event::Connected | _)) => {}
                    Ok(str0m::Output::Timeout(_)) | Err(_) => break,
                }
            }
            for transmit in self.drain() {
                quiet = false;
                self.answer(&transmit);
            }
            if quiet {
                return;
            }
        }
    }
}

/// The hostile peer's certificate: one for all, because making one takes long.
fn certificate() -> DtlsCert {
    static CERTIFICATE: OnceLock<DtlsCert> = OnceLock::new();
    let generate = || from_feature_flags().dtls_provider.generate_certificate().unwrap();
    CERTIFICATE.get_or_init(generate).clone()
}

/// DTLS that others have a hand on, and that says nothing of its own when it is told so.
#[derive(Debug)]
struct Tampering;

impl DtlsProvider for Tampering {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        Some(certificate())
    }

    fn new_dtls(
        &self,
        certificate: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let inner = from_feature_flags().dtls_provider.new_dtls(certificate, now, version, mtu)?;
        let inner = Arc::new(Mutex::new(inner));
        DTLS.set(Some(inner.clone()));
        Ok(Box::new(Instance(inner)))
    }
}

#[derive(Debug)]
struct Instance(Shared);

impl DtlsInstance for Instance {
    fn set_active(&mut self, active: bool) {
        self.0.lock().unwrap().set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.0.lock().unwrap().handle_packet(packet)
    }

    fn poll_output<'a>(&mut self, buffer: &'a mut [u8]) -> DtlsOutput<'a> {
        self.0.lock().unwrap().poll_output(buffer)
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.0.lock().unwrap().handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        if HONEST.get() {
            return self.0.lock().unwrap().send_application_data(data);
        }
        if data.get(12) == Some(&0) {
            GENUINE.set(data.to_vec());
        }
        Ok(data.len())
    }

    fn is_active(&self) -> bool {
        self.0.lock().unwrap().is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.0.lock().unwrap().protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.0.lock().unwrap().is_closing()
    }

    fn is_closed(&self) -> bool {
        self.0.lock().unwrap().is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.0.lock().unwrap().close()
    }
}
