//! What of a peer's acknowledgements shows that it gets on.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use quinn_proto::RttEstimator;
use quinn_proto::congestion::{Controller, ControllerFactory, ControllerMetrics, CubicConfig};

/// Packets up to this length show only that the peer is there, bytes: acknowledgements, pings of QUIC's or of a session's,
/// and what windows say.
const LEAST: u64 = 256;

/// How much of what is longer a peer has acknowledged, as the controllers of a connection's paths count it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    acknowledged: Arc<Mutex<u64>>,
    seen: u64,
}

impl Progress {
    /// Whether there is more than the last time.
    pub(crate) fn take(&mut self) -> bool {
        let now = *self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut self.seen, now) != now
    }

    /// What makes the controllers that count for it.
    pub(crate) fn counted(&self) -> Arc<Counted> {
        let cubic = Arc::new(CubicConfig::default());
        Arc::new(Counted { cubic, acknowledged: self.acknowledged.clone() })
    }
}

/// Makes [`Counting`] controllers.
pub(crate) struct Counted {
    cubic: Arc<CubicConfig>,
    acknowledged: Arc<Mutex<u64>>,
}

impl ControllerFactory for Counted {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        let inner = self.cubic.clone().build(now, current_mtu);
        Box::new(Counting { inner, acknowledged: self.acknowledged.clone(), new: 0 })
    }
}

/// Cubic, which counts besides.
struct Counting {
    inner: Box<dyn Controller>,
    acknowledged: Arc<Mutex<u64>>,
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
            *self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner) +=
                std::mem::take(&mut self.new);
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
        self.inner.on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.inner.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        self.inner.window()
    }

    fn metrics(&self) -> ControllerMetrics {
        self.inner.metrics()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        let acknowledged = self.acknowledged.clone();
        Box::new(Self { inner: self.inner.clone_box(), acknowledged, new: self.new })
    }

    fn initial_window(&self) -> u64 {
        self.inner.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
