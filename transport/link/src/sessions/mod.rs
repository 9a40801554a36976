//! Sessions that outlive their links: where they are between two of them.

mod detached;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use deltawire_channels::Session;
use deltawire_channels::session::{ResumeError, ResumeRequest};
use deltawire_framing::control::{Role, SECRET_LEN};

pub use self::detached::Detached;
use crate::link::{LinkEnded, LinkId, LinkState};
use crate::runtime::SharedRuntime;

/// Sessions of one node that can go on over another link, with and without one.
pub struct Sessions {
    limits: SessionsLimits,
    runtime: SharedRuntime,
    state: Mutex<State>,
}

/// What bounds the sessions that a node keeps without a link. Beyond, the ones that are without one for longest end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionsLimits {
    /// For how long a session is kept without a link; the peer's may be less. Default: 60 s.
    pub resume_timeout: Duration,
    /// How many are kept without a link. Default: 1,024.
    pub max_detached: usize,
    /// What they hold in all for and of their applications, bytes. Default: 256 MiB.
    pub max_detached_bytes: u64,
    /// How many are kept of peers of one identity, or, where nobody was asked for one, of peers at one address (of
    /// IPv6 the first 64 bits count). Default: 64.
    pub max_detached_per_owner: usize,
}

impl Default for SessionsLimits {
    fn default() -> Self {
        Self {
            resume_timeout: Duration::from_secs(60),
            max_detached: 1_024,
            max_detached_bytes: 256 << 20,
            max_detached_per_owner: 64,
        }
    }
}

/// Names a session at one of its ends: which end that is, and what its initiator calls it.
pub type SessionName = (Role, [u8; 16]);

#[derive(Default)]
struct State {
    entries: HashMap<SessionName, Entry>,
    /// Wakes who works for those without a link.
    worker: Option<Waker>,
    /// Whether nobody will work for them any more.
    stopped: bool,
}

struct Entry {
    link: Arc<LinkState>,
    place: Place,
    /// Links that want to go on with it, until they are answered.
    waiting: Vec<Waiting>,
}

enum Place {
    /// A link's connection has it.
    Attached,
    Detached(Box<Detached>),
}

struct Waiting {
    link: LinkId,
    /// What a peer shows; nothing where this side goes on with a session of its own.
    request: Option<ResumeRequest>,
    waker: Waker,
    refused: Option<ResumeError>,
}

/// Links that may wait for one session.
const MAX_WAITING: usize = 4;

/// What comes of asking for a session.
pub(crate) enum Taken {
    Here(Box<Detached>),
    /// The task is woken when something has come of it.
    Later,
    Refused(String),
}

impl Sessions {
    /// None yet. Time and secrets are `runtime`'s.
    #[must_use]
    pub fn new(limits: SessionsLimits, runtime: SharedRuntime) -> Self {
        Self { limits, runtime, state: Mutex::default() }
    }

    /// What bounds it.
    #[must_use]
    pub fn limits(&self) -> SessionsLimits {
        self.limits
    }

    /// What it has its time from.
    #[must_use]
    pub fn runtime(&self) -> &SharedRuntime {
        &self.runtime
    }

