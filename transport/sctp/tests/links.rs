//! Two ends of a link on virtual time, and a path that loses and reorders.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use deltawire_channels::{Delivery, Order, Reliability};
use deltawire_framing::Channel;
use deltawire_link::{Datagram, MessageTransport, Output};
use deltawire_sctp::{MAX_UNADMITTED, Routed, SctpConfig, SctpEndpoint, SctpTransport, packet};

const MS: Duration = Duration::from_millis(1);

/// How long a packet takes.
const DELAY: Duration = Duration::from_millis(10);

struct End {
    endpoint: SctpEndpoint,
    transport: Option<SctpTransport>,
    at: SocketAddr,
    opened: bool,
    tokens: Vec<Vec<u8>>,
    messages: Vec<Vec<u8>>,
    ended: Option<String>,
    next: Option<Duration>,
}

impl End {
    fn new(config: SctpConfig, number: u16) -> Self {
        let key = (number == 1).then_some([3; 32]);
        Self {
            endpoint: SctpEndpoint::new(config, key),
            transport: None,
            at: SocketAddr::from(([127, 0, 0, 1], 1 + number)),
            opened: false,
            tokens: Vec::new(),
            messages: Vec::new(),
            ended: None,
            next: None,
        }
    }
}

/// Who connects, and who accepts; and what is on its way, by when it arrives.
struct Path {
    ends: [End; 2],
    now: Duration,
    on_its_way: BTreeMap<(Duration, u64), (usize, Vec<u8>)>,
    sent: u64,
    /// Which of all packets get lost, and how much later than others they arrive.
    fate: fn(u64) -> Option<Duration>,
    admits: bool,
}

impl Path {
    fn new(config: SctpConfig, fate: fn(u64) -> Option<Duration>) -> Self {
        let ends = [End::new(config, 0), End::new(config, 1)];
        let (now, on_its_way) = (Duration::from_secs(1), BTreeMap::new());
        let mut path = Self { ends, now, on_its_way, sent: 0, fate, admits: true };
        let way = [path.ends[0].at, path.ends[1].at];
        let connected = path.ends[0].endpoint.connect(0, way, b"token", now).unwrap();
        path.ends[0].transport = Some(connected);
        path
    }

    fn drain(&mut self, here: usize) {
        let now = self.now;
        let end = &mut self.ends[here];
        let Some(transport) = &mut end.transport else { return };
        loop {
            match transport.poll_output() {
                Ok(Output::Transmit(transmit)) => {
                    self.sent += 1;
                    if let Some(late) = (self.fate)(self.sent) {
                        let at = (now + DELAY + late, self.sent);
                        self.on_its_way.insert(at, (1 - here, transmit.bytes));
                    }
                }
                Ok(Output::Open) => end.opened = true,
                Ok(Output::Message(_, message)) => end.messages.push(message.to_vec()),
                Ok(Output::Closed) => end.ended = Some("closed".to_owned()),
                Ok(Output::Timeout(at)) => {
                    end.next = at;
                    break;
                }
                Err(error) => end.ended = Some(error.to_string()),
            }
        }
        end.endpoint.learn(0, transport);
        if let Some(token) = transport.take_token() {
            end.tokens.push(token);
            if self.admits {
                transport.admit();
                self.drain(here);
                // Who is let in hears it by what is said first.
                let first = self.ends[here].transport.as_mut().unwrap();
                assert!(first.write(Channel::Command, b"hello").unwrap());
                self.drain(here);
            }
        }
    }

    fn hear(&mut self, there: usize, bytes: &[u8]) {
        let (now, source) = (self.now, self.ends[1 - there].at);
        let End { endpoint, transport, at, .. } = &mut self.ends[there];
        let datagram = Datagram { source, destination: *at, bytes };
        match endpoint.route(&datagram, now) {
            Routed::Known(_) => transport.as_mut().unwrap().handle_packet(bytes, now),
            Routed::Lost(_) => transport.as_mut().unwrap().lose(),
            Routed::New(arrival) => {
                assert!(transport.is_none(), "there is one");
                *transport = Some(endpoint.accept(0, &arrival, now).unwrap());
            }
            Routed::Answer(answer) => {
                self.on_its_way.insert((now + DELAY, self.sent), (1 - there, answer.bytes));
            }
            Routed::Nothing => {}
        }
    }

    /// Until this time, or until it is so.
    fn run(&mut self, until: Duration, done: impl Fn(&Self) -> bool) {
        for round in 0.. {
            assert!(round < 100_000, "it goes round in circles at {:?}", self.now);
            self.drain(0);
            self.drain(1);
            if done(self) {
                return;
            }
            let timers = self.ends.iter().filter_map(|end| end.next);
            let arrival = self.on_its_way.keys().next().map(|(at, _)| *at);
            let next = timers.chain(arrival).min();
            let Some(next) = next.filter(|next| *next <= until) else {
                self.now = until;
                return;
            };
            self.now = self.now.max(next);
            for end in &mut self.ends {
                if let Some(transport) = &mut end.transport {
                    transport.handle_timeout(self.now);
                }
            }
            while let Some(first) = self.on_its_way.first_entry()
                && first.key().0 <= self.now
            {
                let (there, bytes) = first.remove();
                self.hear(there, &bytes);
            }
        }
    }

    fn open(&mut self) {
        self.run(self.now + 10_000 * MS, |path| path.ends.iter().all(|end| end.opened));
        assert!(self.ends.iter().all(|end| end.opened && end.ended.is_none()), "{:?}", self.now);
    }
}

