//! One document to many subscribers over sockets, beside servers that do the same.

use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, ensure};
use deltawire::prelude::*;
use tokio::task::JoinSet;

use crate::flow::{self, LEN, Times};
use crate::harness::{Job, Plan, block_on};
use crate::links::{self, DOC, Kind, PlainReceiver};
use crate::measure::{now, seconds_since};
use crate::nats::{self, Nats};
use crate::redis_server::{self, Disk, Redis};
use crate::report::{Place, Table, metric};
use crate::role::{Role, many_peers, signal};
use crate::server::Server;
use crate::stamp::{Order, Phase, Stamp};
use crate::websocket;

static TABLE: Table = Table {
    title: "Fan-out over sockets",
    notes: "One publisher, N subscribers, payloads of 128 B, each with a connection of its own over loopback; the server is a process of its \
            own, publisher and subscribers are another on the same cores. Deliveries a second: the publisher is no more than \
            2,048 deltas ahead of the slowest subscriber, whatever carries them. Latency: from publishing to each subscriber, at 1,000 \
            deltas a second; a dash where that rate could not be kept. CPU is the server's, with the system's share. deltawire keeps the \
            document in memory, with positions that subscribers check, and a CRC-32C a delta; Redis keeps it too, WebSocket and NATS \
            keep nothing. deltawire without a hub: a node over WebRTC that sends N peers the same payload, each as fast as \
            its link takes it: the most that a hub could reach.",
    metrics: &[
        metric("deliveries/s"),
        metric("server's CPU s a million"),
        metric("p50, ms"),
        metric("p99, ms"),
        metric("server's CPU s a million, at 1,000/s"),
    ],
    baseline: Some("deltawire, WebSocket"),
};

/// How many subscribers there are.
const SUBSCRIBERS: [(&str, usize); 3] = [("N = 4", 4), ("N = 50", 50), ("N = 200", 200)];

const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn add(plan: &mut Plan, quick: bool) {
    let times = Times::new(quick);
    for (column, count) in SUBSCRIBERS {
        let place = move |row| Place { table: &TABLE, row, column: Some(column) };
        for (row, kind) in [
            ("deltawire, WebSocket", Kind::WebSocket),
            ("deltawire, TCP", Kind::Tcp),
            ("deltawire, QUIC", Kind::Quic),
            ("deltawire, WebRTC", Kind::WebRtc),
        ] {
            plan.jobs.push(Job::new(place(row), move || {
                block_on(LIMIT, async move {
                    let server = Server::play(&Role::Hub)?;
                    let (publisher, subscribers) = links::ends(kind, &server, count).await?;
                    flow::measure(&server, publisher, subscribers, times).await
                })
            }));
        }
        plan.jobs.push(Job::new(place("deltawire without a hub, WebRTC"), move || {
            block_on(LIMIT, without_a_hub(count, times.flow))
        }));
        plan.jobs.push(Job::new(place("WebSocket, broadcast"), move || {
            block_on(LIMIT, async move {
                let server = Server::play(&Role::Broadcast)?;
                let (publisher, subscribers) = websocket::ends(&server, count).await?;
                flow::measure(&server, publisher, subscribers, times).await
            })
        }));
        plan.add_if(nats::there(), || {
            vec![Job::new(place("NATS"), move || {
                block_on(LIMIT, async move {
                    let nats = Nats::start(nats::Sync::Default)?;
                    let (publisher, subscribers) = nats.ends(count).await?;
                    flow::measure(&nats.server, publisher, subscribers, times).await
                })
            })]
        });
        plan.add_if(redis_server::there(), || {
            vec![Job::new(place("Redis streams"), move || {
                block_on(LIMIT, async move {
                    let redis = Redis::start(Disk::Unused)?;
                    let (publisher, subscribers) = redis.ends(count).await?;
                    flow::measure(&redis.server, publisher, subscribers, times).await
                })
            })]
        });
    }
}

/// Has a node send to so many peers, each by itself.
async fn without_a_hub(count: usize, time: Duration) -> anyhow::Result<Vec<f64>> {
    let milliseconds = time.as_millis().try_into()?;
    let mut server = Server::play(&Role::Senders { peers: count, milliseconds })?;
    let node = Kind::WebRtc.node()?;
    let links = links::connect_all(&node, server.said("http")?, count).await?;
    let mut reading = JoinSet::new();
    for link in links {
        let mut receiver = PlainReceiver::new(link);
        reading.spawn(async move {
            let mut order = Order::default();
            loop {
                let stamp = receiver.next().await?;
                order.check(stamp)?;
                if stamp.phase == Phase::End {
                    // With the end of the link the rest would be lost.
                    return anyhow::Ok((order.count(), receiver));
                }
            }
        });
    }
    let (cpu, start) = (server.cpu_time()?, now());
    server.go()?;
    let (mut deliveries, mut held) = (0, Vec::new());
    while let Some(read) = reading.join_next().await {
        let (count, receiver) = read??;
        deliveries += count;
        held.push(receiver);
    }
    ensure!(held.len() == count, "some are missing");
    let (took, cpu) = (seconds_since(start), server.cpu_time()? - cpu);
    let deliveries = deliveries as f64;
    Ok(vec![deliveries / took, 1e6 * cpu / deliveries])
}

/// Accepts so many peers, and once it is told to, sends the same to each for so long.
pub(crate) async fn send_to_each(
    peers: usize,
    time: Duration,
    go: mpsc::Receiver<String>,
) -> anyhow::Result<()> {
    let listen = (std::net::Ipv4Addr::LOCALHOST, 0).into();
    let node = Node::builder()
        .prefer_links(["webrtc"])
        .listen(listen)
        .node_limits(many_peers())
        .build()?;
    println!("http http://{}/webrtc", signal(&node).await?);
    let mut accepted = Vec::new();
    while accepted.len() < peers {
        accepted.push(node.accept().await.context("the node shut down")?);
    }
    tokio::task::spawn_blocking(move || go.recv()).await??;
    let start = now();
    let mut sending = JoinSet::new();
    for (mut peer, link) in accepted {
        sending.spawn(async move {
            let mut number = 0;
            loop {
                let over = seconds_since(start) >= time.as_secs_f64();
                let phase = if over { Phase::End } else { Phase::Flow };
                let payload = Stamp::now(number, phase).payload(LEN);
                peer.send.send(DeltaFields::new(DOC), &payload).await?;
                if over {
                    return anyhow::Ok((peer, link));
                }
                number += 1;
            }
        });
    }
    let mut held = Vec::new();
    while let Some(sent) = sending.join_next().await {
        held.push(sent??);
    }
    std::future::pending().await
}