    /// How many sessions have no link.
    #[must_use]
    pub fn detached(&self) -> usize {
        self.state().detached().count()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn secret(&self) -> io::Result<[u8; SECRET_LEN]> {
        let mut secret = [0; SECRET_LEN];
        self.runtime.random(&mut secret)?;
        Ok(secret)
    }

    /// Notes a session that can go on. One of a name that is taken cannot.
    pub(crate) fn add(&self, name: SessionName, link: &Arc<LinkState>) -> bool {
        let mut state = self.state();
        if state.entries.contains_key(&name) {
            return false;
        }
        let entry = Entry { link: link.clone(), place: Place::Attached, waiting: Vec::new() };
        state.entries.insert(name, entry);
        link.set_session(name);
        true
    }

    /// It is over.
    pub(crate) fn remove(&self, name: SessionName, link: &LinkState) {
        let mut state = self.state();
        if state.entries.get(&name).is_some_and(|entry| entry.link.id() == link.id())
            && let Some(entry) = state.entries.remove(&name)
        {
            drop(state);
            entry.waiting.into_iter().for_each(|waiting| waiting.waker.wake());
        }
    }

    /// Keeps a session until a link goes on with it, or it is over. Gives those that had to go instead, over, with
    /// why.
    pub fn put(&self, detached: Box<Detached>) -> Vec<(LinkId, LinkEnded)> {
        detached.link.went_down(detached.why().clone());
        let mut state = self.state();
        let name = detached.name();
        if state.stopped {
            state.entries.remove(&name);
            drop(state);
            return vec![detached.end(LinkEnded::Stopped)];
        }
        let Some(entry) = state.entries.get_mut(&name) else {
            drop(state);
            return vec![detached.end_evicted()];
        };
        let waiting: Vec<_> = entry.waiting.iter().map(|waiting| waiting.waker.clone()).collect();
        entry.place = Place::Detached(detached);
        let evicted = state.evict(self.limits, name);
        let worker = state.worker.clone();
        drop(state);
        waiting.into_iter().chain(worker).for_each(Waker::wake);
        evicted.into_iter().map(Detached::end_evicted).collect()
    }

    /// What a link that wants to go on with a session gets.
    pub(crate) fn take(
        &self,
        name: SessionName,
        by: &LinkState,
        request: Option<&ResumeRequest>,
        context: &mut Context<'_>,
    ) -> Taken {
        let mut state = self.state();
        let Some(entry) = state.entries.get_mut(&name) else {
            return Taken::Refused("the session is not known here".to_owned());
        };
        let subject = |link: &LinkState| link.identity().map(|it| it.subject().to_owned());
        if subject(&entry.link) != subject(by) {
            return Taken::Refused("the session is somebody else's".to_owned());
        }
        let known = entry.waiting.iter().position(|waiting| waiting.link == by.id());
        if let Some(refused) = known.and_then(|at| entry.waiting[at].refused) {
            entry.waiting.retain(|waiting| waiting.link != by.id());
            return Taken::Refused(refused.to_string());
        }
        if let Place::Detached(detached) = &entry.place
            && request.is_none_or(|request| detached.session.shows_ticket(request))
        {
            let stale = entry.taken(by.id());
            let wanted = entry.waiting.iter().any(|waiting| waiting.refused.is_none());
            let (link, place) =
                (entry.link.clone(), std::mem::replace(&mut entry.place, Place::Attached));
            drop(state);
            stale.into_iter().for_each(Waker::wake);
            if wanted {
                link.want();
            }
            return match place {
                Place::Detached(detached) => Taken::Here(detached),
                Place::Attached => Taken::Later,
            };
        }
        if matches!(entry.place, Place::Detached(_)) {
            return Taken::Refused(ResumeError::Secret.to_string());
        }
        let waker = context.waker().clone();
        match known {
            Some(at) => entry.waiting[at].waker = waker,
            None if entry.waiting.len() == MAX_WAITING => {
                return Taken::Refused("too many links want the session".to_owned());
            }
            None => {
                let request = request.copied();
                entry.waiting.push(Waiting { link: by.id(), request, waker, refused: None });
                let link = entry.link.clone();
                drop(state);
                link.want();
            }
        }
        Taken::Later
    }

    /// A link waits no longer for a session.
    pub(crate) fn forget(&self, name: SessionName, by: LinkId) {
        if let Some(entry) = self.state().entries.get_mut(&name) {
            entry.waiting.retain(|waiting| waiting.link != by);
        }
    }

    /// Whether its connection is to let go of a session, as a link waits for it that may have it. Others are refused.
    pub(crate) fn is_wanted(&self, name: SessionName, session: &Session) -> bool {
        let mut state = self.state();
        let Some(entry) = state.entries.get_mut(&name) else { return false };
        let (mut wanted, mut refused) = (false, Vec::new());
        for waiting in &mut entry.waiting {
            match &waiting.request {
                _ if waiting.refused.is_some() => {}
                Some(request) if !session.shows_ticket(request) => {
                    waiting.refused = Some(ResumeError::Secret);
                    refused.push(waiting.waker.clone());
                }
                _ => wanted = true,
            }
        }
        drop(state);
        refused.into_iter().for_each(Waker::wake);
        wanted
    }

    /// Lets time pass for those without a link. Gives those that are over, and when to call it again.
    pub fn poll(&self, context: &mut Context<'_>) -> (Vec<(LinkId, LinkEnded)>, Option<Duration>) {
        let now = self.runtime.now();
        let mut state = self.state();
        state.worker = Some(context.waker().clone());
        let detached = state.take_detached();
        // What belongs to applications is told nothing under the lock.
        drop(state);
        let (mut over, mut next, mut woken) = (Vec::new(), None::<Duration>, Vec::new());
        for mut detached in detached {
            let (name, ended) = (detached.name(), detached.work(now, context));
            let mut state = self.state();
            match ended {
                Some(ended) => {
                    let entry = state.entries.remove(&name);
                    drop(state);
                    let waiting = entry.into_iter().flat_map(|entry| entry.waiting);
                    woken.extend(waiting.map(|waiting| waiting.waker));
                    over.push(detached.end(ended));
                }
                None => {
                    next = next.into_iter().chain(detached.poll_timeout()).min();
                    if let Some(entry) = state.entries.get_mut(&name) {
                        // Who asked meanwhile found nothing here.
                        woken.extend(entry.waiting.iter().map(|waiting| waiting.waker.clone()));
                        entry.place = Place::Detached(detached);
                    }
                }
            }
        }
        woken.into_iter().for_each(Waker::wake);
        (over, next)
    }

    /// Ends those without a link, and those that lose theirs from now on: nobody lets time pass for them any more.
    pub fn stop(&self) {
        let mut state = self.state();
        state.stopped = true;
        let detached = state.take_detached();
        for detached in &detached {
            state.entries.remove(&detached.name());
        }
        drop(state);
        for detached in detached {
            detached.end(LinkEnded::Stopped);
        }
    }
}

impl Entry {
    /// This link has the session. Those that asked before it are of links that the peer has given up; those that asked
    /// since get it next.
    /// Gives whom to wake, as they are refused.
    fn taken(&mut self, by: LinkId) -> Vec<Waker> {
        self.waiting.retain(|waiting| waiting.link != by);
        let stale = self.waiting.iter_mut().filter(|waiting| waiting.link < by);
        let refused = stale.map(|waiting| {
            waiting.refused = Some(ResumeError::NotDetached);
            waiting.waker.clone()
        });
        refused.collect()
    }
}

impl State {
    /// Takes out those without a link; their entries stay.
    #[allow(clippy::vec_box, reason = "they go back into the boxes that they came in")]
    fn take_detached(&mut self) -> Vec<Box<Detached>> {
        let entries = self.entries.values_mut();
        let taken = entries.filter_map(|entry| {
            let place = match &mut entry.place {
                Place::Detached(_) => std::mem::replace(&mut entry.place, Place::Attached),
                Place::Attached => Place::Attached,
            };
            match place {
                Place::Detached(detached) => Some(detached),
                Place::Attached => None,
            }
        });
        taken.collect()
    }

