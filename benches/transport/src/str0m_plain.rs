//! str0m as its documentation shows it: its default configuration, a blocking socket with the
//! system's default buffers, and one datagram a system call. One negotiated channel, ordered and
//! reliable; each end in a thread of its own.

#![allow(clippy::disallowed_types)] // only counts

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use hdrhistogram::Histogram;
use str0m::channel::{ChannelConfig, ChannelId};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc};

use crate::deltawire_pair::LOOPBACK;
use crate::harness::Links;
use crate::measure::{Flow, Meter, OneWay, PING, PingPong, RoundTrips};
use crate::plan::{LIMIT, Measured};

/// Longest message: of what it holds until it is acknowledged, 128 KiB, the half.
const MAX_MESSAGE: usize = 64 << 10;
/// How often a thread that waits looks whether it is over.
const LOOK: Duration = Duration::from_millis(50);

/// What is done with a channel.
trait Application {
    /// A message came.
    fn message(&mut self, message: &[u8]);
    /// The next message to be sent, if there is one.
    fn next(&mut self) -> Option<&[u8]>;
    /// It was taken.
    fn taken(&mut self);
    /// Whether it has what it wanted.
    fn is_done(&self) -> bool;
}

/// Sends the same message again and again, or nothing, until it is stopped.
struct Source(Vec<u8>);

impl Application for Source {
    fn message(&mut self, _message: &[u8]) {}

    fn next(&mut self) -> Option<&[u8]> {
        Some(&self.0)
    }

    fn taken(&mut self) {}

    fn is_done(&self) -> bool {
        false
    }
}

/// Counts what comes.
struct Sink {
    meter: Meter,
    flow: Option<Flow>,
}

impl Application for Sink {
    fn message(&mut self, message: &[u8]) {
        if self.flow.is_none() {
            self.flow = self.meter.count(message.len());
        }
    }

    fn next(&mut self) -> Option<&[u8]> {
        None
    }

    fn taken(&mut self) {}

    fn is_done(&self) -> bool {
        self.flow.is_some()
    }
}

/// Sends a message, waits for it to come back, and so on.
struct Pinger {
    waits: bool,
    round_trips: RoundTrips,
    histogram: Option<Histogram<u64>>,
}

impl Application for Pinger {
    fn message(&mut self, _message: &[u8]) {
        self.waits = false;
        self.histogram = self.round_trips.came_back();
    }

    fn next(&mut self) -> Option<&[u8]> {
        (!self.waits && !self.is_done()).then_some(&[7; PING])
    }

    fn taken(&mut self) {
        self.waits = true;
    }

    fn is_done(&self) -> bool {
        self.histogram.is_some()
    }
}

/// Sends back what comes.
#[derive(Default)]
struct Echo(Option<Vec<u8>>);

impl Application for Echo {
    fn message(&mut self, message: &[u8]) {
        self.0 = Some(message.to_vec());
    }

    fn next(&mut self) -> Option<&[u8]> {
        self.0.as_deref()
    }

    fn taken(&mut self) {
        self.0 = None;
    }

    fn is_done(&self) -> bool {
        false
    }
}

pub(crate) fn one_way(plan: OneWay, _links: &Links) -> anyhow::Result<Measured> {
    let source = Source(vec![7; plan.size.min(MAX_MESSAGE)]);
    let sink = Sink { meter: Meter::start(plan), flow: None };
    let sink = run_both(source, sink)?;
    Ok(sink.flow.context("nothing was measured")?.into())
}

pub(crate) fn ping_pong(plan: PingPong, _links: &Links) -> anyhow::Result<Histogram<u64>> {
    let round_trips = RoundTrips::start(plan)?;
    let pinger = run_both(Echo::default(), Pinger { waits: false, round_trips, histogram: None })?;
    pinger.histogram.context("nothing was measured")
}

