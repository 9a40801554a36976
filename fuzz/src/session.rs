//! A session beside an application, told whatever a peer can say: never a panic, never more memory
//! than its limits allow, never more sent than was granted.

use std::time::Duration;

use allocation_counter::{measure, opt_out};
use deltawire_channels::session::{Event, SendPriority, SessionConfig};
use deltawire_channels::{Delivery, Limits, Order, Peer, Reliability, Session};
use deltawire_framing::control::{
    Close, CloseCode, Control, Hello, HelloFields, Ping, Pong, Position, Role, Window,
};
use deltawire_framing::{
    Channel, DeltaFields, DocId, Fragmenter, Frame, FrameHeader, Frames, Kind, frame_step,
};
use zerocopy::IntoBytes;

/// Small, so that short inputs reach every one of them.
const LIMITS: Limits = Limits {
    send_ring: 4_096,
    command_ring: 1_024,
    data_window: 16_384,
    max_data_window: 40_960,
    command_window: 4_096,
    max_frame_len: 1_024,
    max_unfinished: 4,
    max_arrivals: 4,
    max_senders: 3,
    max_idle: Duration::from_millis(400),
    hello_timeout: Duration::from_millis(500),
    idle_timeout: Duration::from_millis(800),
    close_timeout: Duration::from_millis(300),
    loss_timeout: Duration::from_millis(200),
};

/// The longest transport message that the fuzzer hands over. It counts as the session's from then on.
const LONGEST: u64 = 4_096;

/// A sequence of actions. The first byte says what the channels promise; each action begins with a
/// byte that says what happens.
pub fn session(data: &[u8]) {
    let mut kept = None;
    let taken = measure(|| {
        let mut input = Input(data);
        let mut run = Run::new(input.byte());
        while run.act(&mut input) {
            run.check();
        }
        kept = Some(run);
    });
    drop(kept);
    // Rings lie in pages of their own, which are not counted.
    let rings = (LIMITS.send_ring + LIMITS.command_ring) as u64;
    let unordered = [LIMITS.max_data_window, LIMITS.command_window].map(Limits::unordered_bound);
    let bound = LIMITS.memory_bound() + unordered.iter().sum::<u64>() - rings + LONGEST;
    assert!(taken.bytes_max <= bound, "{} of {bound} bytes", taken.bytes_max);
}

/// What is left of the fuzzer's bytes; zeros beyond their end.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *byte
    }

    fn number(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// Mostly small, sometimes at the far end.
    fn position(&mut self) -> u64 {
        match self.byte() {
            0xff => u64::MAX - u64::from(self.byte()),
            high => u64::from(high) * 256 + u64::from(self.byte()),
        }
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken.to_vec()
    }
}

struct Run {
    session: Session,
    peer: Option<Peer>,
    now: Duration,
    /// What the peer granted at most, by channel: hellos and windows.
    granted: [u64; 2],
    /// What was sent, by channel.
    sent: [u64; 2],
    closed: bool,
    /// What it expects of the peer's channels.
    command: Order,
    deltas: Delivery,
}

impl Run {
    fn new(how: u8) -> Self {
        let lossy = |bit: u8| match how >> bit & 3 {
            0 | 1 => Delivery::default(),
            2 => Delivery { reliability: Reliability::MaxRetransmits(0), ..Delivery::default() },
            _ => Delivery { order: Order::Unordered, reliability: Reliability::MaxRetransmits(0) },
        };
        let mut config = SessionConfig::new(Role::Acceptor, [1; 16], 7);
        config.limits = LIMITS;
        config.command = if how & 1 == 0 { Order::Ordered } else { Order::Unordered };
        (config.send, config.receive) = (lossy(1), lossy(3));
        config.transport_hears = how & 0x80 != 0;
        let (session, peer) = Session::new(config, Duration::ZERO).unwrap();
        let (now, granted, sent) = (Duration::ZERO, [0; 2], [0; 2]);
        let (command, deltas) = (config.command, config.receive);
        Self { session, peer: Some(peer), now, granted, sent, closed: false, command, deltas }
    }

