//! str0m with what a program can do around it: sockets' buffers of 4 MiB, many datagrams a system
//! call in both directions (GSO and GRO), datagrams of up to 1,472 bytes as deltawire sends over
//! loopback (`RtcConfig::set_mtu`), and writes of at most 16 KiB while less than 32 KiB are not
//! acknowledged, because its SCTP looks at everything in flight each time that it is polled.

use std::net::SocketAddr;
use std::time::Duration;

use hdrhistogram::Histogram;
use str0m::{Rtc, RtcConfig};

use crate::harness::Links;
use crate::measure::{OneWay, PingPong};
use crate::plan::Measured;
use crate::raw_udp::{PLACES, Socket};
use crate::str0m_pair::{self, Inbox, Wire};

/// Longest datagram.
const DATAGRAM: usize = 1_472;

pub(crate) fn one_way(plan: OneWay, _links: &Links) -> anyhow::Result<Measured> {
    str0m_pair::one_way::<Tuned>(plan)
}

pub(crate) fn ping_pong(plan: PingPong, _links: &Links) -> anyhow::Result<Histogram<u64>> {
    str0m_pair::ping_pong::<Tuned>(plan)
}

struct Tuned {
    socket: Socket,
    /// Datagrams of one length to one address, not yet sent.
    outbox: Vec<u8>,
    segment: usize,
    destination: Option<SocketAddr>,
}

impl Wire for Tuned {
    const MAX_MESSAGE: usize = 16 << 10;
    const FLIGHT: usize = 32 << 10;

    fn bind() -> anyhow::Result<Self> {
        let socket = Socket::bind()?;
        Ok(Self { socket, outbox: Vec::new(), segment: 0, destination: None })
    }

    fn local(&self) -> SocketAddr {
        self.socket.local
    }

    fn config() -> RtcConfig {
        Rtc::builder().set_mtu(DATAGRAM..=DATAGRAM)
    }

    fn send(&mut self, destination: SocketAddr, datagram: &[u8]) -> anyhow::Result<()> {
        let fits = self.destination == Some(destination)
            && datagram.len() <= self.segment
            && self.outbox.len() < self.socket.together(self.segment) * self.segment;
        if !fits {
            self.flush()?;
            (self.segment, self.destination) = (datagram.len(), Some(destination));
        }
        self.outbox.extend_from_slice(datagram);
        // Only the last one of a call may be shorter.
        if datagram.len() < self.segment { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        if let Some(destination) = self.destination.take() {
            self.socket.send(destination, &self.outbox, self.segment)?;
            self.outbox.clear();
        }
        Ok(())
    }

    fn receive(&self, wait: Duration, inbox: &mut Inbox) -> anyhow::Result<()> {
        inbox.bytes.resize(PLACES << 16, 0);
        let (count, meta) = self.socket.receive_calls(&mut inbox.bytes, wait)?;
        for (place, meta) in meta.iter().take(count).enumerate() {
            let (start, end) = (place << 16, (place << 16) + meta.len);
            let datagrams = (start..end).step_by(meta.stride.max(1));
            let datagrams = datagrams.map(|at| (meta.addr, at..end.min(at + meta.stride)));
            inbox.datagrams.extend(datagrams);
        }
        Ok(())
    }
}
