//! Sessions that go on over another link: whenever links are cut, on reliable channels everything comes once and in
//! order, and who must not go on does not.

use std::task::{Context, Poll};
use std::time::Duration;

use deltawire_channels::session::{
    Closed, Event, FrameSource, LinkTraits, ResumeError, ResumeRequest, SendPriority, SessionConfig,
};
use deltawire_channels::{
    Delivery, Limits, Message, Order, Peer, Reliability, Sender, Session, SharedSender,
};
use deltawire_framing::control::{Acknowledge, CloseCode, Resume, Ticket};
use deltawire_framing::{Channel, DeltaFields, DocId, Frame, FrameHeader, Kind, RecordBuf};
use proptest::prelude::*;
use zerocopy::IntoBytes;

use crate::pipe::{End, Link, Random, configs};

const MS: Duration = Duration::from_millis(1);
const TRAITS: LinkTraits = LinkTraits { max_frame_len: 512, transport_hears: false };

/// Small limits, so that they are reached.
fn limits() -> Limits {
    Limits {
        send_ring: 1 << 13,
        command_ring: 1 << 11,
        data_window: 1 << 14,
        max_data_window: 1 << 15,
        command_window: 1 << 12,
        max_frame_len: 512,
        max_unfinished: 4,
        max_arrivals: 4,
        ..Limits::default()
    }
}

/// A link that is cut and made anew, and the session on it.
struct Roaming {
    link: Link,
    /// The acceptor's session, until it is asked for on a link.
    old: Option<Session>,
    /// Of what it has on the link instead.
    other: Option<Peer>,
    up: bool,
    secrets: u64,
    cuts: u32,
    resumed: u32,
}

fn both(data: Delivery) -> [SessionConfig; 2] {
    configs().map(|config| SessionConfig {
        limits: limits(),
        send: data,
        receive: data,
        resumes: true,
        ..config
    })
}

impl Roaming {
    fn new(configs: [SessionConfig; 2], seed: u64) -> Self {
        let mut link = Link::new(configs, seed);
        link.budget = 2_048;
        Self { link, old: None, other: None, up: true, secrets: 0, cuts: 0, resumed: 0 }
    }

    fn secret(&mut self) -> [u8; 32] {
        self.secrets += 1;
        [self.secrets as u8; 32]
    }

    /// The initiator's link is gone; the acceptor notices it now, or when it is asked.
    fn cut(&mut self) {
        if !self.link.ends[0].session.is_resumable() {
            return;
        }
        self.link.forget_in_flight();
        let now = self.link.now;
        assert!(self.link.ends[0].session.detach(now));
        if let Some(old) = self.old.take() {
            self.link.ends[1].session = old;
        } else if self.link.random.percent(50) {
            self.link.ends[1].session.detach(now);
        }
        self.link.cut = true;
        self.up = false;
        self.cuts += 1;
    }

    fn connect(&mut self) {
        let now = self.link.now;
        self.link.cut = false;
        self.up = true;
        self.link.ends[0].session.resume(TRAITS, now);
        // What it says on the link is not of the session that is there.
        let config = SessionConfig { session_id: [9; 16], ..both(Delivery::default())[1] };
        let config =
            SessionConfig { send: self.link.delivery[1], receive: self.link.delivery[1], ..config };
        let (fresh, peer) = Session::new(config, now).unwrap();
        self.other = Some(peer);
        self.old = Some(std::mem::replace(&mut self.link.ends[1].session, fresh));
    }

    fn step(&mut self, time: Duration) {
        self.link.run_for(time);
        for end in 0..2 {
            for event in std::mem::take(&mut self.link.ends[end].events) {
                match event {
                    Event::Opened(_) => {
                        let secret = self.secret();
                        self.link.ends[end].session.give_ticket(secret);
                    }
                    Event::ResumeRequested(request) => self.hand_over(&request),
                    Event::Resumed { .. } => self.resumed += u32::from(end == 0),
                    Event::Silent => {}
                    event => panic!("{end}: {event:?}"),
                }
            }
        }
    }

    fn hand_over(&mut self, request: &ResumeRequest) {
        let now = self.link.now;
        let secret = self.secret();
        let mut old = self.old.take().unwrap();
        assert_eq!(old.name(), Some(request.session_id()));
        old.detach(now);
        old.accept_resume(request, secret, TRAITS, now).unwrap();
        self.link.ends[1].session = old;
    }
}

