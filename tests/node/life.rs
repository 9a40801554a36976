//! How links and nodes end, and begin again.

use std::num::NonZeroU16;
use std::time::Duration;

use deltawire::signalling::{Rate, SignallingOptions};
use deltawire::{
    AnswerError, Backoff, CapacityError, ConnectError, Link, LinkEnded, Node, NodeBuilder,
    NodeEvent, NodeLimits, ReconnectEvent, Undelivered,
};
use deltawire_channels::session::{Closed, Missing, ProtocolError};
use deltawire_channels::{Limits, Peer};
use deltawire_framing::control::{CloseCode, Role};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::deltas::{self, receive, receive_all, transfer};
use crate::nodes::{
    ANY_PORT, End, LOOPBACK, builder, client, deserted, down, join, join_with, listening, pair,
    serve, serve_with, server, soon, until,
};
use crate::proxy::Proxy;

const LIMIT: Duration = Duration::from_secs(30);

fn by_us(code: u32) -> LinkEnded {
    LinkEnded::Session(Closed::ByUs {
        code: CloseCode(code),
        complete: true,
        missing: Missing::default(),
    })
}

fn by_peer(code: u32, reason: &str) -> LinkEnded {
    let reason = reason.to_owned();
    let missing = Missing::default();
    LinkEnded::Session(Closed::ByPeer { code: CloseCode(code), reason, complete: true, missing })
}

#[tokio::test]
async fn a_close_by_either_side_tells_the_other_why() {
    for closing in 0..2 {
        let (nodes, ((_near, near_link), (_far, far_link))) = pair(builder()).await;
        let links = [near_link, far_link];
        links[closing].close(CloseCode(400), "enough for today");
        let expected = [by_us(400), by_peer(400, "enough for today")];
        for (index, expected) in [closing, 1 - closing].into_iter().zip(expected) {
            let (node, link) = (&nodes[index], &links[index]);
            assert_eq!(soon("its end", link.closed()).await, expected);
            assert_eq!(link.ended(), Some(expected.clone()));
            let role = [Role::Initiator, Role::Acceptor][index];
            let up = NodeEvent::Up { id: link.id(), role };
            assert_eq!(soon("Up", node.event()).await, up);
            let lost = Undelivered::default();
            assert_eq!(down(node).await, (link.id(), expected, lost), "side {index}");
            assert!(node.peers().is_empty());
        }
    }
}

#[tokio::test]
async fn closing_on_both_sides_at_once_ends_both_in_order() {
    for _ in 0..10 {
        let (_nodes, ((_near, near_link), (_far, far_link))) = pair(builder()).await;
        near_link.close(CloseCode(300), "");
        far_link.close(CloseCode(301), "");
        assert_eq!(soon("its end", near_link.closed()).await, by_us(300));
        assert_eq!(soon("its end", far_link.closed()).await, by_us(301));
    }
}

#[tokio::test]
async fn a_peer_that_is_dropped_closes_its_link_after_what_was_committed() {
    let (nodes, ((mut near, near_link), (mut far, far_link))) = pair(builder()).await;
    let lengths = [10_000; 60];
    for (number, len) in lengths.into_iter().enumerate() {
        deltas::send(&mut near.send, number as u64, len).await;
    }
    drop(near);
    let expected: Vec<_> = (0..60).collect();
    assert_eq!(receive_all(&mut far.receive).await, expected);
    let reason = "the application dropped its peer";
    assert_eq!(soon("its end", far_link.closed()).await, by_peer(0, reason));
    assert_eq!(soon("its end", near_link.closed()).await, by_us(0));
    until("both to be free", || nodes.iter().all(|node| node.peers().is_empty())).await;
}

#[tokio::test]
async fn many_peers_that_are_dropped_at_once_all_leave() {
    let (server, client) = (server(), client());
    for _ in 0..30 {
        // Gone before the other side has as much as looked at it.
        let offer = client.offer(LOOPBACK).unwrap();
        let answer = server.answer(offer.sdp()).await.unwrap();
        let (peer, _link) = soon("a link", offer.finish(&answer)).await.unwrap();
        drop(peer);
    }
    until("all to be free", || server.peers().is_empty() && client.peers().is_empty()).await;
}

