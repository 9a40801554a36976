//! What a message costs above the WebRTC stack: no allocation once warm, and no copy but the one
//! that puts fragments together.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use allocation_counter::{measure, opt_out};
use deltawire_channels::session::Stats;
use deltawire_channels::{Peer, TryNextError, session};
use deltawire_framing::control::Role;
use deltawire_framing::{Channel, DeltaFields, DeltaHeader, DocId};

use deltawire_link::{
    Capabilities, Connection, ConnectionConfig, Datagram, DatagramTransport, Link, LinkId,
    MessageTransport, Output, PacingLimits, Progress, Transmit, TransportError,
};
use deltawire_webrtc::{AnyEngine, Certificate, Engine, EngineConfig, EngineError, EngineKind};

/// How long a datagram takes.
const LATENCY: Duration = Duration::from_micros(100);

/// What this does.
fn uncounted<T>(run: impl FnOnce() -> T) -> T {
    let mut result = None;
    opt_out(|| result = Some(run()));
    result.expect("it ran")
}

/// What this does, and its allocations.
fn counted<T>(allocations: &mut u64, run: impl FnOnce() -> T) -> T {
    let mut result = None;
    *allocations += measure(|| result = Some(run())).count_total;
    result.expect("it ran")
}

/// An engine whose allocations are not counted.
struct Uncounted<E>(E);

impl<E: Engine> MessageTransport for Uncounted<E> {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn handle_timeout(&mut self, now: Duration) {
        uncounted(|| self.0.handle_timeout(now));
    }

    fn poll_output(&mut self) -> Result<Output, TransportError> {
        uncounted(|| self.0.poll_output())
    }

    fn write(&mut self, channel: Channel, message: &[u8]) -> Result<bool, TransportError> {
        uncounted(|| self.0.write(channel, message))
    }

    fn in_flight(&mut self) -> usize {
        uncounted(|| self.0.in_flight())
    }

    fn close(&mut self) {
        uncounted(|| self.0.close());
    }
}

impl<E: Engine> DatagramTransport for Uncounted<E> {
    fn handle_datagram(&mut self, datagram: Datagram<'_>, now: Duration) {
        uncounted(|| self.0.handle_datagram(datagram, now));
    }
}

impl<E: Engine> Engine for Uncounted<E> {
    fn offer(
        config: &EngineConfig,
        local: &[SocketAddr],
        now: Duration,
    ) -> Result<(Self, String), EngineError> {
        E::offer(config, local, now).map(|(engine, sdp)| (Self(engine), sdp))
    }

    fn accept_answer(&mut self, answer: &str, now: Duration) -> Result<(), EngineError> {
        self.0.accept_answer(answer, now)
    }

    fn answer(
        config: &EngineConfig,
        local: &[SocketAddr],
        offer: &str,
        now: Duration,
    ) -> Result<(Self, String), EngineError> {
        E::answer(config, local, offer, now).map(|(engine, sdp)| (Self(engine), sdp))
    }

    fn add_candidate(&mut self, candidate: &str) -> Result<(), EngineError> {
        self.0.add_candidate(candidate)
    }

    fn role(&self) -> Role {
        self.0.role()
    }

    fn user_fragment(&self) -> &str {
        self.0.user_fragment()
    }
}

struct End {
    connection: Connection<Uncounted<AnyEngine>>,
    link: Link,
    peer: Option<Peer>,
    /// What is on its way to it, and when it arrives.
    inbox: VecDeque<(Duration, Transmit)>,
    allocations: u64,
}

impl End {
    fn new(engine: Uncounted<AnyEngine>, role: Role) -> Self {
        let (link, shared) = Link::new(LinkId(1), role, None);
        let config = ConnectionConfig {
            session: session::SessionConfig::new(role, [role as u8; 16], 7),
            pacing: PacingLimits::default(),
            valid_until: None,
            connect_timeout: Duration::from_secs(10),
        };
        let connection = Connection::new(engine, config, shared, Duration::ZERO).unwrap();
        Self { connection, link, peer: None, inbox: VecDeque::new(), allocations: 0 }
    }

    /// Takes in what has arrived, does what there is to do, and gives what it sends.
    fn work(&mut self, now: Duration, sent: &mut Vec<Transmit>) {
        let Self { connection, inbox, allocations, .. } = self;
        while inbox.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, transmit)) = inbox.pop_front() else { return };
            let Transmit { source, destination, bytes, .. } = &transmit;
            let (source, destination) = (*source, *destination);
            let datagram = Datagram { source, destination, bytes };
            counted(allocations, || connection.handle_datagram(datagram, now));
        }
        let mut context = Context::from_waker(Waker::noop());
        let mut send = |transmit| uncounted(|| sent.push(transmit));
        match counted(allocations, || connection.work(now, &mut context, &mut send)) {
            Progress::Quiet => {}
            Progress::Merged { .. } | Progress::Resumed(_) | Progress::Detached(_) => {
                unreachable!()
            }
            Progress::Opened(peer) => self.peer = Some(*peer),
            Progress::Ended(ended) => panic!("{ended}"),
            Progress::Gone | Progress::Over => panic!("it is over"),
        }
    }
}

struct Pair {
    now: Duration,
    ends: [End; 2],
}

