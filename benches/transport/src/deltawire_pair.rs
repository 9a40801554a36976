//! Two nodes in this process, connected over loopback UDP, and what peers do in these jobs.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context, bail};
use deltawire::LinkStats;
use deltawire::prelude::*;
use deltawire::webrtc::EngineKind;
use hdrhistogram::Histogram;

use crate::harness::Links;
use crate::measure::{FILL, Flow, Meter, OneWay, PING, PingPong, RoundTrips};
use crate::messages::Messages;
use crate::plan::{LIMIT, Measured};

pub(crate) const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// How long it may take until a sender learns that its peer is gone.
const END: Duration = Duration::from_secs(5);

pub(crate) fn one_way(plan: OneWay, links: &Links) -> anyhow::Result<Measured> {
    one_way_on(EngineKind::default(), plan, links)
}

pub(crate) fn one_way_on_str0m(plan: OneWay, links: &Links) -> anyhow::Result<Measured> {
    one_way_on(EngineKind::Str0m, plan, links)
}

fn one_way_on(engine: EngineKind, plan: OneWay, links: &Links) -> anyhow::Result<Measured> {
    let limits = limits(plan.size);
    let builder = || Node::builder().prefer_links(["webrtc"]).engine(engine).limits(limits);
    let (flow, _) = run(false, LIMIT, one_way_between(builder(), builder(), plan, links))?;
    Ok(flow.into())
}

/// Sends from one node to another. Tells how that went, and what the sender's link knows of it.
pub(crate) async fn one_way_between(
    initiator: NodeBuilder,
    acceptor: NodeBuilder,
    plan: OneWay,
    links: &Links,
) -> anyhow::Result<(Flow, LinkStats)> {
    one_way_over(connect(initiator, acceptor, links).await?, plan).await
}

/// Sends from one end to the other.
pub(crate) async fn one_way_over(
    ends: [End; 2],
    plan: OneWay,
) -> anyhow::Result<(Flow, LinkStats)> {
    let [alice, bob] = ends;
    let Peer { send: sender, receive: _unused, command: _commands } = alice.peer;
    let sending = tokio::spawn(send_until_closed(sender, plan.size));
    let flow = tokio::spawn(receive(bob.peer, plan)).await??;
    let stats = alice.link.stats();
    let ended = tokio::time::timeout(END, sending).await;
    ended.context("the sender was not told that its peer is gone")???;
    Ok((flow, stats))
}

pub(crate) fn ping_pong(plan: PingPong, links: &Links) -> anyhow::Result<Histogram<u64>> {
    ping_pong_on(EngineKind::default(), plan, links)
}

pub(crate) fn ping_pong_on_str0m(plan: PingPong, links: &Links) -> anyhow::Result<Histogram<u64>> {
    ping_pong_on(EngineKind::Str0m, plan, links)
}

fn ping_pong_on(
    engine: EngineKind,
    plan: PingPong,
    links: &Links,
) -> anyhow::Result<Histogram<u64>> {
    run(plan.one_core, LIMIT, async {
        let builder = || Node::builder().prefer_links(["webrtc"]).engine(engine);
        ping_pong_over(connect(builder(), builder(), links).await?, plan).await
    })
}

/// Sends messages back and forth between the ends.
pub(crate) async fn ping_pong_over(
    ends: [End; 2],
    plan: PingPong,
) -> anyhow::Result<Histogram<u64>> {
    let [alice, bob] = ends;
    tokio::spawn(echo(bob.peer));
    tokio::spawn(ping(alice.peer, plan)).await?
}

/// Rings and windows that hold messages of this size: the defaults where they do.
pub(crate) fn limits(size: usize) -> Limits {
    // One that is not opened costs nothing.
    let default = Limits { max_senders: 128, ..Limits::default() };
    if size < default.send_ring / 2 {
        return default;
    }
    Limits { send_ring: 4 * size, data_window: 4 * size as u64, ..default }
}

/// One end of a link.
pub(crate) struct End {
    pub(crate) peer: Peer,
    pub(crate) link: Link,
}

