//! Who asks to go on with a session, moved by hand: those who may, and those who must not.

#![allow(missing_docs)]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use deltawire_channels::session::{Closed, Event, LinkTraits, Session, SessionConfig};
use deltawire_channels::{Peer, TransportMessage};
use deltawire_framing::control::{CloseCode, Role};
use deltawire_framing::{Channel, DeltaFields, DocId};
use deltawire_link::runtime::{BindOptions, BoxFuture, Timer, UdpSocket};
use deltawire_link::{
    Capabilities, Connection, ConnectionConfig, Identity, InFlight, Link, LinkEnded, LinkId,
    MessageTransport, Output, PacingLimits, Progress, Runtime, Sessions, SessionsLimits,
    TransportError,
};

/// Time that stands still until it is set, and secrets that differ.
#[derive(Debug, Default)]
struct Surroundings {
    last: Mutex<u8>,
    now: Mutex<Duration>,
}

impl Runtime for Surroundings {
    fn now(&self) -> Duration {
        *self.now.lock().unwrap()
    }

    fn timer(&self) -> Box<dyn Timer> {
        unreachable!("nothing waits here")
    }

    fn spawn(&self, _task: BoxFuture<'static, ()>) {
        unreachable!("there are no tasks here")
    }

    fn random(&self, bytes: &mut [u8]) -> io::Result<()> {
        let mut last = self.last.lock().unwrap();
        *last = last.wrapping_add(1);
        bytes.fill(*last);
        Ok(())
    }

    fn bind(&self, _options: &BindOptions) -> io::Result<Box<dyn UdpSocket>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn local_address<'a>(
        &'a self,
        _host: &'a str,
        _port: u16,
    ) -> BoxFuture<'a, io::Result<IpAddr>> {
        Box::pin(std::future::ready(Err(io::ErrorKind::Unsupported.into())))
    }
}

type Queue = Rc<RefCell<VecDeque<(Channel, Vec<u8>)>>>;

struct Pipe {
    open: bool,
    to: Queue,
    from: Queue,
    hung_up: Rc<RefCell<bool>>,
}

impl MessageTransport for Pipe {
    fn capabilities(&self) -> Capabilities {
        let mut it = Capabilities::new(16 << 10, InFlight::HandedOn { max: 1 << 20 });
        it.wakes = true;
        it
    }

    fn handle_timeout(&mut self, _now: Duration) {}

    fn poll_output(&mut self) -> Result<Output, TransportError> {
        if !std::mem::replace(&mut self.open, true) {
            return Ok(Output::Open);
        }
        Ok(match self.from.borrow_mut().pop_front() {
            Some((channel, bytes)) => Output::Message(channel, TransportMessage::from(bytes)),
            None if std::mem::take(&mut *self.hung_up.borrow_mut()) => Output::Closed,
            None => Output::Timeout(None),
        })
    }

    fn write(&mut self, channel: Channel, message: &[u8]) -> Result<bool, TransportError> {
        self.to.borrow_mut().push_back((channel, message.to_vec()));
        Ok(true)
    }

    fn in_flight(&mut self) -> usize {
        0
    }

    fn close(&mut self) {}
}

/// An acceptor's connection, and the way there.
struct End {
    connection: Connection<Pipe>,
    link: Link,
    there: Queue,
    back: Queue,
    hung_up: Rc<RefCell<bool>>,
    peer: Option<Peer>,
    over: bool,
    /// What had to go when its session lost its link.
    instead: Vec<(LinkId, LinkEnded)>,
}

const NOW: Duration = Duration::ZERO;
const NAME: [u8; 16] = [3; 16];

