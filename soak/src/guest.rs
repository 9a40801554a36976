use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::bail;
use deltawire::prelude::*;

/// A peer that stays, and measures round trips of 64 B all the time.
pub(crate) struct Guest {
    /// Since they were last taken, microseconds.
    times: Arc<Mutex<Vec<f64>>>,
    link: Link,
}

/// Between two round trips.
const PAUSE: Duration = Duration::from_millis(10);

impl Guest {
    pub(crate) async fn arrive(url: &str) -> anyhow::Result<Self> {
        let (mut peer, link) =
            Node::builder().prefer_links(["webrtc"]).build()?.connect(url).await?;
        let times = Arc::<Mutex<Vec<f64>>>::default();
        tokio::spawn({
            let times = times.clone();
            async move {
                while let Ok(time) = round_trip(&mut peer).await {
                    let micros = time.as_secs_f64() * 1e6;
                    times.lock().unwrap_or_else(PoisonError::into_inner).push(micros);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        });
        Ok(Self { times, link })
    }

    /// Median of the round trips since it was last asked for; none if none was over.
    ///
    /// # Errors
    ///
    /// The guest's link has ended.
    pub(crate) fn median(&self) -> anyhow::Result<Option<f64>> {
        if let Some(ended) = self.link.ended() {
            bail!("the guest's link has ended: {ended}");
        }
        let mut times =
            std::mem::take(&mut *self.times.lock().unwrap_or_else(PoisonError::into_inner));
        times.sort_by(f64::total_cmp);
        Ok(times.get(times.len() / 2).copied())
    }
}

async fn round_trip(peer: &mut Peer) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let grant = peer.send.reserve(64).await?;
    grant.commit(DeltaFields::new(DocId([1; 16])), 64)?;
    peer.receive.next().await?.delta()?;
    Ok(started.elapsed())
}
