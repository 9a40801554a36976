//! Links that open, carry messages and end, on virtual time.

use std::time::Duration;

use deltawire_framing::Channel;
use deltawire_link::MessageTransport;
use deltawire_webrtc::EngineError;

use crate::pair::{self, Pair};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_link_opens_in_five_round_trips() {
    let latency = Duration::from_millis(50);
    let pair = Pair::open(latency);
    let [initiator, acceptor] = pair.ends.map(|end| end.open.unwrap());
    // One for ICE, two for DTLS 1.2, none for SCTP; signalling takes one more.
    assert_eq!((initiator, acceptor), (6 * latency, 5 * latency));
}

#[test]
fn messages_of_both_channels_go_both_ways() {
    let mut pair = Pair::open(Duration::from_millis(1));
    let mut expected = Vec::new();
    for (channel, len) in [(Channel::Command, 1), (Channel::Data, 16_384), (Channel::Data, 60_000)]
    {
        let message = vec![7; len];
        for end in &mut pair.ends {
            assert!(end.engine.write(channel, &message).unwrap());
        }
        expected.push((channel, message));
    }
    let limit = pair.now + 10 * SECOND;
    assert!(pair.run_until(limit, |pair| pair.ends.iter().all(|end| end.messages.len() == 3)));
    let limit = pair.now + SECOND;
    pair.run_until(limit, |_| false);
    for end in &mut pair.ends {
        assert_eq!(end.messages, expected);
        assert_eq!(end.engine.in_flight(), 0);
    }
}

/// What is longer than was announced reaches the session, which refuses it by name: SCTP's association
/// does not end without a word.
#[test]
fn a_message_longer_than_was_announced_is_handed_on() {
    let mut announced = pair::config();
    announced.max_message_size = 16_384;
    let unheard = |answer: String| {
        assert!(answer.contains("a=max-message-size:16384\r\n"));
        answer.replace("a=max-message-size:16384", "a=max-message-size:262144")
    };
    let latency = Duration::from_millis(1);
    let mut pair = Pair::with(&pair::config(), &announced, latency, |offer| offer, unheard);
    assert!(pair.run_until(SECOND, |pair| pair.ends.iter().all(|end| end.open.is_some())));
    let long = vec![7; 60_000];
    assert!(pair.ends[0].engine.write(Channel::Data, &long).unwrap());
    let limit = pair.now + SECOND;
    assert!(pair.run_until(limit, |pair| !pair.ends[1].messages.is_empty()));
    assert_eq!(pair.ends[1].messages, [(Channel::Data, long)]);
    assert_eq!((&pair.ends[1].error, pair.ends[1].closed), (&None, false));
}

/// What a peer did wrong is told once; then it can still be told why, and that this side hung up.
#[test]
fn a_faulty_peer_hears_last_words() {
    let mut pair = Pair::open(Duration::from_millis(1));
    // A delta on the stream of the other side.
    let faulty = pair.ends[0].engine.write_on(2, &[7; 100]);
    assert!(faulty.unwrap());
    let limit = pair.now + SECOND;
    assert!(pair.run_until(limit, |pair| pair.ends[1].error.is_some()));
    let error = pair.ends[1].error.take().unwrap();
    assert!(matches!(error, EngineError::Stream { stream: 2, .. }), "{error}");
    assert!(pair.ends[1].keeps_channels);
    assert!(pair.ends[1].engine.write(Channel::Command, b"why").unwrap());
    // What it says now is not heard.
    assert!(pair.ends[0].engine.write(Channel::Command, b"but").unwrap());
    let limit = pair.now + SECOND;
    assert!(pair.run_until(limit, |pair| !pair.ends[0].messages.is_empty()));
    assert_eq!(pair.ends[0].messages, [(Channel::Command, b"why".to_vec())]);
    assert!(!pair.ends[0].closed);
    pair.ends[1].engine.close();
    let limit = pair.now + SECOND;
    assert!(pair.run_until(limit, |pair| pair.ends[0].closed));
    assert_eq!((pair.ends[1].messages.len(), pair.ends[1].error.take()), (0, None));
}