    /// Does what the next bytes say; `false` at their end.
    fn act(&mut self, input: &mut Input<'_>) -> bool {
        if input.0.is_empty() {
            return false;
        }
        let what = input.byte();
        let channel = if what & 0x10 == 0 { Channel::Command } else { Channel::Data };
        match what & 0x0f {
            0 => {
                let len = usize::from(input.number()) % LONGEST as usize;
                self.tell(channel, || input.bytes(len));
            }
            1 => self.hello(input),
            2 | 3 => {
                let (kind, frames) = (what & 1, usize::from(input.byte() % 8) + 1);
                let len = usize::from(input.number() % 1_200) + 1;
                self.tell(channel, || packed(kind, channel, frames, len));
            }
            4 | 5 => {
                let (id, len, index) = (input.byte() % 8, input.number(), input.number());
                self.tell(channel, || fragment(channel, id.into(), usize::from(len) + 1, index));
            }
            6 => self.control(what, input),
            7 => self.commit(input),
            8 => self.read(channel, input.byte()),
            9 => {
                self.now += Duration::from_millis(u64::from(input.byte()));
                self.session.handle_timeout(self.now);
            }
            10 | 11 => self.transmit(usize::from(input.number()) % 2_048),
            12 => self.session.close(CloseCode(input.byte().into()), "enough", self.now),
            13 => {
                self.session.lose_link();
            }
            14 => match input.byte() % 3 {
                0 => self.peer = None,
                1 => drop(self.session.open_sender(SendPriority::default())),
                _ => self.session.hear(self.now),
            },
            _ => {}
        }
        true
    }

    /// Hands a transport message over; only what the session gets counts as memory.
    fn tell(&mut self, channel: Channel, make: impl FnOnce() -> Vec<u8>) {
        let mut made = Vec::new();
        opt_out(|| made = make());
        let message = made.clone();
        opt_out(|| drop(made));
        for frame in Frames::new(&message).flatten() {
            self.note(frame);
        }
        self.session.handle_message(channel, message, self.now);
    }

    /// Keeps what a message grants, if it does.
    fn note(&mut self, frame: Frame<'_>) {
        if frame.kind() != Kind::Control || frame.is_fragment() {
            return;
        }
        let mut grant = |channel: Channel, limit: u64| {
            let granted = &mut self.granted[channel as usize];
            *granted = limit.max(*granted);
        };
        match frame.control() {
            Ok(Control::Hello(hello)) => {
                grant(Channel::Command, hello.fields().command_window);
                grant(Channel::Data, hello.fields().data_window);
            }
            Ok(Control::Window(window)) => grant(window.channel(), window.limit()),
            _ => {}
        }
    }

    fn hello(&mut self, input: &mut Input<'_>) {
        let usual = input.byte();
        let hello = if usual & 1 == 0 {
            HelloFields {
                role: Role::Initiator,
                max_frame_len: 1_024,
                max_message_len: 8_192,
                data_window: 8_192,
                command_window: 2_048,
                max_unfinished: 4,
                idle_timeout_ms: 800,
                features: 0,
                command: self.command,
                deltas: self.deltas,
                session_id: [9; 16],
            }
        } else {
            HelloFields {
                role: if usual & 2 == 0 { Role::Initiator } else { Role::Acceptor },
                max_frame_len: 80 + u32::from(input.number()),
                max_message_len: input.number().into(),
                data_window: input.position(),
                command_window: input.position(),
                max_unfinished: input.byte().into(),
                idle_timeout_ms: input.number().into(),
                features: u64::from(usual & 4 != 0),
                command: self.command,
                deltas: self.deltas,
                session_id: [9; 16],
            }
        };
        self.tell(Channel::Command, || {
            frame(Kind::Control, Channel::Command, Hello::new(hello).as_bytes())
        });
    }

