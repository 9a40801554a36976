//! What becomes of a link whose session outlives its transports.

use std::time::Duration;

use crate::link::{Link, LinkEnded};

/// What became of a link's session: see [`Link::changes`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkChange {
    /// What it went over is gone. Writers wait when their rings are full, readers wait, and nothing is lost yet.
    Down {
        /// Why it is gone.
        why: LinkEnded,
    },
    /// It goes on.
    Resumed(Resumed),
    /// It is over. The last one.
    Over(LinkEnded),
    /// So many were not told, as nobody asked for them in time.
    Missed(u64),
}

/// How a session goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resumed {
    /// After how long without a link; nothing, where one took over from another.
    pub after: Duration,
    /// Over what kind of link: see [`Link::kind`].
    pub kind: &'static str,
    /// What is sent again, bytes as windows count them.
    pub repeated_bytes: u64,
}

/// Changes of a link from when this was made: see [`Link::changes`].
#[derive(Clone, Debug)]
pub struct LinkChanges {
    link: Link,
    /// How many were told.
    seen: u64,
}

impl LinkChanges {
    pub(crate) fn new(link: Link) -> Self {
        let seen = link.state().changed_so_far();
        Self { link, seen }
    }

    /// The next one. After [`LinkChange::Over`] it is that for ever. Cancel safe.
    pub async fn next(&mut self) -> LinkChange {
        loop {
            // Looks again once it is on the list: it may have come in between.
            let changed = self.link.state().listen();
            if let Some((seen, change)) = self.link.state().change_after(self.seen) {
                self.seen = seen;
                return change;
            }
            changed.await;
        }
    }
}
