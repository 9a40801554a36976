//! The hub: keeps documents, and serves them to any number of peers.

mod appending;
#[cfg(feature = "archive")]
mod archiving;
mod attendant;
mod cursor;
mod inner;
mod keys;
mod options;
mod policy;
mod presence;
mod publication;
mod rates;
mod reader;
mod rejections;
mod shard;
mod source;
#[cfg(feature = "files")]
mod storing;
mod tail;
mod watching;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use deltawire_channels::session::SendPriority;
use deltawire_channels::{Message, Peer, Reliability};
use deltawire_framing::DocId;
use deltawire_link::runtime::{SharedRuntime, sleep};
use deltawire_link::{Identity, Link, memory};
pub use deltawire_store as store;
use deltawire_store::{Epoch, Head, Log, LogPosition, Position, Read};

#[cfg(feature = "archive")]
pub use archiving::{ArchiveStats, Archiving};
pub use options::{Deliver, HubOptions};
pub use policy::{Action, Ask, Everyone, Permission, Policy};
pub use rates::PeerRates;
pub use watching::{LiveDocument, SlowReader};

use crate::arrivals::Arrivals;
use crate::outages;
use crate::{Documents, DocumentsOptions, Place, Start, SubscribeOptions, Subscription};
use attendant::Attendant;
pub(crate) use cursor::Given;
use inner::Inner;
use reader::Order;
use shard::Shard;
use source::{LinkSource, LocalCursor};

type ShardGuard<'a> = MutexGuard<'a, Shard>;

/// Keeps documents and serves them to peers. Clones are handles on the same hub.
///
/// A document's deltas are kept once, in a log, and sent from there. A reader is a cursor into it: one that is slow keeps
/// its place, and nothing else. Whoever has brought deltas in appends them under the lock of their shard, as one
/// batch, and wakes those that read.
#[derive(Clone)]
pub struct Hub {
    inner: Arc<Inner>,
    _handle: Arc<Handle>,
}

/// What all handles on a hub share: the last one ends the documents of its own process, which nothing else would.
struct Handle(Arc<Inner>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.go_away();
    }
}

/// What a hub knows of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HubStats {
    /// Peers.
    pub peers: usize,
    /// Documents that are known.
    pub documents: usize,
    /// Subscriptions.
    pub readers: usize,
    /// Writers that are present.
    pub present: usize,
    /// Bytes of the newest deltas of documents that somebody reads.
    pub tail_bytes: usize,
    /// Runs that were handed to readers.
    pub runs: u64,
    /// Deltas that came for no publication.
    pub unexpected: u64,
}

