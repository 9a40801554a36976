//! Messages that several senders send from where they lie.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use deltawire_channels::session::SendPriority;
use deltawire_channels::{ChannelClosed, Limits, MAX_SHARED, Message, SendError, SharedSender};
use deltawire_framing::control::CloseCode;
use deltawire_framing::{Channel, DeltaFields, DocId, FrameHeader, Kind, RecordBuf};

use crate::pipe::{Link, configs};

const TENTH: Duration = Duration::from_millis(100);

fn open() -> (Link, SharedSender) {
    let mut link = Link::new(configs(), 1);
    link.run_for(TENTH);
    let sender = link.ends[0].session.open_shared_sender(SendPriority::default()).unwrap();
    (link, sender)
}

fn message(byte: u8, len: usize) -> Message {
    Message::delta_of(DeltaFields::new(DocId([7; 16])), &vec![byte; len]).unwrap()
}

/// Takes what has come, and gives each message's first byte and length.
fn read(link: &mut Link, from: usize) -> Vec<(u8, usize)> {
    let mut read = Vec::new();
    while let Ok(frame) = link.peer(from).receive.try_next() {
        let payload = frame.delta().unwrap().payload();
        assert!(payload.iter().all(|byte| *byte == payload[0]));
        read.push((payload[0], payload.len()));
    }
    read
}

#[test]
fn one_message_goes_over_many_links_from_where_it_lies() {
    let message = message(9, 5_000);
    let bytes = message.frame().as_bytes().as_ptr();
    for _ in 0..3 {
        let (mut link, mut sender) = open();
        sender.try_send(&message).unwrap();
        let sent = link.ends[0].session.poll_transmit(1 << 20).unwrap();
        assert_eq!((sent.channel(), sent.as_ptr()), (Channel::Data, bytes));
        let copy = sent.to_vec();
        drop(sent);
        let now = link.now;
        link.ends[1].session.handle_message(Channel::Data, copy, now);
        assert_eq!(read(&mut link, 1), [(9, 5_000)]);
    }
}

#[test]
fn all_come_in_order_short_ones_together_and_long_ones_in_pieces() {
    let (mut link, mut sender) = open();
    let lens = [10, 300, 1, 40_000, 2_000, 16, 900, 900, 100_000, 5];
    for round in 0..5_u8 {
        for len in lens {
            sender.try_send(&message(round, len)).unwrap();
        }
        link.run_for(TENTH);
        let expected: Vec<_> = lens.iter().map(|len| (round, *len)).collect();
        assert_eq!(read(&mut link, 1), expected);
        link.run_for(TENTH);
    }
    for _ in 0..100 {
        sender.try_send(&message(1, 50)).unwrap();
    }
    let before = link.ends[0].session.stats().data_sent;
    link.run_for(TENTH);
    let after = link.ends[0].session.stats().data_sent;
    assert_eq!(after.messages - before.messages, 100);
    assert_eq!(after.transport_messages - before.transport_messages, 1);
    assert_eq!(read(&mut link, 1).len(), 100);
}

#[test]
fn what_waits_is_bounded_in_messages_and_in_bytes() {
    let (_link, mut sender) = open();
    let short = message(1, 1);
    for _ in 0..MAX_SHARED {
        sender.try_send(&short).unwrap();
    }
    assert!(matches!(sender.try_send(&short), Err(SendError::Full { .. })));
    let (mut link, mut sender) = open();
    let long = message(2, 100_000);
    let mut sent = 0;
    while sender.try_send(&long).is_ok() {
        sent += 1;
    }
    assert_eq!(sent, Limits::default().send_ring / 100_064);
    assert!(sender.queued_bytes() <= Limits::default().send_ring);
    // As it is read, room comes back.
    for _ in 0..10 {
        link.run_for(TENTH);
        sent -= read(&mut link, 1).len();
    }
    assert_eq!(sent, 0);
    sender.try_send(&long).unwrap();
}

/// What is forwarded to a slow peer holds up who it came from, and nobody has to keep a copy.
#[test]
fn forwarding_holds_up_the_origin() {
    let mut origin = Link::new(configs(), 1);
    origin.run_for(TENTH);
    let (mut link, mut sender) = open();
    let mut committed = 0;
    let (mut forwarded, mut read_there) = (0, 0);
    let mut held = None;
    for round in 0..200 {
        while origin.peer(0).send.try_send(DeltaFields::new(DocId([7; 16])), &[3; 50_000]).is_ok() {
            committed += 1;
        }
        origin.run_for(TENTH / 10);
        loop {
            let next = held.take().or_else(|| origin.peer(1).receive.try_take().ok());
            let Some(message) = next else { break };
            match sender.try_send(&message) {
                Ok(()) => forwarded += 1,
                Err(SendError::Full { .. }) => {
                    held = Some(message);
                    break;
                }
                Err(error) => panic!("{error}"),
            }
        }
        link.run_for(TENTH / 10);
        // One at a time is read, and none in the first half.
        if round >= 100 && link.peer(1).receive.try_next().is_ok() {
            read_there += 1;
        }
        if round == 99 {
            // Two rings, two windows, one queue.
            assert!(committed * 50_064 <= 5 << 20, "{committed}");
            assert!(forwarded < committed);
        }
    }
    assert_eq!(read_there, 100);
    assert!(committed > 100 + 40, "it goes on: {committed}");
}

