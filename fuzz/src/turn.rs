//! What a STUN or TURN server says.

use std::net::SocketAddr;
use std::time::Duration;

use deltawire_turn::{
    Allocation, AllocationConfig, Frames, MAX_CHANNELS, MAX_FRAME, MAX_HELD, MAX_PERMISSIONS,
    Transport, read_binding, read_message,
};

/// Where an answer names the request that it is to, if it has nothing there: that of the latest.
const TRANSACTION: std::ops::Range<usize> = 8..20;

/// What all of a link's requests and what waits for them come to.
const MOST: usize = MAX_PERMISSIONS + MAX_CHANNELS + MAX_HELD + 2;

pub fn turn(data: &[u8]) {
    let whole = cut(data, usize::MAX);
    for step in [1, 5] {
        assert!(cut(data, step) == whole, "cut after {step} bytes");
    }
    read_message(data);
    let _ = read_binding(data);
    for transport in [Transport::Udp, Transport::Tcp] {
        talk(&whole.0, transport);
    }
}

/// The messages of a stream, and whether it is none any more.
fn cut(data: &[u8], step: usize) -> (Vec<Vec<u8>>, bool) {
    let (mut frames, mut messages) = (Frames::default(), Vec::new());
    for piece in data.chunks(step) {
        let taken = frames.handle(piece, |message| {
            assert!(message.len() <= MAX_FRAME);
            messages.push(message.to_vec());
        });
        if taken.is_err() {
            return (messages, true);
        }
    }
    (messages, false)
}

/// Has an allocation hear all of them, and send all the while.
fn talk(messages: &[Vec<u8>], transport: Transport) {
    let (username, credential) = ("me".to_owned(), "secret".to_owned());
    let config = AllocationConfig { transport, username, credential, ipv6: false, seed: [7; 32] };
    let mut now = Duration::ZERO;
    let mut allocation = Allocation::new(config, now);
    let mut latest = Vec::new();
    for (number, message) in messages.iter().enumerate() {
        let mut said = 0;
        while let Some(request) = allocation.poll_transmit() {
            said += 1;
            latest = request;
        }
        assert!(said <= MOST, "{said} messages at a time");
        let mut message = message.clone();
        if let Some(place) = message.get_mut(TRANSACTION)
            && place.iter().all(|byte| *byte == 0)
            && let Some(name) = latest.get(TRANSACTION)
        {
            place.copy_from_slice(name);
        }
        if let Some((_, came)) = allocation.handle_message(&message, now) {
            assert!(came.len() < message.len());
        }
        let peer = SocketAddr::from(([198, 51, 100, number as u8], 7));
        allocation.send(peer, &message, now);
        allocation.bind(peer, now);
        if let Some(next) = allocation.poll_timeout() {
            now = now.max(next);
        }
        allocation.handle_timeout(now);
        allocation.poll_event();
    }
    allocation.close(now);
    while let Some(next) = allocation.poll_timeout() {
        assert!(next > now && next < now + Duration::from_secs(3), "it does not end");
        now = next;
        allocation.handle_timeout(now);
        while allocation.poll_transmit().is_some() {}
    }
    assert!(allocation.is_over());
}
