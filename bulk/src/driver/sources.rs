//! Where a link has messages about bulk from: two sources, as pieces may be overtaken by all others.

use core::task::{Context, Poll};
use std::sync::Arc;

use deltawire_channels::Message;
use deltawire_channels::session::FrameSource;

use super::Shared;
use super::messages;
use super::state::State;

/// One link's source, of pieces and hashes or of all others.
pub(super) struct Source {
    shared: Arc<Shared>,
    link: u64,
    pieces: bool,
    closed: bool,
}

impl Source {
    pub(super) fn new(shared: &Arc<Shared>, link: u64, pieces: bool) -> Self {
        Self { shared: shared.clone(), link, pieces, closed: false }
    }

    fn take(&self, state: &mut State) -> Option<Message> {
        if self.closed || !state.is_attended_by(self.link) {
            return None;
        }
        if self.pieces {
            return state.poll_piece();
        }
        let body = state.control.pop_front()?;
        if state.control.len() + 1 == super::state::MAX_CONTROL {
            // There is room for answers again.
            state.wake_attendant();
        }
        Some(messages::control(&body))
    }
}

impl FrameSource for Source {
    fn try_frame(&mut self) -> Option<Message> {
        self.take(&mut self.shared.lock())
    }

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Message>> {
        let mut state = self.shared.lock();
        if let Some(message) = self.take(&mut state) {
            return Poll::Ready(Some(message));
        }
        if self.closed || state.closed || !state.is_attended_by(self.link) {
            return Poll::Ready(None);
        }
        let waker = context.waker().clone();
        if self.pieces {
            state.piece_source = Some(waker);
        } else {
            state.control_source = Some(waker);
        }
        Poll::Pending
    }

    fn close(&mut self) {
        self.closed = true;
        // Whoever waits for room among its messages waits in vain.
        self.shared.lock().wake_attendant();
    }

    fn is_closed(&self) -> bool {
        self.closed || !self.shared.lock().is_attended_by(self.link)
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.shared.lock().wake_attendant();
    }
}