impl End {
    fn new(sessions: &Arc<Sessions>, id: u64, subject: &str) -> Self {
        let (there, back, hung_up) = (Queue::default(), Queue::default(), Rc::default());
        let pipe = Pipe {
            open: false,
            to: there.clone(),
            from: back.clone(),
            hung_up: Rc::clone(&hung_up),
        };
        let identity = Some(Identity::new(subject));
        let sessions = Some(sessions.clone());
        let (link, state) =
            Link::with_sessions(LinkId(id), Role::Acceptor, identity, sessions, None);
        let config = ConnectionConfig {
            session: SessionConfig::new(Role::Acceptor, [id as u8; 16], 7),
            pacing: PacingLimits::default(),
            connect_timeout: Duration::from_secs(10),
            valid_until: None,
        };
        let connection = Connection::new(pipe, config, state, NOW).unwrap();
        Self {
            connection,
            link,
            there,
            back,
            hung_up,
            peer: None,
            over: false,
            instead: Vec::new(),
        }
    }

    fn work(&mut self, sessions: &Sessions) {
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..20 {
            match self.connection.work(NOW, &mut context, &mut |_| {}) {
                Progress::Opened(peer) => self.peer = Some(*peer),
                Progress::Detached(detached) => self.instead.extend(sessions.put(detached)),
                Progress::Over => self.over = true,
                _ => {}
            }
        }
    }

    /// Brings what the session of an initiator says, and takes back what is answered.
    fn exchange(&mut self, session: &mut Session, sessions: &Sessions) {
        for _ in 0..10 {
            let mut context = Context::from_waker(Waker::noop());
            let _ = session.poll_ready(&mut context);
            while let Some(message) = session.poll_transmit(1 << 20) {
                self.back.borrow_mut().push_back((message.channel(), message.to_vec()));
            }
            self.work(sessions);
            while let Some((channel, bytes)) = self.there.borrow_mut().pop_front() {
                session.handle_message(channel, TransportMessage::from(bytes), NOW);
            }
        }
    }
}

fn initiator() -> (Session, Peer) {
    initiator_named(NAME)
}

fn initiator_named(name: [u8; 16]) -> (Session, Peer) {
    let config = SessionConfig { resumes: true, ..SessionConfig::new(Role::Initiator, name, 8) };
    Session::new(config, NOW).unwrap()
}

/// A session that had a link.
struct Left {
    link: Link,
    peer: Peer,
    /// What had to go instead.
    instead: Vec<(LinkId, LinkEnded)>,
}

fn leave(nodes: &Arc<Sessions>, id: u64, subject: &str) -> Left {
    let (mut session, _its_peer) = initiator_named(id.to_le_bytes().repeat(2).try_into().unwrap());
    let mut end = End::new(nodes, id, subject);
    end.exchange(&mut session, nodes);
    let peer = end.peer.take().unwrap();
    *end.hung_up.borrow_mut() = true;
    end.work(nodes);
    assert!(end.over);
    Left { link: end.link.clone(), peer, instead: end.instead }
}

/// All that is over until nothing more happens at this time.
fn settle(nodes: &Sessions) -> Vec<(LinkId, LinkEnded)> {
    let (woken, mut over) = (Arc::new(Woken::default()), Vec::new());
    let waker = Waker::from(woken.clone());
    loop {
        let (ended, next) = nodes.poll(&mut Context::from_waker(&waker));
        over.extend(ended);
        let due = next.is_some_and(|at| at <= nodes.runtime().now());
        if !due && !std::mem::take(&mut *woken.0.lock().unwrap()) {
            return over;
        }
    }
}

#[derive(Default)]
struct Woken(Mutex<bool>);

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        *self.0.lock().unwrap() = true;
    }
}

fn nodes() -> Arc<Sessions> {
    nodes_with(SessionsLimits::default(), Arc::default())
}

fn nodes_with(limits: SessionsLimits, runtime: Arc<Surroundings>) -> Arc<Sessions> {
    Arc::new(Sessions::new(limits, runtime))
}

const TRAITS: LinkTraits = LinkTraits { max_frame_len: 16 << 10, transport_hears: false };

fn refused(session: &mut Session) -> Option<String> {
    while let Some(event) = session.poll_event() {
        if let Event::Closed(Closed::ByPeer { code: CloseCode::NOT_RESUMED, reason, .. }) = event {
            return Some(reason);
        }
    }
    None
}