#[tokio::test]
async fn a_long_delta_arrives_whole_from_a_peer_that_closes_behind_it() {
    let (_nodes, ((mut near, near_link), (mut far, far_link))) = pair(builder()).await;
    deltas::send(&mut near.send, 1, 900_000).await;
    near_link.close(CloseCode(256), "that was all");
    assert_eq!(receive(&mut far.receive).await, (1, 900_000));
    assert_eq!(soon("its end", far_link.closed()).await, by_peer(256, "that was all"));
}

#[tokio::test]
async fn what_both_have_committed_arrives_when_one_closes() {
    let (_nodes, ((mut near, near_link), (mut far, far_link))) = pair(builder()).await;
    for number in 0..40 {
        deltas::send(&mut near.send, number, 20_000).await;
        deltas::send(&mut far.send, number, 20_000).await;
    }
    far_link.close(CloseCode(256), "");
    let expected: Vec<_> = (0..40).collect();
    let both = (receive_all(&mut near.receive), receive_all(&mut far.receive));
    let (at_near, at_far) = tokio::join!(both.0, both.1);
    assert_eq!(at_near, expected);
    assert_eq!(at_far, expected);
    assert_eq!(soon("its end", near_link.closed()).await, by_peer(256, ""));
}

#[tokio::test]
async fn a_node_that_shuts_down_delivers_what_was_committed_and_ends_all() {
    let (server, client) = (server(), client());
    let mut ends = Vec::new();
    for _ in 0..3 {
        ends.push(join(&client, &server).await);
    }
    for ((near, _), (far, _)) in &mut ends {
        for number in 0..30 {
            deltas::send(&mut near.send, number, 10_000).await;
            deltas::send(&mut far.send, number, 10_000).await;
        }
    }
    let waiting = tokio::spawn({
        let server = server.clone();
        async move { server.accept().await.is_none() }
    });
    let stopping = server.shut_down(LIMIT);
    let reading = async {
        for ((near, _), (far, _)) in &mut ends {
            let expected: Vec<_> = (0..30).collect();
            assert_eq!(receive_all(&mut near.receive).await, expected);
            assert_eq!(receive_all(&mut far.receive).await, expected);
        }
    };
    let (stopped, ()) = tokio::join!(stopping, reading);
    assert!(stopped.is_complete() && server.peers().is_empty());
    for ((_, near_link), _) in &ends {
        let ended = soon("its end", near_link.closed()).await;
        assert_eq!(ended, by_peer(CloseCode::SHUTDOWN.0, "the node is shutting down"));
    }
    assert!(soon("accept", waiting).await.unwrap());
    assert!(soon("accept", server.accept()).await.is_none());
    let offer = client.offer(LOOPBACK).unwrap();
    let refused = server.answer(offer.sdp()).await.unwrap_err();
    assert!(matches!(refused, AnswerError::Capacity(CapacityError::ShuttingDown)), "{refused}");
    let refused = server.offer(LOOPBACK).unwrap_err();
    assert!(matches!(refused, ConnectError::Capacity(CapacityError::ShuttingDown)), "{refused}");
}

#[tokio::test]
async fn a_node_without_links_shuts_down_at_once() {
    assert!(server().shut_down(Duration::ZERO).await.is_complete());
}

#[tokio::test]
async fn links_live_on_when_all_handles_on_their_nodes_are_gone() {
    let (nodes, ((mut near, _near_link), (mut far, _far_link))) = pair(builder()).await;
    drop(nodes);
    transfer(&mut near.send, &mut far.receive, &[100; 100]).await;
}

/// A link that a proxy carries, and that gives up after half a second of silence.
async fn impatient() -> (Proxy, [Node; 2], (End, End)) {
    let limits = Limits { idle_timeout: Duration::from_millis(500), ..Limits::default() };
    let builder = builder().limits(limits);
    let (client, server) = (builder.clone().build().unwrap(), listening(builder));
    let address = server.addresses().next().unwrap();
    let proxy = Proxy::before(address).await;
    let hide = |answer: String| proxy.hide(address, &answer);
    let ends = join_with(&client, &server, hide).await;
    (proxy, [client, server], ends)
}

