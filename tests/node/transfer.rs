//! What links carry: every length, both channels, both ways, from many at once.

use std::collections::BTreeSet;
use std::time::Duration;

use deltawire::{LinkEnded, Node, PacingLimits};
use deltawire_channels::session::{Closed, Missing, SendPriority};
use deltawire_channels::{Delivery, Limits, Order, Peer, Reliability};
use deltawire_framing::control::CloseCode;
use tokio::time::timeout;

use crate::deltas::{self, fill_up, longest, receive, receive_all, transfer};
use crate::nodes::{End, builder, client, join, join_with, listening, pair, server, soon, until};
use crate::proxy::Proxy;
use crate::random::Random;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Deltas both ways at once.
async fn exchange(near: &mut Peer, far: &mut Peer, lengths: &[usize]) {
    tokio::join!(
        transfer(&mut near.send, &mut far.receive, lengths),
        transfer(&mut far.send, &mut near.receive, lengths),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deltas_of_every_length_arrive_whole_both_ways() {
    let (_nodes, ((mut near, near_link), (mut far, far_link))) = pair(builder()).await;
    // Where a frame, a ring or a window is full to the last byte, and one more or less.
    let frame = 16 * KIB - 16 - 48;
    let lengths = [
        [0, 1, 64, KIB, frame - 1],
        [frame, frame + 1, 16 * KIB - 1, 16 * KIB, 16 * KIB + 1],
        [64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 500 * KIB, longest(MIB)],
        [1, longest(MIB), 0, longest(MIB) - 1, 64],
    ];
    exchange(&mut near, &mut far, lengths.as_flattened()).await;
    for link in [near_link, far_link] {
        let counted = || (link.stats().session.data_sent, link.stats().session.data_received);
        until("all to be counted", || counted().0.messages == 20 && counted().1.messages == 20)
            .await;
        assert_eq!(counted().0.refused + counted().1.refused, 0);
    }
}

#[tokio::test]
async fn a_delta_that_no_ring_holds_is_refused_at_once() {
    let (_nodes, ((mut near, _near_link), (_far, _far_link))) = pair(builder()).await;
    assert!(near.send.reserve(MIB).await.is_err());
    assert!(near.command.send.reserve(64 * KIB).await.is_err());
    assert!(near.send.reserve(usize::MAX).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_mixed_messages_keep_their_order_on_both_channels_both_ways() {
    let (_nodes, ((mut near, _near_link), (mut far, _far_link))) = pair(builder()).await;
    let mut random = Random(1);
    let mut lengths = |long: u64| -> Vec<usize> {
        let mut len = || if random.percent(1) { random.below(long) } else { random.below(600) };
        (0..10_000).map(|_| len() as usize).collect()
    };
    let (deltas, commands) = (lengths(100_000), lengths(30_000));
    let (near_command, far_command) = (&mut near.command, &mut far.command);
    tokio::join!(
        transfer(&mut near.send, &mut far.receive, &deltas),
        transfer(&mut far.send, &mut near.receive, &deltas),
        transfer(&mut near_command.send, &mut far_command.receive, &commands),
        transfer(&mut far_command.send, &mut near_command.receive, &commands),
    );
}

#[tokio::test]
async fn a_writer_waits_for_a_stalled_reader_and_nothing_is_held_beyond_the_limits() {
    let limits = Limits {
        send_ring: 256 * KIB,
        data_window: 128 << 10,
        // Else it grows as what came is read.
        max_data_window: 128 << 10,
        ..Limits::default()
    };
    let pacing = PacingLimits { max: 64 * KIB, ..PacingLimits::default() };
    let (_nodes, ((mut near, near_link), (mut far, far_link))) =
        pair(builder().limits(limits).pacing(pacing)).await;
    for len in [100, 5_000, 60_000] {
        let step = (16 + 48 + len as u64).next_multiple_of(16);
        let start = near_link.stats().session.data_sent.messages;
        let mut sent = 0;
        // The ring and the window have no room for one more.
        until("a full ring and window", || {
            sent = fill_up(&mut near.send, sent, len);
            let held = far_link.stats().session.data_received.queued_bytes;
            held + step > limits.data_window && near.send.try_reserve(len).is_err()
        })
        .await;
        // What was just sent may still give its room back; then nothing more does.
        while timeout(Duration::from_millis(20), near.send.reserve(len)).await.is_ok() {
            sent = fill_up(&mut near.send, sent, len);
        }
        assert!(sent * step <= (limits.send_ring as u64) + limits.data_window, "{sent}");
        let stats = near_link.stats();
        assert!(stats.in_flight <= (pacing.max + limits.max_frame_len) as u64, "{stats:?}");
        assert!(far_link.stats().session.data_received.queued_bytes <= limits.data_window);

        for number in 0..sent {
            assert_eq!(receive(&mut far.receive).await, (number, len));
        }
        let room = soon("room", near.send.reserve(len)).await;
        drop(room.unwrap());
        far.receive.release();
        until("the last ones to be counted", || {
            near_link.stats().session.data_sent.messages == start + sent
        })
        .await;
    }
}

#[tokio::test]
async fn a_command_overtakes_all_bulk_that_waits() {
    let (_nodes, ((mut near, _near_link), (mut far, far_link))) = pair(builder()).await;
    let len = 10_000;
    let mut sent = 0;
    // Nobody reads: what the window takes has arrived, and the ring is full behind it.
    until("a full window", || {
        sent = fill_up(&mut near.send, sent, len);
        far_link.stats().session.data_received.queued_bytes + len as u64 + 64 > MIB as u64
    })
    .await;
    for number in 0..100 {
        deltas::send(&mut near.command.send, number, 64).await;
        assert_eq!(receive(&mut far.command.receive).await, (number, 64));
    }
    // A long delta's fragments let commands through too.
    for number in 0..sent {
        assert_eq!(receive(&mut far.receive).await.0, number);
    }
}

#[tokio::test]
async fn commands_come_through_while_bulk_is_read() {
    let (_nodes, ((mut near, _near_link), (mut far, _far_link))) = pair(builder()).await;
    let total = 2_000;
    let Peer { command, send: sender, .. } = &mut near;
    let bulk = async {
        for number in 0..total {
            deltas::send(sender, number, 16_000).await;
        }
    };
    let commands = async {
        // By the bulk that was sent, not by time: the command goes behind message 100.
        deltas::send(&mut command.send, 7, 64).await;
    };
    let reading = async {
        let mut before = None;
        for number in 0..total {
            if before.is_none() && far.command.receive.try_next().is_ok() {
                before = Some(number);
            }
            assert_eq!(receive(&mut far.receive).await, (number, 16_000));
        }
        before
    };
    let ((), (), before) = tokio::join!(bulk, commands, reading);
    let before = before.expect("the command came before the end");
    // What ring, pacing and window hold is 4 MiB, 260 messages.
    assert!(before < 300, "{before} bulk messages came before the command");
}

/// A link whose deltas are delivered like this, through a proxy that loses some datagrams.
async fn lossy(delivery: Delivery, percent: u64) -> (Proxy, [Node; 2], End, End) {
    let loss_timeout = Duration::from_millis(50);
    // SCTP waits a second and more before it sends again what no later message tells of.
    let idle_timeout = Duration::from_secs(60);
    let limits = Limits { data_window: 64 << 10, loss_timeout, idle_timeout, ..Limits::default() };
    let builder = builder().delivery(delivery, delivery).limits(limits);
    let (client, server) = (builder.clone().build().unwrap(), listening(builder));
    let address = server.addresses().next().unwrap();
    let proxy = Proxy::before(address).await;
    let hide = |answer: String| proxy.hide(address, &answer);
    let (near, far) = join_with(&client, &server, hide).await;
    let mut random = Random(percent);
    proxy.set(move |_, bytes| if random.percent(percent) { Vec::new() } else { vec![bytes] });
    (proxy, [client, server], near, far)
}

#[tokio::test]
async fn unordered_deltas_each_arrive_once() {
    let delivery = Delivery { order: Order::Unordered, ..Delivery::default() };
    let (_proxy, _nodes, (mut near, _near_link), (mut far, _far_link)) = lossy(delivery, 2).await;
    let total = 120;
    let sending = async {
        for number in 0..total {
            deltas::send(&mut near.send, number, 100 + (number as usize % 7) * 3_000).await;
        }
    };
    let receiving = async {
        let mut left: BTreeSet<u64> = (0..total).collect();
        while !left.is_empty() {
            let (number, len) = receive(&mut far.receive).await;
            assert!(left.remove(&number), "{number} came twice");
            assert_eq!(len, 100 + (number as usize % 7) * 3_000);
        }
    };
    tokio::join!(sending, receiving);
}

#[tokio::test]
async fn deltas_that_are_not_sent_again_get_lost_and_hold_up_nothing() {
    let reliability = Reliability::MaxRetransmits(0);
    let delivery = Delivery { order: Order::Unordered, reliability };
    let (_proxy, _nodes, (mut near, near_link), (mut far, _far_link)) = lossy(delivery, 2).await;
    // Far more than a window, so that what was lost has to be granted anew.
    let (total, len) = (1_000, 1_000);
    let sending = async {
        for number in 0..total {
            deltas::send(&mut near.send, number, len).await;
        }
        near_link.close(CloseCode::NORMAL, "");
        near_link.closed().await
    };
    let both = async { tokio::join!(sending, receive_all(&mut far.receive)) };
    let (ended, came) = soon("what was not lost", both).await;
    let by_us =
        Closed::ByUs { code: CloseCode::NORMAL, complete: true, missing: Missing::default() };
    assert_eq!(ended, LinkEnded::Session(by_us));
    let unique: BTreeSet<_> = came.iter().collect();
    assert_eq!(unique.len(), came.len(), "some came twice");
    let total = total as usize;
    assert!(came.len() > total / 2 && came.len() < total, "{} of {total}", came.len());
}

#[tokio::test]
async fn senders_share_a_link_and_each_keeps_its_order() {
    let (_nodes, ((mut near, link), (mut far, _far_link))) = pair(builder()).await;
    let mut senders = Vec::new();
    for weight in 1..=3 {
        senders.push(
            link.open_sender(SendPriority { weight, ..SendPriority::default() }).await.unwrap(),
        );
    }
    let (each, count) = (200, senders.len() as u64 + 1);
    let len = |number: u64| (number as usize * 37) % 3_000 + if number == 50 { 300_000 } else { 0 };
    let mut sending = tokio::task::JoinSet::new();
    senders.push(near.send);
    for (index, mut sender) in senders.into_iter().enumerate() {
        sending.spawn(async move {
            for number in 0..each {
                let number = index as u64 * 1_000 + number;
                deltas::send(&mut sender, number, len(number % 1_000)).await;
            }
            sender
        });
    }
    let mut next = vec![0; count as usize];
    for _ in 0..count * each {
        let (number, came_len) = receive(&mut far.receive).await;
        let next = &mut next[number as usize / 1_000];
        assert_eq!(number % 1_000, *next);
        assert_eq!(came_len, len(number % 1_000));
        *next += 1;
    }
    assert_eq!(next, vec![each; count as usize]);
    // Kept until here: a sender that is dropped makes room for another.
    let kept = sending.join_all().await;
    let mut more = Vec::new();
    while let Ok(sender) = link.open_sender(SendPriority::default()).await {
        more.push(sender);
    }
    assert_eq!(kept.len() + more.len(), Limits::default().max_senders);
    near.command.receive.release();
}

/// What one peer sends a node forwards to five, of which one reads slowly.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_from_one_goes_to_many_from_where_it_lies() {
    const COUNT: u64 = 1_000;
    let len = |number: u64| if number % 100 == 7 { 100_000 } else { (number as usize * 7) % 2_000 };
    let server = server();
    let origin = client();
    let ((mut near, _near_link), (mut far, far_link)) = join(&origin, &server).await;
    let mut subscribers = tokio::task::JoinSet::new();
    let (mut senders, mut kept) = (Vec::new(), Vec::new());
    for index in 0..5 {
        let node = client();
        let ((mut reader, link), (writer, there)) = join(&node, &server).await;
        senders.push(there.open_shared_sender(SendPriority::default()).await.unwrap());
        kept.push((writer, there));
        subscribers.spawn(async move {
            for number in 0..COUNT {
                assert_eq!(receive(&mut reader.receive).await, (number, len(number)));
                if index == 0 && number % 20 == 0 {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
            (node, reader, link)
        });
    }
    let sending = async {
        for number in 0..COUNT {
            deltas::send(&mut near.send, number, len(number)).await;
        }
    };
    let forwarding = async {
        for _ in 0..COUNT {
            let message = far.receive.take().await.unwrap();
            for sender in &mut senders {
                sender.send(&message).await.unwrap();
            }
        }
    };
    soon("all to be forwarded", async { tokio::join!(sending, forwarding) }).await;
    soon("all to come", subscribers.join_all()).await;
    let received = far_link.stats().session.data_received;
    let long = (0..COUNT).filter(|number| len(*number) == 100_000).count() as u64;
    // Only what came in pieces was copied, to its place; some that waited were short.
    assert!(received.copied_bytes < long * 100_100 + COUNT * 1_100, "{received:?}");
    assert_eq!(received.messages, COUNT);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_peers_of_one_node_do_not_mix() {
    let server = server();
    let mut running = tokio::task::JoinSet::new();
    let mut links = Vec::new();
    for peer in 0..12 {
        let client = client();
        links.push((peer, join(&client, &server).await, client));
        assert_eq!(server.peers().len(), peer + 1);
    }
    for (peer, ((mut near, near_link), (mut far, _)), client) in links {
        let lengths: Vec<usize> =
            (0..150).map(|number| (number * (peer + 1) * 61) % 20_000).collect();
        running.spawn(async move {
            exchange(&mut near, &mut far, &lengths).await;
            near_link.close(CloseCode(300 + peer as u32), "done");
            assert!(receive_all(&mut far.receive).await.is_empty());
            client.shut_down(Duration::from_secs(30)).await
        });
    }
    assert!(running.join_all().await.into_iter().all(|stopped| stopped.is_complete()));
    until("all to have ended", || server.peers().is_empty()).await;
}

#[tokio::test]
async fn two_links_between_the_same_nodes_do_not_mix() {
    let (client, server) = (client(), server());
    let ((mut near, near_link), (mut far, _)) = join(&client, &server).await;
    let ((mut near_two, _), (mut far_two, _)) = join(&client, &server).await;
    let (one, two): (Vec<_>, Vec<_>) =
        ((0..200).collect(), (0..200).map(|len| 5_000 - len).collect());
    tokio::join!(exchange(&mut near, &mut far, &one), exchange(&mut near_two, &mut far_two, &two));
    near_link.close(CloseCode::NORMAL, "");
    soon("its end", near_link.closed()).await;
    exchange(&mut near_two, &mut far_two, &one).await;
}

/// Each node listens, so links go both ways between them.
#[tokio::test]
async fn nodes_that_both_listen_connect_to_each_other() {
    let (one, other) = (server(), server());
    let ((mut near, _), (mut far, _)) = join(&one, &other).await;
    let ((mut near_two, _), (mut far_two, _)) = join(&other, &one).await;
    let lengths = [0, 70_000, 3];
    tokio::join!(
        exchange(&mut near, &mut far, &lengths),
        exchange(&mut near_two, &mut far_two, &lengths)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_drivers_share_the_peers() {
    let server = listening(builder().drivers(2));
    let addresses: BTreeSet<_> = server.addresses().collect();
    assert_eq!(addresses.len(), 2);
    let mut used = BTreeSet::new();
    let mut ends = Vec::new();
    for _ in 0..4 {
        let client = client();
        let note = |answer: String| {
            let at = |port| answer.contains(&format!(" {port} typ host"));
            used.extend(addresses.iter().filter(|address| at(address.port())));
            answer
        };
        ends.push((join_with(&client, &server, note).await, client));
    }
    assert_eq!(used, addresses);
    let mut running = tokio::task::JoinSet::new();
    for (((mut near, _), (mut far, _)), _client) in ends {
        running.spawn(async move { exchange(&mut near, &mut far, &[1_000; 300]).await });
    }
    running.join_all().await;
}

/// The side that asks checks too, where the node is not told to leave it to the other.
#[tokio::test]
async fn a_node_that_is_not_lite_carries_the_same() {
    let (_nodes, ((mut near, _), (mut far, _))) = pair(builder().ice_lite(false)).await;
    exchange(&mut near, &mut far, &[0, 1, 100_000, 16_384]).await;
}

#[tokio::test]
async fn a_lost_link_is_told_though_nobody_reads() {
    let (nodes, ((mut near, near_link), (far, far_link))) = pair(builder()).await;
    // More transport messages than max_arrivals.
    for number in 0..600 {
        deltas::send(&mut near.send, number, 10).await;
        while near_link.stats().session.data_sent.messages <= number {
            tokio::task::yield_now().await;
        }
    }
    drop(near);
    soon("its end", far_link.closed()).await;
    until("its place to be free", || nodes[1].peers().is_empty()).await;
    drop(far);
}