/// Whether what is sent comes at the acceptor's application.
fn carries(end: &mut End, session: &mut Session, peer: &mut Peer, to: &mut Peer, nodes: &Sessions) {
    peer.send.try_send(DeltaFields::new(DocId([1; 16])), b"hello").unwrap();
    end.exchange(session, nodes);
    assert_eq!(to.receive.try_next().unwrap().delta().unwrap().payload(), b"hello");
}

#[test]
fn a_session_goes_to_the_link_that_asks_with_the_secret_and_to_no_other() {
    let nodes = nodes();
    let (mut session, mut peer) = initiator();
    let mut first = End::new(&nodes, 1, "alice");
    first.exchange(&mut session, &nodes);
    let mut far = first.peer.take().unwrap();
    assert!(first.link.is_resumable());
    carries(&mut first, &mut session, &mut peer, &mut far, &nodes);

    // Who knows its name only, and makes a secret up: a session of its own of this name got another ticket.
    let elsewhere = self::nodes();
    let (mut thief, _held) = initiator();
    let mut trap = End::new(&elsewhere, 9, "alice");
    elsewhere.runtime().random(&mut [0]).unwrap();
    trap.exchange(&mut thief, &elsewhere);
    assert!(thief.detach(NOW));
    thief.resume(TRAITS, NOW);
    let mut stolen = End::new(&nodes, 2, "alice");
    stolen.exchange(&mut thief, &nodes);
    first.work(&nodes);
    stolen.exchange(&mut thief, &nodes);
    let why = refused(&mut thief).unwrap();
    assert_eq!(why, "the ticket's secret is not the one that was given");
    carries(&mut first, &mut session, &mut peer, &mut far, &nodes);
    assert_eq!(first.link.ended(), None);
    assert!(stolen.peer.is_none(), "nobody is told of it");

    // Its own peer, let in as somebody else.
    assert!(session.detach(NOW));
    session.resume(TRAITS, NOW);
    let mut other = End::new(&nodes, 3, "mallory");
    other.exchange(&mut session, &nodes);
    assert_eq!(refused(&mut session).unwrap(), "the session is somebody else's");
    first.work(&nodes);
    assert_eq!(first.link.ended(), None);
}

#[test]
fn the_old_link_lets_go_when_its_peer_asks_on_a_new_one() {
    let nodes = nodes();
    let (mut session, mut peer) = initiator();
    let mut first = End::new(&nodes, 1, "alice");
    first.exchange(&mut session, &nodes);
    let mut far = first.peer.take().unwrap();
    for id in 2..6 {
        assert!(session.detach(NOW));
        session.resume(TRAITS, NOW);
        let mut next = End::new(&nodes, id, "alice");
        next.exchange(&mut session, &nodes);
        // The old one does not know yet that it is of no more use.
        assert!(session.is_resuming());
        first.work(&nodes);
        next.exchange(&mut session, &nodes);
        assert!(!session.is_resuming());
        assert!(first.over);
        carries(&mut next, &mut session, &mut peer, &mut far, &nodes);
        assert_eq!(next.connection.state().id(), LinkId(1));
        first = End { link: first.link, ..next };
    }
    assert_eq!(first.link.ended(), None);
    assert_eq!(nodes.detached(), 0);
}

#[test]
fn a_link_that_waits_for_a_session_that_ends_is_refused() {
    let nodes = nodes();
    let (mut session, _peer) = initiator();
    let mut first = End::new(&nodes, 1, "alice");
    first.exchange(&mut session, &nodes);
    assert!(session.detach(NOW));
    session.resume(TRAITS, NOW);
    let mut next = End::new(&nodes, 2, "alice");
    next.exchange(&mut session, &nodes);
    // Its connection is dropped with its driver.
    let link = first.link.clone();
    drop(first);
    assert_eq!(link.ended(), Some(LinkEnded::Stopped));
    next.exchange(&mut session, &nodes);
    assert_eq!(refused(&mut session).unwrap(), "the session is not known here");
}

