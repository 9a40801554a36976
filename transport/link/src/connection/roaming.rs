//! A session that comes from another connection, and goes to the next.

use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use deltawire_channels::session::{
    Closed, LinkTraits, ProtocolError, ResumeRequest, SessionConfig,
};
use deltawire_channels::{Peer, Session};
use deltawire_framing::control::{Role, SECRET_LEN};

use super::{Connection, Progress, Stage};
use crate::changes::{LinkChange, Resumed};
use crate::link::{Link, LinkEnded, LinkState};
use crate::sessions::{Detached, SessionName, Sessions, Taken};
use crate::{MessageTransport, Transmit};

/// What a connection knows of its session's other links.
pub(super) struct Roaming {
    /// What sessions on this transport are made with.
    config: SessionConfig,
    /// What its session is called, if that can go on over another link.
    name: Option<SessionName>,
    /// What the session is called that it waits for, and what the peer showed for it.
    awaited: Option<Awaited>,
    /// When the session lost its link before this one.
    lost_at: Option<Duration>,
    driver: Option<Waker>,
    resumed: Option<Resumed>,
    detached: Option<Box<Detached>>,
}

/// A session that a connection waits for.
struct Awaited {
    name: SessionName,
    /// What its peer showed; nothing where the session is this side's.
    request: Option<Box<ResumeRequest>>,
    /// When it is waited for no longer.
    deadline: Option<Duration>,
    /// That of the next ticket.
    secret: Option<[u8; SECRET_LEN]>,
}

impl Awaited {
    fn new(name: SessionName, request: Option<Box<ResumeRequest>>) -> Self {
        Self { name, request, deadline: None, secret: None }
    }
}

impl Roaming {
    pub(super) fn new(config: SessionConfig, link: &LinkState) -> Self {
        let awaited = link.goes_on().map(|name| Awaited::new(name, None));
        Self {
            config,
            name: None,
            awaited,
            lost_at: None,
            driver: None,
            resumed: None,
            detached: None,
        }
    }

    /// Whether another session is to take the place of the one that is there.
    pub(super) fn awaits(&self) -> bool {
        self.awaited.is_some()
    }

    /// Whether this side does not speak before that one is there.
    pub(super) fn is_mute(&self) -> bool {
        self.awaited.as_ref().is_some_and(|awaited| awaited.request.is_none())
    }

    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        self.awaited.as_ref().and_then(|awaited| awaited.deadline)
    }

    pub(super) fn set_driver(&mut self, driver: &Waker) {
        self.driver = Some(driver.clone());
    }
}

impl<T: MessageTransport> Connection<T> {
    fn sessions(&self) -> Option<Arc<Sessions>> {
        self.shared.sessions().cloned()
    }

    fn traits(&self) -> LinkTraits {
        LinkTraits {
            max_frame_len: self.max_frame_len,
            transport_hears: self.capabilities.liveness,
        }
    }

    /// The peer said hello: from now on the session may outlive this link, if both sides' may.
    pub(super) fn register(&mut self) {
        let (Some(sessions), Some(id)) = (self.sessions(), self.session.name()) else { return };
        let name = (self.shared.role(), id);
        if !self.session.agreed_to_resume() || !sessions.add(name, &self.shared) {
            return;
        }
        self.roaming.name = Some(name);
        if self.shared.role() == Role::Acceptor {
            match sessions.secret() {
                Ok(secret) => self.session.give_ticket(secret),
                Err(error) => {
                    tracing::warn!(%error, "without a ticket, a session ends with its link");
                }
            }
        }
    }

    pub(super) fn await_session(&mut self, request: Box<ResumeRequest>) {
        debug_assert!(self.peer.is_some(), "a session asks before it is given to anybody");
        let name = (Role::Acceptor, request.session_id());
        self.roaming.awaited = Some(Awaited::new(name, Some(request)));
    }

    pub(super) fn note_resumed(&mut self, repeated_bytes: u64, now: Duration) {
        let after = self.roaming.lost_at.take().map_or(Duration::ZERO, |at| now.saturating_sub(at));
        let resumed = Resumed { after, kind: self.capabilities.kind, repeated_bytes };
        tracing::debug!(?resumed, "resumed");
        self.publish();
        self.shared.change(LinkChange::Resumed(resumed));
        self.roaming.resumed = Some(resumed);
    }

    /// Nothing is heard of the peer: the session can go on over another link.
    pub(super) fn lose_silent(&mut self) {
        let limits = self.roaming.config.limits;
        let error = match self.session.is_resuming() {
            true => ProtocolError::NoHello(limits.hello_timeout),
            false => ProtocolError::TimedOut(limits.idle_timeout),
        };
        self.lose(LinkEnded::Session(Closed::Error(error)));
        self.transport.close();
        self.dirty = true;
    }

    /// Another link waits for the session: if it may have it, that is let go.
    pub(super) fn let_go(&mut self, now: Duration) {
        let (Some(sessions), Some(name)) = (self.sessions(), self.roaming.name) else { return };
        if sessions.is_wanted(name, &self.session) && self.detach(&LinkEnded::TakenOver, now) {
            self.transport.close();
            self.dirty = true;
        }
    }

