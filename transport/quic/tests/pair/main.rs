//! Two endpoints back to back.

mod hostile;
mod lab;
mod messages;

use std::time::Duration;

use deltawire_framing::Channel;
use deltawire_link::{Fault, MessageTransport, TransportErrorKind};
use deltawire_quic::{COMMAND_ROOM, Fingerprint, QuicError, QuicTrust};

use crate::lab::{CLIENT, Lab, SERVER, config};

#[test]
fn messages_of_all_lengths_go_both_ways_in_order_through_loss() {
    for (seed, faults) in [(1, 0), (2, 2), (3, 10)] {
        let mut lab = Lab::new(seed);
        lab.faults = faults;
        lab.connect(&QuicTrust::loopback(), b"");
        lab.until("open", |lab| lab.ends.iter().all(|end| end.open));
        let lens = [1, 2, 3, 100, 1_399, 1_400, 1_401, 5_000, 16_383, 16_384];
        let mut expected = Vec::new();
        let mut number = 0_usize;
        for round in 0..200 {
            for end in [CLIENT, SERVER] {
                let channel = if round % 3 == 0 { Channel::Command } else { Channel::Data };
                let message = vec![number as u8; lens[number % lens.len()]];
                // As a connection does.
                lab.until("room", |lab| lab.link(end).in_flight() < 64 << 10);
                assert!(lab.link(end).write(channel, &message).unwrap());
                lab.work(end);
                expected.push((end, channel, message));
                number += 1;
            }
        }
        let of = |from: usize, channel: Channel| {
            let all = expected.iter().filter(move |it| (it.0, it.1) == (from, channel));
            all.map(|it| &it.2)
        };
        lab.until("there", |lab| lab.ends.iter().all(|end| end.messages.len() == 200));
        for from in [CLIENT, SERVER] {
            for channel in [Channel::Command, Channel::Data] {
                let came = lab.ends[1 - from].messages.iter();
                let came = came.filter(|it| it.0 == channel).map(|it| &it.1);
                assert!(came.eq(of(from, channel)), "seed {seed}");
            }
        }
        assert!(lab.first_bytes.iter().all(|first| *first >= 64), "as RFC 9443 wants them");
    }
}

#[test]
fn a_command_overtakes_deltas_that_fill_the_window() {
    let mut lab = Lab::open(4);
    let most = config().send_window + COMMAND_ROOM + (64 << 10);
    let mut written = 0;
    while lab.link(CLIENT).in_flight() < 48 << 10 {
        assert!(lab.link(CLIENT).write(Channel::Data, &[1; 16 << 10]).unwrap());
        written += 1;
        assert!(written * (16 << 10) <= most);
    }
    // So that QUIC is in the middle of them.
    lab.work(CLIENT);
    assert!(lab.link(CLIENT).write(Channel::Command, &[2; 64]).unwrap());
    lab.work(CLIENT);
    lab.until("command", |lab| lab.ends[SERVER].messages.iter().any(|it| it.0 == Channel::Command));
    let before = lab.ends[SERVER].messages.len() as u64 - 1;
    assert!(before <= 2, "{before} of {written} deltas came before it");
    lab.until("rest", |lab| lab.ends[SERVER].messages.len() as u64 == written + 1);
    assert_eq!(lab.link(CLIENT).in_flight(), 0);
}

#[test]
fn what_was_written_is_there_before_the_end() {
    for seed in 10..20 {
        let mut lab = Lab::open(seed);
        lab.faults = 15;
        for _ in 0..40 {
            assert!(lab.link(CLIENT).write(Channel::Data, &[1; 9_000]).unwrap());
        }
        assert!(lab.link(CLIENT).write(Channel::Command, b"last").unwrap());
        lab.until("finished", |lab| {
            let finished = lab.link(CLIENT).finish();
            lab.work(CLIENT);
            finished
        });
        // All is there before anybody hangs up.
        lab.link(CLIENT).close();
        lab.run_for(Duration::from_millis(50));
        assert_eq!(lab.ends[SERVER].messages.len(), 41, "seed {seed}");
        lab.faults = 0;
        lab.work(CLIENT);
        let (handle, _) = lab.ends[CLIENT].link.take().unwrap();
        lab.ends[CLIENT].endpoint.forget(handle);
        // Its closing may have got lost; then it is told when it asks.
        lab.until("over", |lab| lab.ends[SERVER].closed || lab.ends[SERVER].error.is_some());
    }
}

