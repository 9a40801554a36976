//! Deltas until they are stored, by 64 writers.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use deltawire::documents::{
    Documents, DocumentsOptions, Everyone, Hub, Item, Publisher, SubscribeOptions,
};
use hdrhistogram::Histogram;
use redb::{Database, ReadableDatabase, ReadableTableMetadata, TableDefinition};
use tokio::task::JoinSet;

use crate::harness::{Job, Plan, block_on};
use crate::links::{self, DOC, Kind};
use crate::measure::{histogram, milliseconds, note_since, now, seconds_since};
use crate::nats::{self, JetStream, Nats, Sync};
use crate::redis_server::{self, Disk, Redis, RedisStream};
use crate::report::{Place, Table, metric};
use crate::role::{Durable, Role, shared_runtime};
use crate::server::Server;
use crate::stamp::{Phase, Stamp};

static TABLE: Table = Table {
    title: "Append until stored",
    notes: "64 writers to one document, 128 B; over TCP each with a connection of its own. Counted is what was acknowledged as stored, and \
            that it is there at the end. `1 under way`: a writer waits for each delta before its next; `16 under way`: for the \
            sixteenth before. What stored means: **power cut** – the disk said that it has it (deltawire Grouped, Redis \
            `appendfsync always`, JetStream `sync_interval: always`, redb); **kill -9** – the system has it (deltawire PageCache, \
            JetStream by default, which syncs every two minutes). redb: in process, 64 threads with a transaction for each delta, or \
            one thread with 64 deltas in each; its times are a commit's. Device: one `pwrite` of 4 KiB and `fdatasync` after \
            the other, in a file that has its size.",
    metrics: &[metric("stored/s"), metric("p50, ms"), metric("p99, ms")],
    baseline: Some("deltawire in process, Grouped (power cut)"),
};

const WRITERS: usize = 64;
const LEN: usize = 128;
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn add(plan: &mut Plan, quick: bool) {
    let time = Duration::from_millis(if quick { 300 } else { 2_000 });
    for (column, depth) in [("1 under way", 1), ("16 under way", 16)] {
        let place = move |row| Place { table: &TABLE, row, column: Some(column) };
        for (row, durability) in [
            ("deltawire in process, Grouped (power cut)", Durable::Grouped),
            ("deltawire in process, PageCache (kill -9)", Durable::PageCache),
        ] {
            plan.jobs.push(Job::new(place(row), move || {
                block_on(LIMIT, in_process(durability, depth, time))
            }));
        }
        for (row, durability) in [
            ("deltawire over TCP, Grouped (power cut)", Durable::Grouped),
            ("deltawire over TCP, PageCache (kill -9)", Durable::PageCache),
        ] {
            plan.jobs.push(Job::new(place(row), move || {
                block_on(LIMIT, over_tcp(durability, depth, time))
            }));
        }
        plan.add_if(nats::there(), || {
            vec![Job::new(place("NATS JetStream, default (kill -9)"), move || {
                block_on(LIMIT, jet_stream(Sync::Default, depth, time))
            })]
        });
        plan.add_if(nats::syncs_always(), || {
            vec![Job::new(place("NATS JetStream, sync always (power cut)"), move || {
                block_on(LIMIT, jet_stream(Sync::Always, depth, time))
            })]
        });
        plan.add_if(redis_server::there(), || {
            vec![Job::new(place("Redis, appendfsync always (power cut)"), move || {
                block_on(LIMIT, redis(depth, time))
            })]
        });
    }
    let place = |row| Place { table: &TABLE, row, column: Some("1 under way") };
    plan.jobs.push(Job::new(place("redb, a transaction a delta (power cut)"), move || {
        in_redb(WRITERS, 1, time)
    }));
    plan.jobs.push(Job::new(place("redb, 64 a transaction (power cut)"), move || {
        in_redb(1, WRITERS as u64, time)
    }));
    plan.jobs.push(Job::new(place("device: pwrite and fdatasync alone"), move || device(time)));
}

/// One writer; its clones are the same.
trait Append: Clone + Send + 'static {
    /// Returns when it is stored.
    fn append(&self, payload: &[u8]) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// How many were stored, and how long that took.
struct Stored {
    count: u64,
    took: f64,
    times: Histogram<u64>,
}

impl Stored {
    fn figures(&self) -> Vec<f64> {
        let time = |quantile| milliseconds(&self.times, quantile);
        vec![self.count as f64 / self.took, time(0.5), time(0.99)]
    }

    /// The figures, if so many are there.
    fn checked(&self, there: u64) -> anyhow::Result<Vec<f64>> {
        let count = self.count;
        ensure!(there == count, "{count} were acknowledged as stored, and {there} are there");
        Ok(self.figures())
    }
}

/// Has writers append, each so many at a time.
async fn append(writers: &[impl Append], depth: usize, time: Duration) -> anyhow::Result<Stored> {
    let mut appending = JoinSet::new();
    let start = now();
    for writer in writers {
        for _ in 0..depth {
            let writer = writer.clone();
            appending.spawn(async move {
                let mut times = histogram()?;
                while seconds_since(start) < time.as_secs_f64() {
                    let stamp = Stamp::now(times.len(), Phase::Flow);
                    writer.append(&stamp.payload(LEN)).await?;
                    note_since(&mut times, stamp.sent);
                }
                anyhow::Ok(times)
            });
        }
    }
    let mut times = histogram()?;
    while let Some(appended) = appending.join_next().await {
        times.add(appended??)?;
    }
    Ok(Stored { count: times.len(), took: seconds_since(start), times })
}