/// Connects two nodes without HTTP.
pub(crate) async fn connect(
    initiator: NodeBuilder,
    acceptor: NodeBuilder,
    links: &Links,
) -> anyhow::Result<[End; 2]> {
    let initiator = initiator.build()?;
    let acceptor = acceptor.listen((LOOPBACK, 0).into()).build()?;
    let offer = initiator.offer(LOOPBACK)?;
    let answer = acceptor.answer(offer.sdp()).await?;
    let (alice, link) = offer.finish(&answer).await?;
    links.watch("initiator", &link);
    let alice = End { peer: alice, link };
    let (bob, link) = acceptor.accept().await.context("the acceptor shut down")?;
    links.watch("acceptor", &link);
    Ok([alice, End { peer: bob, link }])
}

/// Runs it on a runtime of its own, for at most so long.
pub(crate) fn run<T>(
    one_thread: bool,
    limit: Duration,
    job: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let mut builder = match one_thread {
        true => tokio::runtime::Builder::new_current_thread(),
        false => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = builder.enable_all().build()?;
    let result = runtime.block_on(async { tokio::time::timeout(limit, job).await });
    runtime.shutdown_timeout(Duration::from_secs(1));
    result.unwrap_or_else(|_| bail!("not done within {limit:?}"))
}

/// Copies a slice into one message after the other, until nobody takes them any more.
pub(crate) async fn send_until_closed(mut sender: Sender, size: usize) -> anyhow::Result<()> {
    let source = vec![FILL; size];
    while let Ok(mut grant) = sender.reserve(size).await {
        grant.payload_mut().copy_from_slice(&source);
        // The other end may have gone since.
        if grant.commit(DeltaFields::new(DocId([0; 16])), size).is_err() {
            break;
        }
    }
    // A reservation that could never be had ends at once too.
    anyhow::ensure!(sender.is_closed(), "a message of {size} bytes does not fit the ring");
    Ok(())
}

/// Counts what comes, then leaves.
pub(crate) async fn receive(mut peer: Peer, plan: OneWay) -> anyhow::Result<Flow> {
    let mut meter = Meter::start(plan);
    loop {
        let frame = peer.receive.next().await?;
        if let Some(flow) = meter.message(frame.delta()?.payload())? {
            return Ok(flow);
        }
    }
}

/// Sends a message, waits for it to come back, and so on.
pub(crate) async fn ping(mut peer: Peer, plan: PingPong) -> anyhow::Result<Histogram<u64>> {
    let mut round_trips = RoundTrips::start(plan)?;
    loop {
        send(&mut peer.send, &[FILL; PING]).await?;
        let frame = peer.receive.next().await?;
        if let Some(histogram) = round_trips.came_back(frame.delta()?.payload())? {
            return Ok(histogram);
        }
    }
}

/// Sends back what comes, until nothing comes any more.
pub(crate) async fn echo(peer: Peer) -> anyhow::Result<()> {
    let Peer { send: mut sender, mut receive, command: _command } = peer;
    while let Some(payload) = next(&mut receive).await? {
        send(&mut sender, payload).await?;
    }
    Ok(())
}

/// The next delta's payload; `None` at the end.
pub(crate) async fn next(receiver: &mut Receiver) -> anyhow::Result<Option<&[u8]>> {
    let Ok(frame) = receiver.next().await else { return Ok(None) };
    Ok(Some(frame.delta()?.payload()))
}

pub(crate) async fn send(sender: &mut Sender, payload: &[u8]) -> anyhow::Result<()> {
    let mut grant = sender.reserve(payload.len()).await?;
    grant.payload_mut().copy_from_slice(payload);
    Ok(grant.commit(DeltaFields::new(DocId([0; 16])), payload.len())?)
}

/// One end of a link's commands, or of its deltas.
pub(crate) struct Channel {
    pub(crate) send: Sender,
    pub(crate) receive: Receiver,
}

impl Messages for Channel {
    async fn send(&mut self, message: &[u8]) -> anyhow::Result<()> {
        send(&mut self.send, message).await
    }

    async fn next(&mut self) -> anyhow::Result<Option<&[u8]>> {
        next(&mut self.receive).await
    }
}
