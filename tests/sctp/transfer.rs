//! What goes over a link, and how it ends.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use deltawire::{Admission, LinkEnded, Node};
use deltawire_channels::session::Closed;
use deltawire_channels::{Delivery, Order, Receiver, Reliability};
use deltawire_framing::DeltaFields;
use deltawire_framing::control::CloseCode;

use crate::lab::{DOC, accepting, client, join, server, soon, until};

const LENS: [usize; 8] = [0, 1, 1_000, 1_400, 16_000, 16_384, 70_000, 700_000];

async fn read(mut receiver: Receiver, count: usize) -> Receiver {
    for (number, len) in (0..count).map(|number| (number, LENS[number % LENS.len()])) {
        let message = receiver.next().await.unwrap();
        let delta = message.delta().unwrap();
        assert_eq!(delta.payload().len(), len, "{number}");
        assert!(delta.payload().iter().all(|byte| *byte == number as u8));
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
    assert_eq!(near.remote_address(), server.sctp_address());
    assert!(stats.datagrams_sent > 0 && stats.bytes_sent > 1_000_000, "{stats:?}");
    assert!(stats.datagrams_received > 0 && stats.bytes_received > 1_000_000, "{stats:?}");
}

#[tokio::test]
async fn deltas_that_may_overtake_each_other_or_get_lost_all_arrive_over_loopback() {
    let deliveries = [
        (Order::Unordered, Reliability::Reliable),
        (Order::Unordered, Reliability::MaxRetransmits(0)),
        (Order::Ordered, Reliability::MaxRetransmits(3)),
        (Order::Unordered, Reliability::MaxLifetime(Duration::from_secs(5))),
        (Order::Ordered, Reliability::MaxLifetime(Duration::from_secs(5))),
    ];
    for (order, reliability) in deliveries {
        let way = Delivery { order, reliability };
        let server =
            accepting(Node::builder().delivery(way, way).command_order(order), Admission::anyone());
        let client = Node::builder().delivery(way, way).command_order(order).build().unwrap();
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
async fn a_close_is_told_from_each_side() {
    for from_client in [true, false] {
        let (client, server) = (client(), server());
        let (near, far) = join(&client, &server).await;
        let (closing, told) = if from_client { (near, far) } else { (far, near) };
        let begun = Instant::now();
        closing.1.close(CloseCode::NORMAL, "enough");
        let ended = soon("end", told.1.closed()).await;
        assert!(matches!(&ended, LinkEnded::Session(Closed::ByPeer { .. })), "{ended:?}");
        until("both gone", || client.peers().is_empty() && server.peers().is_empty()).await;
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    }
}
