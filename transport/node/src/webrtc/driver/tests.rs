//! What happens to links when something under their driver fails.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;

use deltawire_framing::Channel;
use deltawire_framing::control::Role;
use deltawire_link::runtime::{BindOptions, BoxFuture, Datagrams, Received, Runtime, UdpSocket};
use deltawire_link::{
    Capabilities, ConnectionConfig, DatagramTransport, InFlight, Link, MessageTransport, Output,
    PacingLimits, Transmit, TransportError,
};
use deltawire_webrtc::{EngineConfig, EngineError};

use super::*;
use crate::TokioRuntime;

/// Gives out what it is told to, and panics when nothing is left. Keeps the datagrams that come.
struct Script {
    outputs: VecDeque<Output>,
    datagrams: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl MessageTransport for Script {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(65_536, InFlight::Acknowledged)
    }

    fn handle_timeout(&mut self, _now: Duration) {}

    fn poll_output(&mut self) -> Result<Output, TransportError> {
        Ok(self.outputs.pop_front().expect("the script goes on"))
    }

    fn write(&mut self, _channel: Channel, _message: &[u8]) -> Result<bool, TransportError> {
        Ok(false)
    }

    fn in_flight(&mut self) -> usize {
        0
    }

    fn close(&mut self) {}
}

impl DatagramTransport for Script {
    fn handle_datagram(&mut self, datagram: Datagram<'_>, _now: Duration) {
        self.datagrams.lock().unwrap().push(datagram.bytes.to_vec());
    }
}

impl Engine for Script {
    fn offer(
        _config: &EngineConfig,
        _local: &[SocketAddr],
        _now: Duration,
    ) -> Result<(Self, String), EngineError> {
        Err(EngineError::NotOffered)
    }

    fn accept_answer(&mut self, _answer: &str, _now: Duration) -> Result<(), EngineError> {
        Ok(())
    }

    fn answer(
        _config: &EngineConfig,
        _local: &[SocketAddr],
        _offer: &str,
        _now: Duration,
    ) -> Result<(Self, String), EngineError> {
        Err(EngineError::NotOffered)
    }

    fn add_candidate(&mut self, _candidate: &str) -> Result<(), EngineError> {
        Ok(())
    }

    fn role(&self) -> Role {
        Role::Initiator
    }

    fn user_fragment(&self) -> &str {
        ""
    }
}

/// tokio's, with sockets of which so many receiving calls fail.
#[derive(Clone, Debug)]
struct Failing {
    runtime: TokioRuntime,
    failures: usize,
}

impl Failing {
    fn new(failures: usize) -> Self {
        Self { runtime: TokioRuntime::current(), failures }
    }
}

impl Runtime for Failing {
    fn now(&self) -> Duration {
        self.runtime.now()
    }

    fn timer(&self) -> Box<dyn runtime::Timer> {
        self.runtime.timer()
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.runtime.spawn(task);
    }

    fn random(&self, bytes: &mut [u8]) -> io::Result<()> {
        self.runtime.random(bytes)
    }

    fn bind(&self, options: &BindOptions) -> io::Result<Box<dyn UdpSocket>> {
        let socket = self.runtime.bind(options)?;
        Ok(Box::new(FailingSocket { socket, failures: self.failures, came: None }))
    }

    fn local_address<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<IpAddr>> {
        self.runtime.local_address(host, port)
    }
}

#[derive(Debug)]
struct FailingSocket {
    socket: Box<dyn UdpSocket>,
    failures: usize,
    /// What came and waits until calls succeed.
    came: Option<(Received, Vec<u8>)>,
}

impl UdpSocket for FailingSocket {
    fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_address()
    }

    fn max_segments(&self) -> usize {
        self.socket.max_segments()
    }

    fn poll_receive(
        &mut self,
        buffers: &mut [IoSliceMut<'_>],
        received: &mut [Received],
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.came.is_none() {
            match self.socket.poll_receive(&mut buffers[..1], received, context) {
                Poll::Ready(Ok(1)) => {}
                other => return other,
            }
            self.came = Some((received[0], buffers[0][..received[0].len].to_vec()));
        }
        if let Some(left) = self.failures.checked_sub(1) {
            self.failures = left;
            return Poll::Ready(Err(io::ErrorKind::NetworkDown.into()));
        }
        let (of, bytes) = self.came.take().unwrap();
        buffers[0][..bytes.len()].copy_from_slice(&bytes);
        received[0] = of;
        Poll::Ready(Ok(1))
    }

    fn try_send(&mut self, datagrams: &Datagrams<'_>) -> io::Result<()> {
        self.socket.try_send(datagrams)
    }

    fn poll_send_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_send_ready(context)
    }
}

/// Notes the links whose end it is told, and those whose places are free.
#[derive(Clone, Default)]
struct Ends(Arc<Mutex<Vec<(LinkId, LinkEnded)>>>, Arc<Mutex<Vec<LinkId>>>);

