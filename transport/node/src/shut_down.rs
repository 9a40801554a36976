use std::time::Duration;

use deltawire_channels::session::Closed;

use deltawire_link::runtime::timeout;
use deltawire_link::{Link, LinkEnded, Runtime, Undelivered};

use crate::network::Network;

/// How long links that are cut off have at the least for their last words.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// What became of a node's links when it was shut down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutDown {
    /// Links that were closed, and whose peers answered that they have everything.
    pub in_order: usize,
    /// Links that ended in another way, or not in time.
    pub cut_off: usize,
    /// What was not delivered on those that were cut off.
    pub undelivered: Undelivered,
}

impl ShutDown {
    /// Whether all links were closed in order: then nothing was lost.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.cut_off == 0
    }

    fn of(links: &[Link]) -> Self {
        let mut shut_down = Self::default();
        for link in links {
            match link.ended() {
                Some(LinkEnded::Session(
                    Closed::ByUs { complete: true, .. } | Closed::ByPeer { complete: true, .. },
                )) => shut_down.in_order += 1,
                _ => {
                    shut_down.cut_off += 1;
                    shut_down.undelivered += link.undelivered();
                }
            }
        }
        shut_down
    }
}

impl Network {
    /// Takes no more links, and ends those that there are: closes wait for nine tenths of the time,
    /// the last is for telling the peers of those that are cut off.
    pub(crate) async fn end_all(&self, within: Duration, runtime: &dyn Runtime) -> ShutDown {
        let links = self.shut_down();
        let last = within / 10;
        if timeout(runtime, within - last, self.empty()).await.is_none() {
            links.iter().for_each(Link::cut_short);
            timeout(runtime, last.max(LAST_WORDS), self.empty()).await;
        }
        ShutDown::of(&links)
    }
}
