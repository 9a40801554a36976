//! What this side publishes, as a link asks for it.

use core::task::{Context, Poll};
use std::sync::Arc;

use deltawire_channels::Message;
use deltawire_channels::session::FrameSource;

use super::state::Client;

/// What is published, for one link: for no other, though its session may live on for a while.
pub(super) struct Outgoing {
    client: Arc<Client>,
    /// Which link that is.
    link: u64,
    closed: bool,
}

impl Outgoing {
    pub(super) fn new(client: Arc<Client>) -> Self {
        let link = client.lock().link;
        Self { client, link, closed: false }
    }
}

impl FrameSource for Outgoing {
    fn try_frame(&mut self) -> Option<Message> {
        if self.closed {
            return None;
        }
        let mut state = self.client.lock();
        if !state.is_attended_by(self.link) {
            return None;
        }
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
        if self.closed || state.closed || !state.is_attended_by(self.link) {
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
        self.closed || !self.client.lock().is_attended_by(self.link)
    }
}
