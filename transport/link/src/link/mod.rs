//! The handle on one live connection to a peer.

mod resumable;

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

pub use deltawire_channels::session::Undelivered;
use deltawire_channels::session::{Closed, FrameSource, SendPriority, Stats};
use deltawire_channels::waking::Flag;
use deltawire_channels::{Message, Sender, SharedSender};
use deltawire_framing::control::{CloseCode, Role};
use event_listener::Event;
use futures_channel::oneshot;

use crate::changes::LinkChange;
use crate::sessions::{SessionName, Sessions};
use crate::{Identity, TransportError};

/// Names a link within its node. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link {}", self.0)
    }
}

/// Why a link ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkEnded {
    /// The session was closed by one of its ends, or ended by an error.
    Session(Closed),
    /// The transport failed.
    Transport(TransportError),
    /// The peer hung up without closing its session, as a process does that ends in the middle.
    HungUp,
    /// The peer was not reached within this time.
    NotReached(Duration),
    /// The peer's [`Identity`] was no longer valid before it said hello. On a link that is open the session is
    /// closed, with a reason that says so.
    Expired,
    /// Another link has taken its session over, which goes on.
    TakenOver,
    /// The session that outlived its link was not resumed in time.
    NotResumed {
        /// Why its link was gone.
        lost: Box<LinkEnded>,
        /// The time: the shorter of both sides' time-outs.
        within: Duration,
    },
    /// The session that outlived its link gave way to others: there are limits of how many are kept without one, and
    /// what they hold.
    Evicted {
        /// Why its link was gone.
        lost: Box<LinkEnded>,
    },
    /// The node's task that moves the link has stopped: its runtime was shut down, or it panicked;
    /// or the node stopped before the link was open.
    Stopped,
}

impl fmt::Display for LinkEnded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(closed) => write!(f, "{closed}"),
            Self::Transport(error) => write!(f, "{error}"),
            Self::HungUp => write!(f, "the peer hung up without closing its session"),
            Self::NotReached(after) => write!(
                f,
                "the peer was not reached within {after:?}: nothing of it came; where the link goes \
                 over UDP, is that let through between the two?"
            ),
            Self::Expired => write!(f, "the peer's identity is no longer valid"),
            Self::TakenOver => write!(f, "another link has taken over"),
            Self::NotResumed { lost, within } => {
                write!(f, "not resumed within {within:?} after its link was gone: {lost}")
            }
            Self::Evicted { lost } => {
                write!(f, "gave way to other sessions without a link; its link was gone: {lost}")
            }
            Self::Stopped => write!(f, "the node stopped"),
        }
    }
}

impl std::error::Error for LinkEnded {}

/// What a link knows of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct LinkStats {
    /// What kind of link it is: see [`Link::kind`].
    pub kind: &'static str,
    /// Of the session: by channel and direction, and the round-trip time.
    pub session: Stats,
    /// Which way its messages go within this process.
    pub route: Route,
    /// Where its datagrams go.
    pub remote_address: Option<SocketAddr>,
    /// Datagrams that came.
    pub datagrams_received: u64,
    /// Datagrams that were sent.
    pub datagrams_sent: u64,
    /// Bytes of datagrams that came.
    pub bytes_received: u64,
    /// Bytes of datagrams that were sent.
    pub bytes_sent: u64,
    /// Bytes that may be on their way to the peer, as measured: see
    /// [`PacingLimits`](crate::PacingLimits).
    pub in_flight_limit: u64,
    /// Bytes that are on their way, or wait in the transport.
    pub in_flight: u64,
    /// Shortest time from write to acknowledgement seen lately.
    pub delay: Option<Duration>,
    /// Bytes per second that the path takes, as far as it was tried.
    pub rate: f64,
    /// How often something was sent again after a time-out.
    pub stalls: u64,
    /// How often messages began to wait because the transport took no more for now.
    pub waits: u64,
}

