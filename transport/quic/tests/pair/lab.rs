//! Two ends and a network between them that loses and mixes up datagrams, in virtual time.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use deltawire_framing::Channel;
use deltawire_link::{Datagram, MessageTransport, Output, Transmit, TransportError};
use deltawire_quic::{
    Handle, QuicCertificate, QuicConfig, QuicEndpoint, QuicTransport, QuicTrust, Routed,
};

pub(crate) const CLIENT: usize = 0;
pub(crate) const SERVER: usize = 1;

/// Half a round trip.
const DELAY: Duration = Duration::from_millis(5);

pub(crate) fn config() -> QuicConfig {
    QuicConfig::new(1 << 20, 16 << 10)
}

fn address(end: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 4_000 + end as u16))
}

/// One end of the link.
pub(crate) struct End {
    pub(crate) endpoint: QuicEndpoint,
    pub(crate) link: Option<(Handle, QuicTransport)>,
    pub(crate) open: bool,
    pub(crate) closed: bool,
    pub(crate) error: Option<TransportError>,
    pub(crate) messages: Vec<(Channel, Vec<u8>)>,
    /// Datagrams on their way here, and when they come.
    inbox: VecDeque<(Duration, Transmit)>,
    timeout: Option<Duration>,
}

/// Both ends.
pub(crate) struct Lab {
    pub(crate) now: Duration,
    pub(crate) ends: [End; 2],
    pub(crate) fingerprint: deltawire_quic::Fingerprint,
    /// Of a hundred datagrams so many are lost, and as many late.
    pub(crate) faults: u8,
    pub(crate) random: fastrand::Rng,
    /// What the server lets in.
    pub(crate) token: Vec<u8>,
    /// Whether the server asks each peer to show that it is there.
    pub(crate) retries: bool,
    pub(crate) retried: usize,
    /// First bytes of all datagrams.
    pub(crate) first_bytes: Vec<u8>,
}

impl Lab {
    pub(crate) fn new(seed: u64) -> Self {
        Self::with(seed, config())
    }

    pub(crate) fn with(seed: u64, config: QuicConfig) -> Self {
        let certificate = QuicCertificate::generate().unwrap();
        let end = |index: usize, certificate: Option<&QuicCertificate>| End {
            endpoint: QuicEndpoint::new(
                config,
                certificate,
                address(index),
                64,
                [seed as u8 ^ index as u8; 32],
            )
            .unwrap(),
            link: None,
            open: false,
            closed: false,
            error: None,
            messages: Vec::new(),
            inbox: VecDeque::new(),
            timeout: None,
        };
        Self {
            now: Duration::from_secs(1),
            ends: [end(CLIENT, None), end(SERVER, Some(&certificate))],
            fingerprint: certificate.fingerprint(),
            faults: 0,
            random: fastrand::Rng::with_seed(seed),
            token: Vec::new(),
            retries: false,
            retried: 0,
            first_bytes: Vec::new(),
        }
    }

    pub(crate) fn connect(&mut self, trust: &QuicTrust, token: &[u8]) {
        let now = self.now;
        let end = &mut self.ends[CLIENT];
        let link = end.endpoint.connect(address(SERVER), "127.0.0.1", trust, token, now).unwrap();
        end.link = Some(link);
        self.work(CLIENT);
    }

    /// One that is open at both ends.
    pub(crate) fn open(seed: u64) -> Self {
        Self::open_with(seed, config())
    }

    pub(crate) fn open_with(seed: u64, config: QuicConfig) -> Self {
        let mut lab = Self::with(seed, config);
        lab.connect(&QuicTrust::loopback(), b"");
        lab.until("open", |lab| lab.ends.iter().all(|end| end.open));
        lab
    }

    pub(crate) fn link(&mut self, end: usize) -> &mut QuicTransport {
        &mut self.ends[end].link.as_mut().unwrap().1
    }