#[test]
fn a_link_opens_in_three_round_trips_and_shows_its_token() {
    let mut path = Path::new(SctpConfig::default(), |_| Some(Duration::ZERO));
    let begun = path.now;
    path.open();
    assert_eq!(path.now - begun, 6 * DELAY);
    assert_eq!(path.ends[1].tokens, [b"token"]);
}

#[test]
fn each_packet_of_an_opening_may_get_lost() {
    const FATES: [fn(u64) -> Option<Duration>; 8] = [
        |number| (number != 1).then_some(Duration::ZERO),
        |number| (number != 2).then_some(Duration::ZERO),
        |number| (number != 3).then_some(Duration::ZERO),
        |number| (number != 4).then_some(Duration::ZERO),
        |number| (number != 5).then_some(Duration::ZERO),
        |number| (number != 6).then_some(Duration::ZERO),
        // Two of five; and each in another order than the one before.
        |number| (number % 5 > 1).then_some(Duration::ZERO),
        |number| Some(30 * MS * (number % 3) as u32),
    ];
    for fate in FATES {
        let mut path = Path::new(SctpConfig::default(), fate);
        path.open();
        assert_eq!(path.ends[1].tokens, [b"token"]);
        path.run(path.now + 2_000 * MS, |path| !path.ends[0].messages.is_empty());
        assert_eq!(path.ends[0].messages, [b"hello"]);
    }
}

#[test]
fn deltas_that_may_get_lost_do_and_hold_nothing_up() {
    let lossy = Delivery { order: Order::Unordered, reliability: Reliability::MaxRetransmits(0) };
    let config =
        SctpConfig { initiator: lossy, command: Order::Unordered, ..SctpConfig::default() };
    let mut path = Path::new(config, |_| Some(Duration::ZERO));
    path.open();
    path.fate = |number| (!number.is_multiple_of(20)).then_some(Duration::ZERO);
    for number in 0..200_u8 {
        let initiator = path.ends[0].transport.as_mut().unwrap();
        assert!(initiator.write(Channel::Data, &[number; 1_000]).unwrap());
        path.run(path.now + 10 * MS, |_| false);
    }
    path.run(path.now + 5_000 * MS, |_| false);
    let came = path.ends[1].messages.len();
    assert!((100..200).contains(&came), "{came} of 200");
    assert!(
        path.ends
            .iter_mut()
            .all(|end| { end.ended.is_none() && end.transport.as_mut().unwrap().in_flight() == 0 })
    );
    // The other direction is reliable.
    for number in 0..100_u8 {
        let acceptor = path.ends[1].transport.as_mut().unwrap();
        assert!(acceptor.write(Channel::Data, &[number; 1_000]).unwrap());
        path.run(path.now + 10 * MS, |_| false);
    }
    path.run(path.now + 60_000 * MS, |path| path.ends[0].messages.len() == 101);
    assert_eq!(path.ends[0].messages.len(), 101);
}

#[test]
fn who_is_not_let_in_is_told_why_and_who_is_forgotten_that_nobody_knows_it() {
    let mut path = Path::new(SctpConfig::default(), |_| Some(Duration::ZERO));
    path.admits = false;
    path.run(path.now + 200 * MS, |path| !path.ends[1].tokens.is_empty());
    path.ends[1].transport.as_mut().unwrap().refuse("not you");
    path.run(path.now + 200 * MS, |path| path.ends[0].ended.is_some());
    assert_eq!(path.ends[0].ended.as_deref(), Some("the peer refused: not you"));

    let mut path = Path::new(SctpConfig::default(), |_| Some(Duration::ZERO));
    path.open();
    path.ends[1].endpoint.forget(0);
    path.ends[1].transport = None;
    assert!(path.ends[0].transport.as_mut().unwrap().write(Channel::Data, b"anybody?").unwrap());
    path.run(path.now + 200 * MS, |path| path.ends[0].ended.is_some());
    assert_eq!(path.ends[0].ended.as_deref(), Some("closed"));
}

#[test]
fn little_lies_here_of_who_is_not_let_in() {
    let mut path = Path::new(SctpConfig::default(), |_| Some(Duration::ZERO));
    path.admits = false;
    path.run(path.now + DELAY, |path| !path.on_its_way.is_empty());
    let init = path.on_its_way.values().next().unwrap().1.clone();
    let tsn = packet::number(&init, packet::HEADER + 16).unwrap();
    path.run(path.now + 200 * MS, |path| !path.ends[1].tokens.is_empty());
    let tag = {
        // What who connects says last.
        let initiator = path.ends[0].transport.as_mut().unwrap();
        initiator.close();
        let Ok(Output::Transmit(last)) = initiator.poll_output() else { panic!("no last word") };
        packet::number(&last.bytes, 4).unwrap()
    };
    let crumbs = allocation_counter::measure(|| {
        for number in 0..100_000_u32 {
            let mut bytes = packet::begin([5_000; 2], tag);
            let mut chunk = vec![packet::DATA, 3, 0, 17];
            chunk.extend(tsn.wrapping_add(1 + number).to_be_bytes());
            chunk.extend([0, 0]);
            chunk.extend((number as u16).wrapping_add(1).to_be_bytes());
            chunk.extend([0, 0, 0, 53, 7]);
            packet::push(&mut bytes, &chunk);
            packet::seal(&mut bytes);
            path.hear(1, &bytes);
        }
    });
    assert!(crumbs.bytes_current > 0, "some were taken");
    let most = 32 * MAX_UNADMITTED as i64;
    assert!(crumbs.bytes_current < most, "{} bytes", crumbs.bytes_current);
}
