//! Attempts whose senders are not where they say.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use deltawire::link::{MessageTransport, Output};
use deltawire::quic::{QuicConfig, QuicEndpoint, QuicTrust};
use deltawire::{Admission, Node, NodeLimits};

use crate::lab::{client, join, listening};

/// First datagrams of connections, as anybody can write them.
fn initials(count: u8, server: SocketAddr) -> Vec<Vec<u8>> {
    let config = QuicConfig::new(1 << 20, 16 << 10);
    let here = SocketAddr::from(([127, 0, 0, 1], 1));
    let now = Duration::from_secs(1);
    let initial = |seed| {
        let mut endpoint = QuicEndpoint::new(config, None, here, 1, [seed; 32]).unwrap();
        let trust = QuicTrust::loopback();
        let (_, mut link) = endpoint.connect(server, "127.0.0.1", &trust, b"", now).unwrap();
        match link.poll_output() {
            Ok(Output::Transmit(transmit)) => transmit.bytes,
            other => panic!("{other:?}"),
        }
    };
    (0..count).map(initial).collect()
}

#[tokio::test]
async fn forged_attempts_shut_nobody_out_and_are_not_answered_at_length() {
    let limits = NodeLimits { max_pending: 8, max_pending_per_address: 4, ..NodeLimits::default() };
    let server = listening(Node::builder().node_limits(limits))
        .accept_quic(Admission::anyone())
        .build()
        .unwrap();
    let address = server.addresses().next().unwrap();
    let forger = UdpSocket::bind("127.0.0.1:0").unwrap();
    forger.set_nonblocking(true).unwrap();
    let (mut sent, mut answered, mut retries) = (0, 0, 0);
    let mut take_answers = || {
        let mut bytes = [0; 2_048];
        loop {
            match forger.recv(&mut bytes) {
                Ok(len) => {
                    answered += len;
                    // A long header of version 1 that asks for another try (RFC 9000, section 17.2.5).
                    retries += usize::from(bytes[0] >> 4 == 0xf && bytes[1..5] == [0, 0, 0, 1]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("{error}"),
            }
        }
    };
    for initial in initials(60, address) {
        sent += forger.send_to(&initial, address).unwrap();
    }
    // From the address that is forged.
    let mut links = Vec::new();
    for _ in 0..12 {
        links.push(join(&client(), &server).await);
        take_answers();
    }
    // What is sent again counts too.
    tokio::time::sleep(Duration::from_secs(2)).await;
    take_answers();
    assert!(answered > 0 && answered <= 3 * sent, "{answered} bytes for {sent}");
    assert_eq!(retries, 60 - 2, "half of the address's places need no proof");
    assert_eq!(server.peers().len(), 12);
}
