//! Moves a link whose transport wakes: one task for each.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use deltawire_link::runtime::{MaybeSend, SharedRuntime};
use deltawire_link::{Connection, LinkEnded, LinkId, LinkState, MessageTransport, Progress};

use crate::network::Network;

/// Tells the network when the task of a link is gone, whatever ended it.
struct Gone {
    network: Network,
    state: Arc<LinkState>,
    /// What the network knows it by.
    place: LinkId,
    /// What a transport's part of the link is held by, until the link is over.
    _held: Option<Box<dyn Held>>,
    /// Whether the network was told by the connection itself.
    told: bool,
}

/// Anything that is kept for as long as a link lives, and dropped when it is over.
pub(crate) trait Held: MaybeSend {}
impl<T: MaybeSend> Held for T {}

impl Drop for Gone {
    fn drop(&mut self) {
        if self.told {
            return;
        }
        let id = self.place;
        self.network.ended(id, self.state.ended().unwrap_or(LinkEnded::Stopped));
        self.network.gone(id);
    }
}

/// Moves a link until it is over.
pub(crate) fn drive<T: MessageTransport>(
    connection: Connection<T>,
    network: Network,
    runtime: SharedRuntime,
    held: Option<Box<dyn Held>>,
) -> impl Future<Output = ()> {
    // Made here, as a runtime that is gone drops the task before it runs.
    let (place, state) = (connection.place(), connection.state().clone());
    let gone = Gone { network, state, place, _held: held, told: false };
    run(Driven { connection, gone }, runtime)
}

/// Dropped in this order: the connection says how it ended when it is dropped.
struct Driven<T> {
    connection: Connection<T>,
    gone: Gone,
}

async fn run<T: MessageTransport>(mut driven: Driven<T>, runtime: SharedRuntime) {
    let Driven { connection, gone } = &mut driven;
    let id = gone.place;
    let mut timer = runtime.timer();
    let mut set = None;
    let mut attached = false;
    poll_fn(|context| {
        if !attached {
            // This task's waker stays the same.
            attached = true;
            connection.attach(context.waker());
        }
        loop {
            let now = runtime.now();
            match connection.work(now, context, &mut |_| {}) {
                Progress::Opened(peer) => gone.network.opened(id, *peer),
                Progress::Ended(ended) => gone.network.ended(id, ended),
                Progress::Gone => gone.network.gone(id),
                Progress::Merged { peer, link } => {
                    gone.state = connection.state().clone();
                    gone.network.merged(id, link, *peer);
                }
                Progress::Resumed(resumed) => gone.network.resumed(id, resumed),
                Progress::Detached(detached) => {
                    gone.told = true;
                    gone.network.detached(id, detached);
                }
                Progress::Over => return Poll::Ready(()),
                Progress::Quiet => {
                    let Some(at) = connection.poll_timeout() else { return Poll::Pending };
                    // One that was put off costs a wake-up for nothing, which is less than to set the
                    // clock each time.
                    if set.is_none_or(|set| at < set) {
                        timer.set(at);
                        set = Some(at);
                    }
                    if timer.poll(context).is_pending() {
                        return Poll::Pending;
                    }
                    set = None;
                }
            }
        }
    })
    .await;
    gone.told = true;
}
