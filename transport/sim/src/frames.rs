//! The plainest transport that keeps its promises: each transport message is a datagram of its
//! own, acknowledged by itself, and sent again until it is. No ICE, DTLS or SCTP: a link costs next
//! to nothing, and a run depends on its seed only.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use deltawire_channels::{Delivery, Order, Reliability};
use deltawire_framing::Channel;
use deltawire_framing::control::Role;
use deltawire_link::{
    Capabilities, Datagram, DatagramTransport, Delivers, InFlight, MessageTransport, Output,
    Transmit, TransportError,
};
use deltawire_webrtc::{Engine, EngineConfig, EngineError};

const HELLO: u8 = 0;
const DATA: u8 = 1;
const ACKNOWLEDGEMENT: u8 = 2;
const BYE: u8 = 3;
const HEADER: usize = 10;

const CHANNELS: [Channel; 2] = [Channel::Command, Channel::Data];

/// Until the round trip is known.
const FIRST_WAIT: Duration = Duration::from_millis(300);
/// The shortest wait for an acknowledgement.
const MIN_WAIT: Duration = Duration::from_millis(200);
/// The longest, unless the round trip alone is longer.
const MAX_WAIT: Duration = Duration::from_secs(1);
/// What is on its way at most after a wait was over; it grows by what is acknowledged.
const MIN_WINDOW: usize = 32 << 10;

pub(super) struct Frames {
    role: Role,
    local: SocketAddr,
    remote: Option<SocketAddr>,
    max_message_len: usize,
    max_buffered: usize,
    open: bool,
    closed: bool,
    /// When to say hello again; the acceptor only answers.
    hello_at: Option<Duration>,
    outgoing: [Outgoing; 2],
    incoming: [Incoming; 2],
    /// What is on its way, by when it is given up and waits again, channel and number.
    flying: BTreeSet<(Duration, usize, u64)>,
    flying_bytes: usize,
    /// What waits to be sent, or sent again, by channel and number.
    waiting: BTreeSet<(usize, u64)>,
    window: usize,
    shrunk_at: Duration,
    buffered: usize,
    round_trip: Option<(Duration, Duration)>,
    outputs: VecDeque<Output>,
    now: Duration,
}

/// What was sent on a channel and not acknowledged.
struct Outgoing {
    reliability: Reliability,
    next: u64,
    sent: BTreeMap<u64, Sent>,
}

struct Sent {
    /// Empty when it was given up: its receiver has to know that.
    bytes: Vec<u8>,
    written_at: Duration,
    sent_at: Duration,
    tries: u32,
    /// How long an acknowledgement is waited for; `None` while it waits to be sent.
    until: Option<Duration>,
}

/// What came on a channel.
struct Incoming {
    order: Order,
    /// All before have come, or were given up.
    next: u64,
    /// What came of those behind; nothing is kept of what was handed on.
    ahead: BTreeMap<u64, Vec<u8>>,
}

impl Frames {
    fn new(config: &EngineConfig, role: Role, local: SocketAddr, now: Duration) -> Self {
        let command = Delivery { order: config.command, ..Delivery::default() };
        let (send, receive) = match role {
            Role::Initiator => (config.initiator, config.acceptor),
            Role::Acceptor => (config.acceptor, config.initiator),
        };
        let outgoing = |delivery: Delivery| Outgoing {
            reliability: delivery.reliability,
            next: 0,
            sent: BTreeMap::new(),
        };
        let incoming = |delivery: Delivery| Incoming {
            order: delivery.order,
            next: 0,
            ahead: BTreeMap::new(),
        };
        Self {
            role,
            local,
            remote: None,
            max_message_len: config.max_message_size as usize,
            max_buffered: config.max_buffered,
            open: false,
            closed: false,
            hello_at: (role == Role::Initiator).then_some(now),
            outgoing: [outgoing(command), outgoing(send)],
            incoming: [incoming(command), incoming(receive)],
            flying: BTreeSet::new(),
            flying_bytes: 0,
            waiting: BTreeSet::new(),
            window: usize::MAX,
            shrunk_at: Duration::ZERO,
            buffered: 0,
            round_trip: None,
            outputs: VecDeque::new(),
            now,
        }
    }

    fn transmit(&mut self, kind: u8, channel: usize, number: u64, payload: &[u8]) {
        let Some(destination) = self.remote else { return };
        let mut bytes = Vec::with_capacity(HEADER + payload.len());
        bytes.extend([kind, channel as u8]);
        bytes.extend(number.to_le_bytes());
        bytes.extend(payload);
        let transmit = Transmit { destination, source: self.local, bytes, segment: None };
        self.outputs.push_back(Output::Transmit(transmit));
    }

