//! What strangers and bad networks do to links: nothing.

use std::net::SocketAddr;
use std::time::Duration;

use deltawire::{LinkEnded, Node, NodeBuilder};
use deltawire_channels::session::{Closed, ProtocolError};
use deltawire_channels::{Limits, Peer};
use tokio::net::UdpSocket;

use crate::deltas::{receive, send, transfer};
use crate::nodes::{
    ANY_PORT, End, LOOPBACK, builder, client, down, join, join_with, listening, pair, server, soon,
    until,
};
use crate::proxy::{Proxy, Way};
use crate::random::Random;

const BINDING_REQUEST: [u8; 8] = [0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];

/// Nodes of this kind, the proxy between them, and their link.
async fn through_proxy(builder: NodeBuilder) -> (Proxy, [Node; 2], (End, End)) {
    let (client, server) = (builder.clone().build().unwrap(), listening(builder));
    let address = server.addresses().next().unwrap();
    let proxy = Proxy::before(address).await;
    let hide = |answer: String| proxy.hide(address, &answer);
    let ends = join_with(&client, &server, hide).await;
    (proxy, [client, server], ends)
}

/// Deltas both ways at once, checked, with commands between them.
async fn exchange(near: &mut Peer, far: &mut Peer, lengths: &[usize]) {
    let commands = [64; 100];
    tokio::join!(
        transfer(&mut near.send, &mut far.receive, lengths),
        transfer(&mut far.send, &mut near.receive, lengths),
        transfer(&mut near.command.send, &mut far.command.receive, &commands),
        transfer(&mut far.command.send, &mut near.command.receive, &commands),
    );
}

/// About 2.5 MB in deltas of all lengths.
fn mixed() -> Vec<usize> {
    let mut random = Random(3);
    let mut len = || {
        let bits = random.below(18);
        random.below(1 << bits) as usize
    };
    (0..300).map(|_| len()).collect()
}

/// Random bytes that begin as datagrams of STUN, DTLS or anything else do.
fn noise(random: &mut Random) -> Vec<u8> {
    let mut bytes = vec![0; random.below(1_600) as usize];
    random.fill(&mut bytes);
    let record = [20 + random.below(5) as u8, 0xfe, 0xfd];
    let start: &[u8] = match random.below(4) {
        0 => &BINDING_REQUEST,
        1 => &record,
        2 => &[0x01, 0x01, 0, 8, 0x21, 0x12, 0xa4, 0x42],
        _ => &[],
    };
    let len = start.len().min(bytes.len());
    bytes[..len].copy_from_slice(&start[..len]);
    bytes
}

