//! A kind of link that only this file knows: framed messages over TCP. Everything above a transport works on
//! it, and nothing outside of this file had to change for it.

#![cfg(not(target_arch = "wasm32"))]

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use deltawire::link::runtime::BoxFuture;
use deltawire::link::{Capabilities, Fault, InFlight, MessageTransport, Output};
use deltawire::{
    Backoff, ConnectError, Identity, Link, LinkEnded, LinkKind, Node, ReconnectEvent,
    TransportError, TransportErrorKind,
};
use deltawire_channels::session::Closed;
use deltawire_channels::{Delivery, Limits, Order, Peer, Reliability, TransportMessage};
use deltawire_framing::control::CloseCode;
use deltawire_framing::{Channel, DeltaFields, DocId};
use tokio::net::{TcpListener, TcpStream};

const SCHEME: &str = "framed-tcp";
const DOC: DocId = DocId([7; 16]);
const PATIENCE: Duration = Duration::from_secs(20);

/// What may wait to be sent, bytes.
const BUFFER: usize = 256 << 10;
/// The longest message, bytes.
const MAX_MESSAGE_LEN: usize = 64 << 10;
/// Before each message stand its channel, and its length as u32.
const HEADER: usize = 5;

/// Messages of both channels over one stream.
struct Framed {
    stream: TcpStream,
    driver: Waker,
    outgoing: VecDeque<u8>,
    incoming: Vec<u8>,
    told_open: bool,
    told_closed: bool,
    ended: bool,
}

impl Framed {
    fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        let (outgoing, incoming) = (VecDeque::new(), Vec::new());
        let driver = Waker::noop().clone();
        Self {
            stream,
            driver,
            outgoing,
            incoming,
            told_open: false,
            told_closed: false,
            ended: false,
        }
    }

    /// Sends what the system takes.
    fn send(&mut self) {
        let mut context = Context::from_waker(&self.driver);
        while !self.outgoing.is_empty() {
            if self.stream.poll_write_ready(&mut context).is_pending() {
                return;
            }
            match self.stream.try_write(self.outgoing.as_slices().0) {
                Ok(len) => drop(self.outgoing.drain(..len)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => {
                    self.ended = true;
                    return;
                }
            }
        }
    }

    /// Takes what has come, as far as a message goes.
    fn receive(&mut self) {
        let mut context = Context::from_waker(&self.driver);
        while !self.ended && self.incoming.len() < HEADER + MAX_MESSAGE_LEN {
            if self.stream.poll_read_ready(&mut context).is_pending() {
                return;
            }
            match self.stream.try_read_buf(&mut self.incoming) {
                Ok(0) => self.ended = true,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => self.ended = true,
            }
        }
    }

    fn next(&mut self) -> Result<Option<Output>, TransportError> {
        let Some((header, rest)) = self.incoming.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let [channel, len @ ..] = *header;
        let len = u32::from_le_bytes(len) as usize;
        let channel = match channel {
            0 => Channel::Command,
            1 => Channel::Data,
            other => return Err(broken(format!("there is no channel {other}"))),
        };
        if len == 0 || len > MAX_MESSAGE_LEN {
            return Err(broken(format!(
                "a message of {len} bytes, at most {MAX_MESSAGE_LEN} may be"
            )));
        }
        let Some(message) = rest.get(..len) else { return Ok(None) };
        let message = TransportMessage::from(message.to_vec());
        self.incoming.drain(..HEADER + len);
        Ok(Some(Output::Message(channel, message)))
    }
}

fn broken(what: String) -> TransportError {
    TransportError::new(TransportErrorKind::Protocol, Fault::Peer, what).with_channels_kept()
}

impl MessageTransport for Framed {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities =
            Capabilities::new(MAX_MESSAGE_LEN, InFlight::HandedOn { max: BUFFER });
        capabilities.wakes = true;
        capabilities
    }

    fn attach(&mut self, driver: &Waker) {
        self.driver = driver.clone();
    }

    fn handle_timeout(&mut self, _now: Duration) {}

    fn poll_output(&mut self) -> Result<Output, TransportError> {
        if !self.told_open {
            self.told_open = true;
            return Ok(Output::Open);
        }
        self.send();
        self.receive();
        match self.next() {
            Ok(Some(output)) => Ok(output),
            Ok(None) if self.ended && !self.told_closed => {
                self.told_closed = true;
                Ok(Output::Closed)
            }
            Ok(None) => Ok(Output::Timeout(None)),
            // It is told once.
            Err(error) => {
                self.incoming.clear();
                Err(error)
            }
        }
    }

    fn write(&mut self, channel: Channel, message: &[u8]) -> Result<bool, TransportError> {
        self.outgoing.push_back(channel as u8);
        self.outgoing.extend((message.len() as u32).to_le_bytes());
        self.outgoing.extend(message);
        self.send();
        Ok(true)
    }

    fn in_flight(&mut self) -> usize {
        self.outgoing.len()
    }

    fn close(&mut self) {
        self.send();
        self.ended = true;
    }
}

