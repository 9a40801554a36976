//! What goes over a link, and how it ends.

use std::collections::BTreeSet;
use std::time::Duration;

use deltawire::{Admission, LinkEnded, Node, TransportErrorKind};
use deltawire_channels::session::Closed;
use deltawire_channels::{Delivery, Limits, Order, Receiver, Reliability};
use deltawire_framing::DeltaFields;
use deltawire_framing::control::CloseCode;

use crate::lab::{DOC, PATIENCE, client, join, listening, refusal, server, soon, until, url};

const LENS: [usize; 8] = [0, 1, 1_000, 1_400, 16_000, 16_384, 70_000, 700_000];

async fn read(mut receiver: Receiver, count: usize) -> Receiver {
    for (number, len) in (0..count).map(|number| (number, LENS[number % LENS.len()])) {
        let message = receiver.next().await.unwrap();
        let delta = message.delta().unwrap();
        assert_eq!(delta.payload().len(), len, "{number}");
        assert!(delta.payload().iter().all(|byte| *byte == number as u8));
        if len > 0 && len.is_multiple_of(16) {
            assert!(delta.payload().as_ptr().addr().is_multiple_of(16), "{number}");
        }
    }
    receiver
}

#[tokio::test]
async fn messages_of_all_lengths_go_both_ways_in_order() {
    let (client, server) = (client(), server());
    let ((here, near), (there, _far)) = join(&client, &server).await;
    let count = 120;
    let send = move |mut sender: deltawire_channels::Sender| async move {
        for (number, len) in (0..count).map(|number| (number, LENS[number % LENS.len()])) {
            sender.send(DeltaFields::new(DOC), &vec![number as u8; len]).await.unwrap();
        }
        sender
    };
    let sending = [tokio::spawn(send(here.send)), tokio::spawn(send(there.send))];
    let reading =
        [tokio::spawn(read(here.receive, count)), tokio::spawn(read(there.receive, count))];
    let mut kept = (Vec::new(), Vec::new());
    for task in sending {
        kept.0.push(soon("sending", task).await.unwrap());
    }
    for task in reading {
        kept.1.push(soon("reading", task).await.unwrap());
    }
    let stats = near.stats();
    assert_eq!(near.remote_address(), server.addresses().next());
    assert!(stats.datagrams_sent > 0 && stats.bytes_sent > 1_000_000, "{stats:?}");
    assert!(stats.datagrams_received > 0 && stats.bytes_received > 1_000_000, "{stats:?}");
}

#[tokio::test]
async fn deltas_that_may_overtake_each_other_all_arrive_over_loopback() {
    let deliveries = [
        Reliability::Reliable,
        Reliability::MaxRetransmits(0),
        Reliability::MaxRetransmits(3),
        Reliability::MaxLifetime(Duration::from_secs(5)),
    ];
    for reliability in deliveries {
        let way = Delivery { order: Order::Unordered, reliability };
        let server = listening(Node::builder()).accept_quic(Admission::anyone());
        let server = server.delivery(way, way).command_order(Order::Unordered).build().unwrap();
        let client = Node::builder().delivery(way, way).command_order(Order::Unordered);
        let client = client.build().unwrap();
        let ((mut here, _near), (mut there, _far)) = join(&client, &server).await;
        let count = 2_000_usize;
        for (mut sender, receiver) in
            [(here.send, &mut there.receive), (there.send, &mut here.receive)]
        {
            let sending = tokio::spawn(async move {
                for number in 0..count {
                    let mut payload = vec![7; [8, 64, 1_000, 1_400, 9_000, 40_000][number % 6]];
                    payload[..8].copy_from_slice(&(number as u64).to_le_bytes());
                    sender.send(DeltaFields::new(DOC), &payload).await.unwrap();
                }
                sender
            });
            let mut missing: BTreeSet<_> = (0..count as u64).collect();
            while !missing.is_empty() {
                let message = receiver.next();
                let message = soon(&format!("delta of {missing:?}"), message).await.unwrap();
                let payload = message.delta().unwrap().payload();
                let number = u64::from_le_bytes(payload[..8].try_into().unwrap());
                assert!(missing.remove(&number), "{number} came twice");
            }
            drop(sending.await.unwrap());
        }
    }
}