#[test]
fn only_who_shows_the_token_is_let_in_and_others_are_told() {
    let mut lab = Lab::new(5);
    lab.token = b"secret".to_vec();
    lab.connect(&QuicTrust::loopback(), b"secret");
    lab.until("open", |lab| lab.ends.iter().all(|end| end.open));
    for wrong in [&b""[..], b"secreu", b"secret ", &[b'a'; 4_096]] {
        let mut lab = Lab::new(6);
        lab.token = b"secret".to_vec();
        lab.connect(&QuicTrust::loopback(), wrong);
        lab.until("refused", |lab| lab.ends[CLIENT].error.is_some());
        let error = lab.ends[CLIENT].error.take().unwrap();
        assert_eq!(error.kind(), TransportErrorKind::Refused);
        assert_eq!(error.to_string(), "the peer refused: the token is wrong");
        assert!(!lab.ends[CLIENT].open && !lab.ends[SERVER].open);
    }
}

#[test]
fn a_server_that_is_not_trusted_is_named_by_its_hash() {
    let mut lab = Lab::new(7);
    let right = lab.fingerprint;
    lab.connect(&QuicTrust::default().pin(Fingerprint([7; 32])).pin(right), b"");
    lab.until("open", |lab| lab.ends.iter().all(|end| end.open));

    let mut lab = Lab::new(8);
    let came = lab.fingerprint;
    lab.connect(&QuicTrust::default().pin(right), b"");
    lab.until("refused", |lab| lab.ends[CLIENT].error.is_some());
    let error = lab.ends[CLIENT].error.take().unwrap();
    assert_eq!((error.kind(), error.fault()), (TransportErrorKind::Identity, Fault::Unknown));
    assert_eq!(error.downcast_ref(), Some(&QuicError::WrongPin { came, pins: 1 }));
    assert!(error.to_string().contains(&came.to_string()), "{error}");
}

#[test]
fn a_server_may_ask_who_is_there() {
    let mut lab = Lab::new(9);
    lab.retries = true;
    lab.connect(&QuicTrust::loopback(), b"");
    lab.until("open", |lab| lab.ends.iter().all(|end| end.open));
    assert_eq!(lab.retried, 1);
}

#[test]
fn who_hears_nothing_gives_up_and_who_is_quiet_stays() {
    let mut lab = Lab::open(10);
    lab.run_for(Duration::from_secs(100));
    assert!(lab.ends.iter().all(|end| end.error.is_none() && !end.closed));
    for end in [CLIENT, SERVER] {
        let _ = lab.link(end).take_heard();
    }
    lab.run_for(Duration::from_secs(3));
    assert!(lab.link(CLIENT).take_heard() && lab.link(SERVER).take_heard());
    lab.faults = 100;
    lab.until("given up", |lab| lab.ends.iter().all(|end| end.error.is_some()));
    let error = lab.ends[SERVER].error.take().unwrap();
    assert_eq!(error.downcast_ref(), Some(&QuicError::TimedOut));
}

#[test]
fn a_link_on_which_nobody_says_anything_is_quiet() {
    let mut lab = Lab::open(12);
    lab.run_for(Duration::from_secs(10));
    let before = lab.first_bytes.len();
    lab.run_for(Duration::from_secs(60));
    // One side says each 1.25 s that it is there, and is answered.
    let said = lab.first_bytes.len() - before;
    assert!((90..=100).contains(&said), "{said} datagrams in a minute, both ways");
}

#[test]
fn who_was_forgotten_is_told_when_it_says_something() {
    let mut lab = Lab::open(11);
    let (handle, _) = lab.ends[SERVER].link.take().unwrap();
    lab.ends[SERVER].endpoint.forget(handle);
    assert!(lab.link(CLIENT).write(Channel::Data, &[1; 100]).unwrap());
    lab.work(CLIENT);
    lab.until("told", |lab| lab.ends[CLIENT].error.is_some());
    let error = lab.ends[CLIENT].error.take().unwrap();
    assert_eq!(error.downcast_ref(), Some(&QuicError::Reset));
}
