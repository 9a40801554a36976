//! What a hub tells whoever watches over it.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use deltawire_framing::DocId;
use deltawire_link::{Identity, LinkId};
use deltawire_store::{Broken, Head, LogStats, Position};

use super::Hub;
use super::reader::LinkShared;
use super::shard::Shard;
use crate::Place;

/// A document that somebody reads, or is present in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LiveDocument {
    /// Which one.
    pub doc_id: DocId,
    /// What there is of it; `None` before its first delta.
    pub head: Option<Head>,
    /// Subscriptions.
    pub readers: usize,
    /// Writers that are present.
    pub present: usize,
}

/// A subscription that has something to read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SlowReader {
    /// Its document.
    pub doc_id: DocId,
    /// Who reads, if that is known.
    pub identity: Option<Identity>,
    /// Over which link; `None` in the same process.
    pub link: Option<LinkId>,
    /// Where its last run began: what follows may be on its way.
    pub position: u64,
    /// How many positions the document goes on behind that.
    pub behind: u64,
}

impl Hub {
    /// Waits until a delta is as safe as the hub's durability says. `false` when that will not be: the hub has nothing but
    /// memory, the document is not what it was, or nothing is stored any more. Cancel safe.
    pub async fn stored(&self, doc_id: &DocId, place: Place) -> bool {
        if self.inner.volatile {
            return false;
        }
        let index = self.inner.shard_of(doc_id);
        self.until_stored(index, |shard| shard.is_stored(doc_id, place)).await
    }

    /// Waits until something that a shard knows of is stored. `false` when it is not known any more (`None`), or nothing is stored
    /// any more.
    pub(super) async fn until_stored(
        &self,
        index: usize,
        is_stored: impl Fn(&Shard) -> Option<bool>,
    ) -> bool {
        let link = Arc::new(LinkShared::default());
        poll_fn(|context| {
            // Before it looks: whatever is stored from here on wakes it.
            link.register_attendant(context.waker());
            let mut shard = self.inner.shard(index);
            match is_stored(&shard) {
                Some(false) => {}
                stored => return Poll::Ready(stored.is_some()),
            }
            // One that is being closed still stores what it has.
            if shard.log.broken().is_some_and(|broken| *broken != Broken::Closed) {
                return Poll::Ready(false);
            }
            shard.wait(&link);
            Poll::Pending
        })
        .await
    }

    /// Whether it has nothing but memory.
    #[must_use]
    pub fn is_volatile(&self) -> bool {
        self.inner.volatile
    }

    /// Why a shard's log takes nothing more; `None` while all of them do.
    #[must_use]
    pub fn broken(&self) -> Option<Broken> {
        let shards = 0..self.inner.shards.len();
        shards.into_iter().find_map(|index| self.inner.shard(index).log.broken().cloned())
    }

    /// The counters of each shard's log.
    #[must_use]
    pub fn logs(&self) -> Vec<LogStats> {
        let shards = 0..self.inner.shards.len();
        shards.map(|index| self.inner.shard(index).log.stats()).collect()
    }

    /// Documents that somebody reads or is present in, at most `max`, in no order.
    #[must_use]
    pub fn live(&self, max: usize) -> Vec<LiveDocument> {
        let mut found = Vec::new();
        for index in 0..self.inner.shards.len() {
            let room = max - found.len();
            found.extend(self.inner.shard(index).live_documents().take(room));
        }
        found
    }

    /// The subscriptions that are furthest behind, at most `max` of them, the furthest first. Locks each document by itself, so
    /// that those that write wait for none of it.
    #[must_use]
    pub fn slow_readers(&self, max: usize) -> Vec<SlowReader> {
        let mut found = Vec::new();
        for index in 0..self.inner.shards.len() {
            let live = self.inner.shard(index).live_ids();
            for doc_id in live {
                self.inner.shard(index).slow_readers(doc_id, &mut found);
                if found.len() >= max.saturating_mul(2).max(1_024) {
                    keep_furthest(&mut found, max);
                }
            }
        }
        keep_furthest(&mut found, max);
        found
    }
}

fn keep_furthest(found: &mut Vec<SlowReader>, max: usize) {
    found.sort_by_key(|reader| std::cmp::Reverse(reader.behind));
    found.truncate(max);
}

impl Shard {
    /// Whether a delta is stored; `None` if its document is not what it was.
    pub(super) fn is_stored(&self, doc_id: &DocId, place: Place) -> Option<bool> {
        self.log.head(doc_id).filter(|head| head.epoch.0 == place.epoch)?;
        self.log.is_durable(doc_id, Position(place.position))
    }

    fn slow_readers(&self, doc_id: DocId, found: &mut Vec<SlowReader>) {
        let Some(head) = self.log.head(&doc_id) else { return };
        for reader in self.readers_of(&doc_id) {
            let position = reader.position();
            let behind = head.next.since(Position(position.max(1)));
            if behind > 0 {
                let (identity, link) = reader.who();
                found.push(SlowReader { doc_id, identity, link, position, behind });
            }
        }
    }
}
