//! Crowds that only begin: a node holds no more for them than its limits say, and forgets them in time.
//!
//! Each test runs all of its nodes on its own thread, so that their memory can be counted.
//! They are a program of their own, so that tests of nodes that wait for each other do not run beside them.

#![cfg(not(target_arch = "wasm32"))]

#[allow(dead_code, reason = "shared with the tests of nodes")]
#[path = "node/deltas.rs"]
mod deltas;
#[allow(dead_code, reason = "shared with the tests of nodes")]
#[path = "node/nodes.rs"]
mod nodes;
#[allow(dead_code, reason = "shared with the tests of nodes")]
#[path = "node/random.rs"]
mod random;

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use allocation_counter::{AllocationInfo, measure};
use deltawire::sdp::DescriptionError;
use deltawire::sdp::MAX_CANDIDATES;
use deltawire::webrtc::EngineError;
use deltawire::{AnswerError, CapacityError, LinkEnded, Node, NodeLimits};
use tokio::net::UdpSocket;

use crate::deltas::{send, transfer};
use crate::nodes::{ANY_PORT, LOOPBACK, client, down, join, listening, server, until};

/// What a link that was answered and whose peer never came may take, bytes.
const PENDING: u64 = 256 << 10;

/// Runs it, and says what it allocated.
fn counted<F: Future<Output = ()>>(test: impl FnOnce() -> F) -> AllocationInfo {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    measure(|| runtime.block_on(test()))
}

#[test]
fn ten_thousand_offers_of_peers_that_never_come() {
    let limit = NodeLimits::default().max_pending;
    let timeout = Duration::from_millis(500);
    let mut baseline = None;
    // A first round makes what is made once.
    for offers in [1, 10_000] {
        let info = counted(async || {
            let server = listening(Node::builder().connect_timeout(timeout));
            let client = client();
            let offer = client.offer(LOOPBACK).unwrap();
            let mut answered = 0;
            for _ in 0..offers {
                match server.answer(offer.sdp()).await {
                    Ok(_) => answered += 1,
                    Err(AnswerError::Capacity(CapacityError::Pending { limit: refused })) => {
                        assert_eq!(refused, limit);
                        assert!(server.peers().len() <= limit);
                    }
                    Err(error) => panic!("{error}"),
                }
                tokio::task::yield_now().await;
            }
            for _ in 0..answered {
                assert_eq!(down(&server).await.1, LinkEnded::NotReached(timeout));
            }
            assert!(server.peers().is_empty());
            // And others get their places.
            join(&client, &server).await;
        });
        match baseline {
            None => baseline = Some(info.bytes_max),
            Some(baseline) => {
                let more = info.bytes_max.saturating_sub(baseline);
                let bound = limit as u64 * PENDING;
                println!("{} bytes for each pending link", more / limit as u64);
                assert!(
                    more <= bound,
                    "{more} bytes for {limit} pending links, {bound} are allowed"
                );
            }
        }
    }
}

/// A binding request for whom nobody waits, with a name of its own.
fn check(number: u32) -> Vec<u8> {
    let name = format!("{number:08x}:peer");
    let mut check = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    check.extend([7; 12]);
    check.extend([0, 6, 0, name.len() as u8]);
    check.extend(name.as_bytes());
    check.resize(check.len().next_multiple_of(4), 0);
    let len = (check.len() - 20) as u16;
    check[2..4].copy_from_slice(&len.to_be_bytes());
    check
}

/// The start of a ClientHello (RFC 6347, section 4.2.2).
fn client_hello(number: u32) -> Vec<u8> {
    let mut record = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0];
    record.extend([1, 0, 3, 0xf4, 0, 0, 0, 0, 0, 0, 3, 0xf4, 0xfe, 0xfd]);
    record.extend(number.to_be_bytes());
    record.resize(13 + 1_024, 5);
    record
}

#[test]
fn checks_and_hellos_from_ten_thousand_addresses() {
    let mut most = Vec::new();
    for strangers in [1_u32, 10_000] {
        let info = counted(async || {
            let (server, client) = (server(), client());
            let ((mut near, _near_link), (mut far, _far_link)) = join(&client, &server).await;
            let listening = server.addresses().next().unwrap();
            for number in 0..strangers {
                // So many loopback addresses, and a port of its own on each.
                let ip = Ipv4Addr::from_bits(0x7f00_0001 + number % 5_000);
                let socket = UdpSocket::bind(SocketAddr::from((ip, 0))).await.unwrap();
                for datagram in [check(number), client_hello(number)] {
                    socket.send_to(&datagram, listening).await.unwrap();
                }
                if number % 20 == 0 {
                    transfer(&mut near.send, &mut far.receive, &[1_000; 4]).await;
                }
            }
            // The node has read all of them.
            #[cfg(target_os = "linux")]
            {
                until("all to be read", || waiting_and_dropped(listening).0 == 0).await;
                assert_eq!(waiting_and_dropped(listening).1, 0, "dropped by the system");
            }
            assert_eq!(server.peers().len(), 1);
        });
        most.push(info.bytes_max);
    }
    let more = most[1].saturating_sub(most[0]);
    assert!(more < 128 << 10, "{more} bytes for strangers");
}

