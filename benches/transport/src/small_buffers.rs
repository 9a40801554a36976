//! How a link does when the receiver's system has little room for datagrams.

use std::time::Duration;

use deltawire::prelude::*;

use crate::deltawire_pair;
use crate::harness::{Job, Links};
use crate::measure::OneWay;
use crate::plan::{self, LIMIT};
use crate::report::{Metric, Place, Table, metric};

static TABLE: Table = Table {
    title: "Small receive buffers",
    notes: "deltawire, 16 KiB one way, by what the receiver's system was asked for as its socket's \
            buffer; it gives no more than net.core.rmem_max. Pacing, delay and rate as the sender \
            measured them last; stalls in the whole run.",
    metrics: &[
        metric("MB/s"),
        Metric { name: "of the best", of_best: true },
        metric("stalls"),
        metric("flight, KiB"),
        metric("delay, ms"),
        metric("rate, MB/s"),
    ],
    baseline: None,
};

const SIZE: usize = 16 << 10;
const BUFFERS: [(&str, usize); 3] =
    [("4 MiB (default)", 4 << 20), ("212 KiB", 212 << 10), ("128 KiB", 128 << 10)];

pub(crate) fn jobs(quick: bool) -> impl Iterator<Item = Job> {
    BUFFERS.into_iter().map(move |(row, buffer)| {
        let place = Place { table: &TABLE, row, column: None };
        plan::job(place, move |links| {
            deltawire_pair::run(false, LIMIT, run(plan::flow(SIZE, quick), buffer, links))
        })
    })
}

async fn run(plan: OneWay, buffer: usize, links: &Links) -> anyhow::Result<Vec<f64>> {
    let acceptor = Node::builder().prefer_links(["webrtc"]).socket_buffer(buffer);
    let (flow, stats) = deltawire_pair::one_way_between(
        Node::builder().prefer_links(["webrtc"]),
        acceptor,
        plan,
        links,
    )
    .await?;
    let rate = flow.megabytes_per_second();
    let delay = stats.delay.as_ref().map_or(f64::NAN, Duration::as_secs_f64);
    Ok(vec![
        rate,
        rate,
        stats.stalls as f64,
        stats.in_flight_limit as f64 / 1_024.0,
        1e3 * delay,
        stats.rate / 1e6,
    ])
}