    /// Does what an end has to do.
    pub(crate) fn work(&mut self, index: usize) {
        let end = &mut self.ends[index];
        end.timeout = None;
        let Some((handle, link)) = &mut end.link else { return };
        let mut sent = Vec::new();
        loop {
            if let Some(token) = link.take_token() {
                if token == self.token {
                    link.admit();
                } else {
                    link.refuse("the token is wrong");
                }
            }
            match link.poll_output() {
                Ok(Output::Transmit(transmit)) => sent.push(transmit),
                Ok(Output::Open) => end.open = true,
                Ok(Output::Message(channel, message)) => {
                    assert!(message.as_ptr().addr().is_multiple_of(16));
                    end.messages.push((channel, message.to_vec()));
                }
                Ok(Output::Closed) => end.closed = true,
                Ok(Output::Timeout(at)) => {
                    let token = link.take_token();
                    let Some(token) = token else {
                        end.timeout = at;
                        break;
                    };
                    if token == self.token {
                        link.admit();
                    } else {
                        link.refuse("the token is wrong");
                    }
                }
                Err(error) => end.error = Some(error),
            }
        }
        let mut again = false;
        while let Some(event) = link.poll_endpoint_event() {
            if let Some(event) = end.endpoint.handle_event(*handle, event, self.now) {
                link.handle_event(event);
                again = true;
            }
        }
        for transmit in sent {
            self.send(transmit);
        }
        if again {
            self.work(index);
        }
    }

    /// Puts datagrams on their way.
    pub(crate) fn send(&mut self, transmit: Transmit) {
        let to = usize::from(transmit.destination.port() % 2);
        let (destination, source) = (transmit.destination, transmit.source);
        let segment = transmit.segment.unwrap_or(transmit.bytes.len()).max(1);
        assert!(transmit.bytes.len() <= 65_000 && transmit.datagrams() <= 40);
        for bytes in transmit.bytes.chunks(segment) {
            self.first_bytes.extend(bytes.first());
            if self.random.u8(..100) < self.faults {
                continue;
            }
            let late = self.random.u8(..100) < self.faults;
            let at = self.now + if late { 3 * DELAY } else { DELAY };
            let bytes = bytes.to_vec();
            let datagram = Transmit { destination, source, bytes, segment: None };
            let inbox = &mut self.ends[to].inbox;
            let place = inbox.partition_point(|(other, _)| *other <= at);
            inbox.insert(place, (at, datagram));
        }
    }

    /// A datagram comes to an end.
    pub(crate) fn receive(&mut self, index: usize, source: SocketAddr, bytes: &[u8]) {
        let now = self.now;
        let end = &mut self.ends[index];
        let datagram = Datagram { source, destination: address(index), bytes };
        match end.endpoint.handle_datagram(datagram, now) {
            Routed::Known(handle, event) => {
                if let Some((known, link)) = &mut end.link
                    && *known == handle
                {
                    link.handle_event(event);
                }
            }
            Routed::New(arrival) if self.retries && !arrival.is_validated() => {
                self.retried += 1;
                let answer = end.endpoint.retry(arrival);
                self.send(answer);
            }
            Routed::New(arrival) if end.link.is_none() => match end.endpoint.accept(arrival, now) {
                Ok(link) => end.link = Some(link),
                Err(answer) => drop(answer.map(|answer| self.send(answer))),
            },
            Routed::New(arrival) => {
                let answer = end.endpoint.refuse(arrival);
                self.send(answer);
            }
            Routed::Answer(answer) => self.send(answer),
            Routed::Nothing => {}
        }
    }

    /// The same, with nowhere for answers to go.
    pub(crate) fn receive_unanswered(&mut self, index: usize, source: SocketAddr, bytes: &[u8]) {
        let faults = std::mem::replace(&mut self.faults, 100);
        self.receive(index, source, bytes);
        self.faults = faults;
    }

    /// What is on its way to the client.
    pub(crate) fn take_for_client(&mut self) -> Vec<Transmit> {
        self.ends[CLIENT].inbox.drain(..).map(|(_, datagram)| datagram).collect()
    }

    /// Goes on to what is next. Says whether there was anything.
    fn step(&mut self) -> bool {
        let next = self.ends.iter().flat_map(|end| {
            let came = end.inbox.front().map(|(at, _)| *at);
            came.into_iter().chain(end.timeout)
        });
        let Some(next) = next.min() else { return false };
        self.now = self.now.max(next);
        for index in [CLIENT, SERVER] {
            let mut came = 0;
            while self.ends[index].inbox.front().is_some_and(|(at, _)| *at <= self.now) {
                let (_, datagram) = self.ends[index].inbox.pop_front().unwrap();
                self.receive(index, datagram.source, &datagram.bytes);
                came += 1;
                if came % 16 == 0 {
                    self.work(index);
                }
            }
            if self.ends[index].timeout.is_some_and(|at| at <= self.now) {
                let now = self.now;
                if let Some((_, link)) = &mut self.ends[index].link {
                    link.handle_timeout(now);
                }
            }
            self.work(index);
        }
        true
    }

    pub(crate) fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let deadline = self.now + Duration::from_secs(60);
        while !done(self) {
            assert!(self.step() && self.now < deadline, "not {what} at {:?}", self.now);
        }
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until && self.step() {}
    }
}
