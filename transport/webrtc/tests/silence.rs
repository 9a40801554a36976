//! A dead peer is noticed and let go, whatever its link promises.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use deltawire_channels::session::ProtocolError;
use deltawire_channels::session::{self, Closed};
use deltawire_channels::{Delivery, Order, Peer, Reliability};
use deltawire_framing::control::Role;
use deltawire_framing::{DeltaFields, DocId};

use deltawire_link::{
    Connection, ConnectionConfig, Datagram, LAST_WORDS, Link, LinkEnded, LinkId, PacingLimits,
    Progress, Transmit,
};
use deltawire_webrtc::{AnyEngine, Certificate, Engine, EngineConfig, EngineKind};

const MS: Duration = Duration::from_millis(1);
/// How long a datagram takes.
const LATENCY: Duration = Duration::from_millis(10);
/// How often the sender has something to say.
const PERIOD: Duration = Duration::from_millis(10);

struct End {
    connection: Connection<AnyEngine>,
    _link: Link,
    peer: Option<Peer>,
    ended: Option<LinkEnded>,
    gone: bool,
    inbox: VecDeque<(Duration, Transmit)>,
}

impl End {
    fn new(engine: AnyEngine, role: Role, delivery: Delivery) -> Self {
        let (link, shared) = Link::new(LinkId(1), role, None);
        let mut session = session::SessionConfig::new(role, [role as u8; 16], 7);
        (session.send, session.receive) = (delivery, delivery);
        let connect_timeout = Duration::from_secs(10);
        let config = ConnectionConfig {
            session,
            pacing: PacingLimits::default(),
            connect_timeout,
            valid_until: None,
        };
        let connection = Connection::new(engine, config, shared, Duration::ZERO).unwrap();
        let inbox = VecDeque::new();
        Self { connection, _link: link, peer: None, ended: None, gone: false, inbox }
    }

    /// Takes in what has arrived, does what there is to do, and gives what it sends.
    fn work(&mut self, now: Duration) -> Vec<Transmit> {
        while self.inbox.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, transmit)) = self.inbox.pop_front() else { break };
            let Transmit { source, destination, bytes, .. } = &transmit;
            let (source, destination) = (*source, *destination);
            self.connection.handle_datagram(Datagram { source, destination, bytes }, now);
        }
        let mut sent = Vec::new();
        let mut context = Context::from_waker(Waker::noop());
        match self.connection.work(now, &mut context, &mut |transmit| sent.push(transmit)) {
            Progress::Opened(peer) => self.peer = Some(*peer),
            Progress::Ended(ended) => self.ended = Some(ended),
            Progress::Gone => self.gone = true,
            Progress::Quiet | Progress::Over => {}
            Progress::Merged { .. } | Progress::Resumed(_) | Progress::Detached(_) => {
                unreachable!()
            }
        }
        if let Some(peer) = &mut self.peer {
            while peer.receive.try_next().is_ok() {}
            peer.receive.release();
        }
        sent
    }

    fn send(&mut self) {
        let sender = &mut self.peer.as_mut().unwrap().send;
        if let Ok(grant) = sender.try_reserve(1_000) {
            grant.commit(DeltaFields::new(DocId([7; 16])), 1_000).unwrap();
        }
    }
}

/// Runs a link whose first end sends all the time and whose other end dies after three seconds; gives
/// how long the first took to notice, and with what reason, and how much longer to let go.
fn notice(kind: EngineKind, delivery: Delivery, busy: bool) -> (Duration, LinkEnded, Duration) {
    let mut config = EngineConfig::new(Arc::new(Certificate::generate().unwrap()));
    config.kind = kind;
    (config.initiator, config.acceptor) = (delivery, delivery);
    let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let mut now = Duration::ZERO;
    let (mut offerer, offer) = AnyEngine::offer(&config, &[address(1)], now).unwrap();
    let (answerer, answer) = AnyEngine::answer(&config, &[address(2)], &offer, now).unwrap();
    offerer.accept_answer(&answer, now).unwrap();
    let mut ends = [
        End::new(offerer, Role::Initiator, delivery),
        End::new(answerer, Role::Acceptor, delivery),
    ];
    let dies = Duration::from_secs(3);
    let (mut dead, mut next, mut noticed) = (false, Duration::ZERO, None);
    while now < dies + Duration::from_secs(60) {
        if !dead && now >= dies {
            assert!(ends.iter().all(|end| end.peer.is_some() && end.ended.is_none()));
            dead = true;
        }
        if now >= next {
            next = now + PERIOD;
            if busy && ends[0].peer.is_some() && ends[0].ended.is_none() {
                ends[0].send();
            }
        }
        for index in 0..2 {
            if dead && index == 1 {
                continue;
            }
            let sent = ends[index].work(now);
            if !dead {
                let sent = sent.into_iter().map(|transmit| (now + LATENCY, transmit));
                ends[1 - index].inbox.extend(sent);
            }
        }
        if ends[0].ended.is_some() {
            noticed.get_or_insert(now);
        }
        if ends[0].gone
            && let (Some(noticed), Some(ended)) = (noticed, ends[0].ended.take())
        {
            return (noticed - dies, ended, now - noticed);
        }
        let living = if dead { &ends[..1] } else { &ends[..] };
        let arrivals = living.iter().filter_map(|end| Some(end.inbox.front()?.0));
        let timeouts = living.iter().filter_map(|end| end.connection.poll_timeout());
        now = arrivals.chain(timeouts).chain([next]).min().unwrap_or(next).max(now);
    }
    panic!("nobody noticed");
}

#[test]
fn a_dead_peer_is_noticed_also_where_messages_are_given_up() {
    [EngineKind::Lean, EngineKind::Str0m].into_iter().for_each(is_noticed);
}

fn is_noticed(kind: EngineKind) {
    let lossy = |reliability| Delivery { order: Order::Unordered, reliability };
    for delivery in [
        Delivery::default(),
        lossy(Reliability::MaxRetransmits(0)),
        lossy(Reliability::MaxLifetime(Duration::from_millis(100))),
    ] {
        for busy in [true, false] {
            let (after, ended, let_go) = notice(kind, delivery, busy);
            let error = ProtocolError::TimedOut(Duration::from_secs(5));
            let timed_out = LinkEnded::Session(Closed::Error(error));
            assert_eq!(ended, timed_out, "{delivery:?}");
            // A quiet peer was last heard a while before it died: at the latest check or answer.
            let least = if busy { 4_500 } else { 1_000 };
            assert!(
                (least..=5_700).contains(&after.as_millis()),
                "noticed after {after:?}, busy: {busy}, {delivery:?}"
            );
            // Its last words are waited for, but not as long as an orderly close waits.
            assert!(
                (LAST_WORDS / 2..=LAST_WORDS + 100 * MS).contains(&let_go),
                "let go {let_go:?} later, busy: {busy}, {delivery:?}"
            );
        }
    }
}
