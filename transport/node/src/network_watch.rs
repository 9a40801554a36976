//! Whether the host has another way into the network than before.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use event_listener::{Event, EventListener};
use tokio::runtime::Handle;

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(1);

/// Addresses of nobody (RFC 5737, RFC 3849), which are reached by the default route. Nothing is sent there.
const SOMEWHERE: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), 9),
];

/// Looks once a second from which address the host would send, once somebody wants to know.
#[derive(Debug, Default)]
pub(crate) struct NetworkWatch {
    changed: Event,
    begun: OnceLock<()>,
}

impl NetworkWatch {
    /// Ready when it changes after this was called.
    pub(crate) fn listen(self: &Arc<Self>, runtime: &Handle) -> EventListener {
        let listener = self.changed.listen();
        self.begun.get_or_init(|| {
            let (watch, mut known) = (Arc::downgrade(self), Known::new(look()));
            runtime.spawn(async move {
                loop {
                    tokio::time::sleep(LOOK).await;
                    let Some(watch) = watch.upgrade() else { return };
                    if known.changes(look()) {
                        tracing::debug!(from = ?known.0, "the host sends from another address");
                        watch.changed.notify(usize::MAX);
                    }
                }
            });
        });
        listener
    }
}

type Addresses = [Option<IpAddr>; 2];

/// From where this host would send by the default route: over IPv4 and IPv6.
fn look() -> Addresses {
    SOMEWHERE.map(|somewhere| {
        let any: IpAddr = match somewhere {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.connect(somewhere).ok()?;
        Some(socket.local_addr().ok()?.ip())
    })
}

/// What was seen last.
struct Known(Addresses);

impl Known {
    fn new(addresses: Addresses) -> Self {
        Self(addresses)
    }

    /// Whether there is a way that was not there before. That one is gone is no reason to try others.
    fn changes(&mut self, now: Addresses) -> bool {
        let before = std::mem::replace(&mut self.0, now);
        before.iter().zip(&now).any(|(before, now)| now.is_some() && now != before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_way_is_a_change_and_a_way_less_is_none() {
        let address = |last| Some(IpAddr::from([10, 0, 0, last]));
        let six = Some(IpAddr::from(Ipv6Addr::LOCALHOST));
        let mut known = Known::new([None, None]);
        for (now, changed) in [
            ([None, None], false),
            ([address(1), None], true),
            ([address(1), None], false),
            ([address(1), six], true),
            ([address(1), None], false),
            ([None, None], false),
            // Back where it was, after a while without any.
            ([address(1), None], true),
            ([address(2), None], true),
        ] {
            assert_eq!(known.changes(now), changed, "{now:?}");
        }
    }
}
