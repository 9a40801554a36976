//! What was done over HTTP.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// Counters since the start, and how many there are now of those that last.
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
    /// Requests that follow a document now.
    pub(crate) followers: u64,
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

    pub(crate) fn follower(&self) {
        self.lock().followers += 1;
    }

    pub(crate) fn follower_gone(&self) {
        let mut counters = self.lock();
        counters.followers = counters.followers.saturating_sub(1);
    }
}