#[tokio::test]
async fn noise_from_strangers_changes_nothing() {
    let (nodes, ((mut near, _near_link), (mut far, _far_link))) = pair(builder()).await;
    let listening = nodes[1].addresses().next().unwrap();
    let strangers = tokio::spawn(async move {
        let mut random = Random(5);
        let mut sockets = Vec::new();
        for _ in 0..4 {
            sockets.push(UdpSocket::bind(ANY_PORT).await.unwrap());
        }
        loop {
            let socket = &sockets[random.below(4) as usize];
            socket.send_to(&noise(&mut random), listening).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    exchange(&mut near, &mut far, &mixed()).await;
    strangers.abort();
    assert_eq!(nodes[1].peers().len(), 1);
}

#[tokio::test]
async fn damaged_copies_of_real_datagrams_change_nothing() {
    let (proxy, _nodes, ((mut near, _near_link), (mut far, _far_link))) =
        through_proxy(builder()).await;
    let mut random = Random(6);
    let mut seen: Vec<Vec<u8>> = Vec::new();
    proxy.set(move |_, bytes| {
        let mut all = vec![bytes.clone()];
        let mut damaged = bytes.clone();
        match random.below(8) {
            0 => damaged.truncate(random.below(damaged.len() as u64) as usize),
            1 => {
                let at = random.below(damaged.len() as u64) as usize;
                damaged[at] ^= 1 << random.below(8);
            }
            2 => damaged = noise(&mut random),
            3 => random.fill(&mut damaged[13..]),
            // One that came before, perhaps the other way.
            4 if !seen.is_empty() => {
                damaged = seen[random.below(seen.len() as u64) as usize].clone();
            }
            _ => return all,
        }
        if seen.len() < 1_000 {
            seen.push(bytes);
        }
        all.insert(random.below(2) as usize, damaged);
        all
    });
    exchange(&mut near, &mut far, &mixed()).await;
}

#[tokio::test]
async fn damage_in_place_of_datagrams_is_made_good() {
    let (proxy, _nodes, ((mut near, _near_link), (mut far, _far_link))) =
        through_proxy(patient()).await;
    let mut random = Random(7);
    proxy.set(move |_, mut bytes| {
        if random.percent(1) {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << random.below(8);
        }
        vec![bytes]
    });
    exchange(&mut near, &mut far, &mixed()).await;
}

/// For networks that lose datagrams: SCTP waits a second and more before it sends again what no
/// later message tells of.
fn patient() -> NodeBuilder {
    let idle_timeout = Duration::from_secs(60);
    builder().limits(Limits { idle_timeout, ..Limits::default() })
}

/// What anybody on the way can write without any key.
#[tokio::test]
async fn forged_alerts_handshakes_and_checks_do_not_end_a_link() {
    let (proxy, _nodes, ((mut near, near_link), (mut far, far_link))) =
        through_proxy(builder()).await;
    let record = |kind: u8, epoch: u8, body: &[u8]| {
        let mut record = vec![kind, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, 9];
        record.extend((body.len() as u16).to_be_bytes());
        record.extend(body);
        record
    };
    let mut forged = Vec::new();
    for epoch in 0..3 {
        for alert in [[1, 0], [2, 0], [2, 10], [2, 20], [2, 40], [2, 80], [1, 90]] {
            forged.push(record(21, epoch, &alert));
        }
        forged.push(record(20, epoch, &[1]));
        for message in [0, 1, 2, 3, 14, 20] {
            forged.push(record(22, epoch, &[message, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
            forged.push(record(22, epoch, &[message, 0, 0, 4, 0, 9, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4]));
        }
        forged.push(record(23, epoch, &[0; 64]));
        forged.push(record(24, epoch, &[1, 0, 9, 1]));
    }
    for kind in [[0x00, 0x01], [0x01, 0x01], [0x01, 0x11], [0x00, 0x11]] {
        let mut check = vec![kind[0], kind[1], 0, 0, 0x21, 0x12, 0xa4, 0x42];
        check.extend([7; 12]);
        forged.push(check);
    }
    let count = forged.len();
    let mut number = 0;
    proxy.set(move |_, bytes| {
        number += 1;
        vec![forged[number % count].clone(), bytes]
    });
    exchange(&mut near, &mut far, &mixed()).await;
    assert_eq!((near_link.ended(), far_link.ended()), (None, None));
}

#[tokio::test]
async fn loss_reordering_and_duplication_are_made_good() {
    let (proxy, _nodes, ((mut near, _near_link), (mut far, _far_link))) =
        through_proxy(patient()).await;
    let mut random = Random(8);
    let mut held = [None, None];
    proxy.set(move |way, bytes| {
        let held = &mut held[usize::from(way == Way::Back)];
        let mut all = match random.below(100) {
            0..5 => Vec::new(),
            5..10 => vec![bytes.clone(), bytes],
            10..20 if held.is_none() => {
                *held = Some(bytes);
                return Vec::new();
            }
            _ => vec![bytes],
        };
        if random.percent(30) {
            all.extend(held.take());
        }
        all
    });
    let lengths: Vec<_> = mixed().into_iter().take(40).collect();
    exchange(&mut near, &mut far, &lengths).await;
}

const IDLE: Duration = Duration::from_millis(500);

/// Gives up after so long a silence.
fn impatient(idle: Duration) -> NodeBuilder {
    builder().limits(Limits { idle_timeout: idle, ..Limits::default() })
}

async fn both_time_out(nodes: &[Node; 2], idle: Duration) {
    let timed_out = LinkEnded::Session(Closed::Error(ProtocolError::TimedOut(idle)));
    for node in nodes {
        assert_eq!(down(node).await.1, timed_out);
        assert!(node.peers().is_empty());
    }
}

/// A machine that stands still for longer than the time-out makes a link time out that is well, so then
/// the link gets a longer one. A link that cannot stay up fails with each.
#[tokio::test]
async fn both_sides_notice_silence_and_free_the_peer() {
    for idle in [IDLE, 3 * IDLE, 8 * IDLE] {
        let (proxy, nodes, ((_near, near_link), (_far, far_link))) =
            through_proxy(impatient(idle)).await;
        let pings = || near_link.stats().session.control_received;
        let before = pings();
        let links = [&near_link, &far_link];
        let ended = || links.iter().any(|link| link.ended().is_some());
        // A link that is idle but well stays up.
        until("three time-outs' worth of pings", || ended() || pings() > before + 30).await;
        proxy.set(|_, _| Vec::new());
        if ended() {
            continue;
        }
        return both_time_out(&nodes, idle).await;
    }
    panic!("an idle link does not stay up");
}

/// However much is in flight, so that nothing more can be said.
#[tokio::test]
async fn both_sides_notice_silence_in_the_middle_of_a_transfer_and_free_the_peer() {
    for len in [64, 1_000, (16 << 10) - 64, 20_000, 300_000] {
        let (proxy, nodes, ((mut near, _), (mut far, _))) = through_proxy(impatient(IDLE)).await;
        let mut left = 200;
        proxy.set(move |_, bytes| {
            left -= usize::from(left > 0);
            if left > 0 { vec![bytes] } else { Vec::new() }
        });
        let flood = |sender: deltawire_channels::Sender| {
            tokio::spawn(async move {
                let mut sender = sender;
                while let Ok(grant) = sender.reserve(len).await {
                    let fields =
                        deltawire_framing::DeltaFields::new(deltawire_framing::DocId([1; 16]));
                    grant.commit(fields, len).unwrap();
                }
            })
        };
        let floods = [flood(near.send), flood(far.send)];
        let reading = async {
            let drain = async |receiver: &mut deltawire_channels::Receiver| {
                while receiver.next().await.is_ok() {}
            };
            tokio::join!(drain(&mut near.receive), drain(&mut far.receive))
        };
        soon("the ends of both", reading).await;
        for flood in floods {
            soon("the end of its ring", flood).await.unwrap();
        }
        both_time_out(&nodes, IDLE).await;
    }
}

#[tokio::test]
async fn silence_of_one_way_ends_both() {
    for silent in [Way::There, Way::Back] {
        let (proxy, nodes, _ends) = through_proxy(impatient(IDLE)).await;
        proxy.set(move |way, bytes| if way == silent { Vec::new() } else { vec![bytes] });
        // One side hears nothing; the other hears of that, or nothing either.
        for node in &nodes {
            let ended = down(node).await.1;
            assert!(matches!(ended, LinkEnded::Session(_) | LinkEnded::HungUp), "{ended}");
            assert!(node.peers().is_empty());
        }
    }
}

/// A stranger's offer may name any address as its own.
#[tokio::test]
async fn an_offer_that_names_anothers_address_takes_nothing_from_it() {
    for lite in [true, false] {
        let server = listening(builder().ice_lite(lite));
        let client = client();
        let offer = client.offer(LOOPBACK).unwrap();
        let of_victim = port(offer.sdp());
        let answer = server.answer(offer.sdp()).await.unwrap();
        let both = async { tokio::join!(offer.finish(&answer), server.accept()) };
        let (near, far) = soon("a link", both).await;
        let ((mut near, _near_link), (mut far, _far_link)) = (near.unwrap(), far.unwrap());
        exchange(&mut near, &mut far, &[1_000; 10]).await;

        // The node checks this address, and the victim's datagrams go on to the victim's link.
        let hostile = client.offer(LOOPBACK).unwrap();
        let named = hostile.sdp().replace(&port(hostile.sdp()), &of_victim);
        server.answer(&named).await.unwrap();
        for number in 0..200 {
            send(&mut near.send, number, 1_000).await;
            assert_eq!(receive(&mut far.receive).await, (number, 1_000));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// The port in a description's candidate, as it stands there.
fn port(sdp: &str) -> String {
    let (_, after) = sdp.split_once(" 127.0.0.1 ").unwrap();
    format!(" 127.0.0.1 {} typ", after.split(' ').next().unwrap())
}

/// A peer whose link was cut off may come back from the same address at once.
#[tokio::test]
async fn a_new_link_from_an_old_ones_address_gets_its_datagrams() {
    let (server, client) = (server(), client());
    let address: SocketAddr = server.addresses().next().unwrap();
    // Both links go through the same socket, as of a peer behind a router.
    let proxy = Proxy::before(address).await;
    let hide = |answer: String| proxy.hide(address, &answer);
    let (_near, (_far, old)) = join_with(&client, &server, hide).await;
    let ((mut near, _near_link), (mut far, new)) = join_with(&client, &server, hide).await;
    assert_ne!(old.id(), new.id());
    transfer(&mut near.send, &mut far.receive, &[1_000; 20]).await;
}

/// Many links that are opened and given up leave nothing behind that harms the next.
#[tokio::test]
async fn a_crowd_that_comes_and_goes_leaves_others_alone() {
    let (server, steady) = (server(), client());
    let ((mut near, _near_link), (mut far, _far_link)) = join(&steady, &server).await;
    let crowd = async {
        let client = client();
        for round in 0..20 {
            let ends = join(&client, &server).await;
            if round % 2 == 0 {
                ends.0.1.close(deltawire_framing::control::CloseCode::NORMAL, "");
            }
            drop(ends);
        }
        until("all of them to have gone", || server.peers().len() == 1).await;
    };
    let work = async {
        for _ in 0..20 {
            exchange(&mut near, &mut far, &[2_000; 20]).await;
        }
    };
    tokio::join!(crowd, work);
}