/// The bytes of message `number`.
fn payload(lane: u8, number: u64) -> Vec<u8> {
    let mut random = Random(number ^ u64::from(lane) << 32);
    let len = match random.below(6) {
        0 => random.below(20),
        5 => random.below(6_000),
        _ => random.below(400),
    };
    (0..len).map(|i| (number + i * 31) as u8).collect()
}

/// Senders of one end: its own, another one, and a shared one.
struct Writer {
    other: Sender,
    shared: SharedSender,
    sent: [u64; 4],
}

const COMMANDS: usize = 3;

impl Writer {
    fn new(end: &mut End) -> Self {
        let priority = SendPriority { priority: 1, weight: 1 };
        Self {
            other: end.session.open_sender(priority).unwrap(),
            shared: end.session.open_shared_sender(SendPriority::default()).unwrap(),
            sent: [0; 4],
        }
    }

    /// Writes what there is room for, up to `count` messages on each lane.
    fn write(&mut self, end: &mut End, count: u64) {
        let peer = end.peer.as_mut().unwrap();
        for (lane, sent) in self.sent.iter_mut().enumerate() {
            while *sent < count {
                let mut bytes = payload(lane as u8, *sent);
                let fields = DeltaFields {
                    sequence: *sent as u32,
                    ..DeltaFields::new(DocId([lane as u8; 16]))
                };
                let done = match lane {
                    0 => peer.send.try_send(fields, &bytes),
                    1 => self.other.try_send(fields, &bytes),
                    2 => self.shared.try_send(&Message::delta_of(fields, &bytes).unwrap()),
                    _ => {
                        bytes.truncate(1_000);
                        peer.command.send.try_send(fields, &bytes)
                    }
                };
                if done.is_err() {
                    break;
                }
                *sent += 1;
            }
        }
    }
}

/// Reads what came, and notes the numbers by lane.
fn read(end: &mut End, random: &mut Random, received: &mut [Vec<u64>; 4]) {
    let peer = end.peer.as_mut().unwrap();
    while random.percent(70) {
        let Ok(frame) = peer.receive.try_next() else { break };
        let delta = frame.delta().unwrap();
        let (lane, number) = (delta.doc_id().0[0], u64::from(delta.sequence()));
        assert_eq!(delta.payload(), payload(lane, number));
        received[usize::from(lane)].push(number);
    }
    while random.percent(70) {
        let Ok(frame) = peer.command.receive.try_next() else { break };
        received[COMMANDS].push(u64::from(frame.delta().unwrap().sequence()));
    }
}

/// Sends `count` messages on each lane each way, over links that are cut, and gives what came.
fn exchange(roaming: &mut Roaming, count: u64) -> [[Vec<u64>; 4]; 2] {
    let mut writers = [0, 1].map(|end| Writer::new(&mut roaming.link.ends[end]));
    let mut received = [0, 1].map(|_| [const { Vec::new() }; 4]);
    let mut random = Random(roaming.link.random.next());
    let (mut quiet, mut before) = (0, 0);
    while quiet < 300 {
        for end in 0..2 {
            writers[end].write(&mut roaming.link.ends[end], count);
            read(&mut roaming.link.ends[end], &mut random, &mut received[1 - end]);
        }
        let done: usize = received.iter().flatten().map(Vec::len).sum();
        quiet = if done == before { quiet + 1 } else { 0 };
        before = done;
        if quiet < 100 && roaming.up && random.percent(5) {
            roaming.cut();
        }
        if !roaming.up && (random.percent(20) || quiet > 100) {
            roaming.connect();
        }
        let time = Duration::from_micros(random.below(30_000));
        roaming.step(time);
        for end in &roaming.link.ends {
            let held = end.session.held_bytes();
            assert!(held < 4 * (1 << 15), "{held}");
        }
    }
    for writer in &writers {
        assert_eq!(writer.sent, [count; 4], "somebody waits for ever");
    }
    received
}