#[test]
fn one_whose_link_hangs_up_waits_for_the_next() {
    let nodes = nodes();
    let (mut session, mut peer) = initiator();
    let mut first = End::new(&nodes, 1, "alice");
    first.exchange(&mut session, &nodes);
    let mut far = first.peer.take().unwrap();
    *first.hung_up.borrow_mut() = true;
    first.work(&nodes);
    assert!(first.over && first.link.ended().is_none());
    assert_eq!(nodes.detached(), 1);
    assert!(session.detach(NOW));
    session.resume(TRAITS, NOW);
    let mut next = End::new(&nodes, 2, "alice");
    next.exchange(&mut session, &nodes);
    carries(&mut next, &mut session, &mut peer, &mut far, &nodes);
    assert_eq!(nodes.detached(), 0);
}

/// A peer that begins a session of the same name on a second link, and then asks there, with the secret that it has, is
/// out of place: that session was given to the application.
#[test]
fn who_asks_on_a_link_that_is_open_is_out_of_place() {
    let nodes = nodes();
    let (mut session, mut peer) = initiator();
    let mut first = End::new(&nodes, 1, "alice");
    first.exchange(&mut session, &nodes);
    let mut far = first.peer.take().unwrap();
    let (mut second, _its_peer) = initiator();
    let mut open = End::new(&nodes, 2, "alice");
    open.exchange(&mut second, &nodes);
    assert!(open.peer.is_some() && !open.link.is_resumable(), "the name is taken");
    assert!(session.detach(NOW));
    session.resume(TRAITS, NOW);
    for end in [&mut open, &mut first] {
        while let Some(message) = session.poll_transmit(1 << 20) {
            end.back.borrow_mut().push_back((message.channel(), message.to_vec()));
        }
        end.work(&nodes);
        // What the other is to get.
        assert!(session.detach(NOW));
        session.resume(TRAITS, NOW);
    }
    assert!(matches!(open.link.ended(), Some(LinkEnded::Session(Closed::Error(_)))));
    // On its own link it is no better.
    assert!(matches!(first.link.ended(), Some(LinkEnded::Session(Closed::Error(_)))));
    assert!(peer.send.try_send(DeltaFields::new(DocId([1; 16])), b"late").is_ok());
    assert!(far.receive.try_next().is_err());
}

#[test]
fn the_oldest_of_too_many_without_a_link_goes_first_that_of_its_owner_then_of_all() {
    let limits =
        SessionsLimits { max_detached: 4, max_detached_per_owner: 2, ..SessionsLimits::default() };
    let nodes = nodes_with(limits, Arc::default());
    let mut all = Vec::new();
    for (id, subject, goes) in [
        (1, "alice", None),
        (2, "bob", None),
        (3, "alice", None),
        (4, "alice", Some(1)),
        (5, "carol", None),
        (6, "dave", Some(2)),
        (7, "carol", Some(3)),
        (8, "carol", Some(5)),
    ] {
        let left = leave(&nodes, id, subject);
        let gone: Vec<_> = left.instead.iter().map(|(id, _)| id.0).collect();
        assert_eq!(gone, goes.into_iter().collect::<Vec<_>>(), "when {id} came");
        for (_, ended) in &left.instead {
            assert!(matches!(ended, LinkEnded::Evicted { .. }), "{ended:?}");
        }
        all.push(left);
    }
    assert_eq!(settle(&nodes), []);
    let ended: Vec<_> = all.iter().map(|left| left.link.ended().is_some()).collect();
    assert_eq!(ended, [true, true, true, false, true, false, false, false]);
    assert_eq!(nodes.detached(), 4);
}

