//! Peers that are none, are not where they say, or say something else than links do.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use deltawire::link::{Datagram, MessageTransport, Output};
use deltawire::sctp::{Routed, SctpConfig, SctpEndpoint, SctpTransport, packet};
use deltawire::{Admission, Node, NodeLimits};
use deltawire_framing::{Channel, DeltaFields};

use crate::lab::{DOC, accepting, client, join, refusal, server, soon, until, url};

/// Bytes that look like nothing.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as u8
    };
    (0..len).map(next).collect()
}

/// One end of a link without a node.
struct Raw {
    socket: UdpSocket,
    endpoint: SctpEndpoint,
    transport: SctpTransport,
    start: Instant,
    /// Packets that were sent.
    sent: Vec<Vec<u8>>,
    /// Why it is over.
    ended: Option<String>,
    opened: bool,
}

impl Raw {
    fn connect(server: SocketAddr, token: &[u8]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut endpoint = SctpEndpoint::new(SctpConfig::default(), None);
        let way = [socket.local_addr().unwrap(), server];
        let transport = endpoint.connect(0, way, token, Duration::ZERO).unwrap();
        let (sent, start) = (Vec::new(), Instant::now());
        Self { socket, endpoint, transport, start, sent, ended: None, opened: false }
    }

    /// Does what is to be done now.
    fn work(&mut self) {
        let now = self.start.elapsed();
        let mut bytes = [0; 2_048];
        loop {
            match self.socket.recv_from(&mut bytes) {
                Ok((len, source)) => {
                    let destination = self.socket.local_addr().unwrap();
                    let datagram = Datagram { source, destination, bytes: &bytes[..len] };
                    match self.endpoint.route(&datagram, now) {
                        Routed::Known(0) => self.transport.handle_packet(datagram.bytes, now),
                        Routed::Lost(0) => self.transport.lose(),
                        _ => {}
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        self.transport.handle_timeout(now);
        self.endpoint.learn(0, &self.transport);
        while self.ended.is_none() {
            match self.transport.poll_output() {
                Ok(Output::Transmit(transmit)) => {
                    self.socket.send_to(&transmit.bytes, transmit.destination).unwrap();
                    self.sent.push(transmit.bytes);
                }
                Ok(Output::Open) => self.opened = true,
                Ok(Output::Message(..)) => {}
                Ok(Output::Closed) => self.ended = Some("closed".to_owned()),
                Ok(Output::Timeout(_)) => return,
                Err(error) => self.ended = Some(error.to_string()),
            }
        }
    }

    async fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        soon(what, async {
            loop {
                self.work();
                if done(self) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
    }
}

/// What a socket was sent, in bytes.
fn heard(socket: &UdpSocket) -> usize {
    let mut bytes = [0; 2_048];
    let mut heard = 0;
    while let Ok(len) = socket.recv(&mut bytes) {
        heard += len;
    }
    heard
}

#[tokio::test]
async fn garbage_changes_nothing() {
    let (client, server) = (client(), server());
    let ((mut here, _near), (mut there, _far)) = join(&client, &server).await;
    let address = server.sctp_address().unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    for round in 0..5_000_usize {
        let mut bytes = noise(round as u64, round % 1_400);
        if bytes.len() >= packet::HEADER && !round.is_multiple_of(3) {
            // With a checksum that is right, and a chunk that is known.
            bytes[packet::HEADER..].iter_mut().take(1).for_each(|kind| *kind %= 16);
            packet::seal(&mut bytes);
        }
        let _ = socket.send_to(&bytes, address);
    }
    here.send.send(DeltaFields::new(DOC), b"still").await.unwrap();
    let message = soon("delta", there.receive.next()).await.unwrap();
    assert_eq!(message.delta().unwrap().payload(), b"still");
    assert_eq!(server.peers().len(), 1);
}

#[tokio::test]
async fn who_asks_without_being_there_takes_no_place_and_is_told_no_more_than_it_said() {
    let limits = NodeLimits { max_pending: 2, ..NodeLimits::default() };
    let server = accepting(Node::builder().node_limits(limits), Admission::anyone());
    let address = server.sctp_address().unwrap();
    let forger = UdpSocket::bind("127.0.0.1:0").unwrap();
    forger.set_nonblocking(true).unwrap();
    let (mut said, mut answered) = (0, 0);
    for round in 0..500 {
        let mut raw = Raw::connect(SocketAddr::from(([127, 0, 0, 1], 9)), b"");
        raw.work();
        said += forger.send_to(&raw.sent[0], address).unwrap();
        if round % 50 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            answered += heard(&forger);
            // Nobody is shut out.
            join(&client(), &server).await;
        }
    }
    // Of associations that there never were.
    for kind in 0..=255 {
        let mut packet = packet::begin([5_000; 2], 0x1234_5678);
        packet::push(
            &mut packet,
            &[kind, 3, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6],
        );
        packet::seal(&mut packet);
        said += forger.send_to(&packet, address).unwrap();
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    answered += heard(&forger);
    assert!(answered > 0 && answered <= said, "{answered} bytes for {said}");
}

#[tokio::test]
async fn who_says_nothing_takes_a_place_for_a_while_and_no_more() {
    let limits = NodeLimits { max_pending: 2, ..NodeLimits::default() };
    let builder = Node::builder().node_limits(limits).connect_timeout(Duration::from_millis(500));
    let server = accepting(builder, Admission::anyone());
    let address = server.sctp_address().unwrap();
    let mut silent = [Raw::connect(address, b""), Raw::connect(address, b"")];
    for raw in &mut silent {
        // Up to the echo of its cookie.
        raw.until("echo", |raw| raw.sent.len() == 2).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let error = refusal(soon("refusal", client().connect(&url(&server))).await);
    assert!(error.to_string().contains("max_pending"), "{error}");
    tokio::time::sleep(Duration::from_millis(600)).await;
    join(&client(), &server).await;
    assert_eq!(server.peers().len(), 1);
    // They come too late, and are told that nobody knows them.
    for raw in &mut silent {
        raw.until("end", |raw| raw.ended.is_some()).await;
    }
}

#[tokio::test]
async fn what_is_no_token_is_refused_by_name() {
    let server = server();
    let address = server.sctp_address().unwrap();
    let mut right = Raw::connect(address, b"token");
    right.until("link", |raw| raw.opened).await;
    // Its cookie, said again: it is the same one.
    for _ in 0..3 {
        right.socket.send_to(&right.sent[1], address).unwrap();
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    right.work();
    assert!(right.ended.is_none() && server.peers().len() == 1);
    let error = SctpEndpoint::new(SctpConfig::default(), None)
        .connect(0, [address; 2], &[0; 4_097], Duration::ZERO)
        .unwrap_err();
    assert_eq!(error.to_string(), "a token of 4097 bytes: at most 4096 are taken");
    // A peer that speaks on its own, without a hello, ends its link and no other.
    assert!(right.transport.write(Channel::Data, &noise(1, 5_000)).unwrap());
    right.until("end", |raw| raw.ended.is_some()).await;
    until("end", || server.peers().is_empty()).await;
    join(&client(), &server).await;
}

#[tokio::test]
async fn a_server_that_was_restarted_says_that_it_knows_nothing() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = server();
            sender.send(server.sctp_address().unwrap()).unwrap();
            let _peer = server.accept().await;
            let _ = stopped.await;
        });
        // Nobody says a word.
        runtime.shutdown_background();
    });
    let address = receiver.recv().unwrap();
    let client = Node::builder().resume(None).build().unwrap();
    let (mut peer, link) =
        soon("link", client.connect(&format!("sctp://{address}"))).await.unwrap();
    stop.send(()).unwrap();
    thread.join().unwrap();
    let _next = Node::builder().accept_sctp(address, Admission::anyone()).build().unwrap();
    let begun = Instant::now();
    peer.send.send(DeltaFields::new(DOC), b"is anybody there?").await.unwrap();
    soon("end", link.closed()).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}