proptest! {
    #[test]
    fn over_any_number_of_links_all_comes_once_and_in_order(seed: u64) {
        let mut roaming = Roaming::new(both(Delivery::default()), seed);
        let all: Vec<u64> = (0..60).collect();
        for lanes in exchange(&mut roaming, 60) {
            for lane in lanes {
                prop_assert_eq!(&lane, &all);
            }
        }
        prop_assert!(roaming.resumed <= roaming.cuts && (roaming.resumed > 0) == (roaming.cuts > 0));
    }

    #[test]
    fn what_may_get_lost_is_not_sent_again_and_the_window_does_not_leak(
        seed: u64, unordered: bool,
    ) {
        let order = if unordered { Order::Unordered } else { Order::Ordered };
        let data = Delivery { order, reliability: Reliability::MaxRetransmits(0) };
        let mut roaming = Roaming::new(both(data), seed);
        let all: Vec<u64> = (0..60).collect();
        for lanes in exchange(&mut roaming, 60) {
            for lane in &lanes[..COMMANDS] {
                prop_assert!(lane.is_sorted_by(|a, b| a < b), "{lane:?}");
            }
            prop_assert_eq!(&lanes[COMMANDS], &all);
        }
    }
}

/// A session both of whose ends are open, with a ticket; and the requests to go on with it.
fn opened() -> Roaming {
    let mut roaming = Roaming::new(both(Delivery::default()), 1);
    for _ in 0..10 {
        roaming.step(10 * MS);
    }
    assert!(roaming.link.ends.iter().all(|end| end.session.is_resumable()));
    roaming
}

/// What the initiator asks, as it comes at the acceptor's session on a new link.
fn ask(roaming: &mut Roaming) -> ResumeRequest {
    roaming.cut();
    roaming.connect();
    for _ in 0..10 {
        roaming.link.run_for(10 * MS);
        for event in std::mem::take(&mut roaming.link.ends[1].events) {
            if let Event::ResumeRequested(request) = event {
                return *request;
            }
        }
    }
    panic!("nobody asked");
}

#[test]
fn a_secret_is_good_for_one_time() {
    let mut roaming = opened();
    let first = ask(&mut roaming);
    roaming.hand_over(&first);
    for _ in 0..10 {
        roaming.step(10 * MS);
    }
    let second = ask(&mut roaming);
    assert_ne!(first, second);
    let (now, mut old) = (roaming.link.now, roaming.old.take().unwrap());
    old.detach(now);
    assert_eq!(old.accept_resume(&first, [8; 32], TRAITS, now), Err(ResumeError::Secret));
    // Nothing has changed.
    assert_eq!(old.accept_resume(&second, [8; 32], TRAITS, now), Ok(()));
    assert_eq!(old.accept_resume(&second, [8; 32], TRAITS, now), Err(ResumeError::NotDetached));
}

#[test]
fn who_lost_the_answer_asks_again_with_the_same_secret() {
    let mut roaming = opened();
    let first = ask(&mut roaming);
    roaming.hand_over(&first);
    // The answer, and the next ticket with it, is lost.
    let second = ask(&mut roaming);
    roaming.hand_over(&second);
    for _ in 0..10 {
        roaming.step(10 * MS);
    }
    assert_eq!(roaming.resumed, 1);
    assert!(roaming.link.ends.iter().all(|end| end.session.is_resumable()));
}

#[test]
fn what_was_not_taken_in_comes_back_when_the_session_is_not_there() {
    let mut roaming = opened();
    let fields = DeltaFields::new(DocId([1; 16]));
    for number in 0..20_u8 {
        roaming.link.peer(0).send.try_send(fields, &[number; 300]).unwrap();
        if number == 9 {
            roaming.step(100 * MS);
        }
    }
    roaming.link.peer(0).command.send.try_send(fields, b"command").unwrap();
    ask(&mut roaming);
    roaming.link.ends[1].session.refuse_resume("no such session");
    roaming.link.run_for(100 * MS);
    let ended = Event::Closed(Closed::ByPeer {
        code: CloseCode::NOT_RESUMED,
        reason: "no such session".to_owned(),
        complete: false,
        missing: Default::default(),
    });
    assert_eq!(roaming.link.ends[0].events, [ended]);
    let returned = roaming.link.ends[0].session.take_returned();
    let payloads: Vec<_> =
        returned.iter().map(|it| it.delta().unwrap().payload().to_vec()).collect();
    let expected: Vec<_> = (10..20_u8).map(|number| vec![number; 300]).collect();
    assert_eq!(payloads[0], b"command");
    assert_eq!(payloads[1..], expected);
    // Read or not, as far as the sender knows.
    assert_eq!(roaming.link.ends[0].session.undelivered().unsent, 11);
}

/// As a file is, or a document.
struct Endless {
    given: u32,
    closed: bool,
}

