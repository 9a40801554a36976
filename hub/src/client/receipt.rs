//! What becomes of a delta that was published.

use std::sync::{Arc, Mutex, PoisonError};

use deltawire_framing::documents::DeniedCode;
use event_listener::Event;

use super::PublishError;

/// Tells what became of a delta. Dropping it changes nothing.
#[derive(Clone, Debug)]
pub struct Receipt(Arc<Fate>);

#[derive(Debug, Default)]
pub(super) struct Fate {
    state: Mutex<State>,
    changed: Event,
}

#[derive(Clone, Debug, Default)]
enum State {
    #[default]
    Waiting,
    /// The hub has it; whether it will ever be more.
    Received {
        volatile: bool,
    },
    Stored,
    Over(PublishError),
}

impl Receipt {
    pub(super) fn new() -> (Self, Arc<Fate>) {
        let fate = Arc::new(Fate::default());
        (Self(fate.clone()), fate)
    }

    /// Waits until the hub has it: it has its place in the document, and readers see it. Cancel safe.
    ///
    /// # Errors
    /// When the hub refused it, or the documents were closed before.
    pub async fn received(&self) -> Result<(), PublishError> {
        self.0
            .wait(|state| match state {
                State::Waiting => None,
                State::Received { .. } | State::Stored => Some(Ok(())),
                State::Over(error) => Some(Err(error.clone())),
            })
            .await
    }

    /// Waits until it is as safe as the hub's durability says. Cancel safe.
    ///
    /// # Errors
    /// As [`received`](Self::received), and [`PublishError::Volatile`] when the hub has nothing but memory.
    pub async fn stored(&self) -> Result<(), PublishError> {
        self.0
            .wait(|state| match state {
                State::Waiting | State::Received { volatile: false } => None,
                State::Received { volatile: true } => Some(Err(PublishError::Volatile)),
                State::Stored => Some(Ok(())),
                State::Over(error) => Some(Err(error.clone())),
            })
            .await
    }
}

impl Fate {
    async fn wait<T>(&self, look: impl Fn(&State) -> Option<T>) -> T {
        loop {
            // Looks again once it is on the list.
            let changed = self.changed.listen();
            if let Some(found) = look(&self.state.lock().unwrap_or_else(PoisonError::into_inner)) {
                return found;
            }
            changed.await;
        }
    }

    fn set(&self, next: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = next;
        self.changed.notify(usize::MAX);
    }

    pub(super) fn received(&self, volatile: bool) {
        self.set(State::Received { volatile });
    }

    pub(super) fn stored(&self) {
        self.set(State::Stored);
    }

    pub(super) fn denied(&self, code: DeniedCode, next: u64) {
        self.set(State::Over(PublishError::Denied { code, next }));
    }

    pub(super) fn closed(&self) {
        self.set(State::Over(PublishError::Closed));
    }
}
