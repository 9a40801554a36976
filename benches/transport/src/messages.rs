//! What the tasks at both ends do, whatever carries their messages.

use std::future::Future;

use anyhow::Context;
use hdrhistogram::Histogram;

use crate::measure::{FILL, Flow, Meter, OneWay, PING, PingPong, RoundTrips};

/// One end of what carries messages both ways, reliably and in order.
pub(crate) trait Messages: Send + 'static {
    /// Takes a copy of the message, once there is room for it.
    fn send(&mut self, message: &[u8]) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// The next message, or the next piece of one; `None` at the end.
    fn next(&mut self) -> impl Future<Output = anyhow::Result<Option<&[u8]>>> + Send;
}

/// Sends until nobody takes messages any more.
pub(crate) async fn flood(mut messages: impl Messages, size: usize) {
    let message = vec![FILL; size];
    while messages.send(&message).await.is_ok() {}
}

/// Counts what comes.
pub(crate) async fn count(mut messages: impl Messages, plan: OneWay) -> anyhow::Result<Flow> {
    let mut meter = Meter::start(plan);
    loop {
        let message = messages.next().await?.context("the link ended")?;
        if let Some(flow) = meter.message(message)? {
            return Ok(flow);
        }
    }
}

/// Sends from one end to the other.
pub(crate) async fn one_way<M: Messages>(ends: [M; 2], plan: OneWay) -> anyhow::Result<Flow> {
    let [alice, bob] = ends;
    let sending = tokio::spawn(flood(alice, plan.size));
    let flow = tokio::spawn(count(bob, plan)).await?;
    sending.abort();
    flow
}

/// Sends messages back and forth between the ends.
pub(crate) async fn ping_pong<M: Messages>(
    ends: [M; 2],
    plan: PingPong,
) -> anyhow::Result<Histogram<u64>> {
    let [alice, bob] = ends;
    let echoing = tokio::spawn(echo(bob));
    let histogram = tokio::spawn(ping(alice, plan)).await?;
    echoing.abort();
    histogram
}

/// Sends a message, waits for it to come back, and so on.
async fn ping(mut messages: impl Messages, plan: PingPong) -> anyhow::Result<Histogram<u64>> {
    let mut round_trips = RoundTrips::start(plan)?;
    loop {
        messages.send(&[FILL; PING]).await?;
        let message = messages.next().await?.context("the link ended")?;
        if let Some(histogram) = round_trips.came_back(message)? {
            return Ok(histogram);
        }
    }
}

/// Sends back what comes.
async fn echo(mut messages: impl Messages) -> anyhow::Result<()> {
    while let Some(message) = messages.next().await? {
        let message = message.to_vec();
        messages.send(&message).await?;
    }
    Ok(())
}
