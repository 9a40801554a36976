use core::fmt;
use core::future::poll_fn;
use core::task::{Context, Poll};
use std::sync::Arc;

use super::state::Client;
use super::{Item, Place, SubscriptionEnded};

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
struct Local {
    source: Box<dyn deltawire_channels::session::FrameSource>,
    subscribed: super::Subscribed,
}

impl Subscription {
    pub(super) fn new(client: Arc<Client>, key: u32) -> Self {
        Self(Kind::Linked { client, key })
    }

    /// What a hub's source gives, of one subscription with the id 0.
    #[cfg(feature = "serve")]
    pub(crate) fn local(
        source: Box<dyn deltawire_channels::session::FrameSource>,
        doc_id: deltawire_framing::DocId,
        options: super::SubscribeOptions,
    ) -> Self {
        let mut subscribed = super::Subscribed::new(doc_id, options, false);
        subscribed.told = Some(0);
        Self(Kind::Local(Box::new(Local { source, subscribed })))
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
            Kind::Local(local) => local.subscribed.place(),
        }
    }
}

#[cfg(feature = "serve")]
impl Local {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Item, SubscriptionEnded>> {
        use deltawire_framing::documents::Document;

        loop {
            if let (Some(item), _) = self.subscribed.next(usize::MAX) {
                return Poll::Ready(Ok(item));
            }
            let Some(message) = core::task::ready!(self.source.poll_frame(context)) else {
                return Poll::Ready(Err(SubscriptionEnded::Closed));
            };
            match message.frame().document() {
                Ok(Document::Mark(mark)) => drop(self.subscribed.handle_mark(mark.fields())),
                _ => self.subscribed.handle_delta(message),
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
            Kind::Local(local) => local.source.seal(),
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("place", &self.place()).finish_non_exhaustive()
    }
}