    fn wait(&self, tries: u32) -> Duration {
        let wait = match self.round_trip {
            Some((smoothed, variation)) => (smoothed + 4 * variation).max(MIN_WAIT),
            None => FIRST_WAIT,
        };
        wait.saturating_mul(1 << tries.min(16)).min(MAX_WAIT.max(wait))
    }

    fn open(&mut self) {
        if !std::mem::replace(&mut self.open, true) {
            self.hello_at = None;
            self.outputs.push_back(Output::Open);
        }
    }

    /// Sends what the window has room for, commands first.
    fn send(&mut self) {
        while let Some((channel, number)) = self.waiting.first().copied() {
            let now = self.now;
            let Some(sent) = self.outgoing[channel].sent.get(&number) else { return };
            let len = sent.bytes.len();
            if self.flying_bytes > 0 && self.flying_bytes + len > self.window {
                return;
            }
            let until = now + self.wait(sent.tries);
            self.waiting.remove(&(channel, number));
            self.flying.insert((until, channel, number));
            self.flying_bytes += len;
            let Some(sent) = self.outgoing[channel].sent.get_mut(&number) else { return };
            (sent.sent_at, sent.until) = (now, Some(until));
            sent.tries += 1;
            let bytes = std::mem::take(&mut sent.bytes);
            self.transmit(DATA, channel, number, &bytes);
            if let Some(sent) = self.outgoing[channel].sent.get_mut(&number) {
                sent.bytes = bytes;
            }
        }
    }

    /// No acknowledgement came in time: it waits again, or what is left of it does.
    fn retry(&mut self, until: Duration, channel: usize, number: u64) {
        self.flying.remove(&(until, channel, number));
        let Outgoing { reliability, sent, .. } = &mut self.outgoing[channel];
        let Some(sent) = sent.get_mut(&number) else { return };
        self.flying_bytes -= sent.bytes.len();
        sent.until = None;
        let given_up = match *reliability {
            Reliability::Reliable => false,
            Reliability::MaxRetransmits(most) => sent.tries > u32::from(most),
            Reliability::MaxLifetime(lifetime) => self.now >= sent.written_at + lifetime,
        };
        if given_up {
            self.buffered -= sent.bytes.len();
            sent.bytes.clear();
        }
        // What was sent before the window shrank last says nothing new.
        if sent.sent_at >= self.shrunk_at {
            self.window = MIN_WINDOW;
            self.shrunk_at = self.now;
        }
        self.waiting.insert((channel, number));
    }

    fn acknowledged(&mut self, channel: usize, number: u64) {
        let Some(sent) = self.outgoing[channel].sent.remove(&number) else { return };
        let len = sent.bytes.len();
        match sent.until {
            Some(until) => {
                self.flying.remove(&(until, channel, number));
                self.flying_bytes -= len;
            }
            None => {
                self.waiting.remove(&(channel, number));
            }
        }
        self.buffered -= len;
        self.window = self.window.saturating_add(len);
        // What was sent twice does not say which of the two was answered (RFC 6298, section 3).
        if sent.tries == 1 {
            self.measure(self.now - sent.sent_at);
        }
        self.send();
    }

    /// RFC 6298, section 2.
    fn measure(&mut self, sample: Duration) {
        self.round_trip = Some(match self.round_trip {
            None => (sample, sample / 2),
            Some((smoothed, variation)) => {
                ((smoothed * 7 + sample) / 8, (variation * 3 + smoothed.abs_diff(sample)) / 4)
            }
        });
    }

    fn take(&mut self, channel: usize, number: u64, bytes: Vec<u8>) {
        let incoming = &mut self.incoming[channel];
        if number < incoming.next || incoming.ahead.contains_key(&number) {
            return;
        }
        let mut hand_on = |bytes: Vec<u8>| {
            if !bytes.is_empty() {
                self.outputs.push_back(Output::Message(CHANNELS[channel], bytes.into()));
            }
        };
        if incoming.order == Order::Unordered {
            hand_on(bytes);
            incoming.ahead.insert(number, Vec::new());
        } else {
            incoming.ahead.insert(number, bytes);
        }
        while let Some(bytes) = incoming.ahead.remove(&incoming.next) {
            incoming.next += 1;
            hand_on(bytes);
        }
    }
}

