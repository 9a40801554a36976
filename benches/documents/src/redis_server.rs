//! Debian's `redis-server`, in a process of its own, by `redis`: streams. A connection for each publisher and each subscriber.
//!
//! Published by XADD, up to 64 in a pipeline where more than one waits; read by `XREAD BLOCK 0 COUNT 256`, from the last id on. Nothing is
//! written to the disk, but where it says `appendfsync always`: then XADD's answer comes when the disk has it.

use std::collections::VecDeque;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Error, ensure};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, Pipeline, cmd};
use tempfile::TempDir;

use crate::flow::{LEN, Publish, Subscribe};
use crate::server::{Server, find, free_port};
use crate::stamp::{Phase, Stamp};

const PROGRAM: &str = "redis-server";
const STREAM: &str = "document";

/// Commands in a pipeline.
const PIPELINE: usize = 64;

/// What it has the disk do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disk {
    /// Nothing.
    Unused,
    /// A sync before each answer.
    FsyncAlways,
}

/// Whether it can be run here; otherwise what to do.
pub(crate) fn there() -> Result<(), String> {
    find(PROGRAM).map(drop)
}

/// A server.
pub(crate) struct Redis {
    pub(crate) server: Server,
    client: Client,
    _folder: TempDir,
}

impl Redis {
    pub(crate) fn start(disk: Disk) -> anyhow::Result<Self> {
        let (folder, port) = (tempfile::tempdir()?, free_port()?);
        let append = if disk == Disk::FsyncAlways { "yes" } else { "no" };
        let mut command = Command::new(find(PROGRAM).map_err(Error::msg)?);
        command
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""])
            .args(["--appendonly", append, "--appendfsync", "always", "--dir"])
            .arg(folder.path());
        let server = Server::start(&mut command, port)?;
        let client = Client::open(format!("redis://127.0.0.1:{port}/"))?;
        Ok(Self { server, client, _folder: folder })
    }

    pub(crate) async fn connect(&self) -> anyhow::Result<RedisStream> {
        // A subscriber waits for as long as it takes.
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_connection_timeout(Some(Duration::from_secs(10)));
        let connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(RedisStream { connection })
    }

    /// A publisher and so many subscribers.
    pub(crate) async fn ends(
        &self,
        subscribers: usize,
    ) -> anyhow::Result<(RedisPublisher, Vec<RedisSubscriber>)> {
        let publisher = RedisPublisher::new(self.connect().await?);
        let mut all = Vec::new();
        for _ in 0..subscribers {
            all.push(RedisSubscriber::new(self.connect().await?, LEN));
        }
        Ok((publisher, all))
    }
}

/// A connection; clones are the same one.
#[derive(Clone)]
pub(crate) struct RedisStream {
    connection: MultiplexedConnection,
}

fn added(payload: &[u8]) -> Cmd {
    let mut add = cmd("XADD");
    add.arg(STREAM).arg("*").arg("d").arg(payload);
    add
}

impl RedisStream {
    /// Adds one and waits for the answer.
    pub(crate) async fn add(&mut self, payload: &[u8]) -> anyhow::Result<()> {
        let _id: String = added(payload).query_async(&mut self.connection).await?;
        Ok(())
    }

    /// How many there are.
    pub(crate) async fn count(&mut self) -> anyhow::Result<u64> {
        Ok(cmd("XLEN").arg(STREAM).query_async(&mut self.connection).await?)
    }
}

/// Adds to the stream.
pub(crate) struct RedisPublisher {
    stream: RedisStream,
    pipeline: Pipeline,
    waiting: usize,
}

impl RedisPublisher {
    fn new(stream: RedisStream) -> Self {
        Self { stream, pipeline: Pipeline::new(), waiting: 0 }
    }

    /// Adds so many.
    pub(crate) async fn fill(mut self, count: u64, len: usize) -> anyhow::Result<()> {
        for number in 0..count {
            self.publish(&Stamp::now(number, Phase::Flow).payload(len)).await?;
        }
        self.flush().await?;
        let there = self.stream.count().await?;
        ensure!(there == count, "the stream has {there} entries, not {count}");
        Ok(())
    }
}

impl Publish for RedisPublisher {
    async fn publish(&mut self, payload: &[u8]) -> anyhow::Result<()> {
        self.pipeline.add_command(added(payload)).ignore();
        self.waiting += 1;
        if self.waiting >= PIPELINE {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        if self.waiting > 0 {
            let () = self.pipeline.query_async(&mut self.stream.connection).await?;
            self.pipeline.clear();
            self.waiting = 0;
        }
        Ok(())
    }
}

/// What XREAD answers: of each stream its entries, of each entry its fields.
type Answer = Option<Vec<(String, Vec<(String, Vec<Vec<u8>>)>)>>;

/// Reads the stream from its beginning.
pub(crate) struct RedisSubscriber {
    stream: RedisStream,
    last: String,
    read: VecDeque<Vec<u8>>,
    len: usize,
}

impl RedisSubscriber {
    pub(crate) fn new(stream: RedisStream, len: usize) -> Self {
        Self { stream, last: "0".to_owned(), read: VecDeque::new(), len }
    }
}

impl Subscribe for RedisSubscriber {
    async fn next(&mut self) -> anyhow::Result<Stamp> {
        while self.read.is_empty() {
            let mut read = cmd("XREAD");
            read.arg("BLOCK").arg(0).arg("COUNT").arg(256).arg("STREAMS").arg(STREAM);
            let answer: Answer =
                read.arg(&self.last).query_async(&mut self.stream.connection).await?;
            for (id, fields) in answer.into_iter().flatten().flat_map(|(_, entries)| entries) {
                self.last = id;
                self.read.extend(fields.into_iter().nth(1));
            }
        }
        let payload = self.read.pop_front().context("nothing was read")?;
        Stamp::read(&payload, self.len)
    }
}
