use std::vec;
use std::vec::Vec;

use zerocopy::IntoBytes;

use super::*;
use crate::frame::Channel;

fn refused(body: &[u8]) -> Field {
    Control::parse(body).unwrap_err().field
}

fn hello() -> Vec<u8> {
    let hello = Hello::new(HelloFields {
        role: Role::Acceptor,
        max_frame_len: 16_384,
        max_message_len: 1 << 20,
        data_window: 1 << 20,
        command_window: 1 << 16,
        max_unfinished: 64,
        idle_timeout_ms: 5_000,
        features: 0,
        command: Order::Ordered,
        deltas: Delivery::default(),
        session_id: [7; 16],
    });
    hello.as_bytes().to_vec()
}

fn with(mut bytes: Vec<u8>, at: usize, value: u8) -> Vec<u8> {
    bytes[at] = value;
    bytes
}

#[test]
fn broken_messages_are_refused_with_the_field() {
    assert_eq!(refused(&[]), Field::Length);
    assert_eq!(refused(&[1]), Field::Length);
    for unknown in [0, 10, 255] {
        assert_eq!(refused(&[unknown, 0]), Field::ControlType);
    }
    assert_eq!(refused(&hello()[..63]), Field::Length);
    assert_eq!(refused(&[hello(), vec![0]].concat()), Field::Length);
    assert_eq!(refused(&with(hello(), 2, 1)), Field::DeliveryLimit);
    assert_eq!(refused(&with(hello(), 4, 0)), Field::Version);
    assert_eq!(refused(&with(hello(), 6, 2)), Field::Role);
    for bits in [12, 15, 16, 128] {
        assert_eq!(refused(&with(hello(), 7, bits)), Field::Delivery);
    }
    let small = with(with(hello(), 9, 0), 8, 79);
    assert_eq!(refused(&small), Field::MaxFrameLen);

    let window = Window::new(Channel::Data, 9).as_bytes().to_vec();
    assert_eq!(refused(&window[..15]), Field::Length);
    assert_eq!(refused(&with(window.clone(), 2, 2)), Field::Channel);
    assert_eq!(refused(&with(window, 3, 1)), Field::Reserved);
    let window = Window::new(Channel::Data, 9).with_grown(7).as_bytes().to_vec();
    assert!(matches!(Control::parse(&window), Ok(Control::Window(w)) if w.grown() == 7));

    let position = Position::new(Channel::Command, 9).as_bytes().to_vec();
    assert!(matches!(Control::parse(&position), Ok(Control::Position(p)) if p.sent() == 9));
    assert_eq!(refused(&position[..15]), Field::Length);
    assert_eq!(refused(&with(position, 2, 2)), Field::Channel);

    let ping = Ping::new(1, 2);
    assert_eq!(refused(&with(ping.as_bytes().to_vec(), 3, 1)), Field::Reserved);
    assert_eq!(refused(&with(Pong::to(&ping).as_bytes().to_vec(), 3, 1)), Field::Reserved);

    assert_eq!(refused(&[5, 0, 0, 0, 0, 0, 0]), Field::Length);
    assert_eq!(refused(&[5, 0, 0, 0, 0, 0, 0, 0, 0xFF]), Field::Reason);
    let long = [&[5, 0, 0, 0, 0, 0, 0, 0][..], &[b'a'; 257]].concat();
    assert_eq!(refused(&long), Field::Length);
}

#[test]
fn a_later_version_and_its_features_can_be_read() {
    let later = with(with(hello(), 4, 2), 40, 0xFF);
    match Control::parse(&later).unwrap() {
        Control::Hello(hello) => assert_eq!((hello.version(), hello.features()), (2, 0xFF)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_close_and_its_position_say_what_is_missing() {
    let flags = CloseFlags::ANSWER.with(CloseFlags::MISSING, true).with(CloseFlags::UNREAD, false);
    let mut body = [0; 8];
    Close::new(CloseCode::NORMAL, "").with_flags(flags).write(&mut body).unwrap();
    assert_eq!(body, [5, 0, 5, 0, 0, 0, 0, 0]);
    // Bits of a later version are kept.
    match Control::parse(&with(body.to_vec(), 3, 0x80)).unwrap() {
        Control::Close(close) => assert_eq!(close.flags(), CloseFlags(0x8005)),
        other => panic!("{other:?}"),
    }
    let position = Position::new(Channel::Data, 9);
    assert_eq!(position.unsent(), None);
    let last = position.last(0x0102);
    assert_eq!(last.as_bytes(), [6, 0, 1, 1, 2, 1, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
    match Control::parse(&with(last.as_bytes().to_vec(), 3, 0x81)).unwrap() {
        Control::Position(last) => assert_eq!((last.sent(), last.unsent()), (9, Some(0x0102))),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_long_reason_is_cut_at_a_character() {
    let mut body = [0; 264];
    let reason = "é".repeat(200);
    let len = Close::new(CloseCode::NORMAL, &reason).write(&mut body).unwrap();
    match Control::parse(&body[..len]).unwrap() {
        Control::Close(close) => assert_eq!(close.reason(), "é".repeat(128)),
        other => panic!("{other:?}"),
    }
    assert!(Close::new(CloseCode::NORMAL, "why").write(&mut body[..10]).is_err());
}

/// What each side says of its delivery, bit by bit; the defaults are zeros.
#[test]
fn a_hello_says_what_its_channels_promise() {
    use Reliability::{MaxLifetime, MaxRetransmits, Reliable};
    let ms = core::time::Duration::from_millis;
    for (command, order, reliability, bits, limit) in [
        (Order::Ordered, Order::Ordered, Reliable, 0b0000, 0),
        (Order::Unordered, Order::Ordered, Reliable, 0b0001, 0),
        (Order::Ordered, Order::Unordered, MaxRetransmits(0), 0b0110, 0),
        (Order::Unordered, Order::Unordered, MaxRetransmits(515), 0b0111, 515),
        (Order::Ordered, Order::Ordered, MaxLifetime(ms(200)), 0b1000, 200),
    ] {
        let deltas = Delivery { order, reliability };
        let (mut expected, limit) = (hello(), u16::to_le_bytes(limit));
        expected[2..4].copy_from_slice(&limit);
        expected[7] = bits;
        let bytes = hello();
        let Ok(Control::Hello(plain)) = Control::parse(&bytes) else { panic!() };
        let said = Hello::new(HelloFields { command, deltas, ..plain.fields() });
        assert_eq!(said.as_bytes(), expected);
        assert_eq!(said.fields(), HelloFields { command, deltas, ..plain.fields() });
    }
    let longer = Delivery { reliability: MaxLifetime(ms(70_000)), ..Delivery::default() };
    assert_eq!(longer.on_wire().reliability, MaxLifetime(ms(65_535)));
}

#[test]
fn close_codes_that_are_set_aside_count_as_normal() {
    for code in [12, 77, 255] {
        assert_eq!(CloseCode(code).known(), CloseCode::NORMAL);
    }
    for code in [0, 1, 2, 7, 8, 10, 11, 256, u32::MAX] {
        assert_eq!(CloseCode(code).known(), CloseCode(code));
    }
}
