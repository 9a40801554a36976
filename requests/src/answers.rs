use core::fmt;
use core::future::poll_fn;
use core::task::{Context, Poll};

use deltawire_channels::Message;

use crate::core::Pinned;
use crate::error::RequestError;
use crate::shared::Handle;

/// An answer, where it came: nothing was copied for it over a link, unless much
/// [waited](crate::RequestsOptions::max_uncopied) or it came together with others.
#[derive(Debug)]
pub struct Answer {
    message: Pinned,
}

impl Answer {
    /// Its bytes.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        payload(self.message.message())
    }

    /// The message that it came in. Keeping it keeps its part of the session's window, as of any [`Message`].
    #[must_use]
    pub fn into_message(self) -> Message {
        self.message.into_message()
    }
}

/// What stands behind the head of a message of requests.
pub(crate) fn payload(message: &Message) -> &[u8] {
    message.frame().request().map_or(&[], |it| it.payload())
}

/// The answers to one request. Dropping it tells the other side that nobody waits for more.
pub struct Answers {
    handle: Handle,
    id: u32,
}

impl Answers {
    pub(crate) fn new(handle: Handle, id: u32) -> Self {
        Self { handle, id }
    }

    /// The next answer; `None` after the last. As much may come ahead as
    /// [`answer_window`](crate::RequestsOptions::answer_window) says; then the other side waits until these are read.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// When no more come, though the last was not here. See [`RequestError`].
    pub async fn next(&mut self) -> Result<Option<Answer>, RequestError> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// [`next`](Self::next), for futures written by hand.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Answer>, RequestError>> {
        let next = self.handle.update(|state| state.core.poll_answer(self.id, context));
        next.map_ok(|message| message.map(|message| Answer { message }))
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.handle.update(|state| state.core.drop_asked(self.id));
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers").field("id", &self.id).finish_non_exhaustive()
    }
}
