//! Deltas that may overtake each other, and get lost.

use std::collections::BTreeSet;
use std::time::Duration;

use deltawire_channels::{Delivery, Order, Reliability};
use deltawire_framing::Channel;
use deltawire_link::{Delivers, MessageTransport};
use deltawire_quic::{QuicConfig, QuicError};
use quinn_proto::Dir;

use crate::hostile::{HELLO, Rude};
use crate::lab::{CLIENT, Lab, SERVER, config};

/// Those of the initiator's deltas, and the acceptor's as they are.
fn unordered(reliability: Reliability) -> QuicConfig {
    let mut config = config();
    config.initiator = Delivery { order: Order::Unordered, reliability };
    config
}

const MAX: usize = 16 << 10;
const LENS: [usize; 8] = [1, 2, 100, 1_150, 1_400, 5_000, MAX - 1, MAX];

/// The number of a message, and its content.
fn message(number: usize) -> Vec<u8> {
    let mut message = vec![number as u8; LENS[number % LENS.len()].max(2)];
    message[..2].copy_from_slice(&(number as u16).to_le_bytes());
    message
}

/// Sends so many, and gives the numbers of those that came, each as it was and once.
fn send(lab: &mut Lab, from: usize, count: usize) -> BTreeSet<usize> {
    for number in 0..count {
        lab.until("room", |lab| lab.link(from).in_flight() < 64 << 10);
        assert!(lab.link(from).write(Channel::Data, &message(number)).unwrap());
        lab.work(from);
    }
    lab.until("finished", |lab| {
        let finished = lab.link(from).finish();
        lab.work(from);
        finished
    });
    lab.run_for(Duration::from_millis(50));
    assert_eq!(lab.link(from).in_flight(), 0);
    let mut came = BTreeSet::new();
    for (channel, bytes) in &lab.ends[1 - from].messages {
        let number = usize::from(u16::from_le_bytes([bytes[0], bytes[1]]));
        assert_eq!((*channel, bytes), (Channel::Data, &message(number)));
        assert!(came.insert(number), "{number} came twice");
    }
    came
}

#[test]
fn everything_comes_where_nothing_may_get_lost() {
    for (seed, faults) in [(1, 0), (2, 5), (3, 20)] {
        let mut lab = Lab::open_with(seed, unordered(Reliability::Reliable));
        lab.faults = faults;
        let came = send(&mut lab, CLIENT, 400);
        assert_eq!(came.len(), 400, "seed {seed}");
        let order =
            lab.ends[SERVER].messages.iter().map(|it| u16::from_le_bytes([it.1[0], it.1[1]]));
        assert_eq!(order.is_sorted(), faults == 0, "what is late holds up nothing");
        // The other direction is as it was.
        lab.faults = 5;
        let came = send(&mut lab, SERVER, 100);
        assert_eq!(came.len(), 100);
        let came = lab.ends[CLIENT].messages.iter();
        assert!(came.map(|it| u16::from_le_bytes([it.1[0], it.1[1]])).is_sorted());
    }
}