impl Pair {
    fn open(kind: EngineKind) -> Self {
        let mut config = EngineConfig::new(Arc::new(Certificate::generate().unwrap()));
        config.kind = kind;
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let (near, far) = ([address(1)], [address(2)]);
        let (mut offerer, offer) = Uncounted::offer(&config, &near, Duration::ZERO).unwrap();
        let (answerer, answer) = Uncounted::answer(&config, &far, &offer, Duration::ZERO).unwrap();
        offerer.accept_answer(&answer, Duration::ZERO).unwrap();
        let ends = [End::new(offerer, Role::Initiator), End::new(answerer, Role::Acceptor)];
        let mut pair = Self { now: Duration::ZERO, ends };
        while pair.ends.iter().any(|end| end.peer.is_none()) {
            pair.step();
            assert!(pair.now < Duration::from_secs(10));
        }
        pair
    }

    /// Does everything that is due, and moves on to the next thing that is.
    fn step(&mut self) {
        let Self { now, ends } = self;
        for index in 0..2 {
            let mut sent = Vec::new();
            ends[index].work(*now, &mut sent);
            let arrives = *now + LATENCY;
            ends[1 - index].inbox.extend(sent.into_iter().map(|transmit| (arrives, transmit)));
        }
        let arrivals = ends.iter().filter_map(|end| Some(end.inbox.front()?.0));
        let timeouts = ends.iter().filter_map(|end| end.connection.poll_timeout());
        *now = arrivals.chain(timeouts).min().map_or(*now, |next| next.max(*now));
    }

    /// One delta from the first end to the second, read there.
    fn send(&mut self, len: usize) {
        let End { peer, allocations, .. } = &mut self.ends[0];
        let sender = &mut peer.as_mut().unwrap().send;
        counted(allocations, || {
            let mut grant = sender.try_reserve(len).unwrap();
            grant.payload_mut().fill(1);
            grant.commit(DeltaFields::new(DocId([7; 16])), len).unwrap();
        });
        loop {
            let End { peer, allocations, .. } = &mut self.ends[1];
            let receiver = &mut peer.as_mut().unwrap().receive;
            let came = counted(allocations, || match receiver.try_next() {
                Ok(frame) => Some(frame.delta().unwrap().payload().len()),
                Err(TryNextError::Empty) => None,
                Err(TryNextError::Closed(_)) => panic!("closed"),
            });
            if let Some(came) = came {
                assert_eq!(came, len);
                return counted(allocations, || receiver.release());
            }
            self.step();
        }
    }

    fn stats(&self) -> [Stats; 2] {
        [0, 1].map(|index| self.ends[index].link.stats().session)
    }

    fn copied(&self) -> u64 {
        let stats = self.stats();
        let channels = stats.iter().flat_map(|stats| {
            [stats.data_sent, stats.data_received, stats.commands_sent, stats.commands_received]
        });
        channels.map(|channel| channel.copied_bytes).sum()
    }

    fn settle(&mut self) {
        let until = self.now + Duration::from_millis(50);
        while self.now < until {
            self.step();
        }
    }
}

const ENGINES: [EngineKind; 2] = [EngineKind::Lean, EngineKind::Str0m];

#[test]
fn no_message_costs_an_allocation_or_a_copy_but_of_fragments_once_warm() {
    ENGINES.into_iter().for_each(costs_nothing);
}

fn costs_nothing(kind: EngineKind) {
    const MESSAGES: u64 = 1_000;
    let mut pair = Pair::open(kind);
    // What is allocated to open a link is counted, so the counting works.
    assert!(pair.ends.iter().all(|end| end.allocations > 0));
    for (len, in_fragments) in [(64, false), (1 << 10, false), (64 << 10, true)] {
        for _ in 0..500 {
            pair.send(len);
        }
        pair.settle();
        pair.ends.iter_mut().for_each(|end| end.allocations = 0);
        let (before, messages) = (pair.copied(), pair.stats()[1].data_received.messages);
        for _ in 0..MESSAGES {
            pair.send(len);
        }
        pair.settle();
        let allocations = [0, 1].map(|index| pair.ends[index].allocations);
        assert_eq!(allocations, [0, 0], "{MESSAGES} messages of {len} bytes");
        assert_eq!(pair.stats()[1].data_received.messages, messages + MESSAGES);
        let body = (DeltaHeader::SIZE + len) as u64;
        let expected = if in_fragments { MESSAGES * body } else { 0 };
        assert_eq!(pair.copied() - before, expected, "bytes copied of messages of {len} bytes");
    }
}

/// Many small deltas share a transport message, and a transport message is read where it came.
#[test]
fn small_messages_that_go_together_cost_no_allocation_either() {
    ENGINES.into_iter().for_each(costs_nothing_together);
}

fn costs_nothing_together(kind: EngineKind) {
    let mut pair = Pair::open(kind);
    let mut allocations = 0;
    for round in 0..200 {
        pair.ends.iter_mut().for_each(|end| end.allocations = 0);
        let End { peer, allocations: sending, .. } = &mut pair.ends[0];
        let sender = &mut peer.as_mut().unwrap().send;
        counted(sending, || {
            for _ in 0..100 {
                let grant = sender.try_reserve(64).unwrap();
                grant.commit(DeltaFields::new(DocId([7; 16])), 64).unwrap();
            }
        });
        for _ in 0..100 {
            loop {
                let End { peer, allocations, .. } = &mut pair.ends[1];
                let receiver = &mut peer.as_mut().unwrap().receive;
                if counted(allocations, || receiver.try_next().is_ok()) {
                    break;
                }
                pair.step();
            }
        }
        if round >= 100 {
            allocations += pair.ends.iter().map(|end| end.allocations).sum::<u64>();
        }
    }
    assert_eq!(allocations, 0);
    let received = pair.stats()[1].data_received;
    assert!(received.transport_messages < received.messages / 10, "{received:?}");
    assert_eq!(pair.copied(), 0);
}
