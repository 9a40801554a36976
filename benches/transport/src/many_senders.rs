//! Many senders on one link, all as fast as they can: what goes through, and how it is shared out.
//!
//! deltawire: senders of one link (`Link::open_sender`), of the same weight. quinn: a stream for each, of the same priority, with windows
//! for one of them of 1.25 MB as is its default and 8 MiB for all.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context, ensure};
use deltawire::channels::session::SendPriority;
use deltawire::prelude::*;
use quinn::{TransportConfig, VarInt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::deltawire_pair::{self, End};
use crate::harness::{Job, Links};
use crate::messages::Messages;
use crate::quinn_pair::Quic;
use crate::report::{Place, Table, metric};
use crate::streams::{self, Kind};
use crate::{deltawire_quic, deltawire_sctp, plan, websocket};

static TABLE: Table = Table {
    title: "Many senders",
    notes: "100 senders of one link send messages of 16 KiB as fast as they can, one way. Shares: of the sender that got least through and of the \
            one that got most, in per cent of a hundredth of all.",
    metrics: &[metric("MB/s together"), metric("least, %"), metric("most, %")],
    baseline: Some("deltawire, QUIC"),
};

const SENDERS: usize = 100;
const LEN: usize = 16 << 10;
const LIMIT: Duration = Duration::from_secs(60);

/// Messages that are counted, after as many tenths.
#[derive(Clone, Copy)]
struct Plan {
    messages: usize,
}

pub(crate) fn jobs(quick: bool) -> [Job; 6] {
    let plan = Plan { messages: if quick { 4_000 } else { 80_000 } };
    let job = |row, run: fn(Plan, &Links) -> anyhow::Result<Vec<f64>>| Job {
        limit: LIMIT,
        ..plan::job(Place { table: &TABLE, row, column: None }, move |links| run(plan, links))
    };
    [
        job("deltawire", |plan, links| {
            run(async move {
                let limits = deltawire_pair::limits(0);
                let builder = || Node::builder().prefer_links(["webrtc"]).limits(limits);
                deltawire(plan, deltawire_pair::connect(builder(), builder(), links).await?).await
            })
        }),
        job("deltawire, QUIC", |plan, links| {
            run(async move { deltawire(plan, deltawire_quic::connect(0, links).await?).await })
        }),
        job("deltawire, WebSocket", |plan, links| {
            run(async move { deltawire(plan, websocket::connect(0, links).await?).await })
        }),
        job("deltawire, TCP", |plan, links| {
            run(async move { deltawire(plan, streams::connect(Kind::Tcp, 0, links).await?).await })
        }),
        job("deltawire, SCTP", |plan, links| {
            run(async move { deltawire(plan, deltawire_sctp::connect(0, links).await?).await })
        }),
        job("quinn", |plan, _| run(quinn(plan))),
    ]
}

fn run(job: impl Future<Output = anyhow::Result<Vec<f64>>>) -> anyhow::Result<Vec<f64>> {
    deltawire_pair::run(false, LIMIT, job)
}

/// Counts what comes of each.
struct Shares {
    plan: Plan,
    of: [u32; SENDERS],
    seen: usize,
    start: Instant,
}

impl Shares {
    fn new(plan: Plan) -> Self {
        Self { plan, of: [0; SENDERS], seen: 0, start: Instant::now() }
    }

    /// Takes a message in. Says whether it was the last.
    fn count(&mut self, sender: usize) -> anyhow::Result<bool> {
        self.seen += 1;
        let warm_up = self.plan.messages / 10;
        if self.seen == warm_up {
            self.start = Instant::now();
        }
        if self.seen > warm_up {
            *self.of.get_mut(sender).context("a message of nobody's")? += 1;
        }
        Ok(self.seen == warm_up + self.plan.messages)
    }

    fn figures(&self) -> Vec<f64> {
        let total = f64::from(self.of.iter().sum::<u32>());
        let share = |count: Option<&u32>| {
            f64::from(count.copied().unwrap_or(0)) * SENDERS as f64 / total * 100.0
        };
        let rate = total * LEN as f64 / 1e6 / self.start.elapsed().as_secs_f64();
        vec![rate, share(self.of.iter().min()), share(self.of.iter().max())]
    }
}

fn message_of(sender: usize) -> Vec<u8> {
    vec![sender as u8; LEN]
}

async fn deltawire(plan: Plan, [alice, mut bob]: [End; 2]) -> anyhow::Result<Vec<f64>> {
    let mut senders = JoinSet::new();
    for number in 0..SENDERS {
        let mut sender = alice.link.open_sender(SendPriority::default()).await?;
        senders.spawn(async move {
            let payload = message_of(number);
            let fields = DeltaFields::new(DocId([number as u8; 16]));
            while sender.send(fields, &payload).await.is_ok() {}
        });
    }
    let mut shares = Shares::new(plan);
    loop {
        let message = bob.peer.receive.next().await?;
        let payload = message.delta()?.payload();
        ensure!(payload.len() == LEN, "a message of another length");
        if shares.count(payload[0].into())? {
            break;
        }
    }
    Ok(shares.figures())
}

async fn quinn(plan: Plan) -> anyhow::Result<Vec<f64>> {
    let mut transport = TransportConfig::default();
    transport.max_concurrent_bidi_streams(VarInt::from_u32(2 * SENDERS as u32));
    transport.receive_window(VarInt::from_u32(8 << 20)).send_window(8 << 20);
    let link = Quic::bind(transport)?.connect().await?;
    let (counted, mut count) = mpsc::channel(SENDERS);
    let mut tasks = JoinSet::new();
    let mut streams = Vec::new();
    for _ in 0..SENDERS {
        streams.push(link.messages().await?);
    }
    for (number, [mut near, mut far]) in streams.into_iter().enumerate() {
        tasks.spawn(async move {
            let message = message_of(number);
            while near.send(&message).await.is_ok() {}
        });
        let counted = counted.clone();
        tasks.spawn(async move {
            while let Ok(Some(message)) = far.next().await {
                if message.len() != LEN || counted.send(usize::from(message[0])).await.is_err() {
                    break;
                }
            }
        });
    }
    let mut shares = Shares::new(plan);
    while !shares.count(count.recv().await.context("the link ended")?)? {}
    Ok(shares.figures())
}
