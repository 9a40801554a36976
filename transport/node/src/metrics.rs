//! Figures of links by the façade crate `metrics`: as they open and end, and once a second what went over them. Labels say
//! of what kind links are and why they ended, never which link it is. The nodes of a process add up.
//!
//! | name | is a | labels |
//! |---|---|---|
//! | `deltawire_links_opened_total` | counter | `kind` |
//! | `deltawire_links_ended_total` | counter, of links that never opened too | `kind`, `reason` |
//! | `deltawire_links_open` | gauge | `kind` |
//! | `deltawire_sent_bytes_total`, `deltawire_received_bytes_total` | counters, of transport messages | `kind` |
//! | `deltawire_sent_messages_total`, `deltawire_received_messages_total` | counters, of the application's messages | `kind` |
//! | `deltawire_waits_total` | counter: how often messages began to wait for the transport | `kind` |
//! | `deltawire_in_flight_bytes` | gauge: of all links together | `kind` |
//! | `deltawire_round_trip_seconds` | histogram: each second that of each link | `kind` |

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deltawire_channels::session::{ChannelStats, Closed};
use deltawire_link::{Link, LinkEnded, LinkId, LinkStats, TransportErrorKind};
use metrics::{counter, gauge, histogram};

use crate::manager::{PeerInfo, PeerState};

/// How often figures are published.
pub(crate) const PERIOD: Duration = Duration::from_secs(1);

/// What was published so far.
#[derive(Debug, Default)]
pub(crate) struct Published {
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Of links that have not ended: no more than there are.
    links: BTreeMap<LinkId, Totals>,
    /// What there was of each kind the last time.
    kinds: BTreeMap<&'static str, Now>,
}

/// What only grows.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    sent_bytes: u64,
    received_bytes: u64,
    sent_messages: u64,
    received_messages: u64,
    waits: u64,
}

/// What there is now.
#[derive(Clone, Copy, Debug, Default)]
struct Now {
    open: f64,
    in_flight: f64,
}

impl Now {
    /// Tells what has changed: a process may have several nodes, whose figures add up.
    fn tell_from(self, before: Self, kind: &'static str) {
        gauge!("deltawire_links_open", "kind" => kind).increment(self.open - before.open);
        gauge!("deltawire_in_flight_bytes", "kind" => kind)
            .increment(self.in_flight - before.in_flight);
    }
}

/// Nothing is left of the node.
impl Drop for Published {
    fn drop(&mut self) {
        for (kind, before) in std::mem::take(&mut self.seen().kinds) {
            Now::default().tell_from(before, kind);
        }
    }
}

impl Totals {
    fn of(stats: &LinkStats) -> Self {
        let session = &stats.session;
        let sum = |channels: [&ChannelStats; 2], of: fn(&ChannelStats) -> u64| {
            channels.into_iter().map(of).sum::<u64>()
        };
        let sent = [&session.commands_sent, &session.data_sent];
        let received = [&session.commands_received, &session.data_received];
        Self {
            sent_bytes: sum(sent, |channel| channel.bytes),
            received_bytes: sum(received, |channel| channel.bytes),
            sent_messages: sum(sent, |channel| channel.messages),
            received_messages: sum(received, |channel| channel.messages),
            waits: stats.waits,
        }
    }

    /// Counts what is more than before.
    fn count_from(self, before: Self, kind: &'static str) {
        for (name, now, before) in [
            ("deltawire_sent_bytes_total", self.sent_bytes, before.sent_bytes),
            ("deltawire_received_bytes_total", self.received_bytes, before.received_bytes),
            ("deltawire_sent_messages_total", self.sent_messages, before.sent_messages),
            ("deltawire_received_messages_total", self.received_messages, before.received_messages),
            ("deltawire_waits_total", self.waits, before.waits),
        ] {
            let more = now.saturating_sub(before);
            if more > 0 {
                counter!(name, "kind" => kind).increment(more);
            }
        }
    }
}

impl Published {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A link opened.
    pub(crate) fn opened(&self, link: &Link) {
        let kind = kind(&link.stats());
        self.seen().links.entry(link.id()).or_default();
        counter!("deltawire_links_opened_total", "kind" => kind).increment(1);
    }

    /// A link ended: what went over it since the last time counts too.
    pub(crate) fn ended(&self, link: &Link, ended: &LinkEnded) {
        let stats = link.stats();
        let kind = kind(&stats);
        let before = self.seen().links.remove(&link.id()).unwrap_or_default();
        Totals::of(&stats).count_from(before, kind);
        counter!("deltawire_links_ended_total", "kind" => kind, "reason" => reason(ended))
            .increment(1);
    }

    /// Publishes what there is of these links.
    pub(crate) fn publish(&self, peers: &[PeerInfo]) {
        let mut seen = self.seen();
        let mut kinds: BTreeMap<_, _> =
            seen.kinds.keys().map(|kind| (*kind, Now::default())).collect();
        for PeerInfo { link, .. } in peers.iter().filter(|it| it.state == PeerState::Open) {
            // One that has ended since was counted, and is no more.
            let Some(before) = seen.links.get_mut(&link.id()) else { continue };
            let stats = link.stats();
            let (kind, totals) = (kind(&stats), Totals::of(&stats));
            totals.count_from(std::mem::replace(before, totals), kind);
            let now = kinds.entry(kind).or_default();
            now.open += 1.0;
            now.in_flight += stats.in_flight as f64;
            if let Some(round_trip) = stats.session.round_trip {
                histogram!("deltawire_round_trip_seconds", "kind" => kind).record(round_trip);
            }
        }
        for (kind, now) in &kinds {
            now.tell_from(seen.kinds.get(kind).copied().unwrap_or_default(), kind);
        }
        seen.kinds = kinds;
    }
}

fn kind(stats: &LinkStats) -> &'static str {
    // One that never had a transport.
    if stats.kind.is_empty() { "none" } else { stats.kind }
}

/// Why a link ended, in a word.
fn reason(ended: &LinkEnded) -> &'static str {
    match ended {
        LinkEnded::Session(Closed::ByUs { .. }) => "closed_by_us",
        LinkEnded::Session(Closed::ByPeer { .. }) => "closed_by_peer",
        LinkEnded::Session(_) => "session_error",
        LinkEnded::Transport(error) => match error.kind() {
            TransportErrorKind::SetUp => "set_up",
            TransportErrorKind::NotReached => "not_reached",
            TransportErrorKind::Identity => "identity",
            TransportErrorKind::Refused => "refused",
            TransportErrorKind::Protocol => "protocol",
            TransportErrorKind::Unsupported => "unsupported",
            TransportErrorKind::Panicked => "panicked",
            _ => "failed",
        },
        LinkEnded::HungUp => "hung_up",
        LinkEnded::NotReached(_) => "not_reached",
        LinkEnded::Expired => "expired",
        LinkEnded::Stopped => "stopped",
        _ => "other",
    }
}