/// Which way a link's messages go within its process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Route {
    /// Over a socket of the node's own.
    #[default]
    Socket,
    /// In a browser: the worker has the data channels itself; nothing goes through the window.
    Transferred,
    /// In a browser that cannot transfer data channels: through the window, which hands buffers on.
    Relayed,
}

/// The handle on one live connection to a peer: what it is, how it does, and its end. Clones are
/// handles on the same link; to drop them changes nothing.
#[derive(Clone)]
pub struct Link {
    shared: Arc<LinkState>,
}

/// The driver's part of a link: what its handles and its driver share. The driver never waits for its lock when it
/// moves messages: statistics are published if nobody reads them just then, and requests announce
/// themselves.
pub struct LinkState {
    id: LinkId,
    role: Role,
    identity: Option<Identity>,
    /// Where sessions are between links, if this node's outlive theirs.
    sessions: Option<Arc<Sessions>>,
    /// The session that is to go on over this link.
    goes_on: Option<SessionName>,
    /// Whether something waits for the driver in the state.
    asked: Flag,
    /// What the driver wrote last. By itself, so that those who wait for nothing else do not keep
    /// the driver from writing.
    stats: Mutex<LinkStats>,
    state: Mutex<State>,
    /// Those who wait for the end, or for a change.
    over: Event,
}

#[derive(Default)]
struct State {
    /// The session on it, if it can go on over another.
    session: Option<SessionName>,
    /// Whether this side wants another transport for it.
    migrates: bool,
    /// Whether nothing carries it.
    down: bool,
    /// Whether another link waits for its session.
    wanted: bool,
    /// The latest, and how many there were in all.
    changes: VecDeque<LinkChange>,
    changed: u64,
    /// What its peer is not known to have.
    returned: Vec<Message>,
    close: Option<(CloseCode, String)>,
    /// Whether a close is to wait no longer.
    cut: bool,
    /// Whether nobody waits for it to open any more.
    given_up: bool,
    senders: VecDeque<SenderRequest>,
    ended: Option<(LinkEnded, Undelivered)>,
    /// Wakes the driver.
    driver: Option<Waker>,
}

/// Who waits for a sender of which kind.
pub(crate) enum SenderRequest {
    Ring(SendPriority, oneshot::Sender<Sender>),
    Shared(SendPriority, oneshot::Sender<SharedSender>),
    Source(SendPriority, Box<dyn FrameSource>, oneshot::Sender<()>),
}

/// The link has ended, or has as many senders as [`Limits::max_senders`] allows.
///
/// [`Limits::max_senders`]: deltawire_channels::Limits::max_senders
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no more senders: the link has ended, or has as many as max_senders allows")]
pub struct NoMoreSenders;

impl Link {
    /// A link that is about to be opened, and the driver's part of it. `identity` is who its peer is, if
    /// that is known.
    #[must_use]
    pub fn new(id: LinkId, role: Role, identity: Option<Identity>) -> (Self, Arc<LinkState>) {
        Self::with_sessions(id, role, identity, None, None)
    }

    /// The same where the node's sessions outlive their links; `goes_on` names the one that is to go on over this
    /// one.
    #[must_use]
    pub fn with_sessions(
        id: LinkId,
        role: Role,
        identity: Option<Identity>,
        sessions: Option<Arc<Sessions>>,
        goes_on: Option<SessionName>,
    ) -> (Self, Arc<LinkState>) {
        let shared = LinkState {
            id,
            role,
            identity,
            sessions,
            goes_on,
            asked: Flag::default(),
            stats: Mutex::default(),
            state: Mutex::default(),
            over: Event::new(),
        };
        let shared = Arc::new(shared);
        (Self { shared: shared.clone() }, shared)
    }

    /// Its name within its node.
    #[must_use]
    pub fn id(&self) -> LinkId {
        self.shared.id
    }

