//! What all of a hub shares: its shards, its links, and its clock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use deltawire_framing::DocId;
use deltawire_framing::documents::WriterId;
use deltawire_link::runtime::SharedRuntime;
use deltawire_link::{Identity, LinkId};
use deltawire_store::{Now, Origin};
use slab::Slab;

use super::policy::Policy;
use super::reader::{LinkShared, Order};
use super::shard::Shard;
#[cfg(feature = "files")]
use super::storing;
use super::{HubOptions, ShardGuard};

pub(crate) struct Inner {
    pub(super) shards: Box<[Mutex<Shard>]>,
    /// Of the hash that tells which shard has a document, and of the names of writers.
    pub(super) key: [u8; 32],
    pub(super) options: HubOptions,
    pub(super) policy: Arc<dyn Policy>,
    pub(super) runtime: SharedRuntime,
    pub(super) links: Mutex<Links>,
    /// Whether nothing is ever stored.
    pub(super) volatile: bool,
    #[cfg(feature = "files")]
    pub(super) storing: Option<storing::Storing>,
}

#[derive(Default)]
pub(super) struct Links {
    pub(super) open: Slab<Weak<LinkShared>>,
    /// The number of the next peer.
    pub(super) next: u64,
    /// Deltas of no publication.
    pub(super) unexpected: u64,
    pub(super) going_away: bool,
}

impl Inner {
    /// A shard, of which all that was appended can be read.
    pub(super) fn shard(&self, index: usize) -> ShardGuard<'_> {
        let mut shard = self.shard_in_batch(index);
        if shard.batch_began().is_some() {
            shard.end_batch(self.now());
        }
        shard
    }

    /// A shard in which a batch may have begun.
    pub(super) fn shard_in_batch(&self, index: usize) -> ShardGuard<'_> {
        let shard = self.shards.get(index).unwrap_or_else(|| unreachable!("shards stay"));
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which shard has a document: by a keyed hash, so that nobody can aim at one.
    pub(super) fn shard_of(&self, doc_id: &DocId) -> usize {
        if self.shards.len() == 1 {
            return 0;
        }
        let hash = blake3::keyed_hash(&self.key, &doc_id.0);
        let [a, b, c, d, ..] = *hash.as_bytes();
        u32::from_le_bytes([a, b, c, d]) as usize % self.shards.len()
    }

    /// What is kept of who wrote a delta.
    pub(super) fn origin_of(&self, identity: Option<&Identity>, writer: WriterId) -> Origin {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&writer.0);
        if let Some(identity) = identity {
            hasher.update(identity.subject().as_bytes());
        }
        let mut origin = [0; 16];
        hasher.finalize_xof().fill(&mut origin);
        Origin(origin)
    }

    pub(super) fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall = u64::try_from(wall.as_micros()).unwrap_or(u64::MAX);
        Now { elapsed: self.runtime.now(), wall }
    }

    pub(super) fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn new_link(
        &self,
        identity: Option<Identity>,
        id: Option<LinkId>,
    ) -> Arc<LinkShared> {
        let mut links = self.links();
        let shared = Arc::new(LinkShared::of(links.open.vacant_key(), identity, id));
        links.open.insert(Arc::downgrade(&shared));
        if links.going_away {
            shared.order(Order::GoAway);
        }
        shared
    }

    pub(super) fn forget_link(&self, shared: &Arc<LinkShared>) {
        self.links().open.try_remove(shared.key());
    }

    pub(super) fn next_number(&self) -> u64 {
        let mut links = self.links();
        links.next += 1;
        links.next
    }

    pub(super) fn count_unexpected(&self) {
        self.links().unexpected += 1;
    }

    pub(super) fn order(&self, order: &Order) {
        let links: Vec<_> =
            self.links().open.iter().filter_map(|(_, link)| link.upgrade()).collect();
        for link in links {
            link.order(order.clone());
        }
    }

    /// Tells all peers, and those that come, that the hub goes away.
    pub(super) fn go_away(&self) {
        self.links().going_away = true;
        self.order(&Order::GoAway);
        (0..self.shards.len()).for_each(|index| self.shard(index).go_away());
    }

    /// There is something for the disk of a shard to do.
    pub(super) fn kick(&self, index: usize) {
        #[cfg(feature = "files")]
        if let Some(storing) = &self.storing {
            storing.kick(index);
        }
        #[cfg(not(feature = "files"))]
        let _ = index;
    }

    pub(super) async fn close(&self, within: Duration) -> bool {
        #[cfg(feature = "files")]
        if let Some(storing) = &self.storing {
            return storing.close(self, within).await;
        }
        let _ = within;
        true
    }

    pub(super) fn tick(&self) {
        let now = self.now();
        for index in 0..self.shards.len() {
            self.shard(index).tick(now);
            self.kick(index);
        }
    }
}
