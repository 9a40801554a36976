use core::fmt;
use core::future::poll_fn;

use crate::error::RequestError;
use crate::shared::{Handle, NotNow, State};

/// Writes a message of any length, piece by piece. The other side reads it as it comes, and holds up who writes: at most
/// [`stream_window`](crate::RequestsOptions::stream_window) bytes of it wait there.
///
/// Dropped before [`finish`](Self::finish), the other side is told that it is cancelled.
pub struct StreamWriter {
    handle: Handle,
    id: u32,
    written: u64,
}

impl StreamWriter {
    pub(crate) fn new(handle: Handle, id: u32) -> Self {
        Self { handle, id, written: 0 }
    }

    /// Writes all of `bytes`; waits for room, and for the other side to read what came before.
    ///
    /// When a future is dropped before it is ready, [`written`](Self::written) says how much went.
    ///
    /// # Errors
    /// When the other side wants no more of it, it would be longer than announced, or it is over.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), RequestError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let sent = self.attempt(rest.len(), |state, id| state.try_piece(id, rest)).await?;
            self.written += sent as u64;
            rest = rest.get(sent..).unwrap_or_default();
        }
        Ok(())
    }

    /// Bytes that were sent.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Says that this was all, and waits until the other side has read it.
    ///
    /// A future that is dropped before it has said so cancels the stream; after that it only does not wait.
    ///
    /// # Errors
    /// When less was written than announced, or the other side did not read it to its end.
    pub async fn finish(self) -> Result<(), RequestError> {
        self.attempt(0, State::try_finish).await?;
        poll_fn(|context| self.handle.update(|state| state.core.poll_taken(self.id, context))).await
    }

    async fn attempt<T>(
        &self,
        rest: usize,
        mut attempt: impl FnMut(&mut State, u32) -> Result<T, NotNow>,
    ) -> Result<T, RequestError> {
        loop {
            let sent = self
                .handle
                .wait_for_room(|state| attempt(state, self.id), |why| matches!(why, NotNow::Room))
                .await;
            match sent {
                Ok(sent) => return Ok(sent),
                Err(NotNow::Never(error)) => return Err(error),
                Err(_) => {
                    poll_fn(|context| {
                        self.handle
                            .update(|state| state.core.poll_piece_room(self.id, rest, context))
                    })
                    .await?;
                }
            }
        }
    }
}

impl Drop for StreamWriter {
    fn drop(&mut self) {
        self.handle.update(|state| state.core.drop_written(self.id));
    }
}

impl fmt::Debug for StreamWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamWriter")
            .field("id", &self.id)
            .field("written", &self.written)
            .finish_non_exhaustive()
    }
}
