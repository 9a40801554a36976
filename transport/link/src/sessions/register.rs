//! Which sessions have no link: the oldest first, whose they are, what they hold, and when they want to be looked at.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::{Detached, Owner, SessionName, SessionsLimits};

/// Sessions without a link, by keys that count up as they come. Whatever is asked of it costs little more with many of them.
#[derive(Default)]
pub(super) struct Register {
    next_key: usize,
    members: HashMap<usize, Member>,
    /// Lists of them, in one set as each kind of set takes room in a page's module: of which list, in which place, and who.
    lists: BTreeSet<(u64, u64, usize)>,
    owners: HashMap<Owner, Owned>,
    next_list: u64,
    /// What they hold in all.
    bytes: u64,
}

/// The list of all, by age.
const AGES: u64 = 0;

/// The list of all, by when they are due, in nanoseconds.
const DEADLINES: u64 = 1;

/// Owners' lists, by age, follow.
const OWNERS: u64 = 2;

struct Member {
    name: SessionName,
    owner: Option<Owner>,
    bytes: u64,
    deadline: u64,
}

/// What an owner has.
struct Owned {
    list: u64,
    count: usize,
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
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
        let (bytes, deadline) = (detached.session.held_bytes(), nanos(detached.deadline()));
        let owner = detached.owner();
        if let Some(owner) = &owner {
            let next = OWNERS + self.next_list;
            let owned = self.owners.entry(owner.clone()).or_insert(Owned { list: next, count: 0 });
            self.next_list += u64::from(owned.list == next);
            owned.count += 1;
            self.lists.insert((owned.list, key as u64, key));
        }
        self.lists.insert((AGES, key as u64, key));
        self.lists.insert((DEADLINES, deadline, key));
        self.bytes += bytes;
        self.members.insert(key, Member { name: detached.name(), owner, bytes, deadline });
    }

    /// Notes what a session holds now, and when it is due.
    pub(super) fn update(&mut self, key: usize, detached: &Detached) {
        let Some(member) = self.members.get_mut(&key) else { return };
        let (bytes, deadline) = (detached.session.held_bytes(), nanos(detached.deadline()));
        self.bytes = self.bytes - member.bytes + bytes;
        if member.deadline != deadline {
            self.lists.remove(&(DEADLINES, member.deadline, key));
            self.lists.insert((DEADLINES, deadline, key));
        }
        (member.bytes, member.deadline) = (bytes, deadline);
    }

    pub(super) fn remove(&mut self, key: usize) -> Option<SessionName> {
        let member = self.members.remove(&key)?;
        self.bytes -= member.bytes;
        self.lists.remove(&(AGES, key as u64, key));
        self.lists.remove(&(DEADLINES, member.deadline, key));
        if let Some(owner) = member.owner
            && let Some(owned) = self.owners.get_mut(&owner)
        {
            self.lists.remove(&(owned.list, key as u64, key));
            owned.count -= 1;
            if owned.count == 0 {
                self.owners.remove(&owner);
            }
        }
        Some(member.name)
    }

    pub(super) fn name(&self, key: usize) -> Option<SessionName> {
        self.members.get(&key).map(|member| member.name)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = usize> {
        self.list(AGES, u64::MAX)
    }

    /// Those that are due.
    pub(super) fn due(&self, now: Duration) -> impl Iterator<Item = usize> {
        self.list(DEADLINES, nanos(now))
    }

    fn list(&self, list: u64, to: u64) -> impl Iterator<Item = usize> {
        self.lists.range((list, 0, 0)..=(list, to, usize::MAX)).map(|(.., key)| *key)
    }

    /// When the next one is due.
    pub(super) fn deadline(&self) -> Option<Duration> {
        let first = self.lists.range((DEADLINES, 0, 0)..).next();
        first.filter(|(list, ..)| *list == DEADLINES).map(|(_, at, _)| Duration::from_nanos(*at))
    }

    /// Which one has to go, now that `newest` came if one did: itself where it holds too much alone, else the oldest of its owner's
    /// where those are too many, else the oldest of all where all are, or hold, too much.
    pub(super) fn exceeding(
        &self,
        limits: &SessionsLimits,
        newest: Option<usize>,
    ) -> Option<usize> {
        let member = newest.and_then(|newest| self.members.get(&newest));
        if member.is_some_and(|it| it.bytes > limits.max_detached_bytes) {
            return newest;
        }
        let owned = member.and_then(|it| self.owners.get(it.owner.as_ref()?));
        if let Some(owned) = owned.filter(|it| it.count > limits.max_detached_per_owner) {
            return self.list(owned.list, u64::MAX).next();
        }
        let too_much =
            self.members.len() > limits.max_detached || self.bytes > limits.max_detached_bytes;
        self.keys().next().filter(|_| too_much)
    }
}