impl MessageTransport for Frames {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::new(self.max_message_len, InFlight::Acknowledged);
        capabilities.kind = "simulated";
        capabilities.delivers = Delivers::AsAsked;
        capabilities
    }

    fn handle_timeout(&mut self, now: Duration) {
        self.now = self.now.max(now);
        if self.closed {
            return;
        }
        if self.hello_at.is_some_and(|at| at <= now) {
            self.hello_at = Some(now + FIRST_WAIT);
            self.transmit(HELLO, 0, 0, &[]);
        }
        while let Some((until, channel, number)) = self.flying.first().copied()
            && until <= now
        {
            self.retry(until, channel, number);
        }
        self.send();
    }

    fn poll_output(&mut self) -> Result<Output, TransportError> {
        if let Some(output) = self.outputs.pop_front() {
            return Ok(output);
        }
        if self.closed {
            return Ok(Output::Timeout(None));
        }
        let retry = self.flying.first().map(|(at, ..)| *at);
        Ok(Output::Timeout([self.hello_at, retry].into_iter().flatten().min()))
    }

    fn write(&mut self, channel: Channel, message: &[u8]) -> Result<bool, TransportError> {
        if self.buffered + message.len() > self.max_buffered {
            return Ok(false);
        }
        let outgoing = &mut self.outgoing[channel as usize];
        let number = outgoing.next;
        outgoing.next += 1;
        self.buffered += message.len();
        let (written_at, sent_at) = (self.now, self.now);
        let sent = Sent { bytes: message.to_vec(), written_at, sent_at, tries: 0, until: None };
        outgoing.sent.insert(number, sent);
        self.waiting.insert((channel as usize, number));
        self.send();
        Ok(true)
    }

    fn in_flight(&mut self) -> usize {
        self.buffered
    }

    fn close(&mut self) {
        if !std::mem::replace(&mut self.closed, true) {
            self.transmit(BYE, 0, 0, &[]);
        }
    }
}

impl DatagramTransport for Frames {
    fn handle_datagram(&mut self, datagram: Datagram<'_>, now: Duration) {
        self.now = self.now.max(now);
        let Some((header, payload)) = datagram.bytes.split_at_checked(HEADER) else { return };
        let channel = usize::from(header[1]);
        let number = header[2..].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        if self.closed || channel >= CHANNELS.len() {
            return;
        }
        // Where the peer was heard last is where it is.
        self.remote = Some(datagram.source);
        match header[0] {
            HELLO => {
                self.open();
                if self.role == Role::Acceptor {
                    self.transmit(HELLO, 0, 0, &[]);
                }
            }
            DATA => {
                self.open();
                self.take(channel, number, payload.to_vec());
                self.transmit(ACKNOWLEDGEMENT, channel, number, &[]);
            }
            ACKNOWLEDGEMENT => self.acknowledged(channel, number),
            BYE => {
                self.closed = true;
                self.outputs.push_back(Output::Closed);
            }
            _ => {}
        }
    }
}

impl Engine for Frames {
    fn offer(
        config: &EngineConfig,
        local: &[SocketAddr],
        now: Duration,
    ) -> Result<(Self, String), EngineError> {
        let local = first(local)?;
        Ok((Self::new(config, Role::Initiator, local, now), local.to_string()))
    }

    fn accept_answer(&mut self, answer: &str, _now: Duration) -> Result<(), EngineError> {
        self.remote = Some(parse(answer)?);
        Ok(())
    }

    fn answer(
        config: &EngineConfig,
        local: &[SocketAddr],
        offer: &str,
        now: Duration,
    ) -> Result<(Self, String), EngineError> {
        let local = first(local)?;
        let mut engine = Self::new(config, Role::Acceptor, local, now);
        engine.remote = Some(parse(offer)?);
        Ok((engine, local.to_string()))
    }

    fn add_candidate(&mut self, _candidate: &str) -> Result<(), EngineError> {
        Ok(())
    }

    fn role(&self) -> Role {
        self.role
    }

    fn user_fragment(&self) -> &str {
        ""
    }
}

fn first(local: &[SocketAddr]) -> Result<SocketAddr, EngineError> {
    local.first().copied().ok_or_else(|| EngineError::Stack("no local address".to_owned()))
}

fn parse(address: &str) -> Result<SocketAddr, EngineError> {
    address.parse().map_err(|_| EngineError::Stack(format!("{address:?} is no address")))
}
