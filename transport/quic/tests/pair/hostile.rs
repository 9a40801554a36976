//! Peers that break the rules: a client of QUIC's stack itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deltawire_link::{Fault, TransportErrorKind};
use deltawire_quic::QuicError;
use quinn_proto::crypto::rustls::QuicClientConfig;
use quinn_proto::{ClientConfig, Connection, Dir, Endpoint, EndpointConfig, StreamId};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};

use crate::lab::{Lab, SERVER};

#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// A client that does as it likes.
pub(crate) struct Rude {
    pub(crate) lab: Lab,
    endpoint: Endpoint,
    pub(crate) connection: Connection,
    start: Instant,
    now: Duration,
    connected: bool,
    lost: bool,
}

const HERE: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 4_000);

impl Rude {
    fn connected_with(alpn: &[u8]) -> Self {
        Self::connected_to(Lab::new(99), alpn)
    }

    fn connected_to(lab: Lab, alpn: &[u8]) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody))
            .with_no_client_auth();
        tls.alpn_protocols = vec![alpn.to_vec()];
        let client = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, true, None);
        let start = Instant::now();
        let server = SocketAddr::from(([127, 0, 0, 1], 4_001));
        let (_, connection) = endpoint.connect(start, client, server, "rude").unwrap();
        let now = Duration::ZERO;
        let mut rude =
            Self { lab, endpoint, connection, start, now, connected: false, lost: false };
        for _ in 0..20 {
            rude.step();
        }
        rude
    }

    fn new() -> Self {
        Self::with(Lab::new(99))
    }

    /// One that has shown itself, to a server of this laboratory's.
    pub(crate) fn with(lab: Lab) -> Self {
        let rude = Self::connected_to(lab, b"deltawire/1");
        assert!(rude.connected && !rude.lost);
        rude
    }

    /// Moves everything that there is once, without delay.
    pub(crate) fn step(&mut self) {
        self.now += Duration::from_millis(10);
        let at = self.start + self.now;
        self.connection.handle_timeout(at);
        let mut bytes = Vec::new();
        while let Some(transmit) = self.connection.poll_transmit(at, 1, &mut bytes) {
            self.lab.receive(SERVER, HERE, &bytes[..transmit.size]);
            bytes.clear();
        }
        self.lab.now += Duration::from_millis(10);
        self.lab.work(SERVER);
        for datagram in self.lab.take_for_client() {
            let (remote, mut answer) = (datagram.source, Vec::new());
            let bytes = datagram.bytes[..].into();
            let event = self.endpoint.handle(at, remote, None, None, bytes, &mut answer);
            if let Some(quinn_proto::DatagramEvent::ConnectionEvent(_, event)) = event {
                self.connection.handle_event(event);
            }
        }
        while let Some(event) = self.connection.poll() {
            match event {
                quinn_proto::Event::Connected => self.connected = true,
                quinn_proto::Event::ConnectionLost { .. } => self.lost = true,
                _ => {}
            }
        }
        while let Some(event) = self.connection.poll_endpoint_events() {
            let handle = quinn_proto::ConnectionHandle(0);
            if let Some(event) = self.endpoint.handle_event(handle, event) {
                self.connection.handle_event(event);
            }
        }
    }

    pub(crate) fn say(&mut self, dir: Dir, bytes: &[u8]) -> StreamId {
        let stream = self.connection.streams().open(dir).unwrap();
        self.more(stream, bytes);
        stream
    }

    pub(crate) fn more(&mut self, stream: StreamId, bytes: &[u8]) {
        assert_eq!(self.connection.send_stream(stream).write(bytes).unwrap(), bytes.len());
        for _ in 0..5 {
            self.step();
        }
    }

    /// How the server took it.
    pub(crate) fn ended(mut self) -> QuicError {
        for _ in 0..20 {
            self.step();
        }
        let error = self.lab.ends[SERVER].error.take().expect("an end");
        assert_eq!((error.kind(), error.fault()), (TransportErrorKind::Protocol, Fault::Peer));
        assert!(self.lost, "and the peer was told");
        error.downcast_ref::<QuicError>().unwrap().clone()
    }
}

/// Number, and an empty token.
pub(crate) const HELLO: &[u8] = &[0, 0, 0, 0, 0];

#[test]
fn who_keeps_to_the_rules_gets_in() {
    let mut rude = Rude::new();
    rude.say(Dir::Bi, HELLO);
    let data = rude.say(Dir::Uni, &[1]);
    assert!(rude.lab.ends[SERVER].open);
    rude.more(data, &[2, 0, 0, 0, 7, 8]);
    assert_eq!(rude.lab.ends[SERVER].messages[0].1, [7, 8]);
}