#[test]
fn what_is_not_sent_again_gets_lost_and_nothing_does_where_the_path_loses_nothing() {
    let mut lab = Lab::open_with(4, unordered(Reliability::MaxRetransmits(0)));
    let came = send(&mut lab, CLIENT, 400);
    let missing: Vec<_> = (0..400).filter(|number| !came.contains(number)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let mut lab = Lab::open_with(5, unordered(Reliability::MaxRetransmits(0)));
    lab.faults = 20;
    let came = send(&mut lab, CLIENT, 400);
    let fits = |number: &usize| LENS[number % LENS.len()] <= 1_400;
    let short = came.iter().filter(|number| fits(number)).count();
    assert!((150..240).contains(&short), "{short} of 250 datagrams");
    // What is longer than a datagram is not given up.
    assert_eq!(came.len() - short, 150);
}

#[test]
fn what_is_too_late_is_given_up() {
    let lifetime = Duration::from_millis(100);
    let mut lab = Lab::open_with(6, unordered(Reliability::MaxLifetime(lifetime)));
    lab.faults = 100;
    for number in 0..20 {
        assert!(lab.link(CLIENT).write(Channel::Data, &message(number)).unwrap());
        lab.work(CLIENT);
    }
    assert!(!lab.link(CLIENT).finish());
    lab.run_for(2 * lifetime);
    assert_eq!(lab.link(CLIENT).in_flight(), 0);
    lab.faults = 0;
    let begun = lab.now;
    lab.until("finished", |lab| {
        let finished = lab.link(CLIENT).finish();
        lab.work(CLIENT);
        finished
    });
    assert!(lab.now - begun < Duration::from_secs(1), "nothing of it is waited for any more");
    assert!(lab.ends[SERVER].messages.is_empty());
    let mut lab = Lab::open_with(7, unordered(Reliability::MaxLifetime(lifetime)));
    assert_eq!(send(&mut lab, CLIENT, 400).len(), 400, "nothing is late");
    let mut lab = Lab::open_with(8, unordered(Reliability::MaxLifetime(lifetime)));
    lab.faults = 10;
    let came = send(&mut lab, CLIENT, 400).len();
    assert!((50..400).contains(&came), "{came}");
}

#[test]
fn a_transport_says_what_it_can() {
    let mut lab = Lab::open_with(9, unordered(Reliability::Reliable));
    assert_eq!(lab.link(CLIENT).capabilities().delivers, Delivers::Unordered);
}

/// A client that is in, and whose deltas may overtake each other.
fn rude() -> Rude {
    let mut rude = Rude::with(Lab::with(99, unordered(Reliability::Reliable)));
    rude.say(Dir::Bi, HELLO);
    rude.say(Dir::Uni, &[1]);
    assert!(rude.lab.ends[SERVER].open);
    rude
}

#[test]
fn who_resets_a_message_loses_that_one() {
    let mut rude = rude();
    let first = rude.say(Dir::Uni, &[3, 1, 2]);
    let second = rude.say(Dir::Uni, &[3]);
    let third = rude.say(Dir::Uni, &[3, 5]);
    rude.connection.send_stream(third).finish().unwrap();
    rude.connection.send_stream(first).reset(77_u32.into()).unwrap();
    rude.more(second, &[6, 7]);
    rude.connection.send_stream(second).finish().unwrap();
    rude.connection.datagrams().send(vec![8; 900].into(), false).unwrap();
    for _ in 0..10 {
        rude.step();
    }
    let came: Vec<_> = rude.lab.ends[SERVER].messages.iter().map(|it| it.1.clone()).collect();
    assert_eq!(came, [vec![5], vec![8; 900], vec![6, 7]]);
}

#[test]
fn what_is_no_message_ends_the_link() {
    let mut wrong = rude();
    wrong.say(Dir::Uni, &[4, 1]);
    assert_eq!(wrong.ended(), QuicError::Number { number: 4, expected: 3 });
    for empty in [&[3][..], &[]] {
        let mut wrong = rude();
        let stream = wrong.say(Dir::Uni, empty);
        wrong.connection.send_stream(stream).finish().unwrap();
        assert_eq!(wrong.ended(), QuicError::Length { number: 3, len: 0, max: MAX });
    }
    let mut wrong = rude();
    let stream = wrong.say(Dir::Uni, &[3]);
    wrong.more(stream, &[1; MAX]);
    assert!(wrong.lab.ends[SERVER].error.is_none(), "its end may still come");
    wrong.more(stream, &[1]);
    let len = u32::try_from(MAX + 1).unwrap();
    assert_eq!(wrong.ended(), QuicError::Length { number: 3, len, max: MAX });
    let mut wrong = rude();
    wrong.connection.datagrams().send(bytes::Bytes::new(), false).unwrap();
    assert_eq!(wrong.ended(), QuicError::Length { number: 3, len: 0, max: MAX });
}

#[test]
fn so_many_messages_may_lie_there_in_part() {
    let mut rude = rude();
    let mut open = 0;
    while let Some(stream) = rude.connection.streams().open(Dir::Uni) {
        let _ = rude.connection.send_stream(stream).write(&[3, 1]);
        open += 1;
    }
    assert_eq!(open, 256);
    for _ in 0..10 {
        rude.step();
    }
    assert!(rude.connection.streams().open(Dir::Uni).is_none());
    assert!(rude.lab.ends[SERVER].error.is_none() && rude.lab.ends[SERVER].messages.is_empty());
}

#[test]
fn who_is_not_let_in_sends_no_messages() {
    let mut lab = Lab::with(98, unordered(Reliability::Reliable));
    lab.token = b"secret".to_vec();
    let mut rude = Rude::with(lab);
    rude.say(Dir::Uni, &[1]);
    assert!(rude.connection.streams().open(Dir::Uni).is_none());
    for _ in 0..1_000 {
        let _ = rude.connection.datagrams().send(vec![8; 1_000].into(), false);
        rude.step();
    }
    assert!(rude.lab.ends[SERVER].messages.is_empty() && !rude.lab.ends[SERVER].open);
}

#[test]
fn who_wants_no_message_of_ours_gets_none_and_the_link_goes_on() {
    let mut config = config();
    config.acceptor = Delivery { order: Order::Unordered, reliability: Reliability::Reliable };
    let mut rude = Rude::with(Lab::with(97, config));
    rude.say(Dir::Bi, HELLO);
    rude.say(Dir::Uni, &[1]);
    // It takes one stream of the server's, so all messages wait.
    for number in 0..3 {
        assert!(rude.lab.link(SERVER).write(Channel::Data, &message(number)).unwrap());
    }
    for _ in 0..10 {
        rude.step();
    }
    rude.connection.set_max_concurrent_streams(Dir::Uni, 2_u32.into());
    for _ in 0..10 {
        rude.step();
    }
    let data = rude.connection.streams().accept(Dir::Uni).unwrap();
    let mut stopped = 0;
    while let Some(stream) = rude.connection.streams().accept(Dir::Uni) {
        assert_ne!(stream, data);
        rude.connection.recv_stream(stream).stop(9_u32.into()).unwrap();
        stopped += 1;
        for _ in 0..10 {
            rude.step();
        }
    }
    assert_eq!(stopped, 3);
    assert_eq!(rude.lab.link(SERVER).in_flight(), 0);
    assert!(rude.lab.link(SERVER).finish() || rude.lab.ends[SERVER].error.is_none());
}
