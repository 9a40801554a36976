//! What this side publishes, as a link asks for it.

use core::task::{Context, Poll};
use std::sync::Arc;

use deltawire_channels::Message;
use deltawire_channels::session::FrameSource;

use super::state::Client;

pub(super) struct Outgoing {
    client: Arc<Client>,
    closed: bool,
}

impl Outgoing {
    pub(super) fn new(client: Arc<Client>) -> Self {
        Self { client, closed: false }
    }
}

impl FrameSource for Outgoing {
    fn try_frame(&mut self) -> Option<Message> {
        if self.closed {
            return None;
        }
        let mut state = self.client.lock();
        // Each in turn, a delta at a time.
        while let Some(key) = state.sendable.pop_front() {
            let Some(published) = state.publications.get_mut(&key) else { continue };
            if let Some(message) = published.try_send() {
                state.sendable.push_back(key);
                return Some(message);
            }
        }
        None
    }

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Message>> {
        if let Some(message) = self.try_frame() {
            return Poll::Ready(Some(message));
        }
        let mut state = self.client.lock();
        if self.closed || state.closed || !state.attended {
            return Poll::Ready(None);
        }
        if !state.sendable.is_empty() {
            drop(state);
            // One was published in between.
            return self.poll_frame(context);
        }
        state.source = Some(context.waker().clone());
        Poll::Pending
    }

    fn close(&mut self) {
        self.closed = true;
    }

    fn is_closed(&self) -> bool {
        self.closed
    }
}
