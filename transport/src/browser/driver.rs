//! Moves a link: one task that the browser's events, the application and a timer wake.

use std::future::poll_fn;
use std::task::Poll;

use super::channels::Channels;
use super::clock::{self, Timer};
use super::opening::Opening;
use crate::connection::{Connection, Progress};
use crate::node::Network;

/// Moves a link until it is over.
pub(super) async fn drive(
    mut connection: Connection<Channels>,
    opening: Opening,
    network: Network,
) {
    let shared = connection.shared().clone();
    let inbox = connection.streams().inbox().clone();
    let id = shared.id();
    let mut timer = Timer::new();
    let mut attached = false;
    poll_fn(|context| {
        if !attached {
            // This task's waker stays the same.
            attached = true;
            shared.attach(context.waker().clone());
            inbox.attach(context.waker().clone());
        }
        loop {
            let now = clock::now();
            match connection.work(now, context, &mut |_| {}) {
                Progress::Opened(peer) => network.opened(id, *peer),
                Progress::Ended(ended) => network.ended(id, ended),
                Progress::Gone => network.gone(id),
                Progress::Over => return Poll::Ready(()),
                Progress::Quiet => {
                    if let Some(at) = connection.poll_timeout() {
                        timer.wake_at(at, now, context);
                    }
                    return Poll::Pending;
                }
            }
        }
    })
    .await;
    drop(connection);
    drop(opening);
}
