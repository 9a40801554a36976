//! What both ends have to agree on, what each takes of the other, and how control messages are answered.

use std::time::Duration;

use deltawire_channels::session::{Closed, Event, ProtocolError, SessionConfig};
use deltawire_channels::{Delivery, InvalidLimits, Limits, Order, Reliability, SendError, Session};
use deltawire_framing::control::{
    Close, CloseCode, Control, Hello, HelloFields, Ping, Position, Role, Window,
};
use deltawire_framing::{
    Channel, Checksum, DeltaFields, DeltaWriter, DocId, Expected, Field, Fragmenter, FrameHeader,
    Frames, Kind,
};
use zerocopy::{Immutable, IntoBytes};

use crate::pipe::{Link, Random, configs};

const SECOND: Duration = Duration::from_secs(1);
const START: Duration = Duration::ZERO;

fn frame(kind: Kind, channel: Channel, body: &[u8]) -> Vec<u8> {
    [FrameHeader::whole(kind, channel, body.len()).unwrap().as_bytes(), body].concat()
}

fn control(message: &(impl IntoBytes + Immutable)) -> Vec<u8> {
    frame(Kind::Control, Channel::Command, message.as_bytes())
}

fn hello(change: impl FnOnce(&mut HelloFields)) -> Vec<u8> {
    let mut fields = HelloFields {
        role: Role::Initiator,
        max_frame_len: 16_384,
        max_message_len: (1 << 20) - 16,
        data_window: 1 << 20,
        command_window: 1 << 16,
        max_unfinished: 64,
        idle_timeout_ms: 5_000,
        features: 0,
        command: Order::Ordered,
        deltas: Delivery::default(),
        session_id: [9; 16],
    };
    change(&mut fields);
    control(&Hello::new(fields))
}

/// An acceptor that was greeted and told `messages`, in one transport message each.
fn told(messages: &[(Channel, Vec<u8>)]) -> (Session, deltawire_channels::Peer) {
    let (mut session, peer) = Session::new(configs()[1], START).unwrap();
    session.handle_message(Channel::Command, hello(|_| {}), START);
    assert!(matches!(session.poll_event(), Some(Event::Opened(_))));
    for (channel, message) in messages {
        session.handle_message(*channel, message.clone(), START);
    }
    (session, peer)
}