impl FrameSource for Endless {
    fn try_frame(&mut self) -> Option<Message> {
        self.given += 1;
        assert!(self.given < 10_000, "it is read to no end");
        (!self.closed).then(|| {
            let mut record = RecordBuf::with_body_capacity(1_000);
            record.seal(FrameHeader::whole(Kind::Opaque, Channel::Data, 1_000).unwrap()).unwrap();
            Message::try_from(record).unwrap()
        })
    }

    fn poll_frame(&mut self, _: &mut Context<'_>) -> Poll<Option<Message>> {
        Poll::Ready(self.try_frame())
    }

    fn close(&mut self) {
        self.closed = true;
    }

    fn is_closed(&self) -> bool {
        self.closed
    }
}

#[test]
fn a_source_is_not_read_to_its_end_for_what_comes_back() {
    let mut roaming = opened();
    let session = &mut roaming.link.ends[0].session;
    let source = Box::new(Endless { given: 0, closed: false });
    assert!(session.open_source(source, SendPriority::default()));
    roaming.step(100 * MS);
    roaming.cut();
    let session = &mut roaming.link.ends[0].session;
    session.lose_link();
    let returned = session.take_returned().len();
    assert!((1..3_000).contains(&returned), "{returned}");
}

#[test]
fn a_session_that_is_closed_while_it_has_no_link_ends_in_time() {
    let mut roaming = opened();
    let fields = DeltaFields::new(DocId([1; 16]));
    roaming.link.peer(0).send.try_send(fields, b"last").unwrap();
    let now = roaming.link.now;
    assert!(roaming.link.ends[0].session.detach(now));
    roaming.link.ends[0].session.close(CloseCode::NORMAL, "", now);
    roaming.link.forget_in_flight();
    roaming.link.run_for(Duration::from_secs(6));
    let events = &roaming.link.ends[0].events;
    assert!(
        matches!(events[..], [Event::Closed(Closed::ByUs { complete: false, .. })]),
        "{events:?}"
    );
    assert_eq!(roaming.link.ends[0].session.take_returned().len(), 1);
}

#[test]
fn a_close_is_carried_over() {
    let mut roaming = opened();
    let fields = DeltaFields::new(DocId([1; 16]));
    roaming.link.peer(0).send.try_send(fields, b"last").unwrap();
    roaming.cut();
    let now = roaming.link.now;
    roaming.link.ends[0].session.close(CloseCode::NORMAL, "", now);
    roaming.connect();
    let request = loop {
        roaming.link.run_for(MS);
        match roaming.link.ends[1].events.pop() {
            Some(Event::ResumeRequested(request)) => break request,
            event => assert_eq!(event, None),
        }
    };
    roaming.hand_over(&request);
    roaming.link.run_for(Duration::from_secs(1));
    let [ours, theirs] = &mut roaming.link.ends;
    assert!(matches!(
        ours.events[..],
        [Event::Resumed { .. }, Event::Closed(Closed::ByUs { complete: true, .. })]
    ));
    assert_eq!(
        theirs.peer.as_mut().unwrap().receive.try_next().unwrap().delta().unwrap().payload(),
        b"last"
    );
}

#[test]
fn without_both_sides_nothing_is_kept() {
    let [initiator, acceptor] = both(Delivery::default());
    let mut link = Link::new([SessionConfig { resumes: false, ..initiator }, acceptor], 1);
    link.run_for(100 * MS);
    link.ends[1].session.give_ticket([1; 32]);
    link.run_for(100 * MS);
    assert!(!link.ends.iter().any(|end| end.session.is_resumable()));
    let unordered = Delivery { order: Order::Unordered, ..Delivery::default() };
    let mut link = Link::new(both(unordered), 1);
    link.run_for(100 * MS);
    link.ends[1].session.give_ticket([1; 32]);
    assert!(!link.ends.iter().any(|end| end.session.is_resumable()));
}

/// What a peer can say of acknowledging, tickets and resuming, whether it has a place or not.
#[derive(Clone, Debug)]
enum Say {
    Acknowledge { data: bool, asks: bool, ticket: u32, taken: u64 },
    Resume { ticket: u32, taken: [u64; 2], sent: [u64; 2], secret: u8, with_hello: bool },
    Ticket(u32),
    Commit(usize),
    Send,
    Lose,
    Wait(u64),
}

