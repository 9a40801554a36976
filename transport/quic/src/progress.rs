//! What of a peer's acknowledgements shows that it gets on.

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use quinn_proto::RttEstimator;
use quinn_proto::congestion::{Controller, ControllerFactory, ControllerMetrics, CubicConfig};

/// Packets up to this length show only that the peer is there, bytes: acknowledgements, pings of QUIC's or of a session's,
/// and what windows say.
const LEAST: u64 = 256;

/// How much of what is longer a peer has acknowledged, as the controllers of a connection's paths count it, and how much
/// more than they allow may be on its way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    shared: Arc<Mutex<Shared>>,
    seen: u64,
}

#[derive(Debug, Default)]
struct Shared {
    acknowledged: u64,
    beyond: u64,
    /// When the path lost something last, as far as that is known.
    lost_at: Option<Instant>,
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Progress {
    /// Whether there is more than the last time.
    pub(crate) fn take(&mut self) -> bool {
        let now = lock(&self.shared).acknowledged;
        std::mem::replace(&mut self.seen, now) != now
    }

    /// Lets so many bytes more be on their way than the controllers allow, from here on.
    pub(crate) fn allow_beyond(&self, bytes: u64) {
        lock(&self.shared).beyond = bytes;
    }

    /// Whether the path has lost something within so long before `now`.
    pub(crate) fn has_lost(&self, within: Duration, now: Instant) -> bool {
        lock(&self.shared).lost_at.is_some_and(|at| now < at + within)
    }

    /// What makes the controllers that count for it.
    pub(crate) fn counted(&self) -> Arc<Counted> {
        let cubic = Arc::new(CubicConfig::default());
        Arc::new(Counted { cubic, shared: self.shared.clone() })
    }
}

/// Makes [`Counting`] controllers.
pub(crate) struct Counted {
    cubic: Arc<CubicConfig>,
    shared: Arc<Mutex<Shared>>,
}

impl ControllerFactory for Counted {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        let inner = self.cubic.clone().build(now, current_mtu);
        Box::new(Counting { inner, shared: self.shared.clone(), new: 0 })
    }
}

/// Cubic, which counts besides.
struct Counting {
    inner: Box<dyn Controller>,
    shared: Arc<Mutex<Shared>>,
    /// Bytes of this batch.
    new: u64,
}

impl Controller for Counting {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.inner.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        rtt: &RttEstimator,
    ) {
        if bytes > LEAST {
            self.new += bytes;
        }
        self.inner.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        largest_packet_num_acked: Option<u64>,
    ) {
        if self.new > 0 {
            lock(&self.shared).acknowledged += std::mem::take(&mut self.new);
        }
        self.inner.on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        lock(&self.shared).lost_at = Some(now);
        self.inner.on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.inner.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        self.inner.window().saturating_add(lock(&self.shared).beyond)
    }

    fn metrics(&self) -> ControllerMetrics {
        self.inner.metrics()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        let shared = self.shared.clone();
        Box::new(Self { inner: self.inner.clone_box(), shared, new: self.new })
    }

    fn initial_window(&self) -> u64 {
        self.inner.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
