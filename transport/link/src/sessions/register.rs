//! Which sessions have no link: the oldest first, whose they are, what they hold, and when they want to be looked at.

use std::time::Duration;

use super::{Detached, Owner, SessionName, SessionsLimits};

/// Sessions without a link, by keys that count up as they come. One list that is looked through, not a set for each question: for a
/// thousand of them that takes microseconds, and sets would be a tenth of a page's module.
#[derive(Default)]
pub(super) struct Register {
    next_key: usize,
    /// The oldest first.
    members: Vec<Member>,
    /// What they hold in all.
    bytes: u64,
}

struct Member {
    key: usize,
    name: SessionName,
    owner: Option<Owner>,
    bytes: u64,
    deadline: Duration,
}

impl Register {
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// The key of the next one.
    pub(super) fn next_key(&self) -> usize {
        self.next_key
    }

    /// Enters a session under [`next_key`](Self::next_key).
    pub(super) fn insert(&mut self, detached: &Detached) {
        let (key, bytes) = (self.next_key, detached.session.held_bytes());
        self.next_key += 1;
        self.bytes += bytes;
        let (name, owner, deadline) = (detached.name(), detached.owner(), detached.deadline());
        self.members.push(Member { key, name, owner, bytes, deadline });
    }

    /// Notes what a session holds now, and when it is due.
    pub(super) fn update(&mut self, key: usize, detached: &Detached) {
        let Some(at) = self.position(key) else { return };
        let member = &mut self.members[at];
        let bytes = detached.session.held_bytes();
        self.bytes = self.bytes - member.bytes + bytes;
        (member.bytes, member.deadline) = (bytes, detached.deadline());
    }

    pub(super) fn remove(&mut self, key: usize) -> Option<SessionName> {
        let member = self.members.remove(self.position(key)?);
        self.bytes -= member.bytes;
        Some(member.name)
    }

    pub(super) fn name(&self, key: usize) -> Option<SessionName> {
        self.position(key).map(|at| self.members[at].name)
    }

    fn position(&self, key: usize) -> Option<usize> {
        self.members.binary_search_by_key(&key, |member| member.key).ok()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = usize> {
        self.members.iter().map(|member| member.key)
    }

    /// Those that are due.
    pub(super) fn due(&self, now: Duration) -> impl Iterator<Item = usize> {
        self.members.iter().filter(move |it| it.deadline <= now).map(|it| it.key)
    }

    /// When the next one is due.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.members.iter().map(|member| member.deadline).min()
    }

    /// Which one has to go, now that `newest` came if one did: itself where it holds too much alone, else the oldest of its owner's
    /// where those are too many, else the oldest of all where all are, or hold, too much.
    pub(super) fn exceeding(
        &self,
        limits: &SessionsLimits,
        newest: Option<usize>,
    ) -> Option<usize> {
        let newest = newest.and_then(|key| self.position(key)).map(|at| &self.members[at]);
        if let Some(newest) = newest {
            if newest.bytes > limits.max_detached_bytes {
                return Some(newest.key);
            }
            let its = |it: &&Member| it.owner.is_some() && it.owner == newest.owner;
            let mut of_owner = self.members.iter().filter(its);
            if let Some(oldest) = of_owner.next()
                && of_owner.count() >= limits.max_detached_per_owner
            {
                return Some(oldest.key);
            }
        }
        let too_much =
            self.members.len() > limits.max_detached || self.bytes > limits.max_detached_bytes;
        self.keys().next().filter(|_| too_much)
    }
}
