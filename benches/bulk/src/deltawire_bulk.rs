//! Bulk over a link of a kind, and the link alone.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context;
use deltawire::bulk::{Bulk, BulkOptions, Existing, FileName, Proposal, Sink, Source};
use deltawire::channels::Command;
use deltawire::prelude::*;
use deltawire::{Admission, Link};

use crate::measure::{Took, Watch};

const MESSAGE: usize = 64 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Tcp,
    Quic,
}

/// Two nodes that have a link.
struct Linked {
    here: (Peer, Link),
    there: (Peer, Link),
    nodes: [Node; 2],
}

async fn link(kind: Kind) -> anyhow::Result<Linked> {
    let any = "127.0.0.1:0".parse()?;
    let far = match kind {
        Kind::Tcp => Node::builder().accept_tcp(any, Admission::anyone()),
        Kind::Quic => Node::builder().listen(any).accept_quic(Admission::anyone()),
    };
    let far = far.build()?;
    let url = match kind {
        Kind::Tcp => format!("tcp://{}", far.tcp_address().context("no address")?),
        Kind::Quic => format!("quic://{}", far.addresses().next().context("no address")?),
    };
    let near = Node::builder().build()?;
    let (here, there) = tokio::join!(near.connect(&url), far.accept());
    Ok(Linked { here: here?, there: there.context("nobody came")?, nodes: [near, far] })
}

/// Messages of 64 KiB one way, so many bytes.
pub(crate) async fn alone(kind: Kind, len: u64) -> anyhow::Result<Took> {
    let Linked { here: (near, _link), there: (far, _far_link), nodes: _nodes } = link(kind).await?;
    let (mut send, mut receive) = (near.send, far.receive);
    let watch = Watch::start();
    let sending = tokio::spawn(async move {
        for _ in 0..len / MESSAGE as u64 {
            send.reserve_opaque(MESSAGE).await?.commit(MESSAGE)?;
        }
        anyhow::Ok(send)
    });
    for _ in 0..len / MESSAGE as u64 {
        receive.next().await?;
    }
    let took = watch.stop();
    drop(sending.await??);
    Ok(took)
}

/// What a file took.
pub(crate) struct Moved {
    /// The sender's hashing, before it is offered.
    pub(crate) hashed: Took,
    /// From when it is accepted.
    pub(crate) moved: Took,
    /// Round trips of commands meanwhile.
    pub(crate) beside: Vec<Duration>,
}

pub(crate) async fn run(kind: Kind, from: &Path, to: &Path) -> anyhow::Result<Moved> {
    let Linked { here: (near, near_link), there: (far, far_link), nodes } = link(kind).await?;
    let bulk =
        |node: &Node| Bulk::new(node.runtime().clone(), options()?).map_err(anyhow::Error::from);
    let (here, there) = (bulk(&nodes[0])?, bulk(&nodes[1])?);
    let ends = [(here.clone(), near_link, near.receive), (there.clone(), far_link, far.receive)];
    let attending = ends.map(|(bulk, link, receive)| {
        tokio::spawn(async move { bulk.attend(&link, receive).await.map(drop) })
    });
    let echoing = tokio::spawn(echo(far.command));
    let name = FileName::new("moved")?;
    let watch = Watch::start();
    let sent = here.send(Source::file(from), name)?;
    let Some(Proposal::Offer(offer)) = there.proposals().await else {
        anyhow::bail!("no offer came");
    };
    let hashed = watch.stop();
    let watch = Watch::start();
    let received = offer.accept(Sink::folder(to, Existing::Refuse))?;
    let times = Arc::new(Mutex::new(Vec::new()));
    let asking = tokio::spawn(round_trips(near.command, times.clone()));
    received.finished().await?;
    sent.finished().await?;
    let moved = watch.stop();
    attending.iter().for_each(|task| task.abort());
    asking.abort();
    echoing.abort();
    std::fs::remove_file(to.join("moved"))?;
    let beside = std::mem::take(&mut *times.lock().unwrap_or_else(|times| times.into_inner()));
    Ok(Moved { hashed, moved, beside })
}

/// Round trips of commands without anything beside them.
pub(crate) async fn quiet(kind: Kind) -> anyhow::Result<Vec<Duration>> {
    let Linked { here: (near, _link), there: (far, _far_link), nodes: _nodes } = link(kind).await?;
    let echoing = tokio::spawn(echo(far.command));
    let times = Arc::new(Mutex::new(Vec::new()));
    let asking = tokio::spawn(round_trips(near.command, times.clone()));
    tokio::time::sleep(Duration::from_millis(500)).await;
    asking.abort();
    echoing.abort();
    Ok(std::mem::take(&mut *times.lock().unwrap_or_else(|times| times.into_inner())))
}

async fn round_trips(mut command: Command, times: Arc<Mutex<Vec<Duration>>>) -> anyhow::Result<()> {
    loop {
        let begun = Instant::now();
        command.send.send(DeltaFields::new(DocId([1; 16])), b"ping").await?;
        command.receive.next().await?;
        times.lock().unwrap_or_else(|times| times.into_inner()).push(begun.elapsed());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn echo(mut command: Command) -> anyhow::Result<()> {
    loop {
        command.receive.next().await?;
        command.send.send(DeltaFields::new(DocId([1; 16])), b"pong").await?;
    }
}

/// `BULK_ASKED`: KiB that are asked for at a time, to try others than the default.
fn options() -> anyhow::Result<BulkOptions> {
    let mut options = BulkOptions::default();
    if let Ok(asked) = std::env::var("BULK_ASKED") {
        options.max_asked = asked.parse::<usize>().context("BULK_ASKED")? << 10;
    }
    Ok(options)
}
