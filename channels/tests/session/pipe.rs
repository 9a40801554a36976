//! A link between two sessions on virtual time: messages take a while, and, where the channel
//! allows it, get lost, come twice, or overtake each other.

use std::time::Duration;

use deltawire_channels::session::{Event, SessionConfig};
use deltawire_channels::{Delivery, Order, Peer, Session};
use deltawire_framing::Channel;
use deltawire_framing::control::Role;

/// A small generator of its own, so that a run depends on its seed only.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }
}

/// What a pipe does to messages on channels that do not promise otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    pub loss_percent: u64,
    pub duplicate_percent: u64,
    pub jitter: Duration,
}

struct InFlight {
    arrives: Duration,
    channel: Channel,
    bytes: Vec<u8>,
}

/// One end and what is on its way to it.
pub struct End {
    pub session: Session,
    pub peer: Option<Peer>,
    pub events: Vec<Event>,
    in_flight: Vec<InFlight>,
    last_arrival: [Duration; 2],
}

pub struct Link {
    pub now: Duration,
    pub ends: [End; 2],
    pub latency: Duration,
    pub faults: Faults,
    /// By channel.
    pub delivery: [Delivery; 2],
    /// Nothing gets through.
    pub cut: bool,
    /// How much longer deltas take than commands.
    pub data_lag: Duration,
    /// What a transport takes in one go.
    pub budget: usize,
    pub random: Random,
}

pub fn configs() -> [SessionConfig; 2] {
    [(Role::Initiator, 1), (Role::Acceptor, 2)]
        .map(|(role, id)| SessionConfig::new(role, [id; 16], 7))
}

impl Link {
    pub fn new(configs: [SessionConfig; 2], seed: u64) -> Self {
        let command = Delivery { order: configs[0].command, ..Delivery::default() };
        let delivery = [command, configs[0].send];
        let ends = configs.map(|config| {
            let (session, peer) = Session::new(config, Duration::ZERO).unwrap();
            End {
                session,
                peer: Some(peer),
                events: Vec::new(),
                in_flight: Vec::new(),
                last_arrival: [Duration::ZERO; 2],
            }
        });
        Self {
            now: Duration::ZERO,
            ends,
            latency: Duration::from_millis(10),
            faults: Faults::default(),
            delivery,
            cut: false,
            data_lag: Duration::ZERO,
            budget: 1 << 20,
            random: Random(seed),
        }
    }

    /// Lets everything happen that happens now, then moves on to the next thing that does, but not
    /// past `until`.
    pub fn step(&mut self, until: Duration) {
        for from in 0..2 {
            self.transmit(from);
            while let Some(event) = self.ends[from].session.poll_event() {
                self.ends[from].events.push(event);
            }
        }
        let next = |end: &End| {
            let arrival = end.in_flight.iter().map(|message| message.arrives).min();
            [arrival, end.session.poll_timeout()].into_iter().flatten().min()
        };
        let next = self.ends.iter().filter_map(next).min().unwrap_or(until);
        self.now = next.max(self.now).min(until);
        for end in &mut self.ends {
            end.receive(self.now);
            if end.session.poll_timeout().is_some_and(|at| at <= self.now) {
                end.session.handle_timeout(self.now);
                let next = end.session.poll_timeout();
                assert!(next.is_none_or(|next| next > self.now), "{next:?} at {:?}", self.now);
            }
        }
    }

    pub fn run_until(&mut self, until: Duration) {
        while self.now < until {
            self.step(until);
        }
        self.step(until);
    }

    pub fn run_for(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    fn transmit(&mut self, from: usize) {
        loop {
            let Some(message) = self.ends[from].session.poll_transmit(self.budget) else { break };
            assert!(!message.is_empty() && message.len() <= self.budget);
            let (channel, bytes) = (message.channel(), message.to_vec());
            drop(message);
            if self.cut {
                continue;
            }
            let delivery = self.delivery[channel as usize];
            let mut copies = 1;
            if delivery.may_lose() {
                if self.random.percent(self.faults.loss_percent) {
                    copies = 0;
                } else if self.random.percent(self.faults.duplicate_percent) {
                    copies = 2;
                }
            }
            for _ in 0..copies {
                let jitter = self.faults.jitter.as_micros() as u64;
                let jitter = Duration::from_micros(self.random.below(jitter + 1));
                let mut arrives = self.now + self.latency + jitter;
                if channel == Channel::Data {
                    arrives += self.data_lag;
                }
                let end = &mut self.ends[1 - from];
                if delivery.order == Order::Ordered {
                    arrives = arrives.max(end.last_arrival[channel as usize]);
                    end.last_arrival[channel as usize] = arrives;
                }
                end.in_flight.push(InFlight { arrives, channel, bytes: bytes.clone() });
            }
        }
    }

    /// What is on its way is lost.
    pub fn forget_in_flight(&mut self) {
        for end in &mut self.ends {
            end.in_flight.clear();
        }
    }

    pub fn peer(&mut self, end: usize) -> &mut Peer {
        self.ends[end].peer.as_mut().unwrap()
    }
}

impl End {
    fn receive(&mut self, now: Duration) {
        // Stable, so what arrives at one instant keeps its order.
        self.in_flight.sort_by_key(|message| message.arrives);
        let later = self.in_flight.partition_point(|message| message.arrives <= now);
        for message in self.in_flight.drain(..later) {
            self.session.handle_message(message.channel, message.bytes, now);
        }
    }
}