/// Why a delta of this process's own is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The log does not take it.
    #[error(transparent)]
    Refused(#[from] deltawire_store::Refused),
    /// Its fields cannot be written.
    #[error(transparent)]
    Invalid(#[from] deltawire_framing::WriteError),
    /// It says that it is a group, and is none.
    #[error(transparent)]
    NoGroup(#[from] deltawire_framing::Malformed),
    /// The document has gone on from where it was expected.
    #[error("the document's next delta gets position {next}, not {expected}")]
    Conflict {
        /// The position that was expected.
        expected: u64,
        /// The position that its next delta gets.
        next: u64,
    },
}

/// Why a delta is not rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RejectError {
    /// There is none, or the log takes nothing more.
    #[error(transparent)]
    Refused(#[from] deltawire_store::Refused),
    /// Nothing is stored any more: readers were told, and after a restart it may not be so.
    #[error("the rejection is not stored, as nothing is any more")]
    NotStored,
    /// Positions of that epoch mean something else now.
    #[error("the document has epoch {epoch}, not {asked}")]
    OtherEpoch {
        /// The epoch that was asked for.
        asked: u32,
        /// The document's.
        epoch: u32,
    },
}

impl Hub {
    /// A hub that keeps documents in memory only: what is in it ends with the process, and it tells writers so.
    ///
    /// # Panics
    /// If the options of the log are out of range.
    #[must_use]
    pub fn in_memory(options: HubOptions, policy: impl Policy, runtime: SharedRuntime) -> Self {
        let mut random = [0; 36];
        if runtime.random(&mut random).is_err() {
            tracing::warn!("no randomness: documents can be aimed at one shard");
        }
        let [a, b, c, d, key @ ..] = random;
        // Positions of another life of this hub mean something else.
        let epoch = Epoch(u32::from_le_bytes([a, b, c, d]).max(1));
        let policy: Arc<dyn Policy> = Arc::new(policy);
        let logs = (0..options.shards.max(1)).map(|_| Log::new(options.log, epoch));
        let shard = |log| Mutex::new(Shard::new(log, options, policy.clone()));
        let shards = logs.map(shard).collect();
        let inner = Inner {
            shards,
            key,
            options,
            policy,
            runtime,
            links: Mutex::default(),
            volatile: true,
            #[cfg(feature = "files")]
            storing: None,
        };
        Self::start(Arc::new(inner))
    }

    /// A hub that keeps documents in a directory, which is made if there is none; one process at a time. Reads all that is
    /// there before it returns: call it where waiting for the disk does no harm. A durability of `Memory`, the
    /// default, becomes [`Grouped`](store::Durability::grouped).
    ///
    /// # Errors
    /// When another process has the directory, it was made for another number of shards, or cannot be read; and when the
    /// options of the log are out of range. A log that is damaged is opened read-only, and said loudly.
    #[cfg(feature = "files")]
    pub fn open(
        directory: impl AsRef<std::path::Path>,
        options: HubOptions,
        policy: impl Policy,
        runtime: SharedRuntime,
    ) -> Result<Self, store::OpenError> {
        Self::open_files(directory.as_ref(), options, None, Arc::new(policy), runtime)
    }

    /// The same, for a hub that moves the segments of its logs into an object store when they are old or many. What lies there
    /// is read from there, and deleted with its segment. The store is not asked for anything before this returns, and while it
    /// cannot be reached, nothing is damaged: nothing is moved, and readers of what is there wait and ask again.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    #[cfg(feature = "archive")]
    pub fn open_archived(
        directory: impl AsRef<std::path::Path>,
        options: HubOptions,
        archiving: Archiving,
        policy: impl Policy,
        runtime: SharedRuntime,
    ) -> Result<Self, store::OpenError> {
        let policy = Arc::new(policy);
        Self::open_files(directory.as_ref(), options, Some(archiving), policy, runtime)
    }

    #[cfg(feature = "files")]
    fn open_files(
        path: &std::path::Path,
        mut options: HubOptions,
        archiving: Option<storing::Archiving>,
        policy: Arc<dyn Policy>,
        runtime: SharedRuntime,
    ) -> Result<Self, store::OpenError> {
        if options.log.durability == store::Durability::Memory {
            options.log.durability = store::Durability::grouped();
        }
        let found = storing::find(path, options.shards, options.log, archiving.is_some())?;
        let (directory, logs, files) = found.into_parts();
        let key = blake3::derive_key("deltawire hub: shards and writers", directory.hash_key());
        let storing = storing::Storing::new(options.shards);
        let shard = |log| Mutex::new(Shard::new(log, options, policy.clone()));
        let inner = Arc::new(Inner {
            shards: logs.into_iter().map(shard).collect(),
            key,
            options,
            policy,
            runtime,
            links: Mutex::default(),
            volatile: false,
            storing: Some(storing),
        });
        if let Some(storing) = &inner.storing {
            let started = storing.start(&inner, directory, files, archiving);
            let failed = |source| store::OpenError::Io {
                doing: "start a thread for",
                path: path.to_owned(),
                source,
            };
            started.map_err(failed)?;
        }
        Ok(Self::start(inner))
    }

    fn start(inner: Arc<Inner>) -> Self {
        let (weak, runtime) = (Arc::downgrade(&inner), inner.runtime.clone());
        let task_runtime = runtime.clone();
        runtime.spawn(Box::pin(async move {
            loop {
                sleep(&*task_runtime, Duration::from_secs(1)).await;
                let Some(hub) = weak.upgrade() else { return };
                hub.tick();
            }
        }));
        Self { _handle: Arc::new(Handle(inner.clone())), inner }
    }

    /// Serves a peer, until its link is over. Its node has to [say](deltawire_channels::session::SessionConfig::serves_documents)
    /// that it serves documents.
    pub async fn attend(&self, link: &Link, peer: Peer) {
        let shared = self.inner.new_link(link.identity().cloned(), Some(link.id()));
        let source = LinkSource::new(self.inner.clone(), shared.clone());
        let Peer { command, send: _send, receive } = peer;
        let arrivals = Arrivals::Link(receive);
        let identity = link.identity().cloned();
        let delivery = link.stats().session.deltas;
        let unreliable = delivery.iter().any(|it| {
            it.order != deltawire_channels::Order::Ordered
                || it.reliability != Reliability::Reliable
        });
        let orders = shared.clone();
        let attendant =
            Attendant::new(self.inner.clone(), identity, shared, command, arrivals, unreliable);
        if link.open_source(Box::new(source), SendPriority::default()).await.is_err() {
            return;
        }
        let say = |down| orders.order(if down { Order::Down } else { Order::Up });
        outages::told(link, attendant.run(), say).await;
    }

    /// Documents of this hub for somebody in the same process: the same as over a link, without a copy. A task of the
    /// runtime's serves them until the hub is gone or they are [closed](Documents::close).
    #[must_use]
    pub fn documents(&self, identity: Option<Identity>, options: DocumentsOptions) -> Documents {
        let documents = Documents::new(self.inner.runtime.clone(), options);
        let (here, there) = memory::pair();
        let shared = self.inner.new_link(identity.clone(), None);
        let source = LinkSource::new(self.inner.clone(), shared.clone());
        let (hub, runtime) = (self.inner.clone(), self.inner.runtime.clone());
        let client = documents.clone();
        self.inner.runtime.spawn(Box::pin(async move {
            let served = client.attend_in_process(here.command, |outgoing| {
                let arrivals = Arrivals::InProcess(outgoing);
                let attendant =
                    Attendant::new(hub, identity, shared, there.command, arrivals, false);
                runtime.spawn(Box::pin(attendant.run()));
                Arrivals::InProcess(Box::new(source))
            });
            if let Err(error) = served.await {
                tracing::debug!(%error, "documents of this process are over");
            }
            // There is no other hub that they could go on with.
            client.close();
        }));
        documents
    }

    /// Reads a document in the same process: a cursor into its log, without a task and without a copy. Nobody is asked whether
    /// that is permitted.
    #[must_use]
    pub fn subscribe(&self, doc_id: DocId, options: SubscribeOptions) -> Subscription {
        let SubscribeOptions { start, policy } = options;
        let at = match start {
            Start::Position { epoch, position } => Some(Place { epoch, position }),
            _ => None,
        };
        Subscription::local(LocalCursor::new(&self.inner, doc_id, start, policy), at)
    }

    /// Whether a delta is as safe as the hub's durability says; `false` too if its document is not what it was.
    #[must_use]
    pub fn is_stored(&self, doc_id: &DocId, place: Place) -> bool {
        let shard = self.inner.shard(self.inner.shard_of(doc_id));
        !self.inner.volatile && shard.is_stored(doc_id, place).unwrap_or(false)
    }

    /// The first position that may mean something else than it did in an earlier epoch of the document's, as
    /// [`Log::until`](store::Log::until) has it.
    #[must_use]
    pub fn until(&self, doc_id: &DocId, epoch: u32) -> Option<u64> {
        let shard = self.inner.shard(self.inner.shard_of(doc_id));
        shard.log.until(doc_id, Epoch(epoch)).map(|until| until.0)
    }

    /// What there is of a document; `None` if it is not known.
    #[must_use]
    pub fn head(&self, doc_id: &DocId) -> Option<Head> {
        self.inner.shard(self.inner.shard_of(doc_id)).log.head(doc_id)
    }

    /// Reads a document, without waiting: see [`Log::read`]. What lies on the disk only is asked for, and is there a little later.
    #[must_use]
    pub fn read(&self, doc_id: &DocId, from: u64, max_bytes: usize) -> Read {
        let index = self.inner.shard_of(doc_id);
        let mut shard = self.inner.shard(index);
        let read = shard.log.read(doc_id, Position(from), max_bytes);
        if let Read::Cold(request) = &read {
            shard.log.want(*request);
            drop(shard);
            self.inner.kick(index);
        }
        read
    }

    /// The documents that are known, in no order.
    #[must_use]
    pub fn list(&self) -> Vec<DocId> {
        let shards = 0..self.inner.shards.len();
        shards
            .flat_map(|index| self.inner.shard(index).log.documents().copied().collect::<Vec<_>>())
            .collect()
    }

    /// Deletes a document. Says whether it was known. Its readers are told that it begins anew.
    #[must_use]
    pub fn delete(&self, doc_id: &DocId) -> bool {
        let index = self.inner.shard_of(doc_id);
        let known = self.inner.shard(index).forget(*doc_id, self.inner.now());
        // What is under way to the old one is not to begin the new one.
        self.inner.order(&Order::Deleted(*doc_id));
        self.inner.kick(index);
        known
    }

    /// Rejects a delta that was taken in: it is not given to readers any more, and those that may have it are told by
    /// [`Item::Rejected`](crate::Item::Rejected). Its position stays. `by` says who, for those that look into the log. Waits
    /// until that is stored, as the hub's durability says: before, some readers may have been told, and a crash takes it
    /// back, so that it has to be done again. To reject a delta again changes nothing.
    ///
    /// Cancel safe: what is left is only not to wait.
    ///
    /// # Errors
    /// When there is no such delta, or the log takes nothing more.
    pub async fn reject(
        &self,
        doc_id: &DocId,
        place: Place,
        by: [u8; 16],
    ) -> Result<(), RejectError> {
        let end = self.begin_rejection(doc_id, place, by)?;
        let index = self.inner.shard_of(doc_id);
        let stored = self.inner.volatile
            || self.until_stored(index, |shard| Some(shard.log.durable() >= end)).await;
        if stored { Ok(()) } else { Err(RejectError::NotStored) }
    }

    fn begin_rejection(
        &self,
        doc_id: &DocId,
        place: Place,
        by: [u8; 16],
    ) -> Result<LogPosition, RejectError> {
        let index = self.inner.shard_of(doc_id);
        let mut shard = self.inner.shard(index);
        let epoch = shard.log.head(doc_id).map_or(place.epoch, |head| head.epoch.0);
        if epoch != place.epoch {
            return Err(RejectError::OtherEpoch { asked: place.epoch, epoch });
        }
        let end = shard.reject(*doc_id, Position(place.position), by, self.inner.now())?;
        drop(shard);
        self.inner.kick(index);
        Ok(end)
    }

    /// Takes back what was permitted: to this subject or to all, of this document or of all. Subscriptions and publications
    /// end by [`DeniedCode::REVOKED`](crate::DeniedCode::REVOKED) as soon as their peers' tasks run.
    pub fn revoke(&self, subject: Option<&str>, doc_id: Option<DocId>) {
        let order = Order::Revoke { subject: subject.map(Arc::from), doc_id };
        self.inner.order(&order);
    }

    /// Tells all peers that the hub goes away, takes in no more of theirs, and waits until what was appended is stored, or
    /// `within` is over. Says whether it is.
    pub async fn shut_down(&self, within: Duration) -> bool {
        self.inner.go_away();
        self.inner.close(within).await
    }

    /// What it knows of itself.
    #[must_use]
    pub fn stats(&self) -> HubStats {
        let links = self.inner.links();
        let peers = links.open.len();
        let unexpected = links.unexpected;
        drop(links);
        let mut stats = HubStats { peers, unexpected, ..HubStats::default() };
        for index in 0..self.inner.shards.len() {
            let shard = self.inner.shard(index);
            let (readers, present) = shard.counts();
            stats.documents += shard.log.documents().count();
            stats.readers += readers;
            stats.present += present;
            stats.tail_bytes += shard.tail_bytes();
            stats.runs += shard.delivered_runs;
        }
        stats
    }

    /// What it has in its object store, and how that goes; `None` if it has none.
    #[cfg(feature = "archive")]
    #[must_use]
    pub fn archive_stats(&self) -> Option<ArchiveStats> {
        let mut stats = self.inner.storing.as_ref()?.archive_stats()?;
        for log in self.logs() {
            stats.segments += log.archived_segments;
            stats.bytes += log.archived_bytes;
        }
        Some(stats)
    }

    /// What a delta of these bytes is, for those that write messages by themselves.
    ///
    /// # Errors
    /// When it is no whole delta.
    #[doc(hidden)]
    pub fn message_of(frame: Bytes) -> Result<Message, deltawire_framing::Malformed> {
        Message::of_kept(frame)
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
