//! The links of a node as its parts share them: those that open them, those that move them, and
//! the application that waits for them.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use deltawire_channels::Peer;
use deltawire_framing::control::{CloseCode, Role};
use deltawire_link::{Detached, Identity, Link, LinkEnded, LinkId, Resumed, SessionName, Sessions};
use event_listener::Event;
use futures_channel::oneshot;

use crate::manager::{CapacityError, ConnectionManager, NodeEvent, NodeLimits, PeerInfo};
use crate::reservation::Reservation;

/// What became of a link that was being opened.
type Opened = Result<(Peer, Link), LinkEnded>;

/// What becomes of a link that is being opened: a future.
pub(crate) struct Outcome {
    opened: oneshot::Receiver<Opened>,
    network: Network,
    id: LinkId,
}

impl Future for Outcome {
    type Output = Opened;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = ready!(Pin::new(&mut self.opened).poll(context));
        Poll::Ready(outcome.unwrap_or(Err(LinkEnded::Stopped)))
    }
}

impl Drop for Outcome {
    /// A link that nobody waits for any more is given up, whatever has become of its peer.
    fn drop(&mut self) {
        let inner = self.network.inner();
        let link = inner.connecting.get(&self.id).and_then(|_| inner.manager.link(self.id));
        drop(inner);
        if let Some(link) = link {
            link.give_up();
        }
    }
}

/// A handle on a node's links. Clones are handles on the same ones.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    inner: Mutex<Inner>,
    /// Those who wait for any of this to change.
    changed: Event,
    /// Where sessions are between links, and whether somebody works for them.
    sessions: Option<Arc<Sessions>>,
    works: Mutex<bool>,
    #[cfg(feature = "metrics")]
    published: crate::metrics::Published,
}

#[derive(Debug)]
struct Inner {
    manager: ConnectionManager,
    /// Links that this side opens, and who waits for them.
    connecting: HashMap<LinkId, oneshot::Sender<Opened>>,
    /// Links that peers opened, until the application takes them. At most
    /// [`NodeLimits::max_peers`]: beyond, the oldest that has ended gives way.
    accepted: VecDeque<(Peer, Link)>,
}

impl Inner {
    /// Keeps a link until the application takes it. Gives back one that has ended if there are too
    /// many.
    fn accept_later(&mut self, peer: Peer, link: Link) -> Option<(Peer, Link)> {
        let full = self.accepted.len() >= self.manager.limits().max_peers;
        let ended = self.accepted.iter().position(|(_, link)| link.ended().is_some());
        let gone = ended.filter(|_| full).and_then(|index| self.accepted.remove(index));
        self.accepted.push_back((peer, link));
        gone
    }
}

/// Ends sessions without a link when nobody works for them any more.
struct StopSessions(Arc<Sessions>);

