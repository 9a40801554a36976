//! The thinnest peer that is fair: the engine, tuned as in a node, and a socket.
//!
//! As in a node over loopback, datagrams have up to 1,472 bytes and move many to a system call, the
//! socket's buffers are asked to be 4 MiB, the engine takes 16 datagrams between two drains, and
//! 48 KiB are on their way at a time, which is where a node's flight comes to rest there.

use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use deltawire::link::{Datagram, DatagramTransport, MessageTransport, Output, Transmit};
use deltawire::webrtc::{AnyEngine, Certificate, Engine, EngineConfig, MAX_MTU};
use deltawire_browser_demo::service::Error;
use quinn_udp::{RecvMeta, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::application::{Application, FRAME};

/// Bytes on their way at a time.
const FLIGHT: usize = 48 << 10;
/// Bytes of the socket's buffers.
const BUFFER: usize = 4 << 20;
/// Datagrams between two drains.
const BETWEEN_DRAINS: usize = 16;
/// Most bytes that one call sends.
const MAX_BATCH: usize = 60_000;
/// A peer that says nothing for so long is gone.
const SILENCE: Duration = Duration::from_secs(30);

pub(crate) struct Peer {
    engine: AnyEngine,
    socket: UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
    start: Instant,
    application: Application,
    open: bool,
    closed: bool,
    batch: Batch,
}

/// Datagrams of one length, but for the last.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    segment: usize,
    destination: Option<SocketAddr>,
}

/// A socket with large buffers.
pub(crate) fn socket() -> io::Result<(std::net::UdpSocket, UdpSocketState)> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_nonblocking(true)?;
    let state = UdpSocketState::new((&socket).into())?;
    let _ = state.set_send_buffer_size((&socket).into(), BUFFER);
    let _ = state.set_recv_buffer_size((&socket).into(), BUFFER);
    Ok((socket, state))
}

impl Peer {
    /// A peer for this offer, and its answer.
    pub(crate) fn answer(
        certificate: Arc<Certificate>,
        offer: &str,
    ) -> Result<(Self, String), Error> {
        let (socket, state) = socket()?;
        let local = socket.local_addr()?;
        let config = EngineConfig { mtu: MAX_MTU, ..EngineConfig::new(certificate) };
        let (engine, answer) = AnyEngine::answer(&config, &[local], offer, Duration::ZERO)?;
        let peer = Self {
            engine,
            socket: UdpSocket::from_std(socket)?,
            state,
            local,
            start: Instant::now(),
            application: Application::new(FRAME),
            open: false,
            closed: false,
            batch: Batch::default(),
        };
        Ok((peer, answer))
    }

    /// Runs until the page is gone.
    pub(crate) async fn run(mut self) -> Result<(), Error> {
        let mut place = vec![0; 1 << 16];
        let mut heard = Instant::now();
        while !self.closed && heard.elapsed() < SILENCE {
            let mut timeout = self.drain().await?;
            while self.open && self.write()? {
                timeout = self.drain().await?;
            }
            self.flush().await?;
            let wake_at = timeout.map_or(Instant::now() + SILENCE, |at| self.start + at);
            tokio::select! {
                biased;
                ready = self.socket.readable() => {
                    ready?;
                    heard = Instant::now();
                    self.receive(&mut place).await?;
                }
                () = tokio::time::sleep_until(wake_at.into()) => {
                    self.engine.handle_timeout(self.start.elapsed());
                }
            }
        }
        Ok(())
    }

    /// Everything that the engine has to give; says when it has more.
    async fn drain(&mut self) -> Result<Option<Duration>, Error> {
        loop {
            match self.engine.poll_output()? {
                Output::Transmit(transmit) => {
                    if !self.batch.takes(&transmit, self.state.max_gso_segments()) {
                        self.flush().await?;
                    }
                    self.batch.add(&transmit);
                }
                Output::Message(channel, message) => self.application.handle(channel, &message),
                Output::Open => self.open = true,
                Output::Closed => self.closed = true,
                Output::Timeout(at) => return Ok(at),
            }
        }
    }

    /// Writes what there is room for. Says whether there was some.
    fn write(&mut self) -> Result<bool, Error> {
        let (mut room, mut wrote) = (FLIGHT.saturating_sub(self.engine.in_flight()), false);
        while let Some((channel, message)) = self.application.next() {
            let len = message.len();
            if len > room || !self.engine.write(channel, message)? {
                break;
            }
            self.application.sent(len);
            room -= len;
            wrote = true;
        }
        Ok(wrote)
    }

    async fn flush(&mut self) -> io::Result<()> {
        let Some(destination) = self.batch.destination.take() else { return Ok(()) };
        let Batch { bytes, segment, .. } = &self.batch;
        let transmit = quinn_udp::Transmit {
            destination,
            ecn: None,
            contents: bytes,
            segment_size: (bytes.len() > *segment).then_some(*segment),
            src_ip: None,
        };
        let send = || self.state.try_send((&self.socket).into(), &transmit);
        self.socket.async_io(Interest::WRITABLE, send).await?;
        self.batch.bytes.clear();
        Ok(())
    }

    /// Takes in what there is.
    async fn receive(&mut self, place: &mut [u8]) -> Result<(), Error> {
        let mut fed = 0;
        loop {
            let mut meta = [RecvMeta::default()];
            let result = self.socket.try_io(Interest::READABLE, || {
                let mut places = [IoSliceMut::new(place)];
                self.state.recv((&self.socket).into(), &mut places, &mut meta)
            });
            match result {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            let [RecvMeta { addr, len, stride, .. }] = meta;
            for bytes in place[..len].chunks(stride.max(1)) {
                let datagram = Datagram { source: addr, destination: self.local, bytes };
                self.engine.handle_datagram(datagram, self.start.elapsed());
                fed += 1;
                if fed % BETWEEN_DRAINS == 0 {
                    self.drain().await?;
                }
            }
        }
    }
}

impl Batch {
    fn takes(&self, transmit: &Transmit, max_segments: usize) -> bool {
        let (len, whole) = (transmit.bytes.len(), self.bytes.len());
        self.destination.is_none_or(|destination| {
            destination == transmit.destination
                && whole % self.segment == 0
                && len <= self.segment
                && whole + len <= MAX_BATCH
                && whole < max_segments * self.segment
        })
    }

    fn add(&mut self, transmit: &Transmit) {
        if self.destination.is_none() {
            self.destination = Some(transmit.destination);
            self.segment = transmit.bytes.len();
        }
        self.bytes.extend_from_slice(&transmit.bytes);
    }
}
