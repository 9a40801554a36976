//! Messages about bulk as a stranger sends them, and both sides of a transfer that are given what they say: never a panic,
//! nothing is taken that was not asked for, and what is held is bounded.

use std::sync::LazyLock;
use std::time::Duration;

use deltawire_bulk::{Incoming, Layout, MAX_ASKED_AGAIN, Outgoing, Pieces, hash_piece};
use deltawire_framing::bulk::Bulk;

/// Pieces of 1 KiB, in two groups.
const LEN: usize = 300 << 10;

/// The most that is asked for at a time.
const ROOM: usize = 64 << 10;

/// What the file would be: hashed once, not in each execution.
static LAYOUT: LazyLock<Layout> = LazyLock::new(|| {
    let root = *blake3::hash(&[7; LEN]).as_bytes();
    Layout::new(LEN as u64, root, 1_024).unwrap()
});

/// One message, and then messages one after another: each behind its length, a byte, in units of four bytes.
pub fn bulk(data: &[u8]) {
    let _ = Bulk::parse(data);
    let layout = *LAYOUT;
    let (idle, mut now) = (Duration::from_secs(30), Duration::ZERO);
    let none = Pieces::none(layout.pieces());
    let mut incoming = Incoming::new(layout, none, true, idle, now);
    let mut outgoing = Outgoing::new(layout, 0, idle, now);
    let (mut left, mut parts) = (data, 0);
    while let Some((len, rest)) = left.split_first() {
        let (message, rest) = rest.split_at(rest.len().min(4 * usize::from(*len)));
        (left, now) = (rest, now + Duration::from_millis(1));
        let room = ROOM.saturating_sub(incoming.asked_bytes());
        while incoming.poll_ask(room.min(1_024), now).is_some() {
            if incoming.asked_bytes() >= ROOM {
                break;
            }
        }
        while let Some((index, _)) = incoming.poll_look() {
            incoming.handle_looked(index, false);
        }
        match Bulk::parse(message) {
            Ok(Bulk::Ask(ask)) => {
                let _ = outgoing.handle_ask(&ask.fields(), now);
            }
            Ok(Bulk::Accept(accept)) => outgoing.handle_alive(accept.have(), now),
            Ok(Bulk::Hashes(it, hashes)) => {
                let _ = incoming.handle_hashes(it.wanted(), it.first(), hashes, now);
            }
            Ok(Bulk::Piece(piece, bytes)) => {
                let index = piece.index();
                if let Ok(hash) = incoming.handle_piece(index, bytes.len(), now) {
                    if hash_piece(&layout, index, bytes) == hash {
                        incoming.handle_written(index);
                    } else {
                        let _ = incoming.handle_wrong(index);
                    }
                }
            }
            _ => {}
        }
        assert!(incoming.asked_bytes() <= 2 * ROOM);
        // Every other time, so that asks wait too.
        if len % 2 == 0 {
            while let Some(part) = outgoing.poll_part() {
                outgoing.handle_sent(part, now);
                parts += 1;
            }
        }
        assert!(outgoing.written() <= LEN as u64);
    }
    assert!(parts <= 2 * u64::from(layout.pieces()) + MAX_ASKED_AGAIN);
    // Nobody can know what has the hash.
    assert!(incoming.written() <= LEN as u64);
}