    fn control(&mut self, what: u8, input: &mut Input<'_>) {
        let channel = if what & 0x20 == 0 { Channel::Command } else { Channel::Data };
        let position = input.position();
        let ping = Ping::new(position as u32, position);
        let which = input.byte() % 5;
        self.tell(Channel::Command, || {
            let body = match which {
                0 => Window::new(channel, position).as_bytes().to_vec(),
                1 => Position::new(channel, position).as_bytes().to_vec(),
                2 => ping.as_bytes().to_vec(),
                3 => Pong::to(&ping).as_bytes().to_vec(),
                _ => {
                    let mut body = vec![0; 80];
                    let close = Close::new(CloseCode(position as u32 % 16), "because");
                    let len = close.write(&mut body).unwrap();
                    body.truncate(len);
                    body
                }
            };
            frame(Kind::Control, Channel::Command, &body)
        });
    }

    fn commit(&mut self, input: &mut Input<'_>) {
        let (command, len) = (input.byte() & 1 == 0, usize::from(input.number() % 4_200));
        let Some(peer) = &mut self.peer else { return };
        let sender = if command { &mut peer.command.send } else { &mut peer.send };
        if let Ok(grant) = sender.try_reserve(len) {
            grant.commit(DeltaFields::new(DocId([3; 16])), len).unwrap();
        }
    }

    fn read(&mut self, channel: Channel, count: u8) {
        let Some(peer) = &mut self.peer else { return };
        let receiver = match channel {
            Channel::Command => &mut peer.command.receive,
            Channel::Data => &mut peer.receive,
        };
        for _ in 0..count {
            let Ok(frame) = receiver.try_next() else { return };
            assert_eq!(frame.channel(), channel);
            assert!(frame.kind() != Kind::Control && !frame.is_fragment());
        }
        receiver.release();
    }

    fn transmit(&mut self, budget: usize) {
        // Each message takes something from the rings or says something once.
        for _ in 0..1_000 {
            let Some(message) = self.session.poll_transmit(budget) else { return };
            assert!(!message.is_empty() && message.len() <= budget);
            let channel = message.channel();
            for frame in Frames::new(&message) {
                let frame = frame.unwrap();
                let header = frame.header();
                self.sent[channel as usize] += match (frame.kind(), header.fragment_index()) {
                    (Kind::Control, _) => 0,
                    (_, 0) => frame_step(16 + header.message_len() as usize) as u64,
                    _ => 0,
                };
            }
            let sent = self.sent[channel as usize];
            assert!(sent <= self.granted[channel as usize], "{sent} sent on {channel:?}");
        }
        panic!("it never ends");
    }

    fn check(&mut self) {
        while let Some(event) = self.session.poll_event() {
            assert!(!self.closed, "{event:?} after the last event");
            self.closed = matches!(event, Event::Closed(_));
        }
        let stats = self.session.stats();
        assert!(stats.commands_received.queued_bytes <= LIMITS.command_window);
        assert!(stats.data_received.queued_bytes <= LIMITS.max_data_window);
        assert_eq!(self.session.poll_timeout().is_none(), self.closed);
    }
}

fn frame(kind: Kind, channel: Channel, body: &[u8]) -> Vec<u8> {
    [FrameHeader::whole(kind, channel, body.len()).unwrap().as_bytes(), body].concat()
}

/// Frames of `len` bytes one after another: opaque ones, or with pings between them.
fn packed(kind: u8, channel: Channel, frames: usize, len: usize) -> Vec<u8> {
    let mut message = Vec::new();
    for number in 0..frames {
        message.resize(frame_step(message.len()), 0);
        if kind == 1 && number % 2 == 1 {
            let ping = Ping::new(1, 2);
            message.extend(frame(Kind::Control, Channel::Command, ping.as_bytes()));
        } else {
            message.extend(frame(Kind::Opaque, channel, &vec![5; len]));
        }
        if message.len() + 16 + len > LONGEST as usize - 16 {
            break;
        }
    }
    message
}

/// A true fragment of a message.
fn fragment(channel: Channel, id: u32, len: usize, index: u16) -> Vec<u8> {
    let whole = FrameHeader::whole(Kind::Opaque, channel, len).unwrap();
    let max_frame_len = if id.is_multiple_of(2) { 32 } else { 1_024 };
    let fragmenter = Fragmenter::new(&whole, id, max_frame_len).unwrap();
    let mut scratch = [0; 1_024];
    let index = index % fragmenter.count();
    fragmenter.in_scratch(&vec![6; len], index, &mut scratch).unwrap().to_vec()
}
