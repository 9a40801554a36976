//! str0m as its documentation shows it: its default configuration, a blocking socket with the
//! system's default buffers, and one datagram a system call.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::bail;
use hdrhistogram::Histogram;
use str0m::{Rtc, RtcConfig};

use crate::deltawire_pair::LOOPBACK;
use crate::harness::Links;
use crate::measure::{OneWay, PingPong};
use crate::plan::Measured;
use crate::str0m_pair::{self, Inbox, Wire};

pub(crate) fn one_way(plan: OneWay, _links: &Links) -> anyhow::Result<Measured> {
    str0m_pair::one_way::<Plain>(plan)
}

pub(crate) fn ping_pong(plan: PingPong, _links: &Links) -> anyhow::Result<Histogram<u64>> {
    str0m_pair::ping_pong::<Plain>(plan)
}

struct Plain {
    socket: UdpSocket,
    local: SocketAddr,
}

impl Wire for Plain {
    /// Of what it holds until it is acknowledged, 128 KiB, the half.
    const MAX_MESSAGE: usize = 64 << 10;
    /// As much as it takes.
    const FLIGHT: usize = usize::MAX;

    fn bind() -> anyhow::Result<Self> {
        let socket = UdpSocket::bind((LOOPBACK, 0))?;
        let local = socket.local_addr()?;
        Ok(Self { socket, local })
    }

    fn local(&self) -> SocketAddr {
        self.local
    }

    fn config() -> RtcConfig {
        Rtc::builder()
    }

    fn send(&mut self, destination: SocketAddr, datagram: &[u8]) -> anyhow::Result<()> {
        self.socket.send_to(datagram, destination)?;
        Ok(())
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    fn receive(&self, wait: Duration, inbox: &mut Inbox) -> anyhow::Result<()> {
        inbox.bytes.resize(2_000, 0);
        self.socket.set_read_timeout(Some(wait))?;
        match self.socket.recv_from(&mut inbox.bytes) {
            Ok((len, source)) => inbox.datagrams.push((source, 0..len)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => bail!(error),
        }
        Ok(())
    }
}
