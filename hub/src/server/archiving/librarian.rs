use std::io;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use deltawire_store::archive::{Archive, ArchiveError};
use deltawire_store::files::{Directory, Places};
use deltawire_store::{Io, IoDone, IoError};
use object_store::path::Path as ObjectPath;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

use super::super::Inner;
use super::super::storing::{Bell, Rung, handle};
use super::shelf::{Done, Job, Shelf};
use super::{ArchiveStats, Archiving};

/// How long a reader waits before it asks a store again that failed: at first, and at most.
const REST: Duration = Duration::from_millis(100);
const MAX_REST: Duration = Duration::from_secs(5);

/// How often it is said that the store fails.
const SAY: Duration = Duration::from_secs(60);

/// Bytes of a segment for which a request may take its time.
const PART: u64 = 8 << 20;

/// What is known of the thread that waits for the object store.
pub(in super::super) struct Librarian {
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    stats: ArchiveStats,
    /// When it was last said that the store fails.
    said: Option<Instant>,
}

/// What its tasks share.
struct Shared {
    hub: Weak<Inner>,
    known: Arc<Mutex<Known>>,
    shards: Vec<OfShard>,
    timeout: Duration,
    reads: Semaphore,
}

/// What it has of a shard.
struct OfShard {
    archive: Archive,
    places: Places,
    done: Sender<Done>,
    bell: Arc<Bell>,
}

impl Librarian {
    /// Starts the thread. Returns what each shard needs of it. It ends with the last of those.
    pub(in super::super) fn start(
        archiving: Archiving,
        hub: &Arc<Inner>,
        directory: &Arc<Directory>,
        places: Vec<Places>,
        bells: Vec<Arc<Bell>>,
    ) -> io::Result<(Self, Vec<Shelf>)> {
        let Archiving { store, prefix, keep_bytes, keep_for, timeout, max_reads } = archiving;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // Not the key itself, which is a secret.
        let id = blake3::derive_key("deltawire hub: archive", directory.hash_key());
        let id = blake3::Hash::from_bytes(id).to_hex();
        let root = ObjectPath::from(prefix).join(id.get(..32).unwrap_or_default());
        let (jobs, to_do) = unbounded_channel();
        let (mut shelves, mut shards) = (Vec::new(), Vec::new());
        for (shard, (places, bell)) in places.into_iter().zip(bells).enumerate() {
            let (done, to_settle) = channel();
            shelves.push(Shelf::new(shard, (keep_bytes, keep_for), jobs.clone(), to_settle));
            let archive = Archive::new(store.clone(), root.clone().join(format!("{shard:04}")));
            shards.push(OfShard { archive, places, done, bell });
        }
        let known = Arc::<Mutex<Known>>::default();
        let shared = Arc::new(Shared {
            hub: Arc::downgrade(hub),
            known: known.clone(),
            shards,
            timeout,
            reads: Semaphore::new(max_reads.clamp(1, Semaphore::MAX_PERMITS)),
        });
        // Locked for as long as it writes there.
        let directory = directory.clone();
        thread::Builder::new().name("deltawire-archive".into()).spawn(move || {
            runtime.block_on(shared.run(to_do));
            runtime.shutdown_background();
            drop(directory);
        })?;
        Ok((Self { known }, shelves))
    }

    pub(in super::super) fn stats(&self) -> ArchiveStats {
        lock(&self.known).stats
    }
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Hands out what is to be done, until nobody asks any more: readers do not wait behind segments that are put, which
    /// are put one after the other, as each takes memory.
    async fn run(self: Arc<Self>, mut to_do: UnboundedReceiver<Job>) {
        let (others, mut to_put): (UnboundedSender<Job>, _) = unbounded_channel();
        let shared = self.clone();
        tokio::spawn(async move {
            while let Some(job) = to_put.recv().await {
                shared.work(job).await;
            }
        });
        while let Some(job) = to_do.recv().await {
            match job {
                Job::Read { shard, io } => drop(tokio::spawn(self.clone().read(shard, io))),
                job => drop(others.send(job)),
            }
        }
    }

