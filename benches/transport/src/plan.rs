//! Which jobs there are, in the order of a round.

use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::harness::{Job, Links};
use crate::measure::{Flow, OneWay, PingPong, microseconds};
use crate::report::{Place, Table, metric};
use crate::{
    commands, deltawire_pair, deltawire_quic, deltawire_sctp, idle_peers, in_process, many_senders,
    paths, quinn_pair, raw_udp, set_up, small_buffers, str0m_plain, str0m_tuned, streams,
    webrtc_rs, websocket,
};

/// Payloads that go one way.
const SIZES: [(&str, usize); 5] = [
    ("64 B", 64),
    ("1 KiB", 1 << 10),
    ("16 KiB", 16 << 10),
    ("64 KiB", 64 << 10),
    ("1 MiB", 1 << 20),
];

static ONE_WAY: Table = Table {
    title: "One way",
    notes: "Over loopback, the receiver counts. CPU of the whole process: both ends and the \
            system. Datagrams of deltawire and str0m tuned have up to 1,472 bytes, of webrtc-rs \
            1,469, of quinn 1,452, of str0m plain 1,150, of raw UDP 1,200. 1 MiB: deltawire and in \
            process with rings and windows of 4 MiB, because the default of 1 MiB just does not \
            hold it; webrtc-rs and str0m plain in messages of 64 KiB, which the receiver puts \
            together, and str0m tuned so from 64 KiB up in messages of 16 KiB, because longer ones \
            they do not take or do not hold. deltawire and in process write a CRC-32C with each \
            delta, as is the default. quinn, gathered: up to 64 KiB wait for more messages, and go \
            no sooner.",
    metrics: &[
        metric("messages/s"),
        metric("MB/s"),
        metric("CPU s/GB"),
        metric("dropped, % of what was sent"),
    ],
    baseline: Some("deltawire"),
};

static PING_PONG: Table = Table {
    title: "Round trips of 64 B",
    notes: "One after the other. On one core all threads share it; deltawire, webrtc-rs and quinn \
            then have both ends in one thread.",
    metrics: &[metric("p50, µs"), metric("p99, µs")],
    baseline: Some("deltawire"),
};

/// A contender in throughput and round trips.
struct Rival {
    name: &'static str,
    one_way: fn(OneWay, &Links) -> anyhow::Result<Measured>,
    /// `None` where it would be that of the rival above.
    ping_pong: Option<RoundTrips>,
}

type RoundTrips = fn(PingPong, &Links) -> anyhow::Result<Histogram<u64>>;

/// What was measured of a flow, and how much of what was sent did not come.
pub(crate) struct Measured {
    pub(crate) flow: Flow,
    pub(crate) dropped: Option<f64>,
}

impl From<Flow> for Measured {
    fn from(flow: Flow) -> Self {
        Self { flow, dropped: None }
    }
}