impl Drop for StopSessions {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Network {
    pub(crate) fn new(limits: NodeLimits, sessions: Option<Arc<Sessions>>) -> Self {
        let inner = Inner {
            manager: ConnectionManager::new(limits, sessions.clone()),
            connecting: HashMap::new(),
            accepted: VecDeque::new(),
        };
        Self {
            shared: Arc::new(Shared {
                inner: Mutex::new(inner),
                changed: Event::new(),
                sessions,
                works: Mutex::new(false),
                #[cfg(feature = "metrics")]
                published: crate::metrics::Published::default(),
            }),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.shared.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something, and wakes who waits for changes.
    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let result = change(&mut self.inner());
        self.shared.changed.notify(usize::MAX);
        result
    }

    /// Waits until `look` finds something.
    async fn wait<T>(&self, mut look: impl FnMut(&mut Inner) -> Option<T>) -> T {
        loop {
            if let Some(found) = look(&mut self.inner()) {
                return found;
            }
            // Looks again once it is on the list: something may have changed in between.
            let changed = self.shared.changed.listen();
            if let Some(found) = look(&mut self.inner()) {
                return found;
            }
            changed.await;
        }
    }

    /// What bounds it.
    #[cfg(all(any(feature = "quic", feature = "sctp"), not(target_arch = "wasm32")))]
    pub(crate) fn limits(&self) -> NodeLimits {
        self.inner().manager.limits()
    }

    /// Publishes figures of its links once a second, as long as anything is left of the node.
    #[cfg(feature = "metrics")]
    pub(crate) fn publish(&self, runtime: &deltawire_link::runtime::SharedRuntime) {
        let (shared, timed) = (Arc::downgrade(&self.shared), runtime.clone());
        runtime.spawn(Box::pin(async move {
            loop {
                deltawire_link::runtime::sleep(&*timed, crate::metrics::PERIOD).await;
                let Some(shared) = shared.upgrade() else { return };
                let network = Self { shared };
                network.shared.published.publish(&network.peers());
            }
        }));
    }

    /// Whether links may still be begun.
    pub(crate) fn check_open(&self) -> Result<(), CapacityError> {
        match self.inner().manager.is_shutting_down() {
            true => Err(CapacityError::ShuttingDown),
            false => Ok(()),
        }
    }

    /// A place for a link that a peer opens, from this address if it is known.
    pub(crate) fn begin_accept(
        &self,
        from: Option<IpAddr>,
        identity: Option<Identity>,
    ) -> Result<Reservation, CapacityError> {
        let begun = self.change(|inner| inner.manager.begin(Role::Acceptor, from, identity, None));
        begun.map(|(_, state)| Reservation::new(self, &state))
    }

    /// Counts peers that are not let in yet: see [`Arrival`](crate::arrival::Arrival).
    #[cfg(all(
        any(feature = "quic", feature = "sctp", feature = "tcp", all(feature = "unix", unix)),
        not(target_arch = "wasm32")
    ))]
    pub(crate) fn arrivals<T>(&self, change: impl FnOnce(&mut ConnectionManager) -> T) -> T {
        change(&mut self.inner().manager)
    }

    /// A place for a link that this side opens, and what will become of it.
    /// `goes_on` names the session that is to go on over it.
    pub(crate) fn begin_connect(
        &self,
        goes_on: Option<SessionName>,
    ) -> Result<(Reservation, Outcome), CapacityError> {
        let (outcome, waits) = oneshot::channel();
        let state = self.change(|inner| {
            let (link, state) = inner.manager.begin(Role::Initiator, None, None, goes_on)?;
            inner.connecting.insert(link.id(), outcome);
            Ok(state)
        })?;
        let outcome = Outcome { opened: waits, network: self.clone(), id: state.id() };
        Ok((Reservation::new(self, &state), outcome))
    }

    /// A STUN or TURN server was of no use.
    #[cfg(all(feature = "turn", not(target_arch = "wasm32")))]
    pub(crate) fn ice_server_failed(&self, error: crate::IceServerError) {
        self.change(|inner| inner.manager.ice_server_failed(error));
    }

    /// The peer said hello.
    pub(crate) fn opened(&self, id: LinkId, peer: Peer) {
        #[cfg(feature = "metrics")]
        {
            let link = self.inner().manager.link(id);
            link.into_iter().for_each(|link| self.shared.published.opened(&link));
        }
        let gone = self.change(|inner| {
            let link = inner.manager.opened(id)?;
            match inner.connecting.remove(&id) {
                // Who waited may have gone; then the peer is dropped, which closes it.
                Some(outcome) => outcome.send(Ok((peer, link))).err()?.ok(),
                None => inner.accept_later(peer, link),
            }
        });
        drop(gone);
    }

    /// It is over.
    pub(crate) fn ended(&self, id: LinkId, ended: LinkEnded) {
        let link = self.change(|inner| {
            let link = inner.manager.ended(id, ended.clone());
            if let Some(outcome) = inner.connecting.remove(&id) {
                let _ = outcome.send(Err(ended.clone()));
            }
            link
        });
        if let Some(link) = link {
            let kind = link.kind();
            tracing::debug!(%id, kind, reason = %ended, "down");
            #[cfg(feature = "metrics")]
            self.shared.published.ended(&link, &ended);
        }
    }

    /// A session goes on in the place of a link that was begun for it, whose peer this is.
    pub(crate) fn merged(&self, place: LinkId, id: LinkId, peer: Peer) {
        let gone = self.change(|inner| {
            let link = inner.manager.merged(place, id);
            match (inner.connecting.remove(&place), link) {
                (Some(outcome), Some(link)) => outcome.send(Ok((peer, link))).err()?.ok(),
                (_, Some(link)) => Some((peer, link)),
                (_, None) => None,
            }
        });
        drop(gone);
    }

    /// It goes on on both sides.
    pub(crate) fn resumed(&self, place: LinkId, resumed: Resumed) {
        self.change(|inner| inner.manager.resumed(place, resumed));
    }

    /// What a link went over is gone: its session waits for another, for so long as `Sessions` say.
    pub(crate) fn detached(&self, place: LinkId, detached: Box<Detached>) {
        let why = detached.why().clone();
        tracing::debug!(id = %detached.id(), reason = %why, "detached");
        self.change(|inner| inner.manager.detached(place, why));
        let Some(sessions) = &self.shared.sessions else { return };
        self.work(sessions);
        for (id, ended) in sessions.put(detached) {
            self.ended(id, ended);
            self.gone(id);
        }
    }

    /// Lets time pass for sessions without a link, from the first one on, as long as anything is left of the node.
    fn work(&self, sessions: &Arc<Sessions>) {
        let mut works = self.shared.works.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *works, true) {
            return;
        }
        let (shared, sessions) = (Arc::downgrade(&self.shared), sessions.clone());
        let runtime = sessions.runtime().clone();
        let mut timer = runtime.timer();
        // Whatever ends the task, no session is left that seems to live.
        let stop = StopSessions(sessions);
        runtime.spawn(Box::pin(std::future::poll_fn(move |context| {
            loop {
                let Some(shared) = shared.upgrade() else { return Poll::Ready(()) };
                let network = Self { shared };
                let (over, next) = stop.0.poll(context);
                let none = over.is_empty();
                for (id, ended) in over {
                    network.ended(id, ended);
                    network.gone(id);
                }
                if !none {
                    continue;
                }
                let Some(next) = next else { return Poll::Pending };
                timer.set(next);
                if timer.poll(context).is_pending() {
                    return Poll::Pending;
                }
            }
        })));
    }

    /// Its transport is gone too.
    pub(crate) fn gone(&self, id: LinkId) {
        self.change(|inner| inner.manager.gone(id));
    }

    /// The next link that a peer opened; `None` when the node is shutting down.
    pub(crate) async fn accept(&self) -> Option<(Peer, Link)> {
        self.wait(|inner| match inner.accepted.pop_front() {
            Some(accepted) => Some(Some(accepted)),
            None => inner.manager.is_shutting_down().then_some(None),
        })
        .await
    }

    /// What happened next.
    pub(crate) async fn event(&self) -> NodeEvent {
        self.wait(|inner| inner.manager.poll_event()).await
    }

    /// All links that are open or being opened, oldest first.
    pub(crate) fn peers(&self) -> Vec<PeerInfo> {
        self.inner().manager.peers().cloned().collect()
    }

    /// Takes no more links, and closes those that there are; gives them.
    pub(crate) fn shut_down(&self) -> Vec<Link> {
        let (links, dropped) =
            self.change(|inner| (inner.manager.shut_down(), std::mem::take(&mut inner.accepted)));
        drop(dropped);
        for link in &links {
            link.close(CloseCode::SHUTDOWN, "the node is shutting down");
        }
        links
    }

    /// Waits until it takes no more links.
    #[cfg(any(
        feature = "webrtc",
        all(any(feature = "tcp", all(feature = "unix", unix)), not(target_arch = "wasm32"))
    ))]
    pub(crate) async fn closing(&self) {
        self.wait(|inner| inner.manager.is_shutting_down().then_some(())).await;
    }

    /// Waits until no links are left, and nothing of theirs is on its way.
    pub(crate) async fn empty(&self) {
        self.wait(|inner| inner.manager.is_empty().then_some(())).await;
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::waiting::Tasks;

    #[test]
    fn those_who_wait_are_woken_by_changes_only() {
        const TASKS: usize = 200;
        let network = Network::new(NodeLimits::default(), None);
        let mut tasks = Tasks::new((0..TASKS).map(|_| network.event()));
        assert_eq!((tasks.run(), tasks.polls()), (0, TASKS), "all wait");
        assert_eq!((tasks.run(), tasks.polls()), (0, TASKS), "nobody was woken");
        let (reservation, _outcome) = network.begin_connect(None).unwrap();
        assert_eq!((tasks.run(), tasks.polls()), (0, 2 * TASKS), "a change, once each");
        network.ended(reservation.id(), LinkEnded::HungUp);
        assert_eq!((tasks.run(), tasks.polls()), (1, 3 * TASKS), "an event, for one of them");
    }

    #[test]
    fn who_no_longer_waits_is_forgotten() {
        let network = Network::new(NodeLimits::default(), None);
        for _ in 0..100 {
            let mut event = Box::pin(network.event());
            assert!(event.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            assert_eq!(network.shared.changed.total_listeners(), 1);
        }
        assert_eq!(network.shared.changed.total_listeners(), 0);
    }
}
