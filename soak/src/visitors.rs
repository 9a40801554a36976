#![allow(clippy::disallowed_types)] // only counts

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use deltawire::channels::session::Closed;
use deltawire::prelude::*;

/// How visits went.
#[derive(Default)]
pub(crate) struct Visits {
    done: AtomicU64,
    deltas: AtomicU64,
    failed: AtomicU64,
    first_failure: Mutex<Option<String>>,
}

/// How long a step of a visit may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Visits, one after another.
pub(crate) async fn come_and_go(node: Node, url: String, visits: Arc<Visits>) {
    loop {
        match tokio::time::timeout(2 * PATIENCE, visit(&node, &url, &visits)).await {
            Ok(Ok(())) => drop(visits.done.fetch_add(1, Ordering::Relaxed)),
            Ok(Err(error)) => visits.fail(format!("{error:#}")),
            Err(_) => visits.fail(format!("a visit took more than {:?}", 2 * PATIENCE)),
        }
    }
}

/// Comes, says some things, hears them again, and leaves in one of several ways.
async fn visit(node: &Node, url: &str, visits: &Visits) -> anyhow::Result<()> {
    let (mut peer, link) = node.connect(url).await?;
    for _ in 0..fastrand::u32(1..20) {
        // Mostly short ones.
        let (longest, send, receive) = match fastrand::bool() {
            true => (18, &mut peer.send, &mut peer.receive),
            false => (13, &mut peer.command.send, &mut peer.command.receive),
        };
        let len = fastrand::usize(1..=1 << fastrand::u32(4..=longest));
        let mark = fastrand::u8(..);
        let mut grant = send.reserve(len).await?;
        grant.payload_mut().fill(mark);
        grant.commit(DeltaFields::new(DocId([mark; 16])), len)?;
        let answer = receive.next().await?.delta()?;
        let same = answer.payload().len() == len && answer.payload().iter().all(|it| *it == mark);
        ensure!(same, "{len} B came back changed");
        visits.deltas.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..100))).await;
    }
    match fastrand::u8(0..4) {
        0 => {
            link.close(CloseCode::NORMAL, "goodbye");
            closes(&link).await
        }
        1 => {
            drop(peer);
            closes(&link).await
        }
        // In the middle of much that nobody will read.
        2 => {
            for _ in 0..8 {
                let grant = peer.send.reserve(64 << 10).await?;
                grant.commit(DeltaFields::new(DocId([0; 16])), 64 << 10)?;
            }
            Ok(())
        }
        // Without a look back.
        _ => Ok(()),
    }
}

async fn closes(link: &Link) -> anyhow::Result<()> {
    let closed = tokio::time::timeout(PATIENCE, link.closed()).await;
    match closed.with_context(|| format!("the link did not close: {:?}", link.stats()))? {
        LinkEnded::Session(Closed::ByUs { .. }) => Ok(()),
        ended => bail!("the link ended otherwise: {ended}"),
    }
}

impl Visits {
    fn fail(&self, why: String) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let mut first = self.first_failure.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(why);
    }

    /// There must have been visits, and none may have failed.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        ensure!(self.done.load(Ordering::Relaxed) > 0, "no visit was over in time");
        let failed = self.failed.load(Ordering::Relaxed);
        let first = self.first_failure.lock().unwrap_or_else(PoisonError::into_inner);
        let first = first.as_deref().unwrap_or_default();
        ensure!(failed == 0, "{failed} visits failed, the first of them: {first}");
        Ok(())
    }
}

impl fmt::Display for Visits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [done, deltas, failed] =
            [&self.done, &self.deltas, &self.failed].map(|it| it.load(Ordering::Relaxed));
        write!(f, "{done} visits, {deltas} deltas there and back, {failed} visits failed")
    }
}
