//! What others see of a connection: statistics and log lines.

use deltawire_framing::control::Role;
use tracing::field::Empty;

use super::Connection;
use crate::LinkId;

/// What the log lines of a link belong to, from when its session begins until nothing of it is left; `reason` is why it
/// ended.
pub(super) fn span(id: LinkId, role: Role, kind: &str) -> tracing::Span {
    tracing::debug_span!("link", %id, ?role, kind, reason = Empty)
}

impl<T> Connection<T> {
    pub(super) fn publish(&mut self) {
        let Self { shared, session, pacing, traffic, buffered, capabilities, .. } = self;
        shared.publish(|stats| {
            stats.kind = capabilities.kind;
            stats.session = session.stats();
            stats.route = traffic.route;
            stats.remote_address = traffic.remote_address;
            stats.datagrams_received = traffic.datagrams_received;
            stats.datagrams_sent = traffic.datagrams_sent;
            stats.bytes_received = traffic.bytes_received;
            stats.bytes_sent = traffic.bytes_sent;
            stats.in_flight_limit = pacing.cap() as u64;
            stats.in_flight = *buffered as u64;
            stats.delay = pacing.delay();
            stats.rate = pacing.rate();
            stats.stalls = pacing.stalls();
            stats.waits = traffic.waits;
        });
    }
}