/// Connects two ends and runs one in another thread, the other in this one until it has what it
/// wants.
fn run_both<A: Application>(there: impl Application + Send, mut here: A) -> anyhow::Result<A> {
    let mut there = there;
    let (mut alice, mut bob) = connect()?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            let result = alice.run(&mut there, &stop);
            stop.store(true, Ordering::Relaxed);
            result
        });
        let result = bob.run(&mut here, &stop);
        stop.store(true, Ordering::Relaxed);
        other.join().expect("it does not panic")?;
        result.map(|()| here)
    })
}

/// One end.
struct End {
    rtc: Rtc,
    socket: UdpSocket,
    local: SocketAddr,
    channel: ChannelId,
    open: bool,
}

/// Two ends that know of each other.
fn connect() -> anyhow::Result<(End, End)> {
    str0m::crypto::from_feature_flags().install_process_default();
    let now = Instant::now();
    let new = || -> anyhow::Result<(Rtc, UdpSocket, SocketAddr)> {
        let socket = UdpSocket::bind((LOOPBACK, 0))?;
        let local = socket.local_addr()?;
        let mut rtc = Rtc::builder().build(now);
        rtc.add_local_candidate(Candidate::host(local, Protocol::Udp)?);
        Ok((rtc, socket, local))
    };
    let config = || ChannelConfig { negotiated: Some(0), ..ChannelConfig::default() };
    let (mut rtc, socket, local) = new()?;
    let mut changes = rtc.sdp_api();
    let channel = changes.add_channel_with_config(config());
    let (offer, pending) = changes.apply().context("no offer")?;
    let mut alice = End { rtc, socket, local, channel, open: false };
    let (mut rtc, socket, local) = new()?;
    let answer = rtc.sdp_api().accept_offer(offer)?;
    let channel = rtc.direct_api().create_data_channel(config());
    let bob = End { rtc, socket, local, channel, open: false };
    alice.rtc.sdp_api().accept_answer(pending, answer)?;
    Ok((alice, bob))
}

impl End {
    fn run(&mut self, application: &mut impl Application, stop: &AtomicBool) -> anyhow::Result<()> {
        let deadline = Instant::now() + LIMIT;
        let mut datagram = vec![0; 2_000];
        while !application.is_done() {
            let timeout = self.drain(application)?;
            if self.write(application)? {
                continue;
            }
            if stop.load(Ordering::Relaxed) {
                // The other end has what it wanted, or failed and says why.
                return Ok(());
            }
            let now = Instant::now();
            ensure!(now < deadline, "not done within {LIMIT:?}; channel open: {}", self.open);
            let wait = (timeout - now).min(LOOK);
            if wait.is_zero() {
                self.rtc.handle_input(Input::Timeout(now))?;
                continue;
            }
            self.socket.set_read_timeout(Some(wait))?;
            let input = match self.socket.recv_from(&mut datagram) {
                Ok((len, source)) => {
                    let receive = Receive::new(Protocol::Udp, source, self.local, &datagram[..len]);
                    Input::Receive(Instant::now(), receive?)
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    Input::Timeout(Instant::now())
                }
                Err(error) => bail!(error),
            };
            self.rtc.handle_input(input)?;
        }
        Ok(())
    }

    /// Everything that it has to give. Says until when there is nothing more.
    fn drain(&mut self, application: &mut impl Application) -> anyhow::Result<Instant> {
        loop {
            match self.rtc.poll_output()? {
                Output::Timeout(at) => return Ok(at),
                Output::Transmit(transmit) => {
                    self.socket.send_to(&transmit.contents, transmit.destination)?;
                }
                Output::Event(Event::ChannelOpen(..)) => self.open = true,
                Output::Event(Event::ChannelData(data)) => application.message(&data.data),
                Output::Event(_) => {}
            }
        }
    }

    /// Writes as long as it takes whole messages. Says whether it took any.
    fn write(&mut self, application: &mut impl Application) -> anyhow::Result<bool> {
        let mut wrote = false;
        if !self.open {
            return Ok(wrote);
        }
        let Some(mut channel) = self.rtc.channel(self.channel) else { return Ok(wrote) };
        while let Some(message) = application.next() {
            if !channel.write(true, message)? {
                break;
            }
            application.taken();
            wrote = true;
        }
        Ok(wrote)
    }
}
