use core::fmt;
use core::future::poll_fn;
use core::task::{Context, Poll};

use deltawire_channels::Message;
use deltawire_framing::DeltaFields;
use deltawire_framing::requests::RefusalCode;

use crate::answers::payload;
use crate::core::Pinned;
use crate::error::RequestError;
use crate::shared::Handle;

/// Reads a message of any length of the peer's, piece by piece. Its writer waits while these are not read. Dropped before
/// the end, its writer is told so by [`RefusalCode::CANCELLED`].
pub struct StreamReader {
    handle: Handle,
    id: u32,
    len: Option<u64>,
    fields: DeltaFields,
}

impl StreamReader {
    pub(crate) fn new(handle: Handle, id: u32, len: Option<u64>, fields: DeltaFields) -> Self {
        Self { handle, id, len, fields }
    }

    /// What its writer says of it: the document, the type, when. There is no checksum.
    #[must_use]
    pub fn fields(&self) -> DeltaFields {
        self.fields
    }

    /// How long it is, if that was announced; it is then so long, or ends with an error.
    #[must_use]
    pub fn len(&self) -> Option<u64> {
        self.len
    }

    /// Whether it was announced to be empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == Some(0)
    }

    /// The next piece; `None` after the last, and then its writer is told that all was read.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// When no more comes, though the last was not here. See [`RequestError`].
    pub async fn next(&mut self) -> Result<Option<Piece>, RequestError> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// [`next`](Self::next), for futures written by hand.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Piece>, RequestError>> {
        let next = self.handle.update(|state| state.core.poll_piece(self.id, context));
        next.map_ok(|message| message.map(|message| Piece { message }))
    }

    /// Wants no more of it, and says why.
    pub fn refuse(self, code: RefusalCode, reason: &str) {
        self.handle.update(|state| state.core.drop_read(self.id, code, reason.to_owned()));
    }
}

impl Drop for StreamReader {
    fn drop(&mut self) {
        let code = RefusalCode::CANCELLED;
        self.handle.update(|state| state.core.drop_read(self.id, code, String::new()));
    }
}

impl fmt::Debug for StreamReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamReader")
            .field("id", &self.id)
            .field("len", &self.len)
            .field("fields", &self.fields)
            .finish_non_exhaustive()
    }
}

/// A piece of a stream, where it came: nothing was copied for it over a link, unless much
/// [waited](crate::RequestsOptions::max_uncopied) or it came together with others.
#[derive(Debug)]
pub struct Piece {
    message: Pinned,
}

impl Piece {
    /// Its bytes, at least one.
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