#[test]
fn one_that_holds_too_much_alone_goes_itself() {
    let limits = SessionsLimits { max_detached_bytes: 1_000, ..SessionsLimits::default() };
    let nodes = nodes_with(limits, Arc::default());
    let (mut session, _its_peer) = initiator();
    let mut end = End::new(&nodes, 1, "alice");
    end.exchange(&mut session, &nodes);
    let mut peer = end.peer.take().unwrap();
    peer.send.try_send(DeltaFields::new(DocId([1; 16])), &[7; 2_000]).unwrap();
    *end.hung_up.borrow_mut() = true;
    end.work(&nodes);
    assert!(matches!(end.instead[..], [(LinkId(1), LinkEnded::Evicted { .. })]));
    assert_eq!(nodes.detached(), 0);
}

#[test]
fn what_applications_go_on_writing_counts_too() {
    let limits = SessionsLimits { max_detached_bytes: 100_000, ..SessionsLimits::default() };
    let runtime = Arc::<Surroundings>::default();
    let nodes = nodes_with(limits, runtime.clone());
    let mut all: Vec<_> = (1..=3).map(|id| leave(&nodes, id, "alice")).collect();
    assert_eq!(settle(&nodes), []);
    for left in &mut all {
        left.peer.send.try_send(DeltaFields::new(DocId([1; 16])), &[7; 45_000]).unwrap();
    }
    *runtime.now.lock().unwrap() = Duration::from_secs(1);
    let over = settle(&nodes);
    assert!(matches!(over[..], [(LinkId(1), LinkEnded::Evicted { .. })]), "{over:?}");
    assert_eq!(nodes.detached(), 2);
    // It has back what was accepted.
    assert_eq!(all[0].link.take_returned().len(), 1);
}

#[test]
fn an_application_that_goes_bit_by_bit_is_noticed() {
    let runtime = Arc::<Surroundings>::default();
    let nodes = nodes_with(SessionsLimits::default(), runtime.clone());
    let Left { link, peer, .. } = leave(&nodes, 1, "alice");
    let Peer { command, receive, send } = peer;
    drop((command.receive, receive));
    assert_eq!(settle(&nodes), []);
    drop((command.send, send));
    // As any close that does not get on.
    for second in 1..59 {
        *runtime.now.lock().unwrap() = Duration::from_secs(second);
        settle(&nodes);
    }
    assert!(matches!(link.ended(), Some(LinkEnded::Session(_))), "{:?}", link.ended());
}

/// More than the line of those that have something to do has places.
#[test]
fn thousands_without_a_link_each_end_as_they_should() {
    const COUNT: u64 = 5_000;
    let limits = SessionsLimits {
        max_detached: COUNT as usize,
        max_detached_bytes: u64::MAX,
        max_detached_per_owner: COUNT as usize,
        ..SessionsLimits::default()
    };
    let runtime = Arc::<Surroundings>::default();
    let nodes = nodes_with(limits, runtime.clone());
    let mut left: Vec<_> = (1..=COUNT).map(|id| leave(&nodes, id, "alice")).collect();
    assert!(left.iter().all(|left| left.instead.is_empty()));
    assert_eq!(settle(&nodes), []);
    // The applications of some go, others are closed: there might be a link yet to say so over.
    left.retain(|left| left.link.id().0 % 5 > 0);
    for left in left.iter().filter(|left| left.link.id().0 % 5 == 1) {
        left.link.close(CloseCode::NORMAL, "enough");
    }
    assert_eq!(settle(&nodes), []);
    let timeout = SessionsLimits::default().resume_timeout;
    *runtime.now.lock().unwrap() = timeout - Duration::from_nanos(1);
    assert_eq!(settle(&nodes).len() as u64, COUNT / 5 * 2);
    *runtime.now.lock().unwrap() = timeout;
    let over = settle(&nodes);
    assert_eq!(over.len() as u64, COUNT / 5 * 3);
    assert!(over.iter().all(|(_, ended)| matches!(ended, LinkEnded::NotResumed { .. })));
    assert_eq!(nodes.detached(), 0);
    assert!(left.iter().all(|left| left.link.ended().is_some()));
}