/// Addresses are `framed-tcp://127.0.0.1:4000`.
#[derive(Debug, Default)]
struct FramedTcp {
    attempts: Arc<Mutex<usize>>,
}

impl LinkKind for FramedTcp {
    fn schemes(&self) -> &[&str] {
        &[SCHEME]
    }

    fn connect<'a>(
        &'a self,
        node: &'a Node,
        url: &'a str,
        _once: bool,
    ) -> BoxFuture<'a, Result<(Peer, Link), ConnectError>> {
        Box::pin(async move {
            *self.attempts.lock().unwrap() += 1;
            let host = url.trim_start_matches(SCHEME).trim_start_matches("://");
            let unreachable = |source| ConnectError::Host { host: host.to_owned(), source };
            let stream = TcpStream::connect(host).await.map_err(unreachable)?;
            node.attach(Framed::new(stream)).await
        })
    }
}

/// A node that accepts over TCP, and where.
async fn server(node: Node) -> (Node, SocketAddr) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepting = node.clone();
    tokio::spawn(async move {
        loop {
            let (stream, from) = listener.accept().await.unwrap();
            let identity = Identity::new(from.ip().to_string());
            if let Err(error) = accepting.attach_accepted(Framed::new(stream), Some(identity)) {
                eprintln!("refused {from}: {error}");
            }
        }
    });
    (node, address)
}

fn client() -> Node {
    Node::builder().resume(None).link_kind(FramedTcp::default()).build().unwrap()
}

fn url(address: SocketAddr) -> String {
    format!("{SCHEME}://{address}")
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("no {what} in time"))
}

async fn connected() -> (Node, Node, (Peer, Link), (Peer, Link)) {
    let (server, address) = server(Node::builder().resume(None).build().unwrap()).await;
    let client = client();
    let near = soon("link", client.connect(&url(address))).await.unwrap();
    let far = soon("peer", server.accept()).await.unwrap();
    (client, server, near, far)
}

#[tokio::test]
async fn messages_of_all_lengths_go_both_ways_in_order() {
    let (_client, _server, (here, _), (there, far)) = connected().await;
    assert_eq!(far.identity().unwrap().subject(), "127.0.0.1");
    let lens = [0, 1, 1_000, 16_000, 70_000, 700_000];
    let send = |mut peer: Peer| async move {
        for (number, len) in (0..120).map(|number| (number, lens[number % lens.len()])) {
            let payload = vec![number as u8; len];
            peer.send.send(DeltaFields::new(DOC), &payload).await.unwrap();
        }
        peer
    };
    let read = |mut receiver: deltawire_channels::Receiver| async move {
        for (number, len) in (0..120).map(|number| (number, lens[number % lens.len()])) {
            let message = receiver.next().await.unwrap();
            let delta = message.delta().unwrap();
            assert_eq!(delta.payload().len(), len, "{number}");
            assert!(delta.payload().iter().all(|byte| *byte == number as u8));
        }
        receiver
    };
    let split = |peer: Peer| {
        let Peer { command, send, receive } = peer;
        let (_, idle) = deltawire::memory::pair();
        (Peer { command, send, receive: idle.receive }, receive)
    };
    let ((here, from_there), (there, from_here)) = (split(here), split(there));
    let all = [tokio::spawn(send(here)), tokio::spawn(send(there))];
    let read = [tokio::spawn(read(from_there)), tokio::spawn(read(from_here))];
    let mut peers = Vec::new();
    for task in all {
        peers.push(soon("sending", task).await.unwrap());
    }
    for task in read {
        soon("reading", task).await.unwrap();
    }
}

#[tokio::test]
async fn who_does_not_read_stops_the_sender_and_commands_get_through() {
    let (_client, _server, (mut here, near), (mut there, _)) = connected().await;
    let mut accepted = 0_u64;
    let full = tokio::time::timeout(Duration::from_millis(500), async {
        loop {
            here.send.send(DeltaFields::new(DOC), &[1; 10_000]).await.unwrap();
            accepted += 1;
        }
    });
    assert!(full.await.is_err(), "it waits");
    let limits = Limits::default();
    let most = limits.send_ring as u64 + limits.data_window + BUFFER as u64;
    assert!(accepted * 10_000 < 2 * most, "{accepted}");
    here.command.send.send(DeltaFields::new(DOC), b"now").await.unwrap();
    let command = soon("command", there.command.receive.next()).await.unwrap();
    assert_eq!(command.delta().unwrap().payload(), b"now");
    for _ in 0..accepted {
        soon("delta", there.receive.next()).await.unwrap();
    }
    assert!(near.ended().is_none());
}

