//! A document that is stored, read from its beginning.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::ensure;
use deltawire::documents::store::Durability;
use deltawire::documents::{DocumentsOptions, Everyone, Hub, HubOptions, SubscribeOptions};

use crate::flow::Subscribe;
use crate::harness::{Job, Plan, block_on};
use crate::links::{DOC, next};
use crate::measure::{now, seconds_since};
use crate::nats::{self, Nats, Sync};
use crate::redis_server::{self, Disk, Redis, RedisSubscriber};
use crate::report::{Place, Table, metric};
use crate::role::shared_runtime;
use crate::stamp::{Order, Phase, Stamp};

static TABLE: Table = Table {
    title: "Replay",
    notes: "One reader reads all of a document. deltawire: in the hub's process, 1 GB of payload (64 B: 256 MB), from memory; and from files \
            that the page cache has, by a hub that has just opened them. pread: the same files in pieces of 256 KiB; of the bytes of payload in them, \
            so that it compares. NATS JetStream (files, a pull consumer without acknowledgements, batches of 10,000) and Redis \
            (XREAD COUNT 256): over loopback, 256 MB (64 B: 64 MB).",
    metrics: &[metric("MB/s of payload"), metric("million deltas/s")],
    baseline: Some("deltawire, from memory"),
};

const LIMIT: Duration = Duration::from_secs(180);

pub(crate) fn add(plan: &mut Plan, quick: bool) {
    let part = if quick { 32 } else { 1 };
    for (column, len, bytes) in [("1 KiB", 1_024, 1_000_000_000), ("64 B", 64, 256_000_000)] {
        let count = bytes / len as u64 / part;
        let fewer = count / 4;
        let place = move |row| Place { table: &TABLE, row, column: Some(column) };
        plan.jobs.push(Job::new(place("deltawire, from memory"), move || {
            block_on(LIMIT, from_memory(count, len))
        }));
        plan.jobs.push(Job::new(place("deltawire, from files"), move || {
            block_on(LIMIT, from_files(count, len))
        }));
        plan.jobs.push(Job::new(place("pread of the same files"), move || {
            block_on(LIMIT, by_pread(count, len))
        }));
        plan.add_if(nats::there(), || {
            vec![Job::new(place("NATS JetStream"), move || {
                block_on(LIMIT, from_jet_stream(fewer, len))
            })]
        });
        plan.add_if(redis_server::there(), || {
            vec![Job::new(place("Redis XREAD"), move || block_on(LIMIT, from_redis(fewer, len)))]
        });
    }
}

/// So many deltas in this time.
fn figures(count: u64, len: usize, start: u64) -> Vec<f64> {
    let took = seconds_since(start);
    vec![count as f64 * len as f64 / took / 1e6, count as f64 / took / 1e6]
}

/// Publishes so many to a hub in this process.
async fn fill(hub: &Hub, count: u64, len: usize) -> anyhow::Result<()> {
    let documents = hub.documents(None, DocumentsOptions::default());
    let mut publisher = documents.publish(DOC)?;
    for number in 0..count {
        let payload = Stamp { number, phase: Phase::Flow, sent: 0 }.payload(len);
        publisher.publish(&payload).await?;
    }
    publisher.flush().await?;
    documents.close();
    Ok(())
}

/// Reads so many from the beginning.
async fn read(hub: &Hub, count: u64, len: usize) -> anyhow::Result<Vec<f64>> {
    let start = now();
    let mut subscription = hub.subscribe(DOC, SubscribeOptions::default());
    let mut order = Order::default();
    while order.count() < count {
        order.check(next(&mut subscription, len).await?)?;
    }
    Ok(figures(count, len, start))
}

async fn from_memory(count: u64, len: usize) -> anyhow::Result<Vec<f64>> {
    let mut options = HubOptions { shards: 1, ..HubOptions::default() };
    options.log.max_hot_bytes = 4 << 30;
    let hub = Hub::in_memory(options, Everyone, shared_runtime());
    fill(&hub, count, len).await?;
    read(&hub, count, len).await
}

fn options() -> HubOptions {
    let mut options = HubOptions { shards: 1, ..HubOptions::default() };
    options.log.durability = Durability::PageCache;
    options
}

/// Fills a hub in files, and closes it.
async fn filled(path: &Path, count: u64, len: usize) -> anyhow::Result<()> {
    let hub = Hub::open(path, options(), Everyone, shared_runtime())?;
    fill(&hub, count, len).await?;
    ensure!(hub.shut_down(Duration::from_secs(10)).await, "not everything was stored in time");
    Ok(())
}

async fn from_files(count: u64, len: usize) -> anyhow::Result<Vec<f64>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("data");
    filled(&path, count, len).await?;
    let hub = opened(&path).await?;
    let figures = read(&hub, count, len).await?;
    hub.shut_down(Duration::from_secs(10)).await;
    Ok(figures)
}

/// Opens it as soon as the hub that had it has let go.
async fn opened(path: &Path) -> anyhow::Result<Hub> {
    let mut tries = 0;
    loop {
        match Hub::open(path, options(), Everyone, shared_runtime()) {
            Ok(hub) => return Ok(hub),
            Err(error) if tries > 400 => return Err(error.into()),
            Err(_) => tries += 1,
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn by_pread(count: u64, len: usize) -> anyhow::Result<Vec<f64>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("data");
    filled(&path, count, len).await?;
    let mut files = Vec::new();
    find_files(&path, &mut files)?;
    let (start, mut all, mut sum) = (now(), 0, 0_u8);
    let mut buffer = vec![0; 256 << 10];
    for file in files {
        let (file, mut at) = (File::open(file)?, 0);
        loop {
            let read = file.read_at(&mut buffer, at)?;
            if read == 0 {
                break;
            }
            sum ^= buffer[read / 2];
            at += read as u64;
        }
        all += at;
    }
    std::hint::black_box(sum);
    let figures = figures(count, len, start);
    ensure!(all >= count * len as u64, "the files have {all} bytes");
    Ok(figures)
}

fn find_files(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find_files(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

async fn from_jet_stream(count: u64, len: usize) -> anyhow::Result<Vec<f64>> {
    let nats = Nats::start(Sync::Default)?;
    let stream = nats.stream().await?;
    stream.fill(count, len).await?;
    let (start, mut order) = (now(), Order::default());
    stream.read(count, |payload| order.check(Stamp::read(payload, len)?)).await?;
    Ok(figures(count, len, start))
}

async fn from_redis(count: u64, len: usize) -> anyhow::Result<Vec<f64>> {
    let redis = Redis::start(Disk::Unused)?;
    let (publisher, _) = redis.ends(0).await?;
    publisher.fill(count, len).await?;
    let mut subscriber = RedisSubscriber::new(redis.connect().await?, len);
    let (start, mut order) = (now(), Order::default());
    while order.count() < count {
        order.check(subscriber.next().await?)?;
    }
    Ok(figures(count, len, start))
}
