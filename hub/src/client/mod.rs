//! The side that reads and writes documents: the same natively and in a browser's worker.

mod attend;
mod error;
mod item;
mod outgoing;
mod published;
mod publisher;
mod receipt;
mod state;
mod subscribed;
mod subscription;

use core::fmt;
use std::sync::Arc;
use std::time::Duration;

use deltawire_channels::Peer;
use deltawire_framing::DocId;
use deltawire_framing::documents::WriterId;
pub use deltawire_framing::documents::{DeniedCode, SlowPolicy, Start};
use deltawire_link::runtime::SharedRuntime;
use deltawire_link::{Link, LinkEnded};

pub use error::{AttendError, OpenError, PublishError, SubscriptionEnded};
pub use item::{Gap, Item, Place, Why};
pub use publisher::{Presence, Publisher};
pub use receipt::Receipt;
#[cfg(feature = "serve")]
pub(crate) use subscription::Cursor;
pub use subscription::Subscription;

use published::Published;
use state::Client;
use subscribed::Subscribed;

/// What bounds the memory of [`Documents`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DocumentsOptions {
    /// Subscriptions and publications at a time. Default: 1,024.
    pub max_open: usize,
    /// Bytes of a subscription's deltas that wait to be read, and of what they cost beside them; past it the hub is asked to
    /// stop, and to go on from there when half of them are read. Default: 256 KiB.
    pub max_queued_bytes: usize,
    /// Bytes of a publication's deltas that are not acknowledged; past it [`Publisher::publish`] waits. They are kept to
    /// be sent again over the next link. Default: 1 MiB.
    pub max_unacknowledged_bytes: usize,
    /// How often a presence says that it is still there. Default: 10 s.
    pub presence_interval: Duration,
}

impl Default for DocumentsOptions {
    fn default() -> Self {
        Self {
            max_open: 1_024,
            max_queued_bytes: 256 << 10,
            max_unacknowledged_bytes: 1 << 20,
            presence_interval: Duration::from_secs(10),
        }
    }
}

/// How a document is read. What this side publishes itself comes back too, in its place among the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscribeOptions {
    /// Where it begins. Default: [`Start::Oldest`].
    pub start: Start,
    /// What becomes of it when it is read more slowly than others write. Default: [`SlowPolicy::Block`].
    pub policy: SlowPolicy,
}

impl Default for SubscribeOptions {
    fn default() -> Self {
        Self { start: Start::Oldest, policy: SlowPolicy::Block }
    }
}

/// Documents of a hub: what this side reads of them and writes to them. Clones are handles on the same.
///
/// They outlive links. [`attend`](Self::attend) serves them over one; when that ends, another goes on exactly where it
/// stopped: subscriptions from their place, publications with what the hub did not acknowledge. A hub that has lost deltas
/// since says so by an [`Item::Gap`].
///
/// **Back-pressure.** A publication that is not acknowledged waits; a subscription that is not read does not hold up others:
/// the hub is asked to stop, and to go on when there is room.
#[derive(Clone)]
pub struct Documents {
    client: Arc<Client>,
    runtime: SharedRuntime,
}

impl Documents {
    /// Documents without a link yet, which take time and randomness from `runtime`.
    #[must_use]
    pub fn new(runtime: SharedRuntime, options: DocumentsOptions) -> Self {
        Self { client: Arc::new(Client::new(options)), runtime }
    }

    /// Serves them over a link, until that ends. One at a time.
    ///
    /// Cancel safe: what was not acknowledged goes over the next link.
    ///
    /// # Errors
    /// When the node at its other end has no hub, breaks a rule, or there is another link.
    pub async fn attend(&self, link: &Link, peer: Peer) -> Result<LinkEnded, AttendError> {
        attend::over_link(&self.client, &self.runtime, link, peer).await?;
        Ok(link.closed().await)
    }

    /// Reads a document. The hub is asked as soon as there is a link.
    ///
    /// # Errors
    /// When this side reads it already, or there are too many.
    pub fn subscribe(
        &self,
        doc_id: DocId,
        options: SubscribeOptions,
    ) -> Result<Subscription, OpenError> {
        let key = self.open_subscription(doc_id, options, false)?;
        Ok(Subscription::new(self.client.clone(), key))
    }

