//! A link whose session outlives its transports.

use std::sync::Arc;

use deltawire_channels::Message;
use deltawire_framing::control::Role;

use super::{Link, LinkEnded, LinkState};
use crate::Identity;
use crate::changes::{LinkChange, LinkChanges};
use crate::sessions::{SessionName, Sessions};

/// Changes that are kept for who asks for them.
const MAX_CHANGES: usize = 16;

impl Link {
    /// What becomes of it from now on: where sessions outlive their links, it goes down and is resumed before it ends.
    #[must_use]
    pub fn changes(&self) -> LinkChanges {
        LinkChanges::new(self.clone())
    }

    /// Whether its session can go on over another link when this one's transport is lost: both nodes' can, and
    /// its channels are ordered, or may lose messages. If it is lost within a round trip after it opened, before the
    /// first ticket came, its session ends with it: `stats().session.resumable` says whether it would.
    #[must_use]
    pub fn is_resumable(&self) -> bool {
        let state = self.shared.state();
        state.session.is_some() && state.ended.is_none()
    }

    /// Whether what it goes over is gone, and its session waits for another link.
    #[must_use]
    pub fn is_down(&self) -> bool {
        let state = self.shared.state();
        state.down && state.ended.is_none()
    }

    /// Has this node open another transport for the session while this one lives, as when the network has changed;
    /// the session goes on over it as soon as it is open. Only on links that this side started; others, and those that
    /// cannot be resumed, are left as they are.
    pub fn migrate(&self) {
        self.shared.state().migrates = true;
        self.shared.over.notify(usize::MAX);
    }

    /// What was committed and is not known to have been taken in by the peer, once the link has ended that could have
    /// been resumed: each is given once. What was sent before may have arrived. Oldest first of each sender; the
    /// frame says of which channel it is.
    #[must_use]
    pub fn take_returned(&self) -> Vec<Message> {
        std::mem::take(&mut self.shared.state().returned)
    }

    /// The driver's part.
    pub(crate) fn state(&self) -> &LinkState {
        &self.shared
    }

    /// The session on it, if it can go on over another link.
    #[must_use]
    pub fn session(&self) -> Option<SessionName> {
        self.shared.state().session
    }

    /// Waits until its session wants another transport: its own is gone, or [`migrate`](Self::migrate) was called.
    /// `false` when it is over.
    pub async fn wants_transport(&self) -> bool {
        loop {
            let changed = self.shared.listen();
            {
                let mut state = self.shared.state();
                if state.ended.is_some() {
                    return false;
                }
                if std::mem::take(&mut state.migrates) || state.down {
                    return true;
                }
            }
            changed.await;
        }
    }
}

/// Of sessions that outlive their links.
impl LinkState {
    pub(crate) fn sessions(&self) -> Option<&Arc<Sessions>> {
        self.sessions.as_ref()
    }

    pub(crate) fn goes_on(&self) -> Option<SessionName> {
        self.goes_on
    }

    pub(crate) fn role(&self) -> Role {
        self.role
    }

    pub(crate) fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    pub(crate) fn set_session(&self, name: SessionName) {
        self.state().session = Some(name);
    }

    /// Another link waits for its session.
    pub(crate) fn want(&self) {
        self.ask(|state| state.wanted = true);
    }

    pub(crate) fn take_wanted(&self) -> bool {
        std::mem::take(&mut self.state().wanted)
    }

    pub(crate) fn give_back(&self, returned: Vec<Message>) {
        self.state().returned = returned;
    }

    /// Another connection has its session.
    pub(crate) fn came_up(&self) {
        self.state().down = false;
    }

    pub(crate) fn went_down(&self, why: LinkEnded) {
        self.state().down = true;
        self.change(LinkChange::Down { why });
    }

    pub(crate) fn change(&self, change: LinkChange) {
        let mut state = self.state();
        state.changed += 1;
        if state.changes.len() == MAX_CHANGES {
            state.changes.pop_front();
        }
        state.changes.push_back(change);
        drop(state);
        self.over.notify(usize::MAX);
    }

    pub(crate) fn changed_so_far(&self) -> u64 {
        self.state().changed
    }

    pub(crate) fn listen(&self) -> event_listener::EventListener {
        self.over.listen()
    }

    /// What changed after the first `seen` changes, and how many were seen then.
    pub(crate) fn change_after(&self, seen: u64) -> Option<(u64, LinkChange)> {
        let state = self.state();
        let unseen = state.changed - seen;
        let missed = unseen.saturating_sub(state.changes.len() as u64);
        if missed > 0 {
            return Some((seen + missed, LinkChange::Missed(missed)));
        }
        let at = state.changes.len() - usize::try_from(unseen).unwrap_or_default();
        match state.changes.get(at) {
            Some(change) => Some((seen + 1, change.clone())),
            None => state.ended.as_ref().map(|(ended, _)| (seen, LinkChange::Over(ended.clone()))),
        }
    }
}
