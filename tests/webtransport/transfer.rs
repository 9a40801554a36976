//! What goes over a link, and how it ends.

use std::collections::BTreeSet;
use std::time::Duration;

use deltawire::{Admission, LinkEnded, Node};
use deltawire_channels::session::Closed;
use deltawire_channels::{Delivery, Limits, Order, Reliability};
use deltawire_framing::DeltaFields;
use deltawire_framing::control::CloseCode;

use crate::carried::Carried;
use crate::lab::{DOC, PATH, browser, join, listening, server, soon};

const LENS: [usize; 9] = [0, 1, 1_000, 1_400, 16_000, 16_384, 70_000, 700_000, 1_000_001];

#[tokio::test]
async fn messages_of_all_lengths_go_both_ways_in_order() {
    let (client, server) = (Node::builder().build().unwrap(), server());
    let ((here, near), (there, far)) = join(&client, &server, PATH).await;
    let mut tasks = Vec::new();
    for (mut sender, mut receiver) in [(here.send, there.receive), (there.send, here.receive)] {
        tasks.push(tokio::spawn(async move {
            for (number, len) in LENS.iter().cycle().take(40).enumerate() {
                sender.send(DeltaFields::new(DOC), &vec![number as u8; *len]).await.unwrap();
            }
            // Kept: what is dropped is closed.
            sender.send(DeltaFields::new(DOC), b"over").await.unwrap();
            std::future::pending::<()>().await;
        }));
        tasks.push(tokio::spawn(async move {
            for (number, len) in LENS.iter().cycle().take(40).enumerate() {
                let message = receiver.next().await.unwrap();
                let payload = message.delta().unwrap().payload();
                assert_eq!(payload.len(), *len, "{number}");
                assert!(payload.iter().all(|byte| *byte == number as u8));
            }
        }));
    }
    for reading in [1, 3] {
        soon("messages", &mut tasks[reading]).await.unwrap();
    }
    assert!(near.ended().is_none() && far.ended().is_none());
    let stats = far.stats();
    assert!(stats.bytes_received > 1_000_000 && stats.bytes_sent > 1_000_000, "{stats:?}");
    assert!(far.remote_address().is_some_and(|address| address.ip().is_loopback()));
}

#[tokio::test]
async fn deltas_that_may_overtake_each_other_all_arrive_over_loopback() {
    let deliveries = [
        Reliability::Reliable,
        Reliability::MaxRetransmits(0),
        Reliability::MaxLifetime(Duration::from_secs(5)),
    ];
    for reliability in deliveries {
        let way = Delivery { order: Order::Unordered, reliability };
        let server = listening().accept_webtransport(Admission::anyone()).delivery(way, way);
        let server = server.build().unwrap();
        let client = Node::builder().delivery(way, way).build().unwrap();
        let session = browser(&server).await.ask(PATH, &[]).await.unwrap();
        let in_datagrams = reliability == Reliability::MaxRetransmits(0);
        let carried = Carried::unordered(session, in_datagrams).await;
        let (mut here, _near) = soon("link", client.attach(carried)).await.unwrap();
        let (mut there, far) = soon("peer", server.accept()).await.unwrap();
        assert_eq!(far.kind(), "webtransport");
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
async fn commands_overtake_deltas_that_wait() {
    let (client, server) = (Node::builder().build().unwrap(), server());
    let ((mut here, _near), (mut there, _far)) = join(&client, &server, PATH).await;
    let full = tokio::time::timeout(Duration::from_millis(300), async {
        loop {
            there.send.send(DeltaFields::new(DOC), &[1; 10_000]).await.unwrap();
        }
    });
    assert!(full.await.is_err(), "it waits");
    for _ in 0..50 {
        there.command.send.send(DeltaFields::new(DOC), b"now").await.unwrap();
        let command = soon("command", here.command.receive.next()).await.unwrap();
        assert_eq!(command.delta().unwrap().payload(), b"now");
    }
}

#[tokio::test]
async fn a_close_of_either_side_delivers_what_was_committed() {
    for closes_there in [false, true] {
        let (client, server) = (Node::builder().build().unwrap(), server());
        let ((mut here, near), (mut there, far)) = join(&client, &server, PATH).await;
        for _ in 0..50 {
            here.send.send(DeltaFields::new(DOC), &[1; 5_000]).await.unwrap();
            there.send.send(DeltaFields::new(DOC), &[2; 5_000]).await.unwrap();
        }
        if closes_there {
            far.close(CloseCode::NORMAL, "done");
        } else {
            near.close(CloseCode::NORMAL, "done");
        }
        for receiver in [&mut here.receive, &mut there.receive] {
            for number in 0..50 {
                let message = soon("delta", receiver.next()).await;
                assert!(message.is_ok(), "{number}: {message:?}");
            }
        }
        let ends = [soon("end", near.closed()).await, soon("end", far.closed()).await];
        for ended in ends {
            let complete = matches!(
                ended,
                LinkEnded::Session(
                    Closed::ByUs { complete: true, .. } | Closed::ByPeer { complete: true, .. }
                )
            );
            assert!(complete, "{ended:?}");
        }
    }
}

/// As a browser whose page hangs: QUIC is answered, and the session is not.
#[tokio::test]
async fn a_page_that_hangs_is_noticed_though_its_browser_acknowledges() {
    let limits = Limits { idle_timeout: Duration::from_millis(500), ..Limits::default() };
    let server = listening().limits(limits).accept_webtransport(Admission::anyone());
    let server = server.resume(None).build().unwrap();
    let client = Node::builder().limits(limits).resume(None).build().unwrap();
    let session = browser(&server).await.ask(PATH, &[]).await.unwrap();
    let connection = session.browser.connection.clone();
    let carried = Carried::over(session).await;
    let silence = carried.silence();
    let _near = soon("link", client.attach(carried)).await.unwrap();
    let (_peer, far) = soon("peer", server.accept()).await.unwrap();
    silence();
    let ended = soon("end", far.closed()).await;
    assert!(ended.to_string().contains("nothing was heard"), "{ended}");
    drop(connection);
}

/// As Firefox does when a page throws its session away: streams are stopped before anything says that it is over.
#[tokio::test]
async fn a_browser_that_stops_its_streams_has_hung_up() {
    let server = listening().accept_webtransport(Admission::anyone()).resume(None);
    let server = server.build().unwrap();
    let client = Node::builder().resume(None).build().unwrap();
    let session = browser(&server).await.ask(PATH, &[]).await.unwrap();
    let carried = Carried::over(session).await;
    let leave = carried.leave();
    let (mut here, _near) = soon("link", client.attach(carried)).await.unwrap();
    let (mut there, far) = soon("peer", server.accept()).await.unwrap();
    here.send.send(DeltaFields::new(DOC), b"before").await.unwrap();
    soon("delta", there.receive.next()).await.unwrap();
    leave();
    let ended = soon("end", far.closed()).await;
    assert!(matches!(ended, LinkEnded::HungUp), "{ended:?}");
}