    fn open_subscription(
        &self,
        doc_id: DocId,
        options: SubscribeOptions,
        presence: bool,
    ) -> Result<u32, OpenError> {
        let mut state = self.client.lock();
        let twice = state.subscriptions.values().any(|it| it.is_of(doc_id, presence));
        let key = self.check_open(&mut state, twice)?;
        state.subscriptions.insert(key, Subscribed::new(doc_id, options, presence));
        if !presence {
            state.by_document.insert(doc_id, key);
        }
        state.ask_subscribe(key);
        Ok(key)
    }

    fn check_open(&self, state: &mut state::State, twice: bool) -> Result<u32, OpenError> {
        let limit = state.options.max_open;
        if state.closed {
            Err(OpenError::Closed)
        } else if twice {
            Err(OpenError::Twice)
        } else if state.len() >= limit {
            Err(OpenError::TooMany { limit })
        } else {
            Ok(state.key())
        }
    }

    /// Writes to a document.
    ///
    /// # Errors
    /// When this side writes to it already, or there are too many.
    pub fn publish(&self, doc_id: DocId) -> Result<Publisher, OpenError> {
        let key = self.open_publication(doc_id, false)?;
        Ok(Publisher::new(self.client.clone(), key))
    }

    fn open_publication(&self, doc_id: DocId, presence: bool) -> Result<u32, OpenError> {
        let mut writer = [0; 16];
        // Without randomness a writer is not safe from others, and is still one: the publication's key tells
        // those of this side apart.
        if self.runtime.random(&mut writer).is_err() {
            tracing::warn!("no randomness: the writer's name can be guessed");
        }
        let mut state = self.client.lock();
        let found = state.publications.iter_mut().find(|(_, it)| it.is_of(doc_id, presence));
        if let Some((key, dropped)) = found
            && dropped.dropped
        {
            // What is under way of it goes on, and what is published now comes behind.
            dropped.dropped = false;
            return Ok(*key);
        }
        let twice = state.publications.values().any(|it| it.is_of(doc_id, presence));
        let key = self.check_open(&mut state, twice)?;
        state.publications.insert(key, Published::new(doc_id, WriterId(writer), presence));
        state.ask_publish(key);
        Ok(key)
    }

    /// Says something of this side to those who look at a document, and reads what the others say.
    ///
    /// # Errors
    /// As those of [`subscribe`](Self::subscribe).
    pub fn presence(&self, doc_id: DocId) -> Result<Presence, OpenError> {
        let others = self.open_subscription(doc_id, SubscribeOptions::default(), true)?;
        let others = Subscription::new(self.client.clone(), others);
        let own = self.open_publication(doc_id, true)?;
        let own = Publisher::new(self.client.clone(), own);
        Ok(Presence::new(own, others))
    }

    /// Where they take time and randomness from.
    #[must_use]
    pub fn runtime(&self) -> &SharedRuntime {
        &self.runtime
    }

    /// Whether there is a link. Where sessions outlive their links it may be down: see
    /// [`is_connected`](Self::is_connected).
    #[must_use]
    pub fn is_attended(&self) -> bool {
        self.client.lock().attended
    }

    /// Whether there is a link that is not down: what is published goes out now, and what others publish comes as
    /// they do.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        let state = self.client.lock();
        state.attended && !state.down
    }

    /// Ends them: subscriptions and publications give an error, and [`attend`](Self::attend) returns. What was not
    /// acknowledged is given up; [`Publisher::flush`] waits for it.
    pub fn close(&self) {
        self.client.lock().close();
    }
}

impl fmt::Debug for Documents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Documents").field("attended", &self.is_attended()).finish_non_exhaustive()
    }
}

#[cfg(feature = "serve")]
impl Documents {
    /// Serves them in one process.
    pub(crate) async fn attend_in_process(
        &self,
        command: deltawire_channels::Command,
        connect: impl FnOnce(
            Box<dyn deltawire_channels::session::FrameSource>,
        ) -> crate::arrivals::Arrivals,
    ) -> Result<(), AttendError> {
        attend::in_process(&self.client, &self.runtime, command, connect).await
    }
}