    /// Who its peer is, as the authorizer of this node's signalling said, or who accepted its transport; `None`
    /// where nobody was asked, as on links that this side started.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.shared.identity.as_ref()
    }

    /// The address of its peer, or of the last proxy that is not trusted: where datagrams go, it changes when the
    /// peer moves. `None` before the first of these, in a browser, over transports without addresses, and over a
    /// WebSocket that this side opened.
    #[must_use]
    pub fn remote_address(&self) -> Option<SocketAddr> {
        self.stats().remote_address
    }

    /// What kind of link it is: `webrtc`, `websocket`, or what else its transport says of itself.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.stats().kind
    }

    /// Whether this side started it.
    #[must_use]
    pub fn role(&self) -> Role {
        self.shared.role
    }

    /// How it does. As of the last time that the driver had something to do for it.
    #[must_use]
    pub fn stats(&self) -> LinkStats {
        *self.shared.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends it in order: what was committed is still delivered, then the peer is told `code` and
    /// `reason`, of which 256 bytes are kept. Returns at once; [`closed`](Self::closed) waits.
    pub fn close(&self, code: CloseCode, reason: &str) {
        self.shared.ask(|state| state.close = Some((code, reason.to_owned())));
    }

    /// Waits no longer for a close that was asked for: what is not delivered yet is lost, and the peer is
    /// told how much.
    pub fn cut_short(&self) {
        self.shared.ask(|state| state.cut = true);
    }

    /// Ends it at once, if its transport has not opened yet: for nodes, once nobody waits for it any more.
    #[doc(hidden)]
    pub fn give_up(&self) {
        self.shared.ask(|state| state.given_up = true);
    }

    /// One more sender for my deltas, with a ring of its own, so that its messages go between the
    /// fragments of other senders' long ones.
    ///
    /// Cancel safe: a sender that nobody waits for any more is closed at once.
    ///
    /// # Errors
    ///
    /// [`NoMoreSenders`] when the link has ended or has as many as it may.
    pub async fn open_sender(&self, share: SendPriority) -> Result<Sender, NoMoreSenders> {
        self.request(|reply| SenderRequest::Ring(share, reply)).await
    }

    /// One more sender for my deltas: of messages that others send too, each from where it lies once.
    /// It counts as any other. Of several with the same [`SendPriority`] each has its turn.
    ///
    /// ```
    /// use deltawire_channels::session::SendPriority;
    /// use deltawire_channels::{Message, Receiver};
    /// use deltawire_link::Link;
    ///
    /// /// Sends what comes from one peer to others.
    /// async fn forward(
    ///     mut from: Receiver,
    ///     to: &[Link],
    /// ) -> Result<(), Box<dyn std::error::Error>> {
    ///     let mut senders = Vec::new();
    ///     for link in to {
    ///         senders.push(link.open_shared_sender(SendPriority::default()).await?);
    ///     }
    ///     while let Ok(message) = from.take().await {
    ///         for sender in &mut senders {
    ///             sender.send(&message).await?; // waits for the slowest
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// Cancel safe, as [`open_sender`](Self::open_sender).
    ///
    /// # Errors
    ///
    /// [`NoMoreSenders`] when the link has ended or has as many as it may.
    pub async fn open_shared_sender(
        &self,
        share: SendPriority,
    ) -> Result<SharedSender, NoMoreSenders> {
        self.request(|reply| SenderRequest::Shared(share, reply)).await
    }

    /// Has messages for the peer come from `source` too, which is asked whenever there is room for one. It counts as
    /// a sender.
    ///
    /// Cancel safe: a source that nobody waits for any more may be asked all the same, until it is
    /// [closed](FrameSource::is_closed).
    ///
    /// # Errors
    ///
    /// [`NoMoreSenders`] when the link has ended or has as many as it may.
    pub async fn open_source(
        &self,
        source: Box<dyn FrameSource>,
        share: SendPriority,
    ) -> Result<(), NoMoreSenders> {
        self.request(|reply| SenderRequest::Source(share, source, reply)).await
    }

    async fn request<S>(
        &self,
        request: impl FnOnce(oneshot::Sender<S>) -> SenderRequest,
    ) -> Result<S, NoMoreSenders> {
        let (reply, opened) = oneshot::channel();
        let request = request(reply);
        self.shared.ask(|state| {
            if state.ended.is_none() {
                state.senders.push_back(request);
            }
        });
        opened.await.map_err(|_| NoMoreSenders)
    }

    /// Waits for its end, and says why it ended. Cancel safe.
    pub async fn closed(&self) -> LinkEnded {
        loop {
            // Looks again once it is on the list: the end may have come in between.
            let over = self.shared.over.listen();
            if let Some(ended) = self.ended() {
                return ended;
            }
            over.await;
        }
    }

    /// Why it ended; `None` while it lives.
    #[must_use]
    pub fn ended(&self) -> Option<LinkEnded> {
        self.shared.ended()
    }

    /// What was not delivered when it ended, as far as is known; nothing while it lives.
    #[must_use]
    pub fn undelivered(&self) -> Undelivered {
        self.shared.state().ended.as_ref().map_or_else(Undelivered::default, |(_, lost)| *lost)
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("id", &self.shared.id)
            .field("role", &self.shared.role)
            .field("ended", &self.ended())
            .finish_non_exhaustive()
    }
}

