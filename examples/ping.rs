//! Measures round trips and throughput to an echo server:
//! `cargo run --release --example ping -- --rounds 1000 --throughput 256MiB`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use deltawire::channels::session::Closed;
use deltawire::prelude::*;
use deltawire::signalling::{ClientOptions, Token};
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Measures round trips and throughput to an echo server.
#[derive(Parser)]
struct Arguments {
    /// Where the server's signalling is.
    #[arg(long, default_value = "http://127.0.0.1:8080/webrtc")]
    url: String,
    /// The server's bearer token, if it asks for one.
    #[arg(long)]
    token: Option<String>,
    /// Round trips.
    #[arg(long, default_value_t = 1_000)]
    rounds: u32,
    /// Payload of a round trip, bytes.
    #[arg(long, default_value = "64", value_parser = parse_size)]
    size: u64,
    /// How much goes there and back: bytes, or as 512KiB, 256MiB, 1GiB. 0 skips it.
    #[arg(long, default_value = "64MiB", value_parser = parse_size)]
    throughput: u64,
    /// Payload of a message of the throughput run.
    #[arg(long, default_value = "64KiB", value_parser = parse_size)]
    message: u64,
    /// Prints the results as JSON.
    #[arg(long)]
    json: bool,
}

fn parse_size(text: &str) -> std::result::Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match text[digits.len()..].trim() {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        unit => return Err(format!("unknown unit {unit:?}: use B, KiB, MiB or GiB")),
    };
    let size = digits.parse::<u64>().map_err(|error| format!("{text:?}: {error}"))?;
    size.checked_shl(shift).ok_or_else(|| format!("{text} is too much"))
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<()> {
    let token = arguments.token.clone().map(Token::new).transpose()?;
    let options = ClientOptions { token, ..ClientOptions::default() };
    let node = Node::builder().signalling(options).build()?;
    let (mut peer, link) = node.connect(&arguments.url).await?;

    let round_trips = ping(&mut peer, arguments).await?;
    let elapsed = bulk(&mut peer, arguments).await?;
    let rate = arguments.throughput as f64 / elapsed.as_secs_f64().max(1e-9) / 1e6;
    let micros = |quantile| round_trips.value_at_quantile(quantile) as f64 / 1e3;
    if arguments.json {
        let (p50, p99) = (micros(0.5), micros(0.99));
        println!(
            r#"{{"rounds":{},"round_trip_us":{{"p50":{p50},"p99":{p99}}},"bytes_each_way":{},"megabytes_per_second_each_way":{rate:.1}}}"#,
            arguments.rounds, arguments.throughput,
        );
    } else {
        println!("{} round trips of {} B", arguments.rounds, arguments.size);
        for (name, quantile) in
            [("p10", 0.1), ("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)]
        {
            let share = micros(quantile) / micros(1.0).max(1e-9);
            println!("  {name}  {:>9.1} µs  {}", micros(quantile), bar(share));
        }
        if arguments.throughput > 0 {
            let size = arguments.throughput as f64 / 1e6;
            println!("{size:.1} MB there and back in {elapsed:.2?}: {rate:.1} MB/s each way");
        }
    }
    // The server forgets the link, and what signalling holds of it, when this has ended in order.
    link.close(CloseCode::NORMAL, "done");
    match link.closed().await {
        LinkEnded::Session(Closed::ByUs { complete: true, .. }) => Ok(()),
        ended => Err(format!("the link did not end in order: {ended}").into()),
    }
}

fn bar(share: f64) -> String {
    "▇".repeat(1 + (share * 40.0) as usize)
}

async fn send(sender: &mut Sender, len: usize) -> Result<()> {
    let grant = sender.reserve(len).await?;
    grant.commit(DeltaFields::new(DocId([0; 16])), len)?;
    Ok(())
}

async fn ping(peer: &mut Peer, arguments: &Arguments) -> Result<Histogram<u64>> {
    let mut histogram = Histogram::new(3)?;
    let warm_up = arguments.rounds / 10;
    for round in 0..warm_up + arguments.rounds {
        let start = Instant::now();
        send(&mut peer.send, arguments.size as usize).await?;
        peer.receive.next().await?;
        if round >= warm_up {
            histogram.record(start.elapsed().as_nanos() as u64)?;
        }
    }
    Ok(histogram)
}

/// Sends and receives at the same time: the server stops to send when nobody receives.
async fn bulk(peer: &mut Peer, arguments: &Arguments) -> Result<Duration> {
    let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec}")?;
    let progress = ProgressBar::new(arguments.throughput).with_style(style);
    let start = Instant::now();
    let message = arguments.message.max(1);
    let Peer { send: sender, receive, .. } = peer;
    let sending = async {
        let mut left = arguments.throughput;
        while left > 0 {
            let len = left.min(message);
            send(sender, len as usize).await?;
            left -= len;
        }
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    };
    let receiving = async {
        let mut received = 0;
        while received < arguments.throughput {
            received += receive.next().await?.delta()?.payload().len() as u64;
            progress.set_position(received);
        }
        Ok(())
    };
    tokio::try_join!(sending, receiving)?;
    progress.finish_and_clear();
    Ok(start.elapsed())
}
