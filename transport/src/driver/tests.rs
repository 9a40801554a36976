//! What happens to links when something under their driver fails.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Mutex;

use deltawire_framing::Channel;
use deltawire_framing::control::Role;
use tokio::net::UdpSocket;

use super::*;
use crate::connection::ConnectionConfig;
use crate::engine::{EngineConfig, EngineError, Output, Streams, Transmit};
use crate::flight::FlightLimits;
use crate::link::Link;

/// Gives out what it is told to, and panics when nothing is left. Keeps the datagrams that come.
struct Script {
    outputs: VecDeque<Output>,
    datagrams: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Streams for Script {
    fn max_message_len(&self) -> usize {
        65_536
    }

    fn handle_timeout(&mut self, _now: Duration) {}

    fn poll_output(&mut self) -> Result<Output, EngineError> {
        Ok(self.outputs.pop_front().expect("the script goes on"))
    }

    fn write(&mut self, _channel: Channel, _message: &[u8]) -> Result<bool, EngineError> {
        Ok(false)
    }

    fn buffered_amount(&mut self) -> usize {
        0
    }

    fn close(&mut self) {}
}

impl Engine for Script {
    fn offer(
        _config: &EngineConfig,
        _local: &[SocketAddr],
        _now: Duration,
    ) -> Result<(Self, String), EngineError> {
        Err(EngineError::NoWay)
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
        Err(EngineError::NoWay)
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

    fn handle_datagram(&mut self, datagram: Datagram<'_>, _now: Duration) {
        self.datagrams.lock().unwrap().push(datagram.bytes.to_vec());
    }
}

/// Notes the links whose end it is told, and those whose places are free.
#[derive(Clone, Default)]
struct Ends(Arc<Mutex<Vec<(PeerId, Ended)>>>, Arc<Mutex<Vec<PeerId>>>);

impl Observer for Ends {
    fn opened(&self, _id: PeerId, _peer: deltawire_channels::Peer) {}

    fn ended(&self, id: PeerId, ended: Ended) {
        self.0.lock().unwrap().push((id, ended));
    }

    fn gone(&self, id: PeerId) {
        self.1.lock().unwrap().push(id);
    }
}

fn connection(id: u64, script: Script) -> (Link, Request<Script>) {
    let (link, shared) = Link::new(PeerId(id), Role::Initiator);
    let session = deltawire_channels::session::Config::new(Role::Initiator, [1; 16], 7);
    let connect_timeout = Duration::from_secs(3_600);
    let config = ConnectionConfig { session, flight: FlightLimits::default(), connect_timeout };
    let connection = Connection::new(script, config, shared, Duration::ZERO);
    (link, Request::Add(Box::new(connection), id.to_string()))
}

fn driver(socket: Socket) -> (mpsc::Sender<Request<Script>>, Ends, Driver<Script, Ends>) {
    let (requests, receiver) = mpsc::channel(4);
    let ends = Ends::default();
    let driver = Driver::new(socket, receiver, ends.clone(), Instant::now(), 4);
    (requests, ends, driver)
}

fn socket() -> Socket {
    Socket::bind(SocketAddr::from(([127, 0, 0, 1], 0)), 1 << 16).unwrap()
}

fn scripts(outputs: impl IntoIterator<Item = Output>) -> Script {
    Script { outputs: outputs.into_iter().collect(), datagrams: Arc::default() }
}

#[tokio::test]
async fn links_of_a_driver_that_panics_end_by_name() {
    let (requests, ends, driver) = driver(socket());
    let (first, request) = connection(1, scripts([Output::Timeout(None)]));
    requests.try_send(request).unwrap();
    let (second, request) = connection(2, scripts([]));
    requests.try_send(request).unwrap();
    let panicked = tokio::spawn(driver.run()).await.unwrap_err();
    assert!(panicked.is_panic());
    assert_eq!([first.ended(), second.ended()], [Some(Ended::Stopped), Some(Ended::Stopped)]);
    let mut told = ends.0.lock().unwrap().clone();
    told.sort_by_key(|(id, _)| *id);
    assert_eq!(told, [(PeerId(1), Ended::Stopped), (PeerId(2), Ended::Stopped)]);
    assert_eq!(ends.1.lock().unwrap().len(), 2, "their places are free");
    let (_late, request) = connection(3, scripts([]));
    assert!(requests.try_send(request).is_err());
}

#[tokio::test]
async fn a_link_that_its_driver_never_took_up_ends_by_name() {
    let (requests, ends, driver) = driver(socket());
    let (link, request) = connection(1, scripts([]));
    requests.try_send(request).unwrap();
    drop(driver);
    assert_eq!(link.ended(), Some(Ended::Stopped));
    assert_eq!(ends.0.lock().unwrap()[..], [(PeerId(1), Ended::Stopped)]);
    assert_eq!(ends.1.lock().unwrap()[..], [PeerId(1)]);
}

#[tokio::test]
async fn a_socket_that_fails_for_a_while_is_read_again() {
    let peer = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
    let mut socket = socket();
    let (source, destination) = (socket.local_address(), peer.local_addr().unwrap());
    socket.failures = RECEIVES;
    let bytes = vec![7; 16];
    let hello = Output::Transmit(Transmit { destination, source, bytes });
    let script = scripts([hello].into_iter().chain((0..10).map(|_| Output::Timeout(None))));
    let datagrams = script.datagrams.clone();
    let (requests, _ends, driver) = driver(socket);
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