#[tokio::test]
async fn an_offer_of_too_many_candidates_is_refused() {
    let (server, client) = (server(), client());
    let offer = client.offer(LOOPBACK).unwrap();
    let with = |count: usize| {
        let candidate = offer.sdp().lines().find(|line| line.starts_with("a=candidate:")).unwrap();
        let more = format!("{candidate}\r\n").repeat(count - 1);
        offer.sdp().replace(&format!("{candidate}\r\n"), &format!("{candidate}\r\n{more}"))
    };
    let error = server.answer(&with(MAX_CANDIDATES + 1)).await.unwrap_err();
    let limit = MAX_CANDIDATES;
    let expected = EngineError::Description(DescriptionError::TooManyCandidates { limit });
    assert!(matches!(&error, AnswerError::Engine(error) if *error == expected), "{error}");
    assert!(server.peers().is_empty());
    server.answer(&with(MAX_CANDIDATES)).await.unwrap();
}

/// What waits in the system's buffer of the socket at this address, bytes, and how many datagrams found no
/// room there.
#[cfg(target_os = "linux")]
fn waiting_and_dropped(address: SocketAddr) -> (u64, u64) {
    let SocketAddr::V4(address) = address else { panic!("{address}") };
    let ip = u32::from_ne_bytes(address.ip().octets());
    let local = format!("{ip:08X}:{:04X}", address.port());
    let table = std::fs::read_to_string("/proc/thread-self/net/udp").unwrap();
    let mut rows = table.lines().map(|row| row.split_whitespace().collect::<Vec<_>>());
    let row = rows.find(|row| row[1] == local).expect("the node has this socket");
    let (_, waiting) = row[4].split_once(':').unwrap();
    (u64::from_str_radix(waiting, 16).unwrap(), row[12].parse().unwrap())
}

/// What others send takes from honest peers as much of the node's time as it costs: it is looked at and dropped
/// where it was read. What is made for each is counted, as time would be that of a busy machine.
#[cfg(target_os = "linux")]
#[test]
fn nothing_is_made_for_a_datagram_of_a_stranger() {
    use std::sync::mpsc;
    const DATAGRAMS: u32 = 20_000;
    let (offers, offered) = mpsc::channel::<String>();
    let (answers, answered) = mpsc::channel();
    let (phases, mut phase) = tokio::sync::mpsc::unbounded_channel::<()>();
    let node = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (_server, mut far, link) = runtime.block_on(async {
            let server = server();
            let offer = offered.recv().unwrap();
            let answer = server.answer(&offer).await.unwrap();
            answers.send((answer, server.addresses().next().unwrap())).unwrap();
            let (far, link) = server.accept().await.unwrap();
            (server, far, link)
        });
        // Some of the honest peer's, then the strangers', each until the main thread says so.
        [(); 2].map(|()| {
            let received = link.stats().datagrams_received;
            let made = measure(|| {
                runtime.block_on(async {
                    loop {
                        tokio::select! {
                            frame = far.receive.next() => drop(frame.unwrap()),
                            _ = phase.recv() => break,
                        }
                    }
                });
            });
            (made.count_total, link.stats().datagrams_received - received)
        })
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let dropped = runtime.block_on(async {
        let client = client();
        let offer = client.offer(LOOPBACK).unwrap();
        offers.send(offer.sdp().to_owned()).unwrap();
        let (answer, listening) = answered.recv().unwrap();
        let (mut near, link) = offer.finish(&answer).await.unwrap();
        for number in 0..DATAGRAMS {
            send(&mut near.send, number.into(), 1_000).await;
            if number % 8 == 0 {
                tokio::time::sleep(Duration::from_micros(100)).await;
            }
        }
        until("all to be acknowledged", || link.stats().in_flight == 0).await;
        phases.send(()).unwrap();
        let socket = UdpSocket::bind(ANY_PORT).await.unwrap();
        for number in 0..DATAGRAMS {
            let datagram = if number % 2 == 0 { check(number) } else { client_hello(number) };
            socket.send_to(&datagram, listening).await.unwrap();
            if number % 8 == 0 {
                tokio::time::sleep(Duration::from_micros(100)).await;
            }
        }
        until("all to be read", || waiting_and_dropped(listening).0 == 0).await;
        let (_, dropped) = waiting_and_dropped(listening);
        phases.send(()).unwrap();
        dropped
    });
    let [(honest, datagrams), (strange, _)] = node.join().unwrap();
    // What the system drops costs the node nothing.
    let arrived = u64::from(DATAGRAMS) - dropped;
    assert!(arrived >= 1_000, "{arrived} of {DATAGRAMS} reached the node");
    println!(
        "{honest} allocations for {datagrams} datagrams of a peer, {strange} for {arrived} of strangers"
    );
    // What the honest link says by itself meanwhile is there too.
    assert!(strange < arrived / 4, "{strange} allocations for {arrived} datagrams of strangers");
}