#[tokio::test]
async fn ten_thousand_mixed_messages_arrive_in_order() {
    let (client, server) = (client(), server());
    let ((mut here, _near), (mut there, _far)) = join(&client, &server).await;
    let lens = [0, 5, 64, 200, 1_500, 9_000];
    let sending = tokio::spawn(async move {
        for number in 0..10_000_u32 {
            let mut payload = vec![0; 4 + lens[number as usize % lens.len()]];
            payload[..4].copy_from_slice(&number.to_le_bytes());
            let sender = if number % 10 == 3 { &mut here.command.send } else { &mut here.send };
            sender.send(DeltaFields::new(DOC), &payload).await.unwrap();
        }
        here
    });
    let numbers = |commands: bool| (0..10_000_u32).filter(move |it| (it % 10 == 3) == commands);
    let number = |message: &deltawire_framing::Frame<'_>| {
        let payload = message.delta().unwrap().payload();
        u32::from_le_bytes(payload[..4].try_into().unwrap())
    };
    let mut commands = there.command.receive;
    let reading = tokio::spawn(async move {
        for expected in numbers(true) {
            assert_eq!(number(&commands.next().await.unwrap()), expected);
        }
        commands
    });
    for expected in numbers(false) {
        assert_eq!(number(&soon("delta", there.receive.next()).await.unwrap()), expected);
    }
    soon("commands", reading).await.unwrap();
    soon("sending", sending).await.unwrap();
}

#[tokio::test]
async fn who_does_not_read_stops_the_sender_and_commands_get_through() {
    let (client, server) = (client(), server());
    let ((mut here, near), (mut there, _far)) = join(&client, &server).await;
    let mut accepted = 0_u64;
    let full = tokio::time::timeout(Duration::from_millis(500), async {
        loop {
            here.send.send(DeltaFields::new(DOC), &[1; 10_000]).await.unwrap();
            accepted += 1;
        }
    });
    assert!(full.await.is_err(), "it waits");
    let limits = Limits::default();
    let most = limits.send_ring as u64 + limits.max_data_window;
    assert!(accepted * 10_000 < 2 * most, "{accepted}");
    for _ in 0..100 {
        here.command.send.send(DeltaFields::new(DOC), b"now").await.unwrap();
        let command = soon("command", there.command.receive.next()).await.unwrap();
        assert_eq!(command.delta().unwrap().payload(), b"now");
    }
    for _ in 0..accepted {
        soon("delta", there.receive.next()).await.unwrap();
    }
    assert!(near.ended().is_none());
}

#[tokio::test]
async fn a_close_delivers_what_was_committed() {
    for closes_there in [false, true] {
        let (client, server) = (client(), server());
        let ((mut here, near), (mut there, far)) = join(&client, &server).await;
        for _ in 0..50 {
            here.send.send(DeltaFields::new(DOC), &[1; 5_000]).await.unwrap();
            there.send.send(DeltaFields::new(DOC), &[2; 5_000]).await.unwrap();
        }
        let (closer, other) = if closes_there { (&far, &near) } else { (&near, &far) };
        closer.close(CloseCode::NORMAL, "done");
        for receiver in [&mut here.receive, &mut there.receive] {
            let mut read = 0;
            while soon("delta", receiver.next()).await.is_ok() {
                read += 1;
            }
            assert_eq!(read, 50);
        }
        let ended = soon("end", closer.closed()).await;
        assert!(
            matches!(ended, LinkEnded::Session(Closed::ByUs { complete: true, .. })),
            "{ended:?}"
        );
        let ended = soon("end", other.closed()).await;
        assert!(
            matches!(ended, LinkEnded::Session(Closed::ByPeer { complete: true, .. })),
            "{ended:?}"
        );
        until("room", || client.peers().is_empty() && server.peers().is_empty()).await;
    }
}

#[tokio::test]
async fn closes_that_cross_deliver_too() {
    for _ in 0..10 {
        let (client, server) = (client(), server());
        let ((mut here, near), (mut there, far)) = join(&client, &server).await;
        here.send.send(DeltaFields::new(DOC), &[1; 500_000]).await.unwrap();
        there.send.send(DeltaFields::new(DOC), &[2; 500_000]).await.unwrap();
        near.close(CloseCode::NORMAL, "a");
        far.close(CloseCode::NORMAL, "b");
        for receiver in [&mut here.receive, &mut there.receive] {
            assert_eq!(
                soon("delta", receiver.next()).await.unwrap().delta().unwrap().payload().len(),
                500_000
            );
            assert!(soon("end", receiver.next()).await.is_err());
        }
        for link in [near, far] {
            let ended = soon("end", link.closed()).await;
            assert!(
                matches!(ended, LinkEnded::Session(Closed::ByUs { complete: true, .. })),
                "{ended:?}"
            );
        }
        let begun = std::time::Instant::now();
        until("room", || client.peers().is_empty() && server.peers().is_empty()).await;
        assert!(begun.elapsed() < Duration::from_secs(2), "nobody waits for a time-out");
    }
}

