use core::fmt;
use core::future::poll_fn;
use core::task::{Context, Poll};
use std::sync::Arc;

use super::state::Client;
#[cfg(feature = "serve")]
use super::subscribed::item_of;
use super::{Item, Place, SubscriptionEnded};
#[cfg(feature = "serve")]
use crate::server::Given;

/// A document's deltas as they come, and what of them does not. Dropping it ends it.
pub struct Subscription(Kind);

enum Kind {
    /// Of documents that have a link to the hub now and then.
    Linked { client: Arc<Client>, key: u32 },
    /// Of a hub in the same process: a cursor, and nothing between.
    #[cfg(feature = "serve")]
    Local(Box<Local>),
}

/// A cursor of a hub in the same process, and where it stands.
#[cfg(feature = "serve")]
struct Local<C: ?Sized = dyn Cursor> {
    at: Option<Place>,
    cursor: C,
}

/// Gives what a hub in the same process would send: a document's deltas, and marks among them.
#[cfg(feature = "serve")]
pub(crate) trait Cursor: Send {
    /// What comes next; `None` when the hub is gone.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Given>>;
}

impl Subscription {
    pub(super) fn new(client: Arc<Client>, key: u32) -> Self {
        Self(Kind::Linked { client, key })
    }

    /// What a cursor of this process gives, that begins with this place, if it is known.
    #[cfg(feature = "serve")]
    pub(crate) fn local(cursor: impl Cursor + 'static, at: Option<Place>) -> Self {
        Self(Kind::Local(Box::new(Local { at, cursor })))
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
        let (client, key) = match &mut self.0 {
            Kind::Linked { client, key } => (client, *key),
            #[cfg(feature = "serve")]
            Kind::Local(local) => return local.poll_next(context),
        };
        let mut state = client.lock();
        let max_queued = state.options.max_queued_bytes;
        let Some(subscribed) = state.subscriptions.get_mut(&key) else {
            return Poll::Ready(Err(SubscriptionEnded::Closed));
        };
        let (item, resumes) = subscribed.next(max_queued);
        if let Some(item) = item {
            if resumes {
                state.ask_subscribe(key);
            }
            return Poll::Ready(Ok(item));
        }
        if let Some(ended) = subscribed.ended() {
            return Poll::Ready(Err(ended));
        }
        subscribed.reader = Some(context.waker().clone());
        if resumes {
            state.ask_subscribe(key);
        }
        Poll::Pending
    }

    /// The place of the next delta that comes over the link; `None` before the hub has answered for the first time. To
    /// go on from there another time, keep the place behind the last delta that was used instead.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        match &self.0 {
            Kind::Linked { client, key } => client.lock().subscriptions.get(key)?.place(),
            #[cfg(feature = "serve")]
            Kind::Local(local) => local.at,
        }
    }
}

#[cfg(feature = "serve")]
impl Local {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Item, SubscriptionEnded>> {
        loop {
            match core::task::ready!(self.cursor.poll_next(context)) {
                Some(Given::Message(message)) => {
                    // Its first mark comes before.
                    let Some(place) = self.at else { continue };
                    self.at = Some(Place { position: place.position.saturating_add(1), ..place });
                    return Poll::Ready(Ok(Item::Delta { place, message }));
                }
                Some(Given::Mark(mark)) => {
                    if let Some(item) = item_of(&mut self.at, mark) {
                        return Poll::Ready(Ok(item));
                    }
                }
                None => return Poll::Ready(Err(SubscriptionEnded::Closed)),
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        match &mut self.0 {
            Kind::Linked { client, key } => {
                let mut state = client.lock();
                if let Some(subscribed) = state.subscriptions.remove(key) {
                    state.by_document.retain(|_, of| of != key);
                    state.unsubscribe(*key, subscribed.told);
                }
            }
            #[cfg(feature = "serve")]
            Kind::Local(_) => {}
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("place", &self.place()).finish_non_exhaustive()
    }
}
