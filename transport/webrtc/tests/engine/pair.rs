//! Two engines with a wire of constant latency between them, on virtual time.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use deltawire_framing::Channel;
use deltawire_link::{Datagram, DatagramTransport, MessageTransport, Output, Transmit};
use deltawire_webrtc::{AnyEngine, Certificate, Engine, EngineConfig, EngineError};

pub(crate) struct End {
    pub(crate) engine: AnyEngine,
    /// When it opened.
    pub(crate) open: Option<Duration>,
    pub(crate) closed: bool,
    pub(crate) error: Option<EngineError>,
    /// Whether the peer can still be told of it.
    pub(crate) keeps_channels: bool,
    pub(crate) messages: Vec<(Channel, Vec<u8>)>,
    timeout: Option<Duration>,
    /// What is on its way to it.
    inbox: VecDeque<(Duration, Transmit)>,
}

pub(crate) struct Pair {
    pub(crate) now: Duration,
    pub(crate) latency: Duration,
    pub(crate) ends: [End; 2],
    /// Changes or drops datagrams on their way.
    pub(crate) tamper: Box<dyn FnMut(&mut Transmit) -> bool>,
}

pub(crate) fn config() -> EngineConfig {
    let mut config = EngineConfig::new(Arc::new(Certificate::generate().unwrap()));
    config.kind = crate::ENGINE;
    config
}

pub(crate) fn address(end: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1_000 + end as u16))
}

impl End {
    fn new(engine: AnyEngine) -> Self {
        Self {
            engine,
            open: None,
            closed: false,
            error: None,
            keeps_channels: false,
            messages: Vec::new(),
            timeout: None,
            inbox: VecDeque::new(),
        }
    }
}

impl Pair {
    pub(crate) fn new(latency: Duration) -> Self {
        Self::with(&config(), &config(), latency, |offer| offer, |answer| answer)
    }

    pub(crate) fn with(
        initiator: &EngineConfig,
        acceptor: &EngineConfig,
        latency: Duration,
        edit_offer: impl FnOnce(String) -> String,
        edit_answer: impl FnOnce(String) -> String,
    ) -> Self {
        let now = Duration::ZERO;
        let (mut a, offer) = AnyEngine::offer(initiator, &[address(0)], now).unwrap();
        let offer = edit_offer(offer);
        let (b, answer) = AnyEngine::answer(acceptor, &[address(1)], &offer, now).unwrap();
        a.accept_answer(&edit_answer(answer), now).unwrap();
        Self { now, latency, ends: [End::new(a), End::new(b)], tamper: Box::new(|_| true) }
    }

    /// Runs everything that is due, then moves on to the next thing that is.
    pub(crate) fn step(&mut self) -> bool {
        let Self { ends, now, latency, tamper } = self;
        for index in 0..2 {
            let mut sent = Vec::new();
            let end = &mut ends[index];
            if end.timeout.is_some_and(|at| at <= *now) {
                end.engine.handle_timeout(*now);
            }
            while end.inbox.front().is_some_and(|(at, _)| at <= now) {
                let (_, transmit) = end.inbox.pop_front().unwrap();
                let Transmit { source, destination, bytes, .. } = &transmit;
                let (source, destination) = (*source, *destination);
                end.engine.handle_datagram(Datagram { source, destination, bytes }, *now);
            }
            loop {
                match end.engine.poll_output() {
                    Ok(Output::Transmit(transmit)) => sent.push(transmit),
                    Ok(Output::Open) => end.open = Some(*now),
                    Ok(Output::Message(channel, message)) => {
                        end.messages.push((channel, message.to_vec()));
                    }
                    Ok(Output::Closed) => end.closed = true,
                    Ok(Output::Timeout(at)) => {
                        end.timeout = at;
                        break;
                    }
                    Err(error) => {
                        end.error = error.downcast_ref().cloned();
                        end.keeps_channels = error.keeps_channels();
                        end.timeout = None;
                        break;
                    }
                }
            }
            for mut transmit in sent {
                if tamper(&mut transmit) {
                    ends[1 - index].inbox.push_back((*now + *latency, transmit));
                }
            }
        }
        let arrivals = ends.iter().filter_map(|end| end.inbox.front().map(|(at, _)| *at));
        let next = arrivals.chain(ends.iter().filter_map(|end| end.timeout)).min();
        *now = next.unwrap_or(*now).max(*now);
        next.is_some()
    }

    pub(crate) fn run_until(
        &mut self,
        limit: Duration,
        mut done: impl FnMut(&Self) -> bool,
    ) -> bool {
        while self.now < limit {
            if done(self) {
                return true;
            }
            if !self.step() {
                return done(self);
            }
        }
        done(self)
    }

    pub(crate) fn open(latency: Duration) -> Self {
        let mut pair = Self::new(latency);
        assert!(pair.run_until(Duration::from_secs(30), |pair| {
            pair.ends.iter().all(|end| end.open.is_some())
        }));
        pair
    }
}
