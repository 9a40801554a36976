//! A session on a transport, moved by hand.

#![allow(missing_docs)]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use deltawire_channels::session::{Session, SessionConfig};
use deltawire_channels::{Peer, TransportMessage};
use deltawire_framing::control::{Control, Role};
use deltawire_framing::{Channel, DeltaFields, DocId, Frames, Kind};
use deltawire_link::{
    Capabilities, Connection, ConnectionConfig, InFlight, Link, LinkEnded, LinkId,
    MessageTransport, Output, PacingLimits, Progress, TransportError, TransportErrorKind,
};

/// What an idle link may take, bytes: session, handles and all, but its transport and what its driver
/// knows of it. As `docs/LIMITS.md` says.
const IDLE: i64 = 14 * 1_024;

type Queue = Rc<RefCell<VecDeque<(Channel, Vec<u8>)>>>;

struct Pipe {
    open: bool,
    to: Queue,
    from: Queue,
}

impl MessageTransport for Pipe {
    fn capabilities(&self) -> Capabilities {
        let mut it = Capabilities::new(16 << 10, InFlight::HandedOn { max: 1 << 20 });
        it.wakes = true;
        it
    }
    fn handle_timeout(&mut self, _now: Duration) {}
    fn poll_output(&mut self) -> Result<Output, TransportError> {
        if !self.open {
            self.open = true;
            return Ok(Output::Open);
        }
        Ok(match self.from.borrow_mut().pop_front() {
            Some((channel, bytes)) => Output::Message(channel, TransportMessage::from(bytes)),
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

fn config(role: Role, valid_until: Option<Duration>) -> ConnectionConfig {
    ConnectionConfig {
        session: SessionConfig::new(role, [role as u8; 16], 7),
        pacing: PacingLimits::default(),
        connect_timeout: Duration::from_secs(10),
        valid_until,
    }
}

fn is_close(message: &[u8]) -> bool {
    Frames::new(message)
        .flatten()
        .filter(|frame| frame.kind() == Kind::Control)
        .any(|frame| matches!(Control::parse(frame.body()), Ok(Control::Close(_))))
}

/// A peer whose identity is valid for two seconds, and who does not care: its own session never hears of a
/// close, and it goes on sending.
#[test]
fn an_identity_that_is_no_longer_valid_ends_the_link() {
    let (there, back) = (Queue::default(), Queue::default());
    let pipe = Pipe { open: false, to: there.clone(), from: back.clone() };
    let (link, state) = Link::new(LinkId(1), Role::Acceptor, None);
    let config = config(Role::Acceptor, Some(Duration::from_secs(2)));
    let mut now = Duration::ZERO;
    let mut connection = Connection::new(pipe, config, state, now).unwrap();
    let (mut rogue, mut rogue_peer) =
        Session::new(SessionConfig::new(Role::Initiator, [2; 16], 8), now).unwrap();
    let mut peer: Option<Peer> = None;
    let mut context = Context::from_waker(Waker::noop());
    let (mut read, mut read_after) = (0_u64, 0_u64);
    while now < Duration::from_secs(600) {
        now += Duration::from_millis(100);
        rogue.handle_timeout(now);
        while let Some((channel, bytes)) = there.borrow_mut().pop_front() {
            if !is_close(&bytes) {
                rogue.handle_message(channel, TransportMessage::from(bytes), now);
            }
        }
        while rogue.poll_event().is_some() {}
        if let Ok(grant) = rogue_peer.send.try_reserve(1_000) {
            grant.commit(DeltaFields::new(DocId([7; 16])), 1_000).unwrap();
        }
        let _ = rogue.poll_ready(&mut context);
        while let Some(message) = rogue.poll_transmit(1 << 20) {
            back.borrow_mut().push_back((message.channel(), message.to_vec()));
        }
        loop {
            match connection.work(now, &mut context, &mut |_| {}) {
                Progress::Opened(opened) => peer = Some(*opened),
                Progress::Quiet | Progress::Over => break,
                Progress::Merged { .. } | Progress::Resumed(_) | Progress::Detached(_) => {
                    unreachable!()
                }
                _ => {}
            }
        }
        if let Some(peer) = &mut peer {
            while peer.receive.try_next().is_ok() {
                read += 1;
                read_after += u64::from(now > Duration::from_secs(2));
            }
            peer.receive.release();
        }
    }
    assert!(read > 0);
    assert!(link.ended().is_some(), "598 s later it is still there");
    // For as long as a close waits that does not get on.
    assert!(read_after <= 10 * 6, "{read_after} deltas were handed on since");
}

/// Nobody is let in whose identity was over before it said hello.
#[test]
fn who_says_hello_too_late_is_not_let_in() {
    let (there, back) = (Queue::default(), Queue::default());
    let pipe = Pipe { open: false, to: there, from: back.clone() };
    let (link, state) = Link::new(LinkId(1), Role::Acceptor, None);
    let config = config(Role::Acceptor, Some(Duration::from_secs(2)));
    let mut connection = Connection::new(pipe, config, state, Duration::ZERO).unwrap();
    let mut context = Context::from_waker(Waker::noop());
    let mut opened = false;
    for now in [0, 1, 2, 3, 4].map(Duration::from_secs) {
        if now == Duration::from_secs(4) {
            let (mut late, _peer) =
                Session::new(SessionConfig::new(Role::Initiator, [2; 16], 8), now).unwrap();
            while let Some(message) = late.poll_transmit(1 << 20) {
                back.borrow_mut().push_back((message.channel(), message.to_vec()));
            }
        }
        loop {
            match connection.work(now, &mut context, &mut |_| {}) {
                Progress::Opened(_) => opened = true,
                Progress::Quiet | Progress::Over => break,
                Progress::Merged { .. } | Progress::Resumed(_) | Progress::Detached(_) => {
                    unreachable!()
                }
                _ => {}
            }
        }
    }
    assert!(!opened, "it shows in accept two seconds after its identity was over");
    assert_eq!(link.ended(), Some(LinkEnded::Expired));
}

/// One whose system takes less than a whole message at a time.
#[test]
fn a_transport_with_a_short_buffer_carries_long_messages() {
    struct Short(Pipe, usize);
    impl MessageTransport for Short {
        fn capabilities(&self) -> Capabilities {
            let mut it = Capabilities::new(16 << 10, InFlight::HandedOn { max: self.1 });
            it.wakes = true;
            it
        }
        fn handle_timeout(&mut self, now: Duration) {
            self.0.handle_timeout(now);
        }
        fn poll_output(&mut self) -> Result<Output, TransportError> {
            self.0.poll_output()
        }
        fn write(&mut self, channel: Channel, message: &[u8]) -> Result<bool, TransportError> {
            self.0.write(channel, message)
        }
        fn in_flight(&mut self) -> usize {
            0
        }
        fn close(&mut self) {}
    }
    let mut stuck = Vec::new();
    for max in [100, 1_000, 4_096, 16 << 10, 32 << 10] {
        let queues = [Queue::default(), Queue::default()];
        let mut ends = Vec::new();
        for (index, role) in [Role::Initiator, Role::Acceptor].into_iter().enumerate() {
            let pipe =
                Pipe { open: false, to: queues[index].clone(), from: queues[1 - index].clone() };
            let (link, state) = Link::new(LinkId(1), role, None);
            let config = config(role, None);
            let connection =
                Connection::new(Short(pipe, max), config, state, Duration::ZERO).unwrap();
            ends.push((connection, link, None::<Peer>));
        }
        let mut context = Context::from_waker(Waker::noop());
        let (mut sent, mut came) = (false, false);
        for step in 0..2_000_u64 {
            let now = Duration::from_millis(step);
            for (connection, _, peer) in &mut ends {
                loop {
                    match connection.work(now, &mut context, &mut |_| {}) {
                        Progress::Opened(opened) => *peer = Some(*opened),
                        Progress::Quiet | Progress::Over => break,
                        Progress::Merged { .. } | Progress::Resumed(_) | Progress::Detached(_) => {
                            unreachable!()
                        }
                        _ => {}
                    }
                }
            }
            if let (false, Some(peer)) = (sent, &mut ends[0].2) {
                let grant = peer.send.try_reserve(100_000).unwrap();
                grant.commit(DeltaFields::new(DocId([7; 16])), 100_000).unwrap();
                sent = true;
            }
            if let Some(peer) = &mut ends[1].2 {
                came |= peer.receive.try_next().is_ok();
            }
        }
        if !came {
            stuck.push(max);
        }
    }
    assert!(stuck.is_empty(), "{stuck:?}");
}

#[test]
fn a_transport_that_takes_no_message_is_refused() {
    let (there, back) = (Queue::default(), Queue::default());
    struct None(Pipe);
    impl MessageTransport for None {
        fn capabilities(&self) -> Capabilities {
            Capabilities::new(16 << 10, InFlight::HandedOn { max: 0 })
        }
        fn handle_timeout(&mut self, _now: Duration) {}
        fn poll_output(&mut self) -> Result<Output, TransportError> {
            self.0.poll_output()
        }
        fn write(&mut self, channel: Channel, message: &[u8]) -> Result<bool, TransportError> {
            self.0.write(channel, message)
        }
        fn in_flight(&mut self) -> usize {
            0
        }
        fn close(&mut self) {}
    }
    let (_link, state) = Link::new(LinkId(1), Role::Acceptor, Option::None);
    let pipe = None(Pipe { open: false, to: there, from: back });
    let config = config(Role::Acceptor, Option::None);
    let error = Connection::new(pipe, config, state, Duration::ZERO).err().unwrap();
    assert_eq!(error.kind(), TransportErrorKind::SetUp);
    assert!(error.to_string().contains("max_frame_len"), "{error}");
}

#[test]
fn an_idle_link_takes_little() {
    let (there, back) = (Queue::default(), Queue::default());
    let (now, mut context) = (Duration::ZERO, Context::from_waker(Waker::noop()));
    let (mut other, _peer) =
        Session::new(SessionConfig::new(Role::Initiator, [2; 16], 8), now).unwrap();
    while let Some(message) = other.poll_transmit(1 << 14) {
        back.borrow_mut().push_back((message.channel(), message.to_vec()));
    }
    let mut held = None;
    let info = allocation_counter::measure(|| {
        let pipe = Pipe { open: false, to: there.clone(), from: back.clone() };
        let (link, state) = Link::new(LinkId(1), Role::Acceptor, None);
        let config = config(Role::Acceptor, None);
        let mut connection = Box::new(Connection::new(pipe, config, state, now).unwrap());
        let Progress::Opened(peer) = connection.work(now, &mut context, &mut |_| {}) else {
            panic!("it has the other side's hello");
        };
        while !matches!(connection.work(now, &mut context, &mut |_| {}), Progress::Quiet) {}
        held = Some((link, connection, peer));
    });
    assert_eq!(there.borrow().len(), 1, "it has said hello");
    assert!(info.bytes_current <= IDLE, "{} bytes", info.bytes_current);
}