#[tokio::test]
async fn what_a_lost_link_did_not_deliver_is_told() {
    let (proxy, [client, server], ((mut near, near_link), (mut far, _))) = impatient().await;
    transfer(&mut near.send, &mut far.receive, &[1_000; 10]).await;
    proxy.set(|_, _| Vec::new());
    // More than may be in flight, so that some of it was never sent; as long as a frame, so that what
    // may be is used to the last byte.
    let (count, len) = (20, (16 << 10) - 64);
    for number in 0..count {
        deltas::send(&mut near.send, number, len).await;
    }
    let (id, ended, lost) = down(&client).await;
    assert_eq!(id, near_link.id());
    let timed_out = Closed::Error(ProtocolError::TimedOut(Duration::from_millis(500)));
    assert_eq!(ended, LinkEnded::Session(timed_out));
    assert_eq!(near_link.undelivered(), lost);
    assert!(lost.unsent > 0 && lost.unread > 0, "{lost:?}");
    assert!(lost.unsent + lost.unread >= count, "{lost:?}");
    assert!(lost.unsent_bytes + lost.unread_bytes >= count * len as u64, "{lost:?}");
    // The other side had nothing to deliver.
    let (_, _, lost) = down(&server).await;
    assert_eq!(lost, Undelivered::default());
}

#[tokio::test]
async fn a_delta_that_came_in_part_is_not_shown() {
    let (proxy, [client, server], ((mut near, _), (mut far, far_link))) = impatient().await;
    // Half of what two long deltas take.
    let mut left = 900;
    proxy.set(move |_, bytes| {
        left -= usize::from(left > 0);
        if left > 0 { vec![bytes] } else { Vec::new() }
    });
    let lengths = [500_000, 900_000];
    let sending = async {
        for (number, len) in lengths.into_iter().enumerate() {
            deltas::send(&mut near.send, number as u64, len).await;
        }
    };
    let ((), came) = tokio::join!(sending, receive_all(&mut far.receive));
    assert_eq!(came, [0]);
    let ended = soon("its end", far_link.closed()).await;
    assert!(matches!(ended, LinkEnded::Session(Closed::Error(_))), "{ended}");
    until("both to be free", || client.peers().is_empty() && server.peers().is_empty()).await;
}

fn eager() -> NodeBuilder {
    let (first, longest) = (Duration::from_millis(10), Duration::from_millis(50));
    builder().backoff(Backoff { first, longest, ..Backoff::default() })
}

/// Sends a delta there and another back.
async fn works(near: &mut Peer, server: &Node) -> End {
    let (mut far, far_link) = soon("a peer", server.accept()).await.unwrap();
    transfer(&mut near.send, &mut far.receive, &[5_000]).await;
    transfer(&mut far.send, &mut near.receive, &[5_000]).await;
    (far, far_link)
}

#[tokio::test]
async fn a_connection_is_up_again_after_its_server_restarts_at_the_same_ports() {
    let first = server();
    let udp = first.addresses().next().unwrap();
    let (url, serving) = serve(&first, ANY_PORT).await;
    let http = url["http://".len()..].split('/').next().unwrap().parse().unwrap();
    let client = eager().build().unwrap();
    let mut connection = client.keep_connected(&url);
    let Some(ReconnectEvent::Up(mut near, link)) = soon("Up", connection.next()).await else {
        panic!()
    };
    let _far = works(&mut near, &first).await;

    serving.abort();
    assert!(serving.await.unwrap_err().is_cancelled());
    assert!(first.shut_down(LIMIT).await.is_complete());
    drop(first);
    let Some(ReconnectEvent::Down { ended, retry_after, .. }) =
        soon("Down", connection.next()).await
    else {
        panic!()
    };
    assert_eq!(ended, link.closed().await);
    assert_eq!(ended, by_peer(CloseCode::SHUTDOWN.0, "the node is shutting down"));
    assert!(retry_after.is_some());
    let Some(ReconnectEvent::Failed { error, .. }) = soon("a failure", connection.next()).await
    else {
        panic!()
    };
    assert!(matches!(error, ConnectError::Signalling(_)), "{error}");

    let mut second = None;
    until("the port to be free", || {
        second = builder().listen(udp).build().ok();
        second.is_some()
    })
    .await;
    let second = second.unwrap();
    let _serving = serve(&second, http).await;
    let (mut near, link) = loop {
        match soon("Up", connection.next()).await {
            Some(ReconnectEvent::Up(peer, link)) => break (peer, link),
            Some(ReconnectEvent::Failed { retry_after: Some(_), .. }) => {}
            other => panic!("{other:?}"),
        }
    };
    let _far = works(&mut near, &second).await;

    link.close(CloseCode::NORMAL, "");
    let Some(ReconnectEvent::Down { ended, retry_after: None, .. }) =
        soon("Down", connection.next()).await
    else {
        panic!()
    };
    assert_eq!(ended, by_us(0));
    assert!(soon("the end", connection.next()).await.is_none());
}