#[tokio::test]
async fn a_close_delivers_what_was_committed() {
    let (client, server, (mut here, near), (mut there, far)) = connected().await;
    for _ in 0..50 {
        here.send.send(DeltaFields::new(DOC), &[1; 5_000]).await.unwrap();
    }
    near.close(CloseCode::NORMAL, "done");
    let mut read = 0;
    while there.receive.next().await.is_ok() {
        read += 1;
    }
    assert_eq!(read, 50);
    let ended = soon("end", near.closed()).await;
    assert!(matches!(ended, LinkEnded::Session(Closed::ByUs { complete: true, .. })), "{ended:?}");
    let ended = soon("end", far.closed()).await;
    assert!(matches!(ended, LinkEnded::Session(Closed::ByPeer { .. })), "{ended:?}");
    let free = async {
        while !(client.peers().is_empty() && server.peers().is_empty()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("room", free).await;
}

#[tokio::test]
async fn what_breaks_the_rules_ends_the_link_and_both_are_told() {
    let (server, address) = server(Node::builder().build().unwrap()).await;
    for (bytes, what) in [
        (&b"\x07\x01\x00\x00\x00x"[..], "there is no channel 7"),
        (b"\x01\xff\xff\xff\xff", "4294967295 bytes"),
    ] {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.writable().await.unwrap();
        assert_eq!(stream.try_write(bytes).unwrap(), bytes.len());
        let ended = loop {
            if let deltawire::NodeEvent::Down { ended, .. } = soon("event", server.event()).await {
                break ended;
            }
        };
        let LinkEnded::Transport(error) = ended else { panic!("{ended}") };
        assert_eq!((error.kind(), error.fault()), (TransportErrorKind::Protocol, Fault::Peer));
        assert!(error.to_string().contains(what), "{error}");
    }
    assert!(server.peers().is_empty());
}

#[tokio::test]
async fn what_a_transport_cannot_do_is_refused_by_name() {
    let (_server, address) = server(Node::builder().build().unwrap()).await;
    let lossy = Delivery { order: Order::Unordered, reliability: Reliability::MaxRetransmits(0) };
    for builder in [
        Node::builder().delivery(lossy, Delivery::default()),
        Node::builder().delivery(Delivery::default(), lossy),
        Node::builder().command_order(Order::Unordered),
    ] {
        let client = builder.link_kind(FramedTcp::default()).build().unwrap();
        match soon("refusal", client.connect(&url(address))).await.unwrap_err() {
            ConnectError::Transport(error) => {
                assert_eq!(error.kind(), TransportErrorKind::Unsupported);
                assert!(error.to_string().contains("WebRTC can"), "{error}");
            }
            other => panic!("{other:?}"),
        }
        assert!(client.peers().is_empty());
    }
}

#[tokio::test]
async fn a_kept_connection_comes_back() {
    let (server, address) = server(Node::builder().build().unwrap()).await;
    let kind = FramedTcp::default();
    let attempts = kind.attempts.clone();
    let backoff = Backoff { first: Duration::from_millis(10), ..Backoff::default() };
    let client = Node::builder().link_kind(kind).backoff(backoff).build().unwrap();
    let mut kept = client.keep_connected(&url(address));
    for round in 1..=3 {
        let up = soon("link", kept.next()).await.unwrap();
        let ReconnectEvent::Up(_peer, _) = up else { panic!("{up:?}") };
        let (peer, far) = soon("peer", server.accept()).await.unwrap();
        assert_eq!(*attempts.lock().unwrap(), round);
        far.close(CloseCode::NORMAL, "once more");
        let down = soon("end", kept.next()).await.unwrap();
        assert!(matches!(down, ReconnectEvent::Down { retry_after: Some(_), .. }), "{down:?}");
        drop(peer);
    }
}

#[tokio::test]
async fn an_identity_that_is_no_longer_valid_ends_its_link() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (server, client) = (Node::builder().build().unwrap(), client());
    let connecting = tokio::spawn(async move { (client.connect(&url(address)).await, client) });
    let (stream, _) = listener.accept().await.unwrap();
    let guest = Identity::new("guest").valid_for(Duration::from_millis(200));
    server.attach_accepted(Framed::new(stream), Some(guest)).unwrap();
    let (_far_peer, far) = soon("peer", server.accept()).await.unwrap();
    let (connected, _client) = soon("link", connecting).await.unwrap();
    let (_peer, near) = connected.unwrap();
    assert_eq!(far.identity().map(Identity::subject), Some("guest"));
    match soon("end", near.closed()).await {
        LinkEnded::Session(Closed::ByPeer { reason, .. }) => {
            assert_eq!(reason, "the peer's identity is no longer valid");
        }
        other => panic!("{other:?}"),
    }
}

/// As a process does that ends in the middle.
#[tokio::test]
async fn a_stream_that_breaks_off_is_a_peer_that_hung_up() {
    let (server, address) = server(Node::builder().build().unwrap()).await;
    let process = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let connected = runtime.block_on(async { client().connect(&url(address)).await });
        // Its tasks are dropped, without a word to anybody.
        drop(runtime);
        connected.unwrap()
    });
    let (_there, far) = soon("peer", server.accept()).await.unwrap();
    assert_eq!(soon("end", far.closed()).await, LinkEnded::HungUp);
    let (_here, near) = process.join().unwrap();
    assert_eq!(near.ended(), Some(LinkEnded::Stopped), "nobody moves it any more");
}