impl LinkState {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why it ended; `None` while it lives.
    #[must_use]
    pub fn ended(&self) -> Option<LinkEnded> {
        self.state().ended.as_ref().map(|(ended, _)| ended.clone())
    }

    /// Leaves something for the driver to do.
    fn ask(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        self.asked.raise();
        let driver = state.driver.clone();
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    /// Which link it is of.
    #[must_use]
    pub fn id(&self) -> LinkId {
        self.id
    }

    /// Says whom to wake when something is asked for.
    pub fn attach(&self, driver: Waker) {
        self.state().driver = Some(driver);
    }

    /// Lets the driver write down how the link does, where readers look.
    pub(crate) fn publish(&self, write: impl FnOnce(&mut LinkStats)) {
        // A reader that is just there gets the next ones.
        if let Ok(mut stats) = self.stats.try_lock() {
            write(&mut stats);
        }
    }

    /// Whether something was asked for since the last time.
    #[inline]
    pub(crate) fn take_asked(&self) -> bool {
        self.asked.take()
    }

    pub(crate) fn take_close(&self) -> Option<(CloseCode, String)> {
        self.state().close.take()
    }

    pub(crate) fn take_cut(&self) -> bool {
        std::mem::take(&mut self.state().cut)
    }

    pub(crate) fn is_given_up(&self) -> bool {
        self.state().given_up
    }

    pub(crate) fn take_sender_request(&self) -> Option<SenderRequest> {
        self.state().senders.pop_front()
    }

    /// Tells everybody that it is over. Only the first reason counts.
    pub fn end(&self, ended: LinkEnded, undelivered: Undelivered) {
        let mut state = self.state();
        if state.ended.is_none() {
            state.ended = Some((ended, undelivered));
        }
        state.driver = None;
        state.senders.clear();
        drop(state);
        self.over.notify(usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Context;

    use super::*;
    use crate::waiting::Tasks;

    #[test]
    fn those_who_wait_for_the_end_do_not_wake_each_other() {
        const TASKS: usize = 200;
        let (link, shared) = Link::new(LinkId(1), Role::Initiator, None);
        let mut tasks = Tasks::new((0..TASKS).map(|_| link.closed()));
        assert_eq!((tasks.run(), tasks.polls()), (0, TASKS), "all wait");
        assert_eq!((tasks.run(), tasks.polls()), (0, TASKS), "nobody was woken");
        shared.end(LinkEnded::HungUp, Undelivered::default());
        assert_eq!((tasks.run(), tasks.polls()), (TASKS, 2 * TASKS), "all, once");
    }

    #[test]
    fn who_no_longer_waits_for_the_end_is_forgotten() {
        let (link, shared) = Link::new(LinkId(1), Role::Initiator, None);
        let waker = Waker::noop();
        for _ in 0..100 {
            let mut closed = pin!(link.closed());
            assert!(closed.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
            assert_eq!(shared.over.total_listeners(), 1);
        }
        assert_eq!(shared.over.total_listeners(), 0);
    }
}