/// Writes to the document of a hub.
#[derive(Clone)]
struct Writer {
    publisher: Arc<tokio::sync::Mutex<Publisher>>,
    _documents: Documents,
}

impl Writer {
    fn new(documents: Documents) -> anyhow::Result<Self> {
        let publisher = Arc::new(tokio::sync::Mutex::new(documents.publish(DOC)?));
        Ok(Self { publisher, _documents: documents })
    }
}

impl Append for Writer {
    async fn append(&self, payload: &[u8]) -> anyhow::Result<()> {
        let receipt = self.publisher.lock().await.publish(payload).await?;
        Ok(receipt.stored().await?)
    }
}

async fn in_process(durability: Durable, depth: usize, time: Duration) -> anyhow::Result<Vec<f64>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("data");
    let hub = Hub::open(path, durability.options(), Everyone, shared_runtime())?;
    let documents = || hub.documents(None, DocumentsOptions::default());
    let writers: Vec<_> =
        (0..WRITERS).map(|_| Writer::new(documents())).collect::<anyhow::Result<_>>()?;
    let stored = append(&writers, depth, time).await?;
    let there = count(&documents()).await?;
    drop(writers);
    ensure!(hub.shut_down(Duration::from_secs(5)).await, "not everything was stored in time");
    stored.checked(there)
}

async fn over_tcp(durability: Durable, depth: usize, time: Duration) -> anyhow::Result<Vec<f64>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("data");
    let server = Server::play(&Role::HubInFiles { durability, folder: path })?;
    let (node, url) = (Kind::Tcp.node()?, Kind::Tcp.url(&server)?);
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        writers.push(Writer::new(links::connect(&node, &url).await?)?);
    }
    let stored = append(&writers, depth, time).await?;
    let there = count(&links::connect(&node, &url).await?).await?;
    stored.checked(there)
}

/// Reads all that there is of the document.
async fn count(documents: &Documents) -> anyhow::Result<u64> {
    let mut subscription = documents.subscribe(DOC, SubscribeOptions::default())?;
    let mut count = 0;
    loop {
        match subscription.next().await? {
            Item::Delta { place, message } => {
                count += 1;
                ensure!(place.position == count, "position {} came {count}th", place.position);
                Stamp::read(message.delta()?.payload(), LEN)?;
            }
            Item::Live => return Ok(count),
            other => bail!("{other:?} came"),
        }
    }
}

impl Append for Arc<JetStream> {
    async fn append(&self, payload: &[u8]) -> anyhow::Result<()> {
        JetStream::append(self, payload).await
    }
}

async fn jet_stream(sync: Sync, depth: usize, time: Duration) -> anyhow::Result<Vec<f64>> {
    let nats = Nats::start(sync)?;
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        writers.push(Arc::new(nats.stream().await?));
    }
    let stored = append(&writers, depth, time).await?;
    stored.checked(writers[0].count().await?)
}

impl Append for RedisStream {
    async fn append(&self, payload: &[u8]) -> anyhow::Result<()> {
        // Clones of a connection send on the same one, and wait each for its own answer.
        self.clone().add(payload).await
    }
}

async fn redis(depth: usize, time: Duration) -> anyhow::Result<Vec<f64>> {
    let redis = Redis::start(Disk::FsyncAlways)?;
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        writers.push(redis.connect().await?);
    }
    let stored = append(&writers, depth, time).await?;
    stored.checked(writers[0].clone().count().await?)
}

const DELTAS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("deltas");

/// Threads that commit transactions of so many deltas each.
fn in_redb(threads: usize, deltas: u64, time: Duration) -> anyhow::Result<Vec<f64>> {
    let folder = tempfile::tempdir()?;
    let database = Database::create(folder.path().join("redb"))?;
    let next = Mutex::new(0_u64);
    let start = now();
    let commit = || -> anyhow::Result<Histogram<u64>> {
        let mut times = histogram()?;
        while seconds_since(start) < time.as_secs_f64() {
            let stamp = Stamp::now(times.len(), Phase::Flow);
            let transaction = database.begin_write()?;
            {
                let mut table = transaction.open_table(DELTAS)?;
                let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
                for _ in 0..deltas {
                    table.insert(*next, stamp.payload(LEN).as_slice())?;
                    *next += 1;
                }
            }
            transaction.commit()?;
            note_since(&mut times, stamp.sent);
        }
        Ok(times)
    };
    let mut times = histogram()?;
    thread::scope(|scope| {
        let committing: Vec<_> = (0..threads).map(|_| scope.spawn(commit)).collect();
        for thread in committing {
            let Ok(committed) = thread.join() else { bail!("a writer panicked") };
            times.add(committed?)?;
        }
        Ok(())
    })?;
    let stored = Stored { count: times.len() * deltas, took: seconds_since(start), times };
    stored.checked(database.begin_read()?.open_table(DELTAS)?.len()?)
}

/// What the disk gives.
fn device(time: Duration) -> anyhow::Result<Vec<f64>> {
    let folder = tempfile::tempdir()?;
    let file = preallocated(&folder.path().join("plain"), 64 << 20)?;
    let (mut times, start) = (histogram()?, Instant::now());
    let mut at = 0;
    while start.elapsed() < time {
        let sent = now();
        file.write_all_at(&[7; 4_096], at)?;
        file.sync_data()?;
        note_since(&mut times, sent);
        at = (at + 4_096) % (64 << 20);
    }
    Ok(Stored { count: times.len(), took: start.elapsed().as_secs_f64(), times }.figures())
}

fn preallocated(path: &Path, len: usize) -> anyhow::Result<File> {
    let file = File::create_new(path)?;
    file.write_all_at(&vec![0; len], 0)?;
    file.sync_all()?;
    Ok(file)
}