#[tokio::test]
async fn waits_grow_while_links_end_as_soon_as_they_are_up() {
    let first = Duration::from_millis(8);
    let client = builder().backoff(Backoff { first, ..Backoff::default() }).build().unwrap();
    let server = server();
    let (url, _serving) = serve(&server, ANY_PORT).await;
    let mut connection = client.keep_connected(&url);
    for round in 0..5 {
        let Some(ReconnectEvent::Up(peer, _link)) = soon("Up", connection.next()).await else {
            panic!()
        };
        let (_far, link) = soon("a peer", server.accept()).await.unwrap();
        link.close(CloseCode::NORMAL, "enough");
        let Some(ReconnectEvent::Down { retry_after, .. }) = soon("Down", connection.next()).await
        else {
            panic!()
        };
        drop(peer);
        let (wait, whole) = (retry_after.unwrap(), first * (1 << round));
        assert!(wait >= whole / 2 && wait <= whole, "{wait:?} after link {round}");
    }
}

#[tokio::test]
async fn a_server_that_is_asked_too_often_says_how_long_to_wait() {
    let longest_asked = Duration::from_secs(1000);
    let first = Duration::from_millis(1);
    let backoff = Backoff { first, longest_asked, ..Backoff::default() };
    let client = builder().backoff(backoff).build().unwrap();
    let server = server();
    for (refill, least) in [(100, 90), (3_600, 1_000)] {
        let rate = Rate { burst: NonZeroU16::MIN, refill: Duration::from_secs(refill) };
        let options = SignallingOptions { rate, ..SignallingOptions::default() };
        let (url, _serving) = serve_with(&server, ANY_PORT, options).await;
        let mut connection = client.keep_connected(&url);
        let Some(ReconnectEvent::Up(..)) = soon("Up", connection.next()).await else { panic!() };
        let Some(ReconnectEvent::Failed { retry_after: Some(wait), .. }) =
            soon("a failure", client.keep_connected(&url).next()).await
        else {
            panic!()
        };
        // Within the seconds that have passed, and a wait of its own.
        let least = Duration::from_secs(least);
        assert!(wait >= least && wait <= least.max(Duration::from_secs(refill.min(1000))) + first);
    }
}