#[test]
fn what_was_not_sent_is_counted_and_who_waits_is_told() {
    let (mut link, mut sender) = open();
    let long = message(4, 300_000);
    while sender.try_send(&long).is_ok() {}
    link.run_for(TENTH);
    while sender.try_send(&long).is_ok() {}
    let mut waits = pin!(sender.send(&long));
    assert!(waits.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    link.ends[0].session.lose_link();
    let told = pollster::block_on(waits);
    assert!(matches!(told, Err(SendError::Closed(ChannelClosed::Ended(_)))), "{told:?}");
    let lost = link.ends[0].session.undelivered();
    let bytes = lost.unsent_bytes + lost.unread_bytes;
    assert!(lost.unsent >= 3 && bytes % 300_064 == 0, "{lost:?}");
}

#[test]
fn an_orderly_close_sends_what_was_taken() {
    let (mut link, mut sender) = open();
    for byte in 0..5 {
        sender.try_send(&message(byte, 70_000)).unwrap();
    }
    let now = link.now;
    link.ends[0].session.close(CloseCode::NORMAL, "", now);
    assert!(matches!(sender.try_send(&message(9, 1)), Err(SendError::Closed(_))));
    let mut came = Vec::new();
    for _ in 0..20 {
        link.run_for(TENTH);
        came.extend(read(&mut link, 1));
    }
    assert_eq!(came, [0, 1, 2, 3, 4].map(|byte| (byte, 70_000)));
    assert_eq!(link.ends[0].session.undelivered().unsent, 0);
}

#[test]
fn what_cannot_go_is_refused_by_name() {
    let (mut link, mut sender) = open();
    let longest = configs()[1].limits.data_window as usize - 16;
    let too_long = message(1, longest);
    assert!(matches!(sender.try_send(&too_long), Err(SendError::TooLongForPeer { .. })));
    link.peer(1).command.send.try_send_opaque(b"go").unwrap();
    link.run_for(TENTH);
    let command = link.peer(0).command.receive.try_take().unwrap();
    let (channel, needed) = (Channel::Command, Channel::Data);
    assert_eq!(sender.try_send(&command), Err(SendError::Channel { channel, needed }));
    assert!(Message::try_from(RecordBuf::with_body_capacity(10)).is_err(), "nothing is in it");
}

/// What a peer would end the session for.
#[test]
fn records_are_checked_as_what_comes_in_is() {
    let mut record = RecordBuf::copy_of(message(1, 100).frame()).unwrap();
    record.body_mut()[60] = 2;
    assert!(Message::try_from(record).is_err(), "its checksum is wrong");
    let mut record = RecordBuf::with_body_capacity(16);
    record.seal(FrameHeader::whole(Kind::Control, Channel::Data, 16).unwrap()).unwrap();
    assert!(Message::try_from(record).is_err(), "it is the session's own");
    let record = RecordBuf::copy_of(message(1, 100).frame()).unwrap();
    assert!(Message::try_from(record).is_ok());
}

#[test]
fn what_waits_goes_with_the_session() {
    let mut origin = Link::new(configs(), 1);
    origin.run_for(TENTH);
    origin.peer(0).send.try_send(DeltaFields::new(DocId([7; 16])), &[1; 400_000]).unwrap();
    origin.run_for(TENTH);
    let message = origin.peer(1).receive.try_take().unwrap();
    let (link, mut sender) = open();
    sender.try_send(&message).unwrap();
    drop((message, link));
    origin.run_for(TENTH);
    assert_eq!(origin.ends[1].session.stats().data_received.queued_bytes, 0);
    assert!(sender.is_closed());
}

#[test]
fn as_many_senders_as_the_limits_say() {
    let (mut link, first) = open();
    let session = &mut link.ends[0].session;
    let mut senders = vec![first];
    while let Some(sender) = session.open_shared_sender(SendPriority::default()) {
        senders.push(sender);
    }
    // The peer's own has a place.
    assert_eq!(senders.len(), Limits::default().max_senders - 1);
    senders.pop();
    link.run_for(TENTH);
    assert!(link.ends[0].session.open_shared_sender(SendPriority::default()).is_some());
}