const RIVALS: [Rival; 17] = [
    Rival {
        name: "deltawire",
        one_way: deltawire_pair::one_way,
        ping_pong: Some(deltawire_pair::ping_pong),
    },
    Rival {
        name: "deltawire on str0m",
        one_way: deltawire_pair::one_way_on_str0m,
        ping_pong: Some(deltawire_pair::ping_pong_on_str0m),
    },
    Rival {
        name: "deltawire, QUIC",
        one_way: deltawire_quic::one_way,
        ping_pong: Some(deltawire_quic::ping_pong),
    },
    Rival {
        name: "deltawire, SCTP",
        one_way: deltawire_sctp::one_way,
        ping_pong: Some(deltawire_sctp::ping_pong),
    },
    Rival {
        name: "deltawire, WebSocket",
        one_way: websocket::one_way,
        ping_pong: Some(websocket::ping_pong),
    },
    Rival {
        name: "tungstenite",
        one_way: websocket::tungstenite_one_way,
        ping_pong: Some(websocket::tungstenite_ping_pong),
    },
    Rival {
        name: "deltawire, TCP",
        one_way: streams::tcp_one_way,
        ping_pong: Some(streams::tcp_ping_pong),
    },
    Rival {
        name: "TCP, lengths in front",
        one_way: streams::raw_tcp_one_way,
        ping_pong: Some(streams::raw_tcp_ping_pong),
    },
    Rival {
        name: "deltawire, Unix",
        one_way: streams::unix_one_way,
        ping_pong: Some(streams::unix_ping_pong),
    },
    Rival {
        name: "Unix, lengths in front",
        one_way: streams::raw_unix_one_way,
        ping_pong: Some(streams::raw_unix_ping_pong),
    },
    Rival { name: "webrtc-rs", one_way: webrtc_rs::one_way, ping_pong: Some(webrtc_rs::ping_pong) },
    Rival { name: "quinn", one_way: quinn_pair::one_way, ping_pong: Some(quinn_pair::ping_pong) },
    Rival { name: "quinn, gathered", one_way: quinn_pair::gathered_one_way, ping_pong: None },
    Rival {
        name: "str0m tuned",
        one_way: str0m_tuned::one_way,
        ping_pong: Some(str0m_tuned::ping_pong),
    },
    Rival {
        name: "str0m plain",
        one_way: str0m_plain::one_way,
        ping_pong: Some(str0m_plain::ping_pong),
    },
    Rival { name: "raw UDP, GSO", one_way: raw_udp::one_way, ping_pong: Some(raw_udp::ping_pong) },
    Rival {
        name: "in process",
        one_way: in_process::one_way,
        ping_pong: Some(in_process::ping_pong),
    },
];

/// How long a job may take, unless it says otherwise.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// How a flow of messages is measured.
pub(crate) fn flow(size: usize, quick: bool) -> OneWay {
    let (warm_up, time) = if quick { (20, 100) } else { (200, 1_500) };
    let max_bytes = 4_000_000_000;
    let (warm_up, time) = (Duration::from_millis(warm_up), Duration::from_millis(time));
    OneWay { size, warm_up, time, max_bytes }
}

/// All jobs.
pub(crate) fn jobs(quick: bool) -> anyhow::Result<Vec<Job>> {
    let mut jobs = Vec::new();
    for (column, size) in SIZES {
        for rival in RIVALS {
            let place = Place { table: &ONE_WAY, row: rival.name, column: Some(column) };
            jobs.push(job(place, move |links| {
                let Measured { flow, dropped } = (rival.one_way)(flow(size, quick), links)?;
                let dropped = dropped.map_or(f64::NAN, |part| 100.0 * part);
                let (messages, megabytes) =
                    (flow.messages_per_second(), flow.megabytes_per_second());
                Ok(vec![messages, megabytes, flow.cpu_seconds_per_gigabyte(), dropped])
            }));
        }
    }
    for (column, one_core) in [("two cores", false), ("one core", true)] {
        for rival in RIVALS {
            let Some(ping_pong) = rival.ping_pong else { continue };
            let place = Place { table: &PING_PONG, row: rival.name, column: Some(column) };
            let (warm_up, count, time) =
                if quick { (100, 500, 200) } else { (1_000, 20_000, 1_500) };
            let time = Duration::from_millis(time);
            let plan = PingPong { warm_up, count, time, one_core };
            let run = move |links: &Links| {
                let histogram = ping_pong(plan, links)?;
                Ok(vec![microseconds(&histogram, 0.5), microseconds(&histogram, 0.99)])
            };
            jobs.push(Job { one_core, ..job(place, run) });
        }
    }
    jobs.extend(small_buffers::jobs(quick));
    jobs.extend(commands::jobs(quick));
    jobs.extend(many_senders::jobs(quick));
    jobs.extend(set_up::jobs(quick));
    jobs.extend(idle_peers::jobs(quick));
    jobs.extend(paths::jobs(quick));
    Ok(jobs)
}

/// A job with the usual limit.
pub(crate) fn job(
    place: Place,
    run: impl Fn(&Links) -> anyhow::Result<Vec<f64>> + Send + Sync + 'static,
) -> Job {
    Job { place, one_core: false, limit: LIMIT, run: Arc::new(run) }
}
