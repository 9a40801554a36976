//! Debian's `nats-server`, in a process of its own, by `async-nats`; a connection for each publisher and each subscriber.
//!
//! NATS (core): subjects, at most once: whoever is too slow is cut off. JetStream keeps messages in files: it says that it has them
//! before the disk does, and syncs every two minutes by default; `sync_interval: always` is there from nats-server 2.10 on.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Error, ensure};
use async_nats::jetstream;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::stream::StorageType;
use bytes::Bytes;
use futures_util::StreamExt;
use tempfile::TempDir;

use crate::flow::{LEN, Publish, Subscribe};
use crate::server::{Server, find, free_port};
use crate::stamp::Stamp;

const PROGRAM: &str = "nats-server";
const SUBJECT: &str = "document";

/// When JetStream has the disk write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sync {
    /// Every two minutes.
    Default,
    /// Before it acknowledges.
    Always,
}

/// Whether it can be run here; otherwise what to do.
pub(crate) fn there() -> Result<(), String> {
    find(PROGRAM).map(drop)
}

/// The same with `sync_interval: always`.
pub(crate) fn syncs_always() -> Result<(), String> {
    let program = find(PROGRAM)?;
    let takes_it = || {
        let folder = tempfile::tempdir()?;
        let file = configure(&folder, Sync::Always)?;
        anyhow::Ok(Command::new(&program).args(["-t", "-c"]).arg(file).output()?.status.success())
    };
    if takes_it().unwrap_or(false) {
        return Ok(());
    }
    let version = Command::new(&program).arg("--version").output();
    let version = version.map(|it| String::from_utf8_lossy(&it.stdout).trim().to_owned());
    let version = version.unwrap_or_default();
    Err(format!(
        "Without JetStream's `sync_interval: always`: {version} does not know it, 2.10 does."
    ))
}

fn configure(folder: &TempDir, sync: Sync) -> anyhow::Result<std::path::PathBuf> {
    let file = folder.path().join("nats.conf");
    let always = if sync == Sync::Always { ", sync_interval: always" } else { "" };
    let text = format!("jetstream {{ store_dir: {:?}{always} }}\n", folder.path().join("data"));
    fs::write(&file, text)?;
    Ok(file)
}

/// A server.
pub(crate) struct Nats {
    pub(crate) server: Server,
    url: String,
    _folder: TempDir,
}

impl Nats {
    pub(crate) fn start(sync: Sync) -> anyhow::Result<Self> {
        let (folder, port) = (tempfile::tempdir()?, free_port()?);
        let file = configure(&folder, sync)?;
        let mut command = Command::new(find(PROGRAM).map_err(Error::msg)?);
        command.args(["-a", "127.0.0.1", "-p", &port.to_string(), "-c"]).arg(file);
        let server = Server::start(&mut command, port)?;
        Ok(Self { server, url: format!("nats://127.0.0.1:{port}"), _folder: folder })
    }

    async fn connect(&self) -> anyhow::Result<async_nats::Client> {
        Ok(async_nats::connect(&self.url).await?)
    }

    /// A publisher and so many subscribers.
    pub(crate) async fn ends(
        &self,
        subscribers: usize,
    ) -> anyhow::Result<(NatsPublisher, Vec<NatsSubscriber>)> {
        let publisher = NatsPublisher { client: self.connect().await? };
        let mut all = Vec::new();
        for _ in 0..subscribers {
            let client = self.connect().await?;
            let messages = client.subscribe(SUBJECT).await?;
            // The server takes a connection's words in order: when this is back, it has subscribed.
            let inbox = client.new_inbox();
            let mut back = client.subscribe(inbox.clone()).await?;
            client.publish(inbox, Bytes::new()).await?;
            back.next().await.context("the server is gone")?;
            all.push(NatsSubscriber { messages, _client: client });
        }
        Ok((publisher, all))
    }

    /// JetStream over a connection of its own.
    pub(crate) async fn stream(&self) -> anyhow::Result<JetStream> {
        let context = jetstream::new(self.connect().await?);
        let config = jetstream::stream::Config {
            name: SUBJECT.to_owned(),
            subjects: vec![SUBJECT.to_owned()],
            storage: StorageType::File,
            ..Default::default()
        };
        let stream = context.get_or_create_stream(config).await?;
        Ok(JetStream { context, stream })
    }
}

pub(crate) struct NatsPublisher {
    client: async_nats::Client,
}

impl Publish for NatsPublisher {
    async fn publish(&mut self, payload: &[u8]) -> anyhow::Result<()> {
        Ok(self.client.publish(SUBJECT, Bytes::copy_from_slice(payload)).await?)
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        // Its task sends what it is given as soon as it can.
        Ok(())
    }
}

pub(crate) struct NatsSubscriber {
    messages: async_nats::Subscriber,
    _client: async_nats::Client,
}

impl Subscribe for NatsSubscriber {
    async fn next(&mut self) -> anyhow::Result<Stamp> {
        let message = self.messages.next().await.context("the server is gone")?;
        Stamp::read(&message.payload, LEN)
    }
}

/// A stream that is kept in files.
pub(crate) struct JetStream {
    context: jetstream::Context,
    stream: jetstream::stream::Stream,
}

impl JetStream {
    /// Publishes and waits for the acknowledgement.
    pub(crate) async fn append(&self, payload: &[u8]) -> anyhow::Result<()> {
        let payload = Bytes::copy_from_slice(payload);
        self.context.publish(SUBJECT, payload).await?.await?;
        Ok(())
    }

    /// Publishes so many with many on their way.
    pub(crate) async fn fill(&self, count: u64, len: usize) -> anyhow::Result<()> {
        let mut waiting = std::collections::VecDeque::new();
        for number in 0..count {
            let payload = Stamp::now(number, crate::stamp::Phase::Flow).payload(len);
            waiting.push_back(self.context.publish(SUBJECT, Bytes::from(payload)).await?);
            if waiting.len() > 1_000
                && let Some(first) = waiting.pop_front()
            {
                first.await?;
            }
        }
        for last in waiting {
            last.await?;
        }
        ensure!(self.count().await? == count, "the stream has not as many as were published");
        Ok(())
    }

    /// How many messages it has.
    pub(crate) async fn count(&self) -> anyhow::Result<u64> {
        Ok(self.stream.get_info().await?.state.messages)
    }

    /// Reads all from the beginning; in large batches, nothing is acknowledged.
    pub(crate) async fn read(
        &self,
        count: u64,
        mut each: impl FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let config = pull::Config { ack_policy: AckPolicy::None, ..Default::default() };
        let consumer = self.stream.create_consumer(config).await?;
        let stream = consumer.stream().max_messages_per_batch(10_000);
        let mut messages = stream.expires(Duration::from_secs(10)).messages().await?;
        for _ in 0..count {
            let message = messages.next().await.context("the stream ended")??;
            each(&message.payload)?;
        }
        Ok(())
    }
}