fn says() -> impl Strategy<Value = Say> {
    let number = || prop_oneof![0u64..200, (0u64..600).prop_map(|n| n * 16), any::<u64>()].boxed();
    prop_oneof![
        4 => (any::<bool>(), any::<bool>(), 0u32..4, number())
            .prop_map(|(data, asks, ticket, taken)| Say::Acknowledge { data, asks, ticket, taken }),
        3 => (0u32..4, [number(), number()], [number(), number()], 0u8..4, any::<bool>()).prop_map(
            |(ticket, taken, sent, secret, with_hello)| {
                Say::Resume { ticket, taken, sent, secret, with_hello }
            }
        ),
        1 => (0u32..4).prop_map(Say::Ticket),
        4 => (1usize..4_000).prop_map(Say::Commit),
        4 => Just(Say::Send),
        2 => Just(Say::Lose),
        2 => (0u64..3_000).prop_map(Say::Wait),
    ]
}

fn control(bodies: &[&[u8]]) -> Vec<u8> {
    let mut message: Vec<u8> = Vec::new();
    for body in bodies {
        message.resize(message.len().next_multiple_of(16), 0);
        let header = FrameHeader::whole(Kind::Control, Channel::Command, body.len()).unwrap();
        message.extend_from_slice(header.as_bytes());
        message.extend_from_slice(body);
    }
    message
}

proptest! {
    /// A peer that says whatever it likes ends its session at worst, and makes nothing grow.
    #[test]
    fn no_peer_breaks_a_session_that_can_go_on(
        what in proptest::collection::vec(says(), 1..60), acceptor: bool, lossy: bool,
    ) {
        let reliability =
            if lossy { Reliability::MaxRetransmits(0) } else { Reliability::Reliable };
        let configs = both(Delivery { reliability, ..Delivery::default() });
        let config = configs[usize::from(acceptor)];
        let theirs = configs[usize::from(!acceptor)];
        let mut now = Duration::ZERO;
        let (mut session, mut peer) = Session::new(config, now).unwrap();
        let (mut other, _peer) = Session::new(theirs, now).unwrap();
        let hello = other.poll_transmit(1 << 12).unwrap().to_vec();
        session.handle_message(Channel::Command, hello.clone(), now);
        session.give_ticket([1; 32]);
        let hello = Frame::parse(&hello).unwrap().body().to_vec();
        let mut request = None;
        for say in what {
            match say {
                Say::Acknowledge { data, asks, ticket, taken } => {
                    let channel = if data { Channel::Data } else { Channel::Command };
                    let it = Acknowledge::new(channel, taken).with_ticket(ticket);
                    let it = if asks { it.asking() } else { it };
                    session.handle_message(Channel::Command, control(&[it.as_bytes()]), now);
                }
                Say::Resume { ticket, taken, sent, secret, with_hello } => {
                    let resume = Resume::new(ticket, taken, sent, [secret; 32]);
                    let resume = resume.as_bytes();
                    let message = match with_hello {
                        true => control(&[&hello, resume]),
                        false => control(&[resume]),
                    };
                    // As it would come to a session that was begun for it.
                    let (mut fresh, _peer) = Session::new(config, now).unwrap();
                    fresh.handle_message(Channel::Command, message.clone(), now);
                    while let Some(event) = fresh.poll_event() {
                        if let Event::ResumeRequested(asked) = event {
                            request = Some(asked);
                        }
                    }
                    session.handle_message(Channel::Command, message, now);
                    if let Some(asked) = &request
                        && let Ok(()) = session.accept_resume(asked, [2; 32], TRAITS, now)
                    {
                        prop_assert!(session.is_resumable() || session.is_ending());
                    }
                }
                Say::Ticket(number) => {
                    let ticket = Ticket::new(number, 1_000, [1; 32]);
                    session.handle_message(Channel::Command, control(&[ticket.as_bytes()]), now);
                }
                Say::Commit(len) => {
                    let fields = DeltaFields::new(DocId([1; 16]));
                    let _ = peer.send.try_send(fields, &vec![0; len]);
                    let _ = peer.command.send.try_send(fields, &vec![0; len % 1_000]);
                }
                Say::Send => while session.poll_transmit(1_024).is_some() {},
                Say::Lose => {
                    if session.detach(now) && !acceptor {
                        session.resume(TRAITS, now);
                    }
                }
                Say::Wait(time) => {
                    now += Duration::from_millis(time);
                    session.handle_timeout(now);
                }
            }
            let _ = session.poll_timeout();
            prop_assert!(session.held_bytes() < 1 << 17, "{}", session.held_bytes());
        }
        session.lose_link();
        let _ = session.take_returned();
        prop_assert!(session.is_finished());
    }
}