#[tokio::test]
async fn a_connection_is_given_up_after_as_many_attempts_as_allowed() {
    let backoff =
        Backoff { first: Duration::from_millis(1), max_attempts: Some(3), ..Backoff::default() };
    let client = builder().backoff(backoff).build().unwrap();
    let (_socket, url) = deserted();
    let mut connection = client.keep_connected(&url);
    for attempt in 1..=3 {
        match soon("a failure", connection.next()).await {
            Some(ReconnectEvent::Failed { error: ConnectError::Signalling(_), retry_after }) => {
                assert_eq!(retry_after.is_some(), attempt < 3);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(soon("the end", connection.next()).await.is_none());
    assert!(client.peers().is_empty());
}

/// As an application's `select!` does whose other branches are busy.
#[tokio::test]
async fn a_wait_between_attempts_ends_though_nobody_stays_for_it() {
    let first = Duration::from_millis(200);
    let client = builder().backoff(Backoff { first, ..Backoff::default() }).build().unwrap();
    let (_socket, url) = deserted();
    let mut connection = client.keep_connected(&url);
    for _ in 0..2 {
        soon("a failure", async {
            while timeout(Duration::from_millis(20), connection.next()).await.is_err() {}
        })
        .await;
    }
}

#[tokio::test]
async fn a_connection_of_a_node_that_shuts_down_is_over() {
    let client = eager().build().unwrap();
    let (_socket, url) = deserted();
    let mut connection = client.keep_connected(&url);
    assert!(matches!(
        soon("a failure", connection.next()).await,
        Some(ReconnectEvent::Failed { .. })
    ));
    let stopped = client.shut_down(LIMIT).await;
    assert_eq!((stopped.in_order, stopped.undelivered), (0, Undelivered::default()));
    soon("the end", async { while connection.next().await.is_some() {} }).await;
}

/// The first thing that a node lists, once it lists something.
async fn listed(node: &Node) -> Link {
    until("a link", || !node.peers().is_empty()).await;
    node.peers().remove(0).link
}

#[tokio::test]
async fn connecting_that_is_given_up_midway_frees_its_place() {
    // A server that takes requests and never answers.
    let silent = TcpListener::bind(ANY_PORT).await.unwrap();
    let url = format!("http://{}/webrtc", silent.local_addr().unwrap());
    let client = client();
    let link = tokio::select! {
        _ = client.connect(&url) => panic!("nobody answers"),
        link = listed(&client) => link,
    };
    assert!(client.peers().is_empty());
    assert_eq!(soon("its end", link.closed()).await, LinkEnded::Stopped);
    assert_eq!(down(&client).await.0, link.id());
}

#[tokio::test]
async fn connecting_that_is_given_up_after_the_answer_frees_its_place() {
    let client = client();
    let server = listening(builder().connect_timeout(Duration::from_millis(300)));
    let address = server.addresses().next().unwrap();
    let proxy = Proxy::before(address).await;
    proxy.set(|_, _| Vec::new());
    let offer = client.offer(LOOPBACK).unwrap();
    let answer = proxy.hide(address, &server.answer(offer.sdp()).await.unwrap());
    let link = tokio::select! {
        biased;
        _ = offer.finish(&answer) => panic!("nobody is there"),
        link = listed(&client) => link,
    };
    // At once, and not when it has tried for long enough.
    let ended = soon("its end", link.closed()).await;
    assert!(matches!(ended, LinkEnded::Session(Closed::ByUs { complete: true, .. })), "{ended}");
    until("both to be free", || client.peers().is_empty() && server.peers().is_empty()).await;
}

#[tokio::test]
async fn an_offer_that_is_dropped_frees_its_place() {
    let client = client();
    let offer = client.offer(LOOPBACK).unwrap();
    let link = listed(&client).await;
    drop(offer);
    assert!(client.peers().is_empty());
    assert_eq!(soon("its end", link.closed()).await, LinkEnded::Stopped);
}

/// Whoever comes and goes while the application accepts nobody must not fill the memory.
#[tokio::test]
async fn peers_that_nobody_accepts_do_not_pile_up() {
    let limits = NodeLimits { max_peers: 4, ..NodeLimits::default() };
    let (server, client) = (listening(builder().node_limits(limits)), client());
    for _ in 0..20 {
        let offer = client.offer(LOOPBACK).unwrap();
        let answer = server.answer(offer.sdp()).await.unwrap();
        let (_peer, link) = soon("a link", offer.finish(&answer)).await.unwrap();
        link.close(CloseCode::NORMAL, "");
        soon("its end", link.closed()).await;
        until("its place to be free", || server.peers().is_empty()).await;
    }
    let mut waiting = 0;
    while let Ok(accepted) = timeout(Duration::from_millis(20), server.accept()).await {
        assert!(accepted.is_some());
        waiting += 1;
    }
    assert!(waiting <= 4, "{waiting} peers wait, max_peers is 4");
}
