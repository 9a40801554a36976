use core::fmt;
use core::future::poll_fn;
use core::task::{Context, Poll};
use std::sync::Arc;

use deltawire_channels::Message;
use deltawire_framing::documents::GroupWriter;
use deltawire_framing::{
    DeltaFields, DeltaHeader, DeltaType, DocId, Expected, Field, FrameHeader, WriteError,
};

use super::receipt::Receipt;
use super::state::Client;
use super::{Item, PublishError, Subscription, SubscriptionEnded};

/// Writes deltas to a document. Dropping it ends it; what was published is still sent, for as long as the
/// [`Documents`](crate::Documents) are attended.
pub struct Publisher {
    client: Arc<Client>,
    key: u32,
}

impl Publisher {
    pub(super) fn new(client: Arc<Client>, key: u32) -> Self {
        Self { client, key }
    }

    /// Publishes a delta with a copy of `payload`; waits for room among those that are not acknowledged. It is sent as soon
    /// as there is a link, and again over the next one if it has to be; the hub keeps it once.
    ///
    /// Cancel safe: a future that is dropped before it is ready has published nothing.
    ///
    /// # Errors
    /// When the hub refused the publication, or this side has closed it.
    pub async fn publish(&mut self, payload: &[u8]) -> Result<Receipt, PublishError> {
        let doc_id = self.doc_id();
        self.publish_with(DeltaFields::new(doc_id), payload).await
    }

    /// The same with fields of one's own; document and sequence are written over.
    ///
    /// # Errors
    /// As [`publish`](Self::publish), and when they cannot be written.
    pub async fn publish_with(
        &mut self,
        fields: DeltaFields,
        payload: &[u8],
    ) -> Result<Receipt, PublishError> {
        poll_fn(|context| self.poll_publish(context, fields, payload, None)).await
    }

    /// The same, if the delta gets exactly this position: if nobody has written since this side read the one
    /// before. Otherwise its receipt says [`CONFLICT`](super::DeniedCode::CONFLICT), and which position would be next.
    ///
    /// # Errors
    /// As [`publish_with`](Self::publish_with).
    pub async fn publish_at(
        &mut self,
        position: u64,
        fields: DeltaFields,
        payload: &[u8],
    ) -> Result<Receipt, PublishError> {
        poll_fn(|context| self.poll_publish(context, fields, payload, Some(position))).await
    }

    /// Publishes a group: all of its deltas happen, or none, and they have one position. Cancel safe: nothing is published then.
    ///
    /// # Errors
    /// As [`publish`](Self::publish). A group without a delta is refused by the hub.
    pub async fn publish_group(&mut self, group: &GroupWriter) -> Result<Receipt, PublishError> {
        let fields = DeltaFields::new(DocId::default());
        self.publish_with(DeltaFields { delta_type: DeltaType::GROUP, ..fields }, group.payload())
            .await
    }

    /// [`publish_with`](Self::publish_with) and [`publish_at`](Self::publish_at), for futures written by hand.
    ///
    /// # Errors
    /// As those.
    pub fn poll_publish(
        &mut self,
        context: &mut Context<'_>,
        fields: DeltaFields,
        payload: &[u8],
        expect: Option<u64>,
    ) -> Poll<Result<Receipt, PublishError>> {
        let mut state = self.client.lock();
        let limit = state.options.max_unacknowledged_bytes;
        let Some(published) = state.publications.get_mut(&self.key) else {
            return Poll::Ready(Err(PublishError::Closed));
        };
        if let Some(ended) = &published.ended {
            return Poll::Ready(Err(ended.clone()));
        }
        if fields.delta_type == DeltaType::PRESENCE && !published.is_presence() {
            let field = Field::DeltaType;
            let value = DeltaType::PRESENCE.get().into();
            let expected =
                Expected::That("must not be 4 (presence): Documents::presence says those");
            return Poll::Ready(Err(WriteError::Invalid { field, value, expected }.into()));
        }
        let len = payload.len().saturating_add(FrameHeader::SIZE + DeltaHeader::SIZE);
        if len > limit {
            return Poll::Ready(Err(PublishError::TooLong { len, limit }));
        }
        if !published.has_room(len, limit) {
            published.writer_task = Some(context.waker().clone());
            return Poll::Pending;
        }
        let fields = published.complete(fields);
        let message = Message::delta_of(fields, payload)?;
        let (receipt, fate) = Receipt::new();
        published.push(message, expect, fate);
        state.sendable.push_back(self.key);
        state.wake_source();
        Poll::Ready(Ok(receipt))
    }

    /// Waits until everything that was published is settled: stored, or received by a hub that has nothing but memory, or
    /// refused. Cancel safe.
    ///
    /// # Errors
    /// When the publication ended before.
    pub async fn flush(&mut self) -> Result<(), PublishError> {
        poll_fn(|context| {
            let mut state = self.client.lock();
            let Some(published) = state.publications.get_mut(&self.key) else {
                return Poll::Ready(Err(PublishError::Closed));
            };
            if let Some(ended) = &published.ended {
                return Poll::Ready(Err(ended.clone()));
            }
            if published.is_settled() {
                return Poll::Ready(Ok(()));
            }
            published.writer_task = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// The document.
    #[must_use]
    pub fn doc_id(&self) -> DocId {
        self.client.lock().publications.get(&self.key).map_or_else(DocId::default, |it| it.doc_id())
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let mut state = self.client.lock();
        let Some(published) = state.publications.get_mut(&self.key) else { return };
        published.dropped = true;
        state.sweep(self.key);
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("doc_id", &self.doc_id()).finish_non_exhaustive()
    }
}

/// Who looks at a document, and what they say of themselves: a cursor, a name. Nothing of it is kept.
#[derive(Debug)]
pub struct Presence {
    own: Publisher,
    others: Subscription,
}

impl Presence {
    pub(super) fn new(own: Publisher, others: Subscription) -> Self {
        Self { own, others }
    }

    /// Says this of oneself; only the last counts. The hub repeats it to whoever comes later, until this is dropped or has
    /// not been heard of for 30 s.
    ///
    /// # Errors
    /// When the hub refused it, or this side has closed.
    pub fn set(&mut self, payload: &[u8]) -> Result<(), PublishError> {
        let doc_id = self.own.doc_id();
        let mut context = Context::from_waker(core::task::Waker::noop());
        match self.own.poll_publish(&mut context, DeltaFields::new(doc_id), payload, None) {
            Poll::Ready(published) => published.map(drop),
            // There is always room for the last one.
            Poll::Pending => Ok(()),
        }
    }

    /// Waits for what others say. Cancel safe.
    ///
    /// # Errors
    /// As [`Subscription::next`].
    pub async fn next(&mut self) -> Result<Item, SubscriptionEnded> {
        self.others.next().await
    }

    /// [`next`](Self::next), for futures written by hand.
    ///
    /// # Errors
    /// As [`Subscription::next`].
    pub fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Item, SubscriptionEnded>> {
        self.others.poll_next(context)
    }
}
