//! What a session takes that has nothing to do.

use std::time::Duration;

use allocation_counter::measure;
use deltawire_channels::session::Event;
use deltawire_channels::{Peer, Session};
use deltawire_framing::{DeltaFields, DocId};

use crate::pipe::configs;

/// What a session and its peer's handle may take, bytes, themselves included: as `docs/LIMITS.md` says.
const IDLE: usize = 12 * 1_024;

/// What a channel takes beside, bytes, once something came; and once something came in fragments.
const ARRIVED: usize = 6 * 1_024;
const FRAGMENTS: usize = 15 * 1_024;

const NOW: Duration = Duration::ZERO;

fn pass_on(from: &mut Session, to: &mut Session) {
    while let Some(message) = from.poll_transmit(1 << 14) {
        let (channel, bytes) = (message.channel(), message.to_vec());
        drop(message);
        to.handle_message(channel, bytes, NOW);
    }
}

/// Two ends that have said hello, and nothing else.
fn greeted() -> [(Session, Peer); 2] {
    let mut ends = configs().map(|config| Session::new(config, NOW).unwrap());
    let [(one, _), (other, _)] = &mut ends;
    pass_on(one, other);
    pass_on(other, one);
    for session in [one, other] {
        assert!(matches!(session.poll_event(), Some(Event::Opened(_))));
        assert!(session.poll_transmit(1 << 14).is_none());
    }
    ends
}

#[test]
fn an_idle_session_takes_little() {
    let mut ends = None;
    let info = measure(|| ends = Some(greeted()));
    let allocated = usize::try_from(info.bytes_current).unwrap() / 2;
    let held = allocated + size_of::<(Session, Peer)>();
    assert!(held <= IDLE, "{held} bytes, of which {allocated} are allocated");
}

#[test]
fn a_channel_takes_memory_for_its_queues_with_the_first_that_comes() {
    for (len, most) in [(100, ARRIVED), (20_000, ARRIVED + FRAGMENTS)] {
        let [(mut one, mut ones), (mut other, mut others)] = greeted();
        ones.send.try_send(DeltaFields::new(DocId([7; 16])), &vec![1; len]).unwrap();
        let mut messages = Vec::new();
        while let Some(message) = one.poll_transmit(1 << 14) {
            messages.push((message.channel(), message.to_vec()));
        }
        let info = measure(|| {
            for (channel, message) in &messages {
                other.handle_message(*channel, message.clone(), NOW);
            }
            assert!(others.receive.try_next().is_ok());
            others.receive.release();
        });
        // The buffer of a message that came in fragments is kept for the next.
        let kept = if messages.len() > 1 { len } else { 0 };
        let taken = usize::try_from(info.bytes_current).unwrap() - kept;
        assert!(taken <= most, "{taken} bytes for a message of {len}");
    }
}
