use core::fmt;

use deltawire_channels::{Receiver, SendError};
use deltawire_framing::DeltaFields;

use crate::shared::Handle;

/// The application's own commands, beside the requests that go over the same channel.
#[derive(Debug)]
pub struct Commands {
    /// My commands to the peer.
    pub send: CommandSender,
    /// The peer's commands to me. They have to be read: what waits keeps its part of the window, and without room in it
    /// no request comes either.
    pub receive: Receiver,
}

impl Commands {
    pub(crate) fn new(handle: Handle, receive: Receiver) -> Self {
        Self { send: CommandSender { handle }, receive }
    }
}

/// Sends commands of the application's own between requests. Clones send over the same channel.
#[derive(Clone)]
pub struct CommandSender {
    handle: Handle,
}

impl CommandSender {
    /// Sends a delta with a copy of `payload`; waits for room.
    ///
    /// Cancel safe: a future that is dropped before it is ready has sent nothing.
    ///
    /// # Errors
    /// When the delta is longer than the ring or than the peer takes, or it is over.
    pub async fn send(&self, fields: DeltaFields, payload: &[u8]) -> Result<(), SendError> {
        self.wait(Some(fields), payload).await
    }

    /// Sends a copy of `bytes` as they are, without a delta header; waits for room.
    ///
    /// Cancel safe, as [`send`](Self::send).
    ///
    /// # Errors
    /// When there are none, or more than the ring holds or the peer takes, or it is over.
    pub async fn send_opaque(&self, bytes: &[u8]) -> Result<(), SendError> {
        self.wait(None, bytes).await
    }

    /// Sends a delta, if there is room now.
    ///
    /// # Errors
    /// Also when the ring is full.
    pub fn try_send(&self, fields: DeltaFields, payload: &[u8]) -> Result<(), SendError> {
        self.handle.update(|state| state.try_command(Some(fields), payload))
    }

    /// Sends bytes as they are, if there is room now.
    ///
    /// # Errors
    /// Also when the ring is full.
    pub fn try_send_opaque(&self, bytes: &[u8]) -> Result<(), SendError> {
        self.handle.update(|state| state.try_command(None, bytes))
    }

    async fn wait(&self, fields: Option<DeltaFields>, bytes: &[u8]) -> Result<(), SendError> {
        let is_full = |error: &SendError| matches!(error, SendError::Full { .. });
        self.handle.wait_for_room(|state| state.try_command(fields, bytes), is_full).await
    }
}

impl fmt::Debug for CommandSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandSender").finish_non_exhaustive()
    }
}
