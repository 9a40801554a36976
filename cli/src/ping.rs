//! `deltawire ping`.

use std::time::Instant;

use deltawire_channels::{Peer, Receiver, Sender};
use deltawire_framing::control::CloseCode;
use deltawire_framing::{DeltaFields, DocId};
use hdrhistogram::Histogram;
use serde_json::json;

use crate::arguments::Ping;
use crate::end::End;
use crate::link;
use crate::output::Output;

/// Bytes of a message of the throughput run.
const MESSAGE: usize = 64 << 10;

/// Measures round trips, and how much goes there and back at a time.
pub(crate) async fn ping(task: &Ping, options: &link::Options, output: &Output) -> Result<(), End> {
    let node = link::client(options, 1)?;
    let connected = node.connect(&link::address(&task.url)).await;
    let (peer, link) = connected.map_err(|error| End::NotReached(error.to_string()))?;
    let Peer { command: _command, mut send, mut receive } = peer;
    let measured = measure(task, &mut send, &mut receive, output).await;
    link.close(CloseCode::NORMAL, "done");
    link.closed().await;
    measured
}

async fn measure(
    task: &Ping,
    send: &mut Sender,
    receive: &mut Receiver,
    output: &Output,
) -> Result<(), End> {
    let failed = |error: &dyn std::fmt::Display| End::Failed(error.to_string());
    let fields = DeltaFields::new(DocId([0; 16]));
    let mut times = Histogram::<u64>::new(3).map_err(|error| failed(&error))?;
    let payload = vec![0; task.size];
    let warm_up = task.rounds / 10;
    for round in 0..warm_up + task.rounds {
        let start = Instant::now();
        send.send(fields, &payload).await.map_err(|error| failed(&error))?;
        receive.next().await.map_err(|error| failed(&error))?;
        if round >= warm_up {
            times.saturating_record(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
        }
    }
    let micros = |quantile| times.value_at_quantile(quantile) as f64 / 1e3;
    let text = format!(
        "{} round trips of {} bytes: p50 {:.1} µs, p95 {:.1} µs, p99 {:.1} µs, max {:.1} µs",
        task.rounds,
        task.size,
        micros(0.5),
        micros(0.95),
        micros(0.99),
        micros(1.0)
    );
    let fields_json = json!({
        "rounds": task.rounds, "size": task.size,
        "p50_us": micros(0.5), "p95_us": micros(0.95), "p99_us": micros(0.99), "max_us": micros(1.0),
    });
    output.say("round_trips", &text, fields_json);
    let total = task.throughput << 20;
    if total == 0 {
        return Ok(());
    }
    let message = vec![0; MESSAGE];
    let start = Instant::now();
    // Both at a time: who does not read holds up the other side.
    let sending = async {
        for _ in 0..total / MESSAGE as u64 {
            send.send(fields, &message).await.map_err(|error| failed(&error))?;
        }
        Ok::<_, End>(())
    };
    let receiving = async {
        for _ in 0..total / MESSAGE as u64 {
            receive.next().await.map_err(|error| failed(&error))?;
        }
        Ok(())
    };
    tokio::try_join!(sending, receiving)?;
    let rate = total as f64 / start.elapsed().as_secs_f64() / 1e6;
    let text = format!("{} MiB there and back: {rate:.1} MB/s each way", task.throughput);
    output.say("throughput", &text, json!({ "bytes": total, "megabytes_per_second": rate }));
    Ok(())
}