    /// Lets the session wait for another link, if it can. Says whether it does.
    pub(super) fn detach(&mut self, why: &LinkEnded, now: Duration) -> bool {
        let Some(name) = self.roaming.name else { return false };
        // One that waits for another has none of its own that anybody was given.
        if self.roaming.awaits()
            || self.stage != Stage::Open
            || self.ended.is_some()
            || !self.session.detach(now)
        {
            return false;
        }
        let Ok((mut nothing, _)) = Session::new(self.roaming.config, now) else {
            unreachable!("its limits were checked before")
        };
        nothing.lose_link();
        while nothing.poll_event().is_some() {}
        let (_, nobody) = Link::new(self.shared.id(), self.shared.role(), None);
        tracing::debug!(kind = self.capabilities.kind, %why, "detached");
        let session = std::mem::replace(&mut self.session, nothing);
        let link = std::mem::replace(&mut self.shared, nobody);
        let traffic = std::mem::take(&mut self.traffic);
        self.roaming.name = None;
        let detached = Detached::new(session, link, traffic, name, now, why.clone());
        self.roaming.detached = Some(Box::new(detached));
        self.stage = Stage::Delivering;
        (self.told, self.gone) = (true, true);
        true
    }

    /// What came of waiting for a session, or of letting one go.
    pub(super) fn roam(
        &mut self,
        now: Duration,
        context: &mut Context<'_>,
        send: &mut impl FnMut(Transmit),
    ) -> Option<Progress> {
        if let Some(detached) = self.roaming.detached.take() {
            self.drain(now, send);
            return Some(Progress::Detached(detached));
        }
        if let Some(resumed) = self.roaming.resumed.take() {
            return Some(Progress::Resumed(resumed));
        }
        if self.stage != Stage::Open || self.ended.is_some() {
            return None;
        }
        let Awaited { name, request, deadline, secret } = self.roaming.awaited.take()?;
        let patience = self.roaming.config.limits.hello_timeout;
        let deadline = deadline.unwrap_or_else(|| now.saturating_add(patience));
        if now >= deadline {
            if let Some(sessions) = self.sessions() {
                sessions.forget(name, self.place);
            }
            self.refuse("another link did not let the session go in time", context);
            return None;
        }
        if self.peer.is_none() {
            self.refuse("the session that was begun on the link was given to somebody", context);
            return None;
        }
        let Some(sessions) = self.sessions() else {
            self.refuse("sessions do not outlive their links here", context);
            return None;
        };
        let secret = match secret.map_or_else(|| sessions.secret(), Ok) {
            Ok(secret) => secret,
            Err(error) => {
                tracing::warn!(%error, "no random bytes: a session is not resumed");
                self.refuse("no random bytes", context);
                return None;
            }
        };
        match sessions.take(name, &self.shared, request.as_deref(), context) {
            Taken::Later => {
                let (deadline, secret) = (Some(deadline), Some(secret));
                self.roaming.awaited = Some(Awaited { name, request, deadline, secret });
                None
            }
            Taken::Refused(why) => {
                self.refuse(&why, context);
                None
            }
            Taken::Here(mut detached) => {
                match request {
                    None => detached.session.resume(self.traits(), now),
                    Some(request) => {
                        let accepted =
                            detached.session.accept_resume(&request, secret, self.traits(), now);
                        if let Err(error) = accepted {
                            // The session is over, and tells so over this link.
                            tracing::debug!(%error, "not resumed");
                        }
                    }
                }
                let peer = self.peer.take()?;
                Some(self.adopt(*detached, peer, now))
            }
        }
    }

    fn adopt(&mut self, detached: Detached, peer: Box<Peer>, now: Duration) -> Progress {
        self.roaming.name = Some(detached.name());
        let took_over = *detached.why() == LinkEnded::TakenOver;
        self.roaming.lost_at = Some(detached.since()).filter(|_| !took_over);
        let Detached { session, link, traffic, .. } = detached;
        self.session = session;
        // Of this place nothing is left but its name.
        self.shared = link;
        self.shared.came_up();
        self.traffic.add(&traffic);
        if let Some(driver) = &self.roaming.driver {
            self.shared.attach(driver.clone());
        }
        self.take_requests(now);
        Progress::Merged { peer, link: self.shared.id() }
    }

    fn refuse(&mut self, why: &str, context: &mut Context<'_>) {
        match self.shared.role() {
            Role::Acceptor => self.session.refuse_resume(why),
            Role::Initiator => {
                self.lose(LinkEnded::Stopped);
                self.transport.close();
                self.dirty = true;
            }
        }
        context.waker().wake_by_ref();
    }
}

impl<T> Connection<T> {
    /// It waits for no other session, and its own is over.
    pub(super) fn unregister(&mut self) {
        let Some(sessions) = self.shared.sessions() else { return };
        if let Some(Awaited { name, .. }) = self.roaming.awaited.take() {
            sessions.forget(name, self.place);
        }
        if let Some(name) = self.roaming.name.take() {
            sessions.remove(name, &self.shared);
            let returned = self.session.take_returned();
            if !returned.is_empty() {
                self.shared.give_back(returned);
            }
        }
    }
}
