//! How much a peer may bring in over a link in a second. It is held up past that, and loses nothing.

use std::num::NonZeroU32;
use std::time::Duration;

use deltawire_link::runtime::SharedRuntime;
use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

/// How much may come in over one link, each a second. What is above that waits at the peer: nothing is refused for it, and
/// nothing else of that peer's gets past it, what it says of its presence included. 0 is no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerRates {
    /// Deltas. Default: no bound.
    pub deltas: u32,
    /// Bytes of their frames, at most 4 GiB. Default: no bound.
    pub bytes: u32,
    /// Documents that are made by what it writes. Default: 100, after the first 1,000.
    pub new_documents: u32,
}

impl Default for PeerRates {
    fn default() -> Self {
        Self { deltas: 0, bytes: 0, new_documents: 100 }
    }
}

/// Documents that a peer may make at once.
const BURST_OF_DOCUMENTS: u32 = 1_000;

/// What of its rates a peer has used up.
pub(super) struct Rates {
    deltas: Option<Limiter>,
    bytes: Option<Limiter>,
    new_documents: Option<Limiter>,
    runtime: SharedRuntime,
    /// Of the delta that waits: how many of its bytes are still to be counted, once it has counted as one itself.
    owed: Option<u32>,
    /// Whether the document that it makes has counted.
    document: bool,
}

struct Limiter {
    limiter: RateLimiter<NotKeyed, InMemoryState, RuntimeClock, NoOpMiddleware<Duration>>,
    burst: NonZeroU32,
}

/// A runtime's time, for the limiter.
#[derive(Clone)]
struct RuntimeClock(SharedRuntime);

impl Clock for RuntimeClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.now()
    }
}

impl Limiter {
    fn new(a_second: u32, burst: u32, runtime: &SharedRuntime) -> Option<Self> {
        let quota = Quota::per_second(NonZeroU32::new(a_second)?);
        let burst = NonZeroU32::new(burst.max(a_second))?;
        let clock = RuntimeClock(runtime.clone());
        let limiter = RateLimiter::direct_with_clock(quota.allow_burst(burst), clock);
        Some(Self { limiter, burst })
    }

    /// Uses up `count`, at most a burst; or says when there is room for it.
    fn take(&self, count: u32, now: Duration) -> Result<(), Duration> {
        let Some(count) = NonZeroU32::new(count) else { return Ok(()) };
        match self.limiter.check_n(count.min(self.burst)) {
            Ok(Ok(())) | Err(_) => Ok(()),
            Ok(Err(until)) => {
                let wait = until.wait_time_from(now).max(Duration::from_millis(1));
                Err(now.saturating_add(wait))
            }
        }
    }
}

impl Rates {
    pub(super) fn new(rates: PeerRates, runtime: &SharedRuntime) -> Self {
        let PeerRates { deltas, bytes, new_documents } = rates;
        Self {
            deltas: Limiter::new(deltas, deltas, runtime),
            bytes: Limiter::new(bytes, bytes, runtime),
            new_documents: Limiter::new(new_documents, BURST_OF_DOCUMENTS, runtime),
            runtime: runtime.clone(),
            owed: None,
            document: false,
        }
    }

    /// A delta of `len` bytes is to be taken in; or says when it may be.
    pub(super) fn take_delta(&mut self, len: usize) -> Result<(), Duration> {
        if self.deltas.is_none() && self.bytes.is_none() {
            return Ok(());
        }
        let now = self.runtime.now();
        let mut owed = match (self.owed, &self.deltas) {
            (Some(owed), _) => owed,
            (None, deltas) => {
                if let Some(deltas) = deltas {
                    deltas.take(1, now)?;
                }
                u32::try_from(len).unwrap_or(u32::MAX)
            }
        };
        if let Some(bytes) = &self.bytes {
            // What is longer than a second's bytes takes as many seconds.
            while owed > 0 {
                let part = owed.min(bytes.burst.get());
                self.owed = Some(owed);
                bytes.take(part, now)?;
                owed -= part;
            }
        }
        self.owed = None;
        Ok(())
    }

    /// A document is to be made; or says when it may be.
    pub(super) fn take_document(&mut self) -> Result<(), Duration> {
        if let Some(limiter) = self.new_documents.as_ref().filter(|_| !self.document) {
            limiter.take(1, self.runtime.now())?;
            // Should there be no room in the log, it is asked for again.
            self.document = true;
        }
        Ok(())
    }

    /// The delta that waited is taken in, or refused.
    pub(super) fn settle(&mut self) {
        self.document = false;
    }
}
