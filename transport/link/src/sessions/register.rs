//! Which sessions have no link: the oldest first, whose they are, what they hold, and when they want to be looked at.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::{Detached, Owner, SessionName, SessionsLimits};

/// Sessions without a link, by keys that count up as they come. Whatever is asked of it costs no more with many of them.
#[derive(Default)]
pub(super) struct Register {
    next_key: usize,
    members: BTreeMap<usize, Member>,
    owners: HashMap<Owner, BTreeSet<usize>>,
    deadlines: BTreeSet<(Duration, usize)>,
    /// What they hold in all.
    bytes: u64,
}

struct Member {
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
        let key = self.next_key;
        self.next_key += 1;
        let (bytes, deadline) = (detached.session.held_bytes(), detached.deadline());
        let owner = detached.owner();
        if let Some(owner) = &owner {
            self.owners.entry(owner.clone()).or_default().insert(key);
        }
        self.deadlines.insert((deadline, key));
        self.bytes += bytes;
        self.members.insert(key, Member { name: detached.name(), owner, bytes, deadline });
    }

    /// Notes what a session holds now, and when it is due.
    pub(super) fn update(&mut self, key: usize, detached: &Detached) {
        let Some(member) = self.members.get_mut(&key) else { return };
        let (bytes, deadline) = (detached.session.held_bytes(), detached.deadline());
        self.bytes = self.bytes - member.bytes + bytes;
        if member.deadline != deadline {
            self.deadlines.remove(&(member.deadline, key));
            self.deadlines.insert((deadline, key));
        }
        (member.bytes, member.deadline) = (bytes, deadline);
    }

    pub(super) fn remove(&mut self, key: usize) -> Option<SessionName> {
        let member = self.members.remove(&key)?;
        self.bytes -= member.bytes;
        self.deadlines.remove(&(member.deadline, key));
        if let Some(owner) = member.owner
            && let Some(keys) = self.owners.get_mut(&owner)
        {
            keys.remove(&key);
            if keys.is_empty() {
                self.owners.remove(&owner);
            }
        }
        Some(member.name)
    }

    pub(super) fn name(&self, key: usize) -> Option<SessionName> {
        self.members.get(&key).map(|member| member.name)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = usize> {
        self.members.keys().copied()
    }

    /// Those that are due.
    pub(super) fn due(&self, now: Duration) -> impl Iterator<Item = usize> {
        self.deadlines.range(..=(now, usize::MAX)).map(|(_, key)| *key)
    }

    /// When the next one is due.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Which one has to go now that `newest` came: itself where it holds too much alone, else the oldest of its owner's where
    /// those are too many, else the oldest of all where all are, or hold, too much.
    pub(super) fn exceeding(&self, limits: &SessionsLimits, newest: usize) -> Option<usize> {
        let member = self.members.get(&newest);
        if member.is_some_and(|it| it.bytes > limits.max_detached_bytes) {
            return Some(newest);
        }
        let of_owner = member.and_then(|it| self.owners.get(it.owner.as_ref()?));
        if let Some(keys) = of_owner.filter(|keys| keys.len() > limits.max_detached_per_owner) {
            return keys.first().copied();
        }
        let too_much =
            self.members.len() > limits.max_detached || self.bytes > limits.max_detached_bytes;
        self.members.keys().next().copied().filter(|_| too_much)
    }
}
