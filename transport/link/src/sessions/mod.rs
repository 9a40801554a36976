//! Sessions that outlive their links: where they are between two of them.

mod detached;
mod register;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use deltawire_channels::Session;
use deltawire_channels::session::{ResumeError, ResumeRequest};
use deltawire_channels::waking::ReadyQueue;
use deltawire_framing::control::{Role, SECRET_LEN};

pub use self::detached::Detached;
use self::detached::Owner;
use self::register::Register;
use crate::link::{LinkEnded, LinkId, LinkState};
use crate::runtime::SharedRuntime;

/// Sessions of one node that can go on over another link, with and without one.
pub struct Sessions {
    limits: SessionsLimits,
    runtime: SharedRuntime,
    state: Mutex<State>,
    /// Those without a link that have something to do.
    ready: Arc<ReadyQueue>,
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
    /// Those without a link.
    detached: Register,
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
    /// Under this key.
    Detached(usize, Box<Detached>),
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

/// Sessions without a link that are looked at before others have their turn.
const MAX_TURN: usize = 256;

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
        // A longer line costs more than to look at all of them once in a while.
        let ready = ReadyQueue::new(limits.max_detached.clamp(MAX_TURN, 4_096));
        Self { limits, runtime, state: Mutex::default(), ready }
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
        self.state().detached.len()
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
    pub fn put(&self, mut detached: Box<Detached>) -> Vec<(LinkId, LinkEnded)> {
        detached.link.went_down(detached.why().clone());
        let mut state = self.state();
        let State { entries, detached: register, stopped } = &mut *state;
        let name = detached.name();
        if *stopped {
            entries.remove(&name);
            drop(state);
            return vec![detached.end(LinkEnded::Stopped)];
        }
        let Some(entry) = entries.get_mut(&name) else {
            drop(state);
            return vec![detached.end_evicted()];
        };
        let mut woken: Vec<_> = entry.waiting.iter().map(|it| it.waker.clone()).collect();
        let newest = register.next_key();
        register.insert(&detached);
        detached.set_ready(self.ready.handle(newest));
        entry.place = Place::Detached(newest, detached);
        let evicted = state.evict(&self.limits, Some(newest), &mut woken);
        drop(state);
        woken.into_iter().for_each(Waker::wake);
        evicted.into_iter().map(|detached| detached.end_evicted()).collect()
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
        if let Place::Detached(key, detached) = &entry.place
            && request.is_none_or(|request| detached.session.shows_ticket(request))
        {
            let key = *key;
            let stale = entry.taken(by.id());
            let wanted = entry.waiting.iter().any(|waiting| waiting.refused.is_none());
            let (link, place) =
                (entry.link.clone(), std::mem::replace(&mut entry.place, Place::Attached));
            state.detached.remove(key);
            drop(state);
            stale.into_iter().for_each(Waker::wake);
            if wanted {
                link.want();
            }
            return match place {
                Place::Detached(_, detached) => Taken::Here(detached),
                Place::Attached => Taken::Later,
            };
        }
        if matches!(entry.place, Place::Detached(..)) {
            entry.waiting.retain(|waiting| waiting.link != by.id());
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

    /// Looks at those without a link that have something to do, or are due. Gives those that are over, and when to call it
    /// again, if nobody wakes the task before.
    pub fn poll(&self, context: &mut Context<'_>) -> (Vec<(LinkId, LinkEnded)>, Option<Duration>) {
        self.ready.register(context.waker());
        let now = self.runtime.now();
        let mut over = Vec::new();
        for key in self.take_turn(now, context) {
            over.extend(self.work(key, now));
        }
        let (mut state, mut woken) = (self.state(), Vec::new());
        // Their applications may have gone on writing.
        let evicted = state.evict(&self.limits, None, &mut woken);
        let next = state.detached.deadline();
        drop(state);
        woken.into_iter().for_each(Waker::wake);
        over.extend(evicted.into_iter().map(|detached| detached.end_evicted()));
        (over, next)
    }

    /// Whom to look at now.
    fn take_turn(&self, now: Duration, context: &Context<'_>) -> Vec<usize> {
        if self.ready.take_overflow() {
            // All of them, and so those that found a place too.
            while self.ready.pop().is_some() {}
            return self.state().detached.keys().collect();
        }
        let mut keys: Vec<_> = self.state().detached.due(now).take(MAX_TURN).collect();
        while let Some(key) = self.ready.pop() {
            keys.push(key);
            if keys.len() >= MAX_TURN {
                context.waker().wake_by_ref();
                break;
            }
        }
        keys
    }

    /// Does what one has to do. Says how it has ended, if it has.
    fn work(&self, key: usize, now: Duration) -> Option<(LinkId, LinkEnded)> {
        let mut detached = self.state().take_out(key)?;
        // What belongs to applications is told nothing under the lock.
        let (name, ended) = (detached.name(), detached.work(now));
        let mut state = self.state();
        let State { entries, detached: register, .. } = &mut *state;
        // Unless it had to go meanwhile.
        let kept = register.name(key).is_some();
        if kept
            && ended.is_none()
            && let Some(entry) = entries.get_mut(&name)
        {
            register.update(key, &detached);
            entry.place = Place::Detached(key, detached);
            // Who asked meanwhile found nothing here.
            let woken: Vec<_> = entry.waiting.iter().map(|it| it.waker.clone()).collect();
            drop(state);
            woken.into_iter().for_each(Waker::wake);
            return None;
        }
        register.remove(key);
        let entry = if kept { entries.remove(&name) } else { None };
        drop(state);
        let waiting = entry.into_iter().flat_map(|entry| entry.waiting);
        waiting.for_each(|waiting| waiting.waker.wake());
        Some(match ended {
            Some(ended) => detached.end(ended),
            None => detached.end_evicted(),
        })
    }

    /// Ends those without a link, and those that lose theirs from now on: nobody lets time pass for them any more.
    pub fn stop(&self) {
        let mut state = self.state();
        state.stopped = true;
        let keys: Vec<_> = state.detached.keys().collect();
        let mut ended = Vec::new();
        for key in keys {
            ended.extend(state.take_out(key));
            if let Some(name) = state.detached.remove(key) {
                state.entries.remove(&name);
            }
        }
        drop(state);
        for detached in ended {
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
    /// Takes out those that are beyond the limits, and whom to wake as they are gone.
    #[allow(clippy::vec_box, reason = "they stay in the boxes that they came in")]
    fn evict(
        &mut self,
        limits: &SessionsLimits,
        newest: Option<usize>,
        woken: &mut Vec<Waker>,
    ) -> Vec<Box<Detached>> {
        let mut evicted = Vec::new();
        while let Some(key) = self.detached.exceeding(limits, newest) {
            let Some(name) = self.detached.remove(key) else { break };
            let Some(entry) = self.entries.remove(&name) else { continue };
            woken.extend(entry.waiting.into_iter().map(|waiting| waiting.waker));
            // Who looks at one right now ends it.
            if let Place::Detached(_, detached) = entry.place {
                evicted.push(detached);
            }
        }
        evicted
    }

    /// Takes one without a link out of its entry, to which it is to come back.
    fn take_out(&mut self, key: usize) -> Option<Box<Detached>> {
        let entry = self.entries.get_mut(&self.detached.name(key)?)?;
        match std::mem::replace(&mut entry.place, Place::Attached) {
            Place::Detached(of, detached) if of == key => Some(detached),
            place => {
                entry.place = place;
                None
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