    async fn read(self: Arc<Self>, shard: usize, io: Io) {
        let Some(of) = self.shards.get(shard) else { return };
        let (token, segment) = (io.token(), io.segment());
        let place = self.reads.acquire().await;
        let done = match timeout(self.timeout, of.archive.fetch(io)).await {
            Ok(done) => done,
            Err(_) => {
                IoDone { token, result: Err(IoError::Unreachable("no answer in time".into())) }
            }
        };
        drop(place);
        match &done.result {
            Ok(bytes) => {
                let mut known = self.worked();
                known.stats.reads += 1;
                known.stats.read_bytes += bytes.len() as u64;
            }
            Err(IoError::Unreachable(reason)) => {
                let rest = self.failed(shard, "read", reason);
                // Who reads asks again as soon as this is answered.
                tokio::time::sleep(rest).await;
            }
            Err(error) => {
                lock(&self.known).stats.errors += 1;
                tracing::error!(shard, segment, %error, "an archived segment cannot be read");
            }
        }
        handle(&self.hub, shard, done, true);
        of.bell.ring(Rung::Work);
    }

    async fn work(&self, job: Job) {
        let (shard, done) = match job {
            Job::Put { shard, segment, len } => (shard, self.put(shard, segment, len).await),
            Job::Clear { shard, remainder } => {
                if let Err(error) = remainder.delete() {
                    tracing::warn!(shard, %error, "an archived segment takes room here, too");
                }
                (shard, Done::Cleared)
            }
            Job::Erase { shard } => (shard, self.erase(shard).await),
            Job::Read { .. } => return,
        };
        if let Some(of) = self.shards.get(shard) {
            let _ = of.done.send(done);
            of.bell.ring(Rung::Work);
        }
    }

    async fn put(&self, shard: usize, segment: u64, len: u64) -> Done {
        let Some(of) = self.shards.get(shard) else { return Done::NotPut };
        // It is put and read back, with a few requests beside; its index comes with it.
        let parts = u32::try_from(len / PART).unwrap_or(u32::MAX);
        let within = self.timeout.saturating_mul(parts.saturating_mul(3).saturating_add(8));
        match timeout(within, of.archive.persist(&of.places, segment)).await {
            Ok(Ok(persisted)) => {
                let mut known = self.worked();
                known.stats.put_segments += 1;
                known.stats.put_bytes += persisted.object_len();
                drop(known);
                tracing::debug!(shard, segment, "archived");
                Done::Persisted(persisted)
            }
            Ok(Err(error)) if may_pass(&error) => {
                self.failed(shard, "put a segment into", &error.to_string());
                Done::NotPut
            }
            Ok(Err(error)) => {
                lock(&self.known).stats.errors += 1;
                tracing::error!(shard, segment, %error, "a segment is not archived");
                Done::Unfit
            }
            Err(_) => {
                self.failed(shard, "put a segment into", "no answer in time");
                Done::NotPut
            }
        }
    }

    async fn erase(&self, shard: usize) -> Done {
        let Some(of) = self.shards.get(shard) else { return Done::NotErased };
        let left = match of.places.to_erase() {
            Ok(left) => left,
            Err(error) => {
                tracing::warn!(shard, %error, "what is to be deleted in the archive is not known");
                return Done::NotErased;
            }
        };
        for segment in left {
            // One after the other, and each in time.
            let reason = match timeout(self.timeout, of.archive.erase(&of.places, segment)).await {
                Ok(Ok(())) => {
                    self.worked().stats.erased_segments += 1;
                    continue;
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer in time".to_owned(),
            };
            self.failed(shard, "delete in", &reason);
            return Done::NotErased;
        }
        Done::Erased
    }

    /// The store did what it was asked.
    fn worked(&self) -> MutexGuard<'_, Known> {
        let mut known = lock(&self.known);
        if known.stats.failing > 0 {
            tracing::info!(failures = known.stats.failing, "the object store answers again");
            (known.stats.failing, known.said) = (0, None);
        }
        known
    }

    /// It did not. Says so now and then; returns how long to wait before it is asked again.
    fn failed(&self, shard: usize, doing: &str, reason: &str) -> Duration {
        let mut known = lock(&self.known);
        known.stats.failures += 1;
        let rest = REST.saturating_mul(1 << known.stats.failing.min(10)).min(MAX_REST);
        known.stats.failing += 1;
        if known.said.is_none_or(|said| said.elapsed() >= SAY) {
            known.said = Some(Instant::now());
            let failing = known.stats.failing;
            drop(known);
            tracing::warn!(
                shard,
                reason,
                failing,
                "could not {doing} the object store; trying again"
            );
        }
        rest
    }
}

/// Whether an error may go by itself, as a full disk does, and the segment is as good as any other.
fn may_pass(error: &ArchiveError) -> bool {
    !matches!(error, ArchiveError::NoIndex { .. } | ArchiveError::Taken { .. })
}
