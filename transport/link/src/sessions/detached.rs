//! A session between two links.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use deltawire_channels::Session;
use deltawire_channels::session::{Closed, Event};
use deltawire_channels::waking::ReadyHandle;
use deltawire_framing::control::{CloseCode, Role};

use super::SessionName;
use crate::connection::Traffic;
use crate::link::{LinkEnded, LinkId, LinkState};

/// How often one is looked at of which nobody says anything.
const LOOK_EACH: Duration = Duration::from_secs(1);

/// A session without a link.
pub struct Detached {
    pub(crate) session: Session,
    pub(crate) link: Arc<LinkState>,
    pub(crate) traffic: Traffic,
    name: SessionName,
    since: Duration,
    why: LinkEnded,
    looked_at: Duration,
    /// Has [`Sessions`](super::Sessions) look at it.
    ready: Option<ReadyHandle>,
}

/// Who has a session: whom its peer's identity names, or where it was.
#[derive(PartialEq, Eq)]
pub(super) enum Owner {
    Subject(String),
    Network(IpAddr),
}

impl Detached {
    /// A session whose link is gone because of `why`.
    pub(crate) fn new(
        session: Session,
        link: Arc<LinkState>,
        traffic: Traffic,
        name: SessionName,
        since: Duration,
        why: LinkEnded,
    ) -> Self {
        Self { session, link, traffic, name, since, why, looked_at: since, ready: None }
    }

    /// The link whose session it is.
    #[must_use]
    pub fn id(&self) -> LinkId {
        self.link.id()
    }

    /// Why its link is gone.
    #[must_use]
    pub fn why(&self) -> &LinkEnded {
        &self.why
    }

    pub(crate) fn name(&self) -> SessionName {
        self.name
    }

    pub(crate) fn since(&self) -> Duration {
        self.since
    }

    /// Of those that peers started.
    pub(super) fn owner(&self) -> Option<Owner> {
        if self.name.0 == Role::Initiator {
            return None;
        }
        if let Some(identity) = self.link.identity() {
            return Some(Owner::Subject(identity.subject().to_owned()));
        }
        let network = match self.traffic.remote_address?.ip() {
            // Who has one address of IPv6 has at least so many.
            IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
            address => address,
        };
        Some(Owner::Network(network))
    }

    fn expires(&self) -> Duration {
        self.since.saturating_add(self.session.resume_timeout())
    }

    /// When it is to be looked at, whatever its application does: what it holds may have become more, and its application may
    /// be gone, without a word.
    pub(super) fn deadline(&self) -> Duration {
        let look = self.looked_at.saturating_add(LOOK_EACH);
        let at = look.min(self.expires());
        self.session.poll_timeout().map_or(at, |due| due.min(at))
    }

    /// It is looked at when this is woken: it is now.
    pub(super) fn set_ready(&mut self, ready: ReadyHandle) {
        ready.waker().wake_by_ref();
        self.ready = Some(ready);
    }

    /// Does what is due. Says how it has ended, if it has.
    pub(super) fn work(&mut self, now: Duration) -> Option<LinkEnded> {
        let waker = match &self.ready {
            Some(ready) => {
                ready.rearm();
                ready.waker().clone()
            }
            None => Waker::noop().clone(),
        };
        self.looked_at = now;
        let context = &mut Context::from_waker(&waker);
        self.link.attach(waker.clone());
        if self.link.take_asked() {
            if let Some((code, reason)) = self.link.take_close() {
                self.session.close(code, &reason, now);
            }
            if self.link.take_cut() {
                self.session.cut_short(now);
            }
        }
        if self.session.poll_timeout().is_some_and(|at| at <= now) {
            self.session.handle_timeout(now);
        }
        // Wakes the task when the application is gone: what it committed still waits for a link, as in any close.
        let _ = self.session.poll_ready(context);
        if self.session.is_abandoned() {
            self.session.close(CloseCode::NORMAL, "the application dropped its peer", now);
        }
        while let Some(event) = self.session.poll_event() {
            if let Event::Closed(closed) = event {
                return Some(LinkEnded::Session(closed));
            }
        }
        (now >= self.expires()).then(|| self.not_resumed())
    }

    fn not_resumed(&self) -> LinkEnded {
        let within = self.session.resume_timeout();
        LinkEnded::NotResumed { lost: Box::new(self.why.clone()), within }
    }

    /// There is no room for it.
    pub(super) fn end_evicted(self) -> (LinkId, LinkEnded) {
        let ended = LinkEnded::Evicted { lost: Box::new(self.why.clone()) };
        self.end(ended)
    }

    /// Tells everybody that it is over, and gives back what its peer is not known to have.
    pub(super) fn end(mut self, ended: LinkEnded) -> (LinkId, LinkEnded) {
        self.session.explain_loss(&ended);
        let closed = self.session.lose_link();
        // Closed in order meanwhile, or lost with its link.
        debug_assert!(!matches!(closed, Closed::Error(_)));
        self.link.give_back(self.session.take_returned());
        self.link.end(ended.clone(), self.session.undelivered());
        (self.link.id(), ended)
    }
}

impl fmt::Debug for Detached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Detached")
            .field("id", &self.link.id())
            .field("since", &self.since)
            .field("why", &self.why)
            .finish_non_exhaustive()
    }
}
