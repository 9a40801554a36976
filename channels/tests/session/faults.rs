//! What a peer must not do ends the session with an error that says so, and a silent peer is
//! noticed.

use std::time::Duration;

use deltawire_channels::session::{Closed, Event, MAX_POSITION, ProtocolError};
use deltawire_channels::{Delivery, Order, Session};
use deltawire_framing::control::{
    Close, CloseCode, Control, Hello, HelloFields, Ping, Position, Role, Window,
};
use deltawire_framing::{Channel, Field, Frame, FrameHeader, Frames, Kind};
use zerocopy::IntoBytes;

use crate::pipe::{Link, configs};

const SECOND: Duration = Duration::from_secs(1);

fn frame(kind: Kind, channel: Channel, body: &[u8]) -> Vec<u8> {
    [FrameHeader::whole(kind, channel, body.len()).unwrap().as_bytes(), body].concat()
}

fn control(message: &impl IntoBytesImmutable) -> Vec<u8> {
    frame(Kind::Control, Channel::Command, message.as_bytes())
}

trait IntoBytesImmutable: IntoBytes + zerocopy::Immutable {}
impl<T: IntoBytes + zerocopy::Immutable> IntoBytesImmutable for T {}

fn hello(change: impl FnOnce(&mut HelloFields)) -> Vec<u8> {
    let mut fields = HelloFields {
        role: Role::Initiator,
        max_frame_len: 16_384,
        max_message_len: 1 << 20,
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

/// An acceptor that was told `messages`, and what became of it.
fn tell(messages: &[(Channel, Vec<u8>)]) -> (Session, ProtocolError) {
    let (mut session, _peer) = Session::new(configs()[1], Duration::ZERO).unwrap();
    for (channel, message) in messages {
        session.handle_message(*channel, message.clone(), Duration::ZERO);
    }
    let mut events = std::iter::from_fn(|| session.poll_event());
    match events.find(|event| !matches!(event, Event::Opened(_))) {
        Some(Event::Closed(Closed::Error(error))) => (session, error),
        other => panic!("{other:?}"),
    }
}

/// The error that ends a session which was greeted and told `message`; the peer is told its code.
fn error_of(channel: Channel, message: Vec<u8>) -> ProtocolError {
    let (mut session, error) = tell(&[(Channel::Command, hello(|_| {})), (channel, message)]);
    let mut closes = Vec::new();
    while let Some(message) = session.poll_transmit(16_384) {
        for frame in Frames::new(&message) {
            if let Control::Close(close) = Control::parse(frame.unwrap().body()).unwrap() {
                closes.push((close.code(), close.reason().to_owned()));
            }
        }
    }
    assert_eq!(closes, [(error.close_code(), error.to_string())]);
    assert!(session.is_finished());
    error
}

fn malformed_field(error: ProtocolError) -> Field {
    match error {
        ProtocolError::Malformed(error) => error.field,
        other => panic!("{other}"),
    }
}

#[test]
fn malformed_messages() {
    let field = |channel, message| malformed_field(error_of(channel, message));
    assert_eq!(field(Channel::Data, vec![]), Field::Length);
    assert_eq!(field(Channel::Data, vec![2; 40]), Field::Version);
    let unknown = frame(Kind::Control, Channel::Command, &[10, 0, 0, 0]);
    assert_eq!(field(Channel::Command, unknown), Field::ControlType);
    let no_delta = frame(Kind::Delta, Channel::Data, &[0; 60]);
    assert_eq!(field(Channel::Data, no_delta), Field::Magic);
    // A later version's frames are refused; its hello could be read.
    let mut later = hello(|_| {});
    later[0] = 2;
    assert_eq!(malformed_field(tell(&[(Channel::Command, later)]).1), Field::Version);
    let mut none = hello(|_| {});
    none[16 + 4] = 0;
    assert_eq!(malformed_field(tell(&[(Channel::Command, none)]).1), Field::Version);
}

#[test]
fn messages_out_of_place() {
    let out_of_place = |error| assert!(matches!(error, ProtocolError::OutOfPlace(_)), "{error}");
    let ping = Ping::new(1, 2);
    let on_data = frame(Kind::Control, Channel::Data, ping.as_bytes());
    out_of_place(error_of(Channel::Data, on_data));
    out_of_place(error_of(Channel::Data, frame(Kind::Opaque, Channel::Command, b"x")));
    out_of_place(error_of(Channel::Command, frame(Kind::Opaque, Channel::Data, b"x")));
    out_of_place(error_of(Channel::Command, hello(|fields| fields.session_id = [1; 16])));
    out_of_place(tell(&[(Channel::Command, hello(|fields| fields.role = Role::Acceptor))]).1);
    // The same hello once more is no error.
    let (mut session, _peer) = Session::new(configs()[1], Duration::ZERO).unwrap();
    for _ in 0..2 {
        session.handle_message(Channel::Command, hello(|_| {}), Duration::ZERO);
    }
    assert!(matches!(session.poll_event(), Some(Event::Opened(_))));
    assert_eq!(session.poll_event(), None);
}

#[test]
fn a_control_message_in_fragments() {
    let header = FrameHeader::whole(Kind::Control, Channel::Command, 40).unwrap();
    let fragmenter = deltawire_framing::Fragmenter::new(&header, 1, 48).unwrap();
    let mut whole = [header.as_bytes(), &[0; 40]].concat();
    // The first one is enough.
    let first = fragmenter.in_place(&mut whole, 0).unwrap().to_vec();
    let messages = [(Channel::Command, hello(|_| {})), (Channel::Command, first)];
    assert!(matches!(tell(&messages).1, ProtocolError::OutOfPlace(_)));
}

#[test]
fn windows_and_positions_that_cannot_be() {
    let error = error_of(Channel::Command, control(&Window::new(Channel::Data, (1 << 20) - 1)));
    assert!(matches!(error, ProtocolError::WindowShrank { .. }), "{error}");
    let error = error_of(Channel::Command, control(&Window::new(Channel::Data, MAX_POSITION + 1)));
    assert!(matches!(error, ProtocolError::WindowOverflow { .. }), "{error}");
    let error = error_of(Channel::Command, control(&Position::new(Channel::Data, (1 << 20) + 1)));
    assert!(matches!(error, ProtocolError::PositionAhead { .. }), "{error}");
    let overflow = hello(|fields| fields.data_window = u64::MAX);
    let error = tell(&[(Channel::Command, overflow)]).1;
    assert!(matches!(error, ProtocolError::WindowOverflow { .. }), "{error}");
}

#[test]
fn an_old_window_is_late_where_commands_are_unordered() {
    let mut config = configs()[1];
    config.command = Order::Unordered;
    let (mut session, _peer) = Session::new(config, Duration::ZERO).unwrap();
    let hello = hello(|fields| fields.command = Order::Unordered);
    let messages =
        [control(&Window::new(Channel::Data, 1 << 21)), hello, control(&Ping::new(1, 2))];
    for message in messages {
        session.handle_message(Channel::Command, message, Duration::ZERO);
    }
    let old = control(&Window::new(Channel::Data, 1 << 20));
    session.handle_message(Channel::Command, old, Duration::ZERO);
    assert!(matches!(session.poll_event(), Some(Event::Opened(_))));
    assert_eq!(session.poll_event(), None);
}

#[test]
fn a_peer_that_ignores_its_window() {
    let (mut session, _peer) = Session::new(configs()[1], Duration::ZERO).unwrap();
    session.handle_message(Channel::Command, hello(|_| {}), Duration::ZERO);
    let message = frame(Kind::Opaque, Channel::Data, &[1; 16_000]);
    let mut sent = 0;
    let error = loop {
        session.handle_message(Channel::Data, message.clone(), Duration::ZERO);
        sent += 16_016;
        let events = std::iter::from_fn(|| session.poll_event());
        if let Some(Event::Closed(Closed::Error(error))) = events.last() {
            break error;
        }
    };
    assert_eq!(sent, ((1 << 20) / 16_016 + 1) * 16_016);
    let text = format!("data_window exceeded: {sent} bytes came, 1048576 were granted");
    assert_eq!(error.to_string(), text);
    assert_eq!(error.close_code(), CloseCode::WINDOW_EXCEEDED);
}

#[test]
fn a_peer_that_claims_more_than_its_window_in_fragments() {
    for message_len in [1 << 20, u32::MAX] {
        let count = (message_len as usize).div_ceil(65_520).max(65);
        let body_len = (message_len as usize).div_ceil(count).next_multiple_of(16);
        let mut bytes = FrameHeader::whole(Kind::Opaque, Channel::Data, 1).unwrap();
        let raw = bytes.as_mut_bytes();
        raw[4] = 1;
        raw[8..12].copy_from_slice(&message_len.to_le_bytes());
        raw[14..16].copy_from_slice(&(count as u16).to_le_bytes());
        let mut message = bytes.as_bytes().to_vec();
        message.resize(16 + body_len.min(16_368), 0);
        if Frame::parse(&message).is_err() {
            continue;
        }
        let error = error_of(Channel::Data, message);
        assert!(matches!(error, ProtocolError::WindowExceeded { .. }), "{error}");
    }
}

#[test]
fn a_frame_that_is_too_long() {
    let error = error_of(Channel::Data, frame(Kind::Opaque, Channel::Data, &[1; 16_369]));
    assert_eq!(error, ProtocolError::FrameTooLong { len: 16_385, allowed: 16_384 });
}

#[test]
fn a_peer_that_never_says_hello() {
    let mut link = Link::new(configs(), 1);
    link.cut = true;
    link.run_for(6 * SECOND);
    for end in &link.ends {
        let error = ProtocolError::NoHello(5 * SECOND);
        assert_eq!(end.events, [Event::Closed(Closed::Error(error))]);
    }
}

#[test]
fn a_peer_that_falls_silent_is_noticed_in_time() {
    let mut link = Link::new(configs(), 1);
    link.run_for(60 * SECOND);
    assert_eq!(link.ends[0].events.len(), 1, "an idle link lives: {:?}", link.ends[0].events);
    link.cut = true;
    // What is on its way still arrives.
    link.run_for(5 * SECOND + link.latency);
    for end in &link.ends {
        let error = ProtocolError::TimedOut(5 * SECOND);
        assert_eq!(end.events.last(), Some(&Event::Closed(Closed::Error(error))));
    }
}

#[test]
fn a_close_does_not_wait_for_ever() {
    let mut link = Link::new(configs(), 1);
    link.run_for(SECOND);
    link.cut = true;
    let now = link.now;
    link.ends[0].session.close(CloseCode::NORMAL, "", now);
    link.run_for(5 * SECOND);
    let closed = match link.ends[0].events.last() {
        Some(Event::Closed(closed)) => closed.clone(),
        other => panic!("{other:?}"),
    };
    let in_time = matches!(closed, Closed::ByUs { code: CloseCode::NORMAL, complete: false, .. });
    let silent = Closed::Error(ProtocolError::TimedOut(5 * SECOND));
    assert!(in_time || closed == silent, "{closed:?}");
}

#[test]
fn a_close_with_a_long_reason_arrives_in_small_frames() {
    let mut configs = configs();
    configs[0].limits.max_frame_len = 80;
    configs[1].limits.max_frame_len = 80;
    let mut link = Link::new(configs, 1);
    link.run_for(SECOND);
    let now = link.now;
    link.ends[0].session.close(CloseCode::NORMAL, &"é".repeat(200), now);
    link.run_for(SECOND);
    match link.ends[1].events.last() {
        Some(Event::Closed(Closed::ByPeer { reason, .. })) => assert_eq!(*reason, "é".repeat(28)),
        other => panic!("{other:?}"),
    }
    let mut body = [0; 300];
    assert!(Close::new(CloseCode::NORMAL, "x").write(&mut body).is_ok());
}
