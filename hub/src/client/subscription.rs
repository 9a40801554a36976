use core::fmt;
use core::future::poll_fn;
use core::task::{Context, Poll};
use std::sync::Arc;

use super::state::Client;
use super::{Item, Place, SubscriptionEnded};

/// A document's deltas as they come, and what of them does not. Dropping it ends it.
pub struct Subscription {
    client: Arc<Client>,
    key: u32,
}

impl Subscription {
    pub(super) fn new(client: Arc<Client>, key: u32) -> Self {
        Self { client, key }
    }

    /// Waits for what comes next. Cancel safe.
    ///
    /// # Errors
    /// When everything that came was read and no more will: the hub refused or ended it, or this side did.
    pub async fn next(&mut self) -> Result<Item, SubscriptionEnded> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// [`next`](Self::next), for futures written by hand.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Item, SubscriptionEnded>> {
        let mut state = self.client.lock();
        let max_queued = state.options.max_queued_bytes;
        let Some(subscribed) = state.subscriptions.get_mut(&self.key) else {
            return Poll::Ready(Err(SubscriptionEnded::Closed));
        };
        let (item, resumes) = subscribed.next(max_queued);
        if let Some(item) = item {
            if resumes {
                state.ask_subscribe(self.key);
            }
            return Poll::Ready(Ok(item));
        }
        if let Some(ended) = subscribed.ended() {
            return Poll::Ready(Err(ended));
        }
        subscribed.reader = Some(context.waker().clone());
        if resumes {
            state.ask_subscribe(self.key);
        }
        Poll::Pending
    }

    /// The place of the next delta that comes over the link; `None` before the hub has answered for the first time. To
    /// go on from there another time, keep the place behind the last delta that was used instead.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        self.client.lock().subscriptions.get(&self.key)?.place()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut state = self.client.lock();
        if let Some(subscribed) = state.subscriptions.remove(&self.key) {
            state.unsubscribe(self.key, subscribed.told);
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("place", &self.place()).finish_non_exhaustive()
    }
}