#[tokio::test]
async fn a_node_that_shuts_down_delivers_and_ends_all() {
    let (client, server) = (client(), server());
    let mut ends = Vec::new();
    for _ in 0..3 {
        ends.push(join(&client, &server).await);
    }
    for ((near, _), (far, _)) in &mut ends {
        for _ in 0..30 {
            near.send.send(DeltaFields::new(DOC), &[1; 10_000]).await.unwrap();
            far.send.send(DeltaFields::new(DOC), &[1; 10_000]).await.unwrap();
        }
    }
    let reading = async {
        for ((near, _), (far, _)) in &mut ends {
            for receiver in [&mut near.receive, &mut far.receive] {
                let mut read = 0;
                while receiver.next().await.is_ok() {
                    read += 1;
                }
                assert_eq!(read, 30);
            }
        }
    };
    let (stopped, ()) =
        soon("end", async { tokio::join!(server.shut_down(PATIENCE), reading) }).await;
    assert!(stopped.is_complete() && server.peers().is_empty(), "{stopped:?}");
    let refused = refusal(soon("refusal", client.connect(&url(&server))).await);
    assert_eq!(refused.kind(), TransportErrorKind::Refused);
}

#[tokio::test]
async fn two_links_between_the_same_nodes_are_two() {
    let (client, server) = (client(), server());
    let (mut first, mut first_far) = join(&client, &server).await;
    let (mut second, mut second_far) = join(&client, &server).await;
    for (near, text) in [(&mut first.0, "first"), (&mut second.0, "second")] {
        near.send.send(DeltaFields::new(DOC), text.as_bytes()).await.unwrap();
    }
    for (far, text) in [(&mut first_far.0, "first"), (&mut second_far.0, "second")] {
        let message = soon("delta", far.receive.next()).await.unwrap();
        assert_eq!(message.delta().unwrap().payload(), text.as_bytes());
    }
    first.1.close(CloseCode::NORMAL, "");
    soon("end", first_far.1.closed()).await;
    assert!(second.1.ended().is_none() && second_far.1.ended().is_none());
}

#[tokio::test]
async fn webrtc_and_quic_share_a_port() {
    let (client, server) = (client(), server());
    let offer = client.offer([127, 0, 0, 1].into()).unwrap();
    let answer = server.answer(offer.sdp()).await.unwrap();
    let (webrtc, _) = soon("link", offer.finish(&answer)).await.unwrap();
    let (webrtc_far, _) = soon("peer", server.accept()).await.unwrap();
    let ((quic, _), (quic_far, _)) = join(&client, &server).await;
    let (mut near, mut far) = ([webrtc, quic], [webrtc_far, quic_far]);
    for (near, far) in near.iter_mut().zip(&mut far) {
        for _ in 0..50 {
            near.send.send(DeltaFields::new(DOC), &[1; 10_000]).await.unwrap();
            far.send.send(DeltaFields::new(DOC), &[1; 10_000]).await.unwrap();
        }
    }
    for peer in near.iter_mut().chain(&mut far) {
        for _ in 0..50 {
            soon("delta", peer.receive.next()).await.unwrap();
        }
    }
    assert_eq!(server.addresses().count(), 1);
}

#[test]
fn a_runtime_that_is_killed_is_missed() {
    let limits = Limits { idle_timeout: Duration::from_millis(500), ..Limits::default() };
    let here = tokio::runtime::Runtime::new().unwrap();
    let there = tokio::runtime::Runtime::new().unwrap();
    let server = {
        let _entered = there.enter();
        let builder = Node::builder().resume(None).limits(limits);
        listening(builder).accept_quic(Admission::anyone()).build().unwrap()
    };
    let address = url(&server);
    here.block_on(async {
        let client = Node::builder().resume(None).limits(limits).build().unwrap();
        let (mut peer, link) = soon("link", client.connect(&address)).await.unwrap();
        let far = soon("peer", server.accept()).await.unwrap();
        there.shutdown_background();
        let _ = peer.send.try_reserve(10);
        let ended = soon("end", link.closed()).await;
        assert!(matches!(ended, LinkEnded::Session(Closed::Error(_))), "{ended:?}");
        // What moved the other end is gone, and it says so.
        assert_eq!(soon("end", far.1.closed()).await, LinkEnded::Stopped);
    });
}
