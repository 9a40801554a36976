//! Two ends of str0m, each in a thread of its own that drives it as its documentation shows: one
//! negotiated channel, ordered and reliable. How datagrams come and go is for the [`Wire`].

#![allow(clippy::disallowed_types)] // only counts

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hdrhistogram::Histogram;
use str0m::channel::{ChannelConfig, ChannelId};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

use crate::measure::{FILL, Flow, Meter, OneWay, PING, PingPong, RoundTrips};
use crate::plan::{LIMIT, Measured};

/// How often a thread that waits looks whether it is over.
const LOOK: Duration = Duration::from_millis(50);

/// What carries the datagrams of an end, and how the end is set up for it.
pub(crate) trait Wire: Sized + Send {
    /// Longest message; longer ones are cut.
    const MAX_MESSAGE: usize;
    /// Nothing more is written while so much is not acknowledged.
    const FLIGHT: usize;

    fn bind() -> anyhow::Result<Self>;

    fn local(&self) -> SocketAddr;

    fn config() -> RtcConfig;

    /// Sends a datagram, or keeps it until it is told to flush.
    fn send(&mut self, destination: SocketAddr, datagram: &[u8]) -> anyhow::Result<()>;

    fn flush(&mut self) -> anyhow::Result<()>;

    /// Waits for at most so long for something to come.
    fn receive(&self, wait: Duration, inbox: &mut Inbox) -> anyhow::Result<()>;
}

/// What came, and where in the bytes each datagram lies.
#[derive(Default)]
pub(crate) struct Inbox {
    pub(crate) bytes: Vec<u8>,
    pub(crate) datagrams: Vec<(SocketAddr, Range<usize>)>,
}

/// What is done with a channel.
trait Application {
    /// A message came.
    fn message(&mut self, message: &[u8]) -> anyhow::Result<()>;
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
    fn message(&mut self, _message: &[u8]) -> anyhow::Result<()> {
        Ok(())
    }

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
    fn message(&mut self, message: &[u8]) -> anyhow::Result<()> {
        if self.flow.is_none() {
            self.flow = self.meter.message(message)?;
        }
        Ok(())
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
    fn message(&mut self, message: &[u8]) -> anyhow::Result<()> {
        self.waits = false;
        self.histogram = self.round_trips.came_back(message)?;
        Ok(())
    }

    fn next(&mut self) -> Option<&[u8]> {
        (!self.waits && !self.is_done()).then_some(&[FILL; PING])
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
    fn message(&mut self, message: &[u8]) -> anyhow::Result<()> {
        self.0 = Some(message.to_vec());
        Ok(())
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

pub(crate) fn one_way<W: Wire>(plan: OneWay) -> anyhow::Result<Measured> {
    let source = Source(vec![FILL; plan.size]);
    let sink = Sink { meter: Meter::start(plan), flow: None };
    let sink = run_both::<W, _>(source, sink)?;
    Ok(sink.flow.context("nothing was measured")?.into())
}

pub(crate) fn ping_pong<W: Wire>(plan: PingPong) -> anyhow::Result<Histogram<u64>> {
    let round_trips = RoundTrips::start(plan)?;
    let pinger = Pinger { waits: false, round_trips, histogram: None };
    let pinger = run_both::<W, _>(Echo::default(), pinger)?;
    pinger.histogram.context("nothing was measured")
}

/// Connects two ends and runs one in another thread, the other in this one until it has what it
/// wants.
fn run_both<W: Wire, A: Application>(
    mut there: impl Application + Send,
    mut here: A,
) -> anyhow::Result<A> {
    let [mut alice, mut bob] = connect::<W>()?;
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
struct End<W> {
    rtc: Rtc,
    wire: W,
    local: SocketAddr,
    channel: ChannelId,
    open: bool,
    /// How much of the application's message has been written.
    written: usize,
}

/// Two ends that know of each other.
fn connect<W: Wire>() -> anyhow::Result<[End<W>; 2]> {
    str0m::crypto::from_feature_flags().install_process_default();
    let now = Instant::now();
    let new = || -> anyhow::Result<(Rtc, W, SocketAddr)> {
        let wire = W::bind()?;
        let local = wire.local();
        let mut rtc = W::config().build(now);
        rtc.add_local_candidate(Candidate::host(local, Protocol::Udp)?);
        Ok((rtc, wire, local))
    };
    let config = || ChannelConfig { negotiated: Some(0), ..ChannelConfig::default() };
    let (mut rtc, wire, local) = new()?;
    let mut changes = rtc.sdp_api();
    let channel = changes.add_channel_with_config(config());
    let (offer, pending) = changes.apply().context("no offer")?;
    let mut alice = End { rtc, wire, local, channel, open: false, written: 0 };
    let (mut rtc, wire, local) = new()?;
    let answer = rtc.sdp_api().accept_offer(offer)?;
    let channel = rtc.direct_api().create_data_channel(config());
    let bob = End { rtc, wire, local, channel, open: false, written: 0 };
    alice.rtc.sdp_api().accept_answer(pending, answer)?;
    Ok([alice, bob])
}

impl<W: Wire> End<W> {
    fn run(&mut self, application: &mut impl Application, stop: &AtomicBool) -> anyhow::Result<()> {
        let deadline = Instant::now() + LIMIT;
        let mut inbox = Inbox::default();
        while !application.is_done() {
            let timeout = self.drain(application)?;
            if self.write(application)? {
                continue;
            }
            self.wire.flush()?;
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
            inbox.datagrams.clear();
            self.wire.receive(wait, &mut inbox)?;
            let now = Instant::now();
            if inbox.datagrams.is_empty() {
                self.rtc.handle_input(Input::Timeout(now))?;
            }
            for (source, place) in &inbox.datagrams {
                let datagram = &inbox.bytes[place.clone()];
                let receive = Receive::new(Protocol::Udp, *source, self.local, datagram)?;
                self.rtc.handle_input(Input::Receive(now, receive))?;
                self.drain(application)?;
            }
        }
        Ok(())
    }

    /// Everything that it has to give. Says until when there is nothing more.
    fn drain(&mut self, application: &mut impl Application) -> anyhow::Result<Instant> {
        loop {
            match self.rtc.poll_output()? {
                Output::Timeout(at) => return Ok(at),
                Output::Transmit(transmit) => {
                    self.wire.send(transmit.destination, &transmit.contents)?;
                }
                Output::Event(Event::ChannelOpen(..)) => self.open = true,
                Output::Event(Event::ChannelData(data)) => application.message(&data.data)?,
                Output::Event(_) => {}
            }
        }
    }

    /// Writes as long as it takes messages, or their pieces. Says whether it took any.
    fn write(&mut self, application: &mut impl Application) -> anyhow::Result<bool> {
        let mut wrote = false;
        if !self.open {
            return Ok(wrote);
        }
        let Some(mut channel) = self.rtc.channel(self.channel) else { return Ok(wrote) };
        while let Some(message) = application.next() {
            let rest = &message[self.written..];
            let piece = &rest[..rest.len().min(W::MAX_MESSAGE)];
            if channel.buffered_amount() >= W::FLIGHT || !channel.write(true, piece)? {
                break;
            }
            wrote = true;
            self.written += piece.len();
            if self.written == message.len() {
                self.written = 0;
                application.taken();
            }
        }
        Ok(wrote)
    }
}