#[test]
fn a_stream_with_a_wrong_number_ends_the_link() {
    for (dir, first, expected) in [(Dir::Bi, 1, 0), (Dir::Uni, 0, 1), (Dir::Uni, 2, 1)] {
        let mut rude = Rude::new();
        rude.say(dir, &[first]);
        assert_eq!(rude.ended(), QuicError::Number { number: first, expected });
    }
}

#[test]
fn a_stream_that_comes_twice_ends_the_link() {
    for (dir, hello, number) in [(Dir::Uni, &[1][..], 1), (Dir::Bi, HELLO, 0)] {
        let mut rude = Rude::new();
        let (other, first) = match dir {
            Dir::Uni => (Dir::Bi, HELLO),
            Dir::Bi => (Dir::Uni, &[1][..]),
        };
        rude.say(other, first);
        let stream = rude.say(dir, hello);
        rude.connection.send_stream(stream).finish().unwrap();
        for _ in 0..10 {
            rude.step();
        }
        // The other half of one that goes both ways is still open, so no second one may be opened.
        if dir == Dir::Uni {
            rude.say(dir, hello);
            assert_eq!(rude.ended(), QuicError::Twice { number });
        } else {
            assert!(rude.connection.streams().open(dir).is_none());
        }
    }
}

#[test]
fn lengths_are_checked_before_anything_is_kept() {
    for (len, max) in [(0_u32, 16 << 10), ((16 << 10) + 1, 16 << 10), (u32::MAX, 16 << 10)] {
        let mut rude = Rude::new();
        rude.say(Dir::Bi, HELLO);
        let data = rude.say(Dir::Uni, &[1]);
        rude.more(data, &len.to_le_bytes());
        assert_eq!(rude.ended(), QuicError::Length { number: 1, len, max });
    }
    for len in [4_097_u32, u32::MAX] {
        let mut rude = Rude::new();
        let command = rude.say(Dir::Bi, &[0]);
        rude.more(command, &len.to_le_bytes());
        assert_eq!(rude.ended(), QuicError::Token { len });
    }
}

#[test]
fn a_stream_that_ends_midway_or_is_given_up_ends_the_link() {
    let mut rude = Rude::new();
    rude.say(Dir::Bi, HELLO);
    let data = rude.say(Dir::Uni, &[1, 9, 0, 0, 0, 1]);
    rude.connection.send_stream(data).finish().unwrap();
    assert_eq!(rude.ended(), QuicError::Cut { number: 1, missing: 8 });

    let mut rude = Rude::new();
    rude.say(Dir::Bi, HELLO);
    let data = rude.say(Dir::Uni, &[1]);
    rude.connection.send_stream(data).reset(77_u32.into()).unwrap();
    assert_eq!(rude.ended(), QuicError::Abandoned { number: 1, code: 77 });

    let mut rude = Rude::new();
    rude.say(Dir::Uni, &[1]);
    let command = rude.say(Dir::Bi, HELLO);
    rude.connection.recv_stream(command).stop(78_u32.into()).unwrap();
    assert_eq!(rude.ended(), QuicError::Abandoned { number: 0, code: 78 });
}

#[test]
fn who_is_not_let_in_yet_cannot_fill_the_memory() {
    let mut rude = Rude::new();
    rude.lab.token = b"secret".to_vec();
    let data = rude.connection.streams().open(Dir::Uni).unwrap();
    let mut said = 0;
    for _ in 0..100 {
        said += rude.connection.send_stream(data).write(&[1; 10_000]).unwrap_or(0);
        rude.step();
    }
    assert!(said <= deltawire_quic::MAX_UNADMITTED as usize, "{said}");
}

#[test]
fn another_protocol_is_refused() {
    let rude = Rude::connected_with(b"h3");
    assert!(rude.lost && !rude.lab.ends[SERVER].open);
}

#[test]
fn garbage_is_dropped() {
    let mut lab = Lab::open(98);
    let mut random = fastrand::Rng::with_seed(98);
    for round in 0..20_000 {
        let mut bytes = vec![0; random.usize(..1_500)];
        random.fill(&mut bytes);
        if let Some(first) = bytes.first_mut() {
            *first |= 64;
        }
        let port = if round % 2 == 0 { 4_000 } else { 5_000 };
        let source = SocketAddr::from(([127, 0, 0, 1], port));
        lab.receive_unanswered(SERVER, source, &bytes);
    }
    // The link goes on.
    use deltawire_link::MessageTransport;
    assert!(lab.link(0).write(deltawire_framing::Channel::Data, &[1; 100]).unwrap());
    lab.work(0);
    lab.until("there", |lab| lab.ends[SERVER].messages.len() == 1);
}
