//! What was done over HTTP, and who follows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use deltawire_framing::DocId;
use deltawire_link::Identity;
use serde::Serialize;

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Counters {
    /// Requests for documents and about the server.
    pub(crate) requests: u64,
    /// Those that were refused (4xx).
    pub(crate) refused: u64,
    /// Those that failed (5xx).
    pub(crate) failed: u64,
    /// Deltas that came.
    pub(crate) deltas_in: u64,
    /// Bytes of their payloads.
    pub(crate) bytes_in: u64,
    /// Deltas that were read.
    pub(crate) deltas_out: u64,
    /// Bytes of their frames.
    pub(crate) bytes_out: u64,
}

/// Counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counted(Arc<Mutex<Counters>>);

impl Counted {
    fn lock(&self) -> MutexGuard<'_, Counters> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self) -> Counters {
        *self.lock()
    }

    pub(crate) fn answered(&self, status: u16) {
        let mut counters = self.lock();
        counters.requests += 1;
        match status {
            400..=499 => counters.refused += 1,
            500.. => counters.failed += 1,
            _ => {}
        }
    }

    pub(crate) fn written(&self, len: usize) {
        let mut counters = self.lock();
        counters.deltas_in += 1;
        counters.bytes_in += len as u64;
    }

    pub(crate) fn delta(&self, len: usize) {
        let mut counters = self.lock();
        counters.deltas_out += 1;
        counters.bytes_out += len as u64;
    }
}

/// Those that follow documents.
#[derive(Clone, Debug, Default)]
pub(crate) struct Followers(Arc<Mutex<Listed>>);

#[derive(Debug, Default)]
struct Listed {
    next: u64,
    followers: BTreeMap<u64, Arc<Follower>>,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Follower {
    pub(crate) document: DocId,
    pub(crate) identity: Identity,
    /// Of the next delta that it is sent; 0 before it is known.
    position: Mutex<u64>,
}

/// A follower's place on the list; it goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    followers: Followers,
    number: u64,
    follower: Arc<Follower>,
}

impl Followers {
    fn lock(&self) -> MutexGuard<'_, Listed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn enter(&self, document: DocId, identity: Identity) -> Place {
        let follower = Arc::new(Follower { document, identity, position: Mutex::new(0) });
        let mut listed = self.lock();
        listed.next += 1;
        let number = listed.next;
        listed.followers.insert(number, follower.clone());
        Place { followers: self.clone(), number, follower }
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().followers.len()
    }

    pub(crate) fn list(&self) -> Vec<Arc<Follower>> {
        self.lock().followers.values().cloned().collect()
    }
}

impl Follower {
    pub(crate) fn position(&self) -> u64 {
        *self.position.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    pub(crate) fn note(&self, position: u64) {
        *self.follower.position.lock().unwrap_or_else(PoisonError::into_inner) = position;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.followers.lock().followers.remove(&self.number);
    }
}