    fn detached(&self) -> impl Iterator<Item = &Detached> {
        self.entries.values().filter_map(|entry| match &entry.place {
            Place::Detached(detached) => Some(&**detached),
            Place::Attached => None,
        })
    }

    /// Takes out what is beyond the limits, now that `newest` came: of those of its owner the ones without a link
    /// for longest, then of all; and that one itself where it holds too much alone.
    fn evict(&mut self, limits: SessionsLimits, newest: SessionName) -> Vec<Detached> {
        let mut evicted = Vec::new();
        let owner = self.detached().find(|it| it.name() == newest).and_then(Detached::owner);
        loop {
            let of_owner = |it: &&Detached| owner.is_some() && it.owner() == owner;
            let (count, bytes) = self
                .detached()
                .fold((0, 0_u64), |(n, bytes), it| (n + 1, bytes + it.session.held_bytes()));
            let alone = self.detached().find(|it| it.name() == newest);
            let alone = alone.filter(|it| it.session.held_bytes() > limits.max_detached_bytes);
            let too_many = count > limits.max_detached || bytes > limits.max_detached_bytes;
            let goes = if alone.is_some() {
                alone
            } else if self.detached().filter(of_owner).count() > limits.max_detached_per_owner {
                self.detached().filter(of_owner).min_by_key(|it| it.since())
            } else if too_many {
                self.detached().min_by_key(|it| it.since())
            } else {
                None
            };
            let Some(name) = goes.map(|it| it.name()) else { return evicted };
            if let Some(Entry { place: Place::Detached(detached), .. }) = self.entries.remove(&name)
            {
                evicted.push(*detached);
            }
        }
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("limits", &self.limits)
            .field("detached", &self.detached())
            .finish_non_exhaustive()
    }
}