impl Observer for Ends {
    fn opened(&self, _id: LinkId, _peer: deltawire_channels::Peer) {}

    fn ended(&self, id: LinkId, ended: LinkEnded) {
        self.0.lock().unwrap().push((id, ended));
    }

    fn gone(&self, id: LinkId) {
        self.1.lock().unwrap().push(id);
    }

    fn merged(&self, _id: LinkId, _link: LinkId, _peer: deltawire_channels::Peer) {
        unreachable!("these links' sessions end with them")
    }

    fn resumed(&self, _id: LinkId, _resumed: deltawire_link::Resumed) {
        unreachable!("these links' sessions end with them")
    }

    fn detached(&self, _id: LinkId, _detached: Box<deltawire_link::Detached>) {
        unreachable!("these links' sessions end with them")
    }
}

fn connection(id: u64, script: Script) -> (Link, Request<Script>) {
    let (link, state) = Link::new(LinkId(id), Role::Initiator, None);
    let session = deltawire_channels::session::SessionConfig::new(Role::Initiator, [1; 16], 7);
    let connect_timeout = Duration::from_secs(3_600);
    let pacing = PacingLimits::default();
    let config = ConnectionConfig { session, pacing, connect_timeout, valid_until: None };
    let connection = Connection::new(script, config, state, Duration::ZERO).unwrap();
    let request = Request::Add(Added {
        connection: Box::new(connection),
        user_fragment: id.to_string(),
        #[cfg(feature = "turn")]
        relay: None,
    });
    (link, request)
}

fn driver(failures: usize) -> (mpsc::Sender<Request<Script>>, Ends, Driver<Script, Ends>) {
    let (requests, receiver) = mpsc::channel(4);
    let ends = Ends::default();
    let runtime = Failing::new(failures);
    let socket = Socket::bind(&runtime, SocketAddr::from(([127, 0, 0, 1], 0)), 1 << 16).unwrap();
    let driver =
        Driver::new(socket, Routes::default(), receiver, ends.clone(), Arc::new(runtime), 4);
    (requests, ends, driver)
}

fn scripts(outputs: impl IntoIterator<Item = Output>) -> Script {
    Script { outputs: outputs.into_iter().collect(), datagrams: Arc::default() }
}

#[tokio::test]
async fn links_of_a_driver_that_panics_end_by_name() {
    let (requests, ends, driver) = driver(0);
    let (first, request) = connection(1, scripts([Output::Timeout(None)]));
    requests.try_send(request).unwrap();
    let (second, request) = connection(2, scripts([]));
    requests.try_send(request).unwrap();
    let panicked = tokio::spawn(driver.run()).await.unwrap_err();
    assert!(panicked.is_panic());
    assert_eq!(
        [first.ended(), second.ended()],
        [Some(LinkEnded::Stopped), Some(LinkEnded::Stopped)]
    );
    let mut told = ends.0.lock().unwrap().clone();
    told.sort_by_key(|(id, _)| *id);
    assert_eq!(told, [(LinkId(1), LinkEnded::Stopped), (LinkId(2), LinkEnded::Stopped)]);
    assert_eq!(ends.1.lock().unwrap().len(), 2, "their places are free");
    let (_late, request) = connection(3, scripts([]));
    assert!(requests.try_send(request).is_err());
}

#[tokio::test]
async fn a_link_that_its_driver_never_took_up_ends_by_name() {
    let (requests, ends, driver) = driver(0);
    let (link, request) = connection(1, scripts([]));
    requests.try_send(request).unwrap();
    drop(driver);
    assert_eq!(link.ended(), Some(LinkEnded::Stopped));
    assert_eq!(ends.0.lock().unwrap()[..], [(LinkId(1), LinkEnded::Stopped)]);
    assert_eq!(ends.1.lock().unwrap()[..], [LinkId(1)]);
}

#[tokio::test]
async fn a_socket_that_fails_for_a_while_is_read_again() {
    let peer = tokio::net::UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
    let (requests, _ends, driver) = driver(RECEIVES);
    let source = driver.connections.socket.local_address();
    let destination = peer.local_addr().unwrap();
    let bytes = vec![7; 16];
    let hello = Output::Transmit(Transmit { destination, source, bytes, segment: None });
    let script = scripts([hello].into_iter().chain((0..10).map(|_| Output::Timeout(None))));
    let datagrams = script.datagrams.clone();
    let (_link, request) = connection(1, script);
    requests.send(request).await.unwrap();
    let task = tokio::spawn(driver.run());
    let mut hello = [0; 100];
    assert_eq!(peer.recv_from(&mut hello).await.unwrap(), (16, source));
    // Nothing wakes the driver after this one, so it has to come back by itself.
    peer.send_to(&[8; 16], source).await.unwrap();
    let came = async {
        while datagrams.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), came).await.expect("the datagram is read");
    assert_eq!(datagrams.lock().unwrap()[..], [vec![8; 16]]);
    task.abort();
}
