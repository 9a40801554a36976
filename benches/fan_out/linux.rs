use std::net::{IpAddr, Ipv4Addr};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, ensure};
use deltawire::LinkStats;
use deltawire::prelude::*;
use hdrhistogram::Histogram;
use tokio::runtime::Builder;
use tokio::sync::mpsc as channel;
use tokio::task::JoinSet;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The name of the server's threads.
const SERVER: &str = "server";

/// Time for what is on its way at the end.
const GRACE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, clap::Parser)]
pub(crate) struct Arguments {
    /// How many there are.
    #[arg(long, default_value_t = 200)]
    subscribers: usize,
    /// Deltas a second to each of them.
    #[arg(long, default_value_t = 50)]
    rate: u32,
    /// Bytes of a delta's payload, at least 8.
    #[arg(long, default_value_t = 64)]
    size: usize,
    /// Sockets of the server's, each moved by a task of its own; beyond one, by as many threads as well.
    #[arg(long, default_value_t = 1)]
    drivers: usize,
    /// How many deltas go to each.
    #[arg(long, default_value_t = 250)]
    deltas: u32,
    /// Cargo says so to benches.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What the server did.
struct Served {
    cpu: Duration,
    wall: Duration,
    traffic: Traffic,
}

/// Of all links together.
#[derive(Clone, Copy, Default)]
struct Traffic {
    sent: u64,
    received: u64,
    bytes: u64,
}

impl Traffic {
    fn of(links: &[Link]) -> Self {
        links.iter().map(Link::stats).fold(Self::default(), |sum, stats: LinkStats| Self {
            sent: sum.sent + stats.datagrams_sent,
            received: sum.received + stats.datagrams_received,
            bytes: sum.bytes + stats.bytes_sent,
        })
    }
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<()> {
    ensure!(arguments.size >= 8, "a delta carries the time: at least 8 bytes");
    let start = Instant::now();
    let (offers, inbox) = channel::channel(1);
    let server = thread::Builder::new().name(SERVER.to_owned());
    let server = server.spawn(move || serve(arguments, inbox, start))?;
    let latencies = subscribe(arguments, offers, start)?;
    let served = server.join().ok().context("the server panicked")??;

    let deliveries = f64::from(arguments.deltas) * arguments.subscribers as f64;
    let each = |count: u64| count as f64 / deliveries;
    let ms = |quantile| latencies.value_at_quantile(quantile) as f64 / 1e3;
    let Served { cpu, wall, traffic } = served;
    println!(
        "| drivers | subscribers | deltas/s | payload, B | p50, ms | p99, ms | server's CPU | CPU a delivery, µs | datagrams sent a delivery | received | bytes sent |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    println!(
        "| {} | {} | {} | {} | {:.2} | {:.2} | {:.0} % | {:.2} | {:.2} | {:.2} | {:.0} |",
        arguments.drivers,
        arguments.subscribers,
        arguments.rate,
        arguments.size,
        ms(0.5),
        ms(0.99),
        100.0 * cpu.as_secs_f64() / wall.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / deliveries,
        each(traffic.sent),
        each(traffic.received),
        each(traffic.bytes),
    );
    Ok(())
}

type Offered = (String, tokio::sync::oneshot::Sender<String>);

/// Answers offers, then sends each delta to all.
fn serve(
    arguments: Arguments,
    mut offers: channel::Receiver<Offered>,
    start: Instant,
) -> anyhow::Result<Served> {
    let runtime = match arguments.drivers {
        1 => Builder::new_current_thread().enable_all().build()?,
        drivers => Builder::new_multi_thread()
            .worker_threads(drivers)
            .thread_name(SERVER)
            .enable_all()
            .build()?,
    };
    runtime.block_on(async {
        let node = Node::builder()
            .prefer_links(["webrtc"])
            .listen((LOOPBACK, 0).into())
            .drivers(arguments.drivers)
            .build()?;
        let (mut peers, mut links) = (Vec::new(), Vec::new());
        while let Some((offer, answer)) = offers.recv().await {
            // The subscriber tells of its own failures.
            let _ = answer.send(node.answer(&offer).await?);
            let (peer, link) = node.accept().await.context("the server shut down")?;
            peers.push(peer);
            links.push(link);
        }
        let before = (server_cpu()?, Traffic::of(&links), Instant::now());
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / arguments.rate);
        for _ in 0..arguments.deltas {
            ticks.tick().await;
            let now = (start.elapsed().as_micros() as u64).to_le_bytes();
            for peer in &mut peers {
                let mut grant = peer.send.reserve(arguments.size).await?;
                grant.payload_mut()[..8].copy_from_slice(&now);
                grant.commit(DeltaFields::new(DocId([7; 16])), arguments.size)?;
            }
        }
        ticks.tick().await;
        let (cpu, wall) = (server_cpu()? - before.0, before.2.elapsed());
        let after = Traffic::of(&links);
        let traffic = Traffic {
            sent: after.sent - before.1.sent,
            received: after.received - before.1.received,
            bytes: after.bytes - before.1.bytes,
        };
        drop(peers);
        node.shut_down(GRACE).await;
        Ok(Served { cpu, wall, traffic })
    })
}

/// Connects all, and notes how long each delta took to each, µs.
fn subscribe(
    arguments: Arguments,
    offers: channel::Sender<Offered>,
    start: Instant,
) -> anyhow::Result<Histogram<u64>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (latencies, noted) = mpsc::channel();
    runtime.block_on(async {
        let node = Node::builder().prefer_links(["webrtc"]).build()?;
        let mut subscribers = JoinSet::new();
        for _ in 0..arguments.subscribers {
            let offer = node.offer(LOOPBACK)?;
            let (answer, answered) = tokio::sync::oneshot::channel();
            offers.send((offer.sdp().to_owned(), answer)).await.ok().context("no server")?;
            let (mut peer, _link) = offer.finish(&answered.await?).await?;
            let latencies = latencies.clone();
            subscribers.spawn(async move {
                for _ in 0..arguments.deltas {
                    let frame = peer.receive.next().await?;
                    let payload = frame.delta()?.payload();
                    let sent = payload.first_chunk().context("a delta without a time")?;
                    let now = start.elapsed().as_micros() as u64;
                    latencies.send(now.saturating_sub(u64::from_le_bytes(*sent)))?;
                }
                anyhow::Ok(())
            });
        }
        drop(offers);
        while let Some(subscriber) = subscribers.join_next().await {
            subscriber??;
        }
        anyhow::Ok(())
    })?;
    drop(latencies);
    let mut histogram = Histogram::new(3)?;
    noted.into_iter().try_for_each(|latency| histogram.record(latency))?;
    Ok(histogram)
}

/// CPU time of all of the server's threads.
fn server_cpu() -> anyhow::Result<Duration> {
    let mut total = Duration::ZERO;
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        if fs::read_to_string(task.join("comm"))?.trim() == SERVER {
            let times = fs::read_to_string(task.join("schedstat"))?;
            let nanos = times.split_whitespace().next().context("schedstat says nothing")?;
            total += Duration::from_nanos(nanos.parse()?);
        }
    }
    Ok(total)
}