/// What `look` finds in the control messages that a session sends now.
fn said<T>(session: &mut Session, mut look: impl FnMut(&Control<'_>) -> Option<T>) -> Vec<T> {
    let mut found = Vec::new();
    while let Some(message) = session.poll_transmit(16_384) {
        for frame in Frames::new(&message) {
            let frame = frame.unwrap();
            if frame.kind() == Kind::Control {
                found.extend(look(&frame.control().unwrap()));
            }
        }
    }
    found
}

/// A delta with its frame header, one byte of whose payload is not what it was.
fn damaged(len: usize, checksum: Checksum) -> Vec<u8> {
    let mut bytes = vec![7; 16 + 48 + len];
    let fields = DeltaFields { checksum, ..DeltaFields::new(DocId([1; 16])) };
    let body_len = DeltaWriter::new(&mut bytes[16..], fields).unwrap().finish(len).unwrap();
    let header = FrameHeader::whole(Kind::Delta, Channel::Data, body_len).unwrap();
    bytes[..16].copy_from_slice(header.as_bytes());
    *bytes.last_mut().unwrap() ^= 1;
    bytes
}

fn assert_checksum_refused(mut session: Session) {
    match session.poll_event() {
        Some(Event::Closed(Closed::Error(error @ ProtocolError::Malformed(malformed)))) => {
            assert_eq!(malformed.field, Field::Checksum);
            assert!(matches!(malformed.expected, Expected::Exactly(_)));
            assert_eq!(error.close_code(), CloseCode::MALFORMED);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_wrong_checksum_ends_the_session() {
    let (session, mut peer) = told(&[(Channel::Data, damaged(100, Checksum::Present))]);
    assert!(peer.receive.try_next().is_err());
    assert_checksum_refused(session);

    let mut long = damaged(100_000, Checksum::Present);
    let whole = FrameHeader::whole(Kind::Delta, Channel::Data, long.len() - 16).unwrap();
    let fragmenter = Fragmenter::new(&whole, 1, 16_384).unwrap();
    let fragments: Vec<_> = (0..fragmenter.count())
        .map(|index| (Channel::Data, fragmenter.in_place(&mut long, index).unwrap().to_vec()))
        .collect();
    let (session, mut peer) = told(&fragments);
    assert!(peer.receive.try_next().is_err());
    assert_checksum_refused(session);

    // Who writes none says that it may be damaged.
    let (mut session, mut peer) = told(&[(Channel::Data, damaged(100, Checksum::Absent))]);
    assert!(peer.receive.try_next().is_ok());
    assert_eq!(session.poll_event(), None);
}

#[test]
fn a_close_code_that_is_set_aside_is_read_and_answered_like_0() {
    for (code, read) in [(77, 0), (255, 0), (256, 256), (1, 1)] {
        let mut body = [0; 264];
        let len = Close::new(CloseCode(code), "later").write(&mut body).unwrap();
        let nothing = |channel| (Channel::Command, control(&Position::new(channel, 0)));
        let close = frame(Kind::Control, Channel::Command, &body[..len]);
        let messages =
            [nothing(Channel::Command), nothing(Channel::Data), (Channel::Command, close)];
        let (mut session, _peer) = told(&messages);
        let answers = said(&mut session, |control| match control {
            Control::Close(close) => Some(close.code()),
            _ => None,
        });
        assert_eq!(answers, [CloseCode(read)], "to {code}");
        match session.poll_event() {
            Some(Event::Closed(Closed::ByPeer { code, .. })) => assert_eq!(code, CloseCode(read)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn each_ping_has_its_pong() {
    let pongs = |count: u32| {
        let pings = (0..count).flat_map(|id| control(&Ping::new(id, 7))).collect();
        let (mut session, _peer) = told(&[(Channel::Command, pings)]);
        said(&mut session, |control| match control {
            Control::Pong(pong) => Some(pong.id()),
            _ => None,
        })
    };
    assert_eq!(pongs(3), [0, 1, 2]);
    assert_eq!(pongs(16), Vec::from_iter(0..16));
    // In a flood the oldest get none.
    assert_eq!(pongs(100), Vec::from_iter(84..100));
}

/// The hello that a session with these limits says.
fn hello_of(limits: Limits) -> HelloFields {
    let config = SessionConfig { limits, ..configs()[0] };
    let (mut session, _peer) = Session::new(config, START).unwrap();
    let hellos = said(&mut session, |control| match control {
        Control::Hello(hello) => Some(hello.fields()),
        _ => None,
    });
    hellos[0]
}

#[test]
fn a_hello_names_the_longest_message_that_a_window_takes() {
    for (data_window, command_window, longest) in
        [(1 << 20, 1 << 16, (1 << 20) - 16), (1_000, 64, 976), (100, 5_007, 4_976)]
    {
        let limits = Limits { data_window, command_window, ..Limits::default() };
        assert_eq!(hello_of(limits).max_message_len, longest);
    }
}

/// Two ends whose rings hold more than the other's windows.
fn large_rings() -> Link {
    let mut configs = configs();
    for config in &mut configs {
        config.limits.send_ring = 1 << 22;
        config.limits.command_ring = 1 << 18;
    }
    Link::new(configs, 1)
}

#[test]
fn the_longest_message_arrives_and_a_longer_one_is_refused_with_the_limit() {
    let mut link = large_rings();
    link.run_for(SECOND);
    for (channel, allowed) in [(Channel::Data, (1 << 20) - 16), (Channel::Command, (1 << 16) - 16)]
    {
        let peer = link.peer(0);
        let sender = match channel {
            Channel::Data => &mut peer.send,
            Channel::Command => &mut peer.command.send,
        };
        let refused = SendError::TooLongForPeer { len: allowed + 1, allowed };
        assert_eq!(sender.try_reserve_opaque(allowed + 1).unwrap_err(), refused);
        assert_eq!(sender.try_reserve(allowed - 47).unwrap_err(), refused);
        let waiting = pollster::block_on(sender.reserve_opaque(allowed + 1));
        assert_eq!(waiting.unwrap_err(), refused);
        sender.try_reserve_opaque(allowed).unwrap().commit(allowed).unwrap();
        link.run_for(SECOND);
        let peer = link.peer(1);
        let receiver = match channel {
            Channel::Data => &mut peer.receive,
            Channel::Command => &mut peer.command.receive,
        };
        assert_eq!(receiver.try_next().unwrap().body().len(), allowed, "{channel:?}");
        receiver.release();
    }
    let mut more = link.ends[0].session.open_sender(Default::default()).unwrap();
    assert!(matches!(more.try_reserve(2 << 20), Err(SendError::TooLongForPeer { .. })));
}

#[test]
fn what_was_committed_and_never_goes_ends_the_session_at_both_ends() {
    for (channel, len, allowed) in
        [(Channel::Data, 1_500_000, (1 << 20) - 16), (Channel::Command, 70_000, (1 << 16) - 16)]
    {
        let mut link = large_rings();
        let peer = link.peer(0);
        let sender = match channel {
            Channel::Data => &mut peer.send,
            Channel::Command => &mut peer.command.send,
        };
        sender.try_reserve_opaque(5).unwrap().commit(5).unwrap();
        sender.try_reserve_opaque(len).unwrap().commit(len).unwrap();
        sender.try_reserve_opaque(5).unwrap().commit(5).unwrap();
        link.run_for(SECOND);
        let error = ProtocolError::MessageTooLong { channel, len, allowed };
        let ours = Event::Closed(Closed::Error(error));
        assert_eq!(link.ends[0].events.last(), Some(&ours));
        match link.ends[1].events.last() {
            Some(Event::Closed(Closed::ByPeer { code, reason, .. })) => {
                assert_eq!((*code, reason), (CloseCode::UNDELIVERABLE, &error.to_string()));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_peer_that_takes_no_fragments_is_sent_none() {
    let (mut session, mut peer) = Session::new(configs()[1], START).unwrap();
    let whole = hello(|fields| fields.max_unfinished = 0);
    session.handle_message(Channel::Command, whole, START);
    let refused = SendError::TooLongForPeer { len: 16_369, allowed: 16_368 };
    assert_eq!(peer.send.try_reserve_opaque(16_369).unwrap_err(), refused);
    peer.send.try_reserve_opaque(16_368).unwrap().commit(16_368).unwrap();
    let lengths = std::iter::from_fn(|| session.poll_transmit(1 << 15).map(|sent| sent.len()));
    assert_eq!(lengths.last(), Some(16_384));
}

#[test]
fn ends_that_disagree_on_delivery_end_at_once() {
    let lossy = |reliability| Delivery { reliability, ..Delivery::default() };
    let unordered = Delivery { order: Order::Unordered, ..Delivery::default() };
    let changes: [fn(&mut SessionConfig, Delivery); 3] = [
        |config, _| config.command = Order::Unordered,
        |config, other| config.receive = other,
        |config, other| config.send = other,
    ];
    for other in
        [unordered, lossy(Reliability::MaxRetransmits(0)), lossy(Reliability::MaxLifetime(SECOND))]
    {
        for change in changes {
            for end in 0..2 {
                let mut configs = configs();
                change(&mut configs[end], other);
                let mut link = Link::new(configs, 1);
                link.run_for(SECOND / 10);
                let ended: Vec<_> =
                    link.ends.iter().map(|end| end.events.last().unwrap()).collect();
                let named = |event: &Event| match event {
                    Event::Closed(Closed::Error(error @ ProtocolError::Delivery { .. })) => {
                        assert_eq!(error.close_code(), CloseCode::DELIVERY);
                        true
                    }
                    Event::Closed(Closed::ByPeer { code, reason, .. }) => {
                        assert_eq!(*code, CloseCode::DELIVERY);
                        assert!(reason.contains("disagree on delivery"), "{reason}");
                        false
                    }
                    other => panic!("{other:?}"),
                };
                let named = ended.into_iter().map(named).collect::<Vec<_>>();
                assert!(named.contains(&true), "nobody says both values");
            }
        }
    }
    // What the wire cannot tell apart is the same.
    let mut configs = configs();
    configs[0].send = lossy(Reliability::MaxLifetime(SECOND * 100));
    configs[1].receive = lossy(Reliability::MaxLifetime(SECOND * 200));
    let mut link = Link::new(configs, 1);
    link.run_for(SECOND);
    assert!(link.ends.iter().all(|end| matches!(end.events[..], [Event::Opened(_)])));
}

#[test]
fn what_comes_ahead_of_the_hello_is_taken() {
    let (mut session, mut peer) = Session::new(configs()[1], START).unwrap();
    for (channel, message) in [
        (Channel::Command, control(&Ping::new(1, 2))),
        (Channel::Command, control(&Window::new(Channel::Data, 1 << 19))),
        (Channel::Data, frame(Kind::Opaque, Channel::Data, b"early")),
        (Channel::Command, hello(|_| {})),
    ] {
        session.handle_message(channel, message, START);
    }
    assert!(matches!(session.poll_event(), Some(Event::Opened(_))));
    assert_eq!(session.poll_event(), None);
    assert_eq!(peer.receive.try_next().unwrap().body(), b"early");
}

/// Sets a field.
type Change = fn(&mut Limits, u64);

#[test]
fn limits_out_of_bounds_are_refused_by_name() {
    const GIB: u64 = 1 << 30;
    let with = |change: Change, value| {
        let mut limits = Limits::default();
        change(&mut limits, value);
        limits
    };
    let fields: [(&str, Change, u64, u64); 9] = [
        ("send_ring", |limits, value| limits.send_ring = value as usize, 1, GIB),
        ("command_ring", |limits, value| limits.command_ring = value as usize, 1, GIB),
        ("data_window", |limits, value| limits.data_window = value, 64, GIB),
        ("max_data_window", |limits, value| limits.max_data_window = value, 64, GIB),
        ("command_window", |limits, value| limits.command_window = value, 64, GIB),
        ("max_frame_len", |limits, value| limits.max_frame_len = value as usize, 80, 65_535),
        ("max_unfinished", |limits, value| limits.max_unfinished = value as u32, 1, 65_536),
        ("max_arrivals", |limits, value| limits.max_arrivals = value as usize, 1, 65_536),
        ("max_senders", |limits, value| limits.max_senders = value as usize, 1, 65_536),
    ];
    for (field, change, least, most) in fields {
        for value in [0, least - 1, most + 1, u64::from(u32::MAX)] {
            let config = SessionConfig { limits: with(change, value), ..configs()[0] };
            let error = Session::new(config, START).unwrap_err();
            assert_eq!(error, InvalidLimits { field, value, least, most });
            let _ = config.limits.memory_bound();
        }
        assert_eq!(with(change, least).validate(), Ok(()), "{field}");
        assert_eq!(with(change, most).validate(), Ok(()), "{field}");
        let config = SessionConfig { limits: with(change, least), ..configs()[0] };
        assert!(Session::new(config, START).is_ok(), "{field}");
    }
    let error = with(|limits, value| limits.max_frame_len = value as usize, 79).validate();
    let text = "limits.max_frame_len is 79, must be 80 to 65535";
    assert_eq!(error.unwrap_err().to_string(), text);
}

/// Any limits that are small, so that they are reached.
fn small_limits(random: &mut Random) -> Limits {
    Limits {
        send_ring: 1 << (9 + random.below(8)),
        command_ring: 1 << (9 + random.below(5)),
        data_window: 64 + random.below(20_000),
        max_data_window: 64 + random.below(40_000),
        command_window: 64 + random.below(6_000),
        max_frame_len: 80 + random.below(500) as usize,
        max_unfinished: 1 + random.below(4) as u32,
        max_arrivals: 1 + random.below(6) as usize,
        ..Limits::default()
    }
}

/// Whatever two ends were set up with, as long as they agree on delivery: no honest link ends, and all
/// that was accepted arrives.
#[test]
fn honest_peers_with_any_options_do_not_end_their_link() {
    for seed in 0..200 {
        let mut random = Random(seed);
        let order = |bit| if bit { Order::Unordered } else { Order::Ordered };
        let command = order(random.percent(50));
        let deltas = Delivery { order: order(random.percent(80)), ..Delivery::default() };
        let configs = configs().map(|config| SessionConfig {
            limits: small_limits(&mut random),
            command,
            send: deltas,
            receive: deltas,
            ..config
        });
        let mut link = Link::new(configs, seed);
        link.faults.jitter = Duration::from_millis(random.below(200));
        link.data_lag = Duration::from_millis(random.below(30));
        link.budget = 600 + random.below(4_000) as usize;
        link.run_for(SECOND / 2);
        // By end and channel: what was sent, and what came.
        let mut sent = [[0_u64; 2]; 2];
        let mut came = [[0_u64; 2]; 2];
        let mut rounds = 0;
        while sent != [[40; 2]; 2] || came != sent {
            rounds += 1;
            assert!(rounds < 3_000, "seed {seed}: {came:?} of {sent:?} arrived");
            for end in 0..2 {
                for channel in 0..2 {
                    let reads = random.percent(50);
                    let peer = link.peer(end);
                    let (sender, receiver) = match channel {
                        0 => (&mut peer.command.send, &mut peer.command.receive),
                        _ => (&mut peer.send, &mut peer.receive),
                    };
                    while sent[end][channel] < 40 && offer(sender, &mut random) {
                        sent[end][channel] += 1;
                    }
                    while reads && let Ok(frame) = receiver.try_next() {
                        let len = frame.body().len() as u8;
                        assert!(frame.body().iter().all(|byte| *byte == len), "seed {seed}");
                        came[1 - end][channel] += 1;
                    }
                }
            }
            link.run_for(Duration::from_millis(10));
            for end in &link.ends {
                assert!(
                    matches!(end.events[..], [Event::Opened(_)]),
                    "seed {seed}: {:?}",
                    end.events
                );
            }
        }
    }
}

/// Sends a message of any length that is taken, if there is room now.
fn offer(sender: &mut deltawire_channels::Sender, random: &mut Random) -> bool {
    let most = if random.percent(70) { 700 } else { 20_000 };
    let mut len = 1 + random.below(most) as usize;
    loop {
        match sender.try_reserve_opaque(len) {
            Ok(mut grant) => {
                grant.body_mut().fill(len as u8);
                grant.commit(len).unwrap();
                return true;
            }
            Err(SendError::TooLongForPeer { allowed, .. }) => len = allowed,
            Err(SendError::TooLarge { capacity, .. }) => len = capacity - 16,
            Err(SendError::Full { .. }) => return false,
            Err(error) => panic!("{error}"),
        }
    }
}
