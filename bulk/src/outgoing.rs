//! The side that has the file, without files, clocks and tasks.

use std::collections::VecDeque;
use std::time::Duration;

use deltawire_framing::bulk::{AskFields, Wanted};

use crate::layout::Layout;

/// Runs of parts that may wait to be sent, a transfer. What follows the last run belongs to it, and what came wrong is asked
/// for alone, so a receiver of ours has as many as pieces that came wrong, and a few more.
pub const MAX_ASKS: usize = 256;

/// Parts that may be asked for once more, a transfer. A receiver of ours asks for at most 192.
pub const MAX_ASKED_AGAIN: u64 = 1_024;

/// What the peer has no right to: it ends the transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("out of place: {0}")]
pub struct Misplaced(pub &'static str);

/// A part of a file, to be read and sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The bytes of a piece.
    Piece(u32),
    /// The hashes of a group's pieces.
    PieceHashes(u32),
    /// The hashes of all groups.
    GroupHashes,
}

/// A transfer, seen from the side that has the file: it sends what it is asked for.
///
/// [`handle_ask`](Self::handle_ask) takes what the peer wants in; [`poll_part`](Self::poll_part) says what to send next;
/// [`handle_sent`](Self::handle_sent) is told when that is under way. When [`poll_timeout`](Self::poll_timeout) is over,
/// [`is_idle`](Self::is_idle) says whether to give up.
#[derive(Clone, Debug)]
pub struct Outgoing {
    layout: Layout,
    idle: Duration,
    /// What was asked for and is not sent.
    asks: VecDeque<Run>,
    /// Parts that were asked for so far.
    asked: u64,
    /// Bytes of pieces that were sent, those that were sent again as well.
    sent: u64,
    /// Bytes that the peer says to have.
    written: u64,
    /// When something happened last.
    since: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    wanted: Wanted,
    first: u32,
    count: u32,
}

impl Outgoing {
    /// A transfer that its peer has just accepted, of which it has so many bytes already. It is idle when nothing happens
    /// for as long as `idle`.
    #[must_use]
    pub fn new(layout: Layout, have: u64, idle: Duration, now: Duration) -> Self {
        let written = have.min(layout.len());
        Self { layout, idle, asks: VecDeque::new(), asked: 0, sent: 0, written, since: now }
    }

    /// How the file is cut.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Takes in that the peer is still there, and how much it has.
    pub fn handle_alive(&mut self, have: u64, now: Duration) {
        self.since = now;
        self.written = self.written.max(have.min(self.layout.len()));
    }

    /// Takes in what the peer wants.
    ///
    /// # Errors
    /// When there is no such part, or more is asked for than an honest receiver does.
    pub fn handle_ask(&mut self, ask: &AskFields, now: Duration) -> Result<(), Misplaced> {
        let AskFields { wanted, first, count, written, .. } = *ask;
        let parts = match wanted {
            Wanted::Pieces => self.layout.pieces(),
            Wanted::PieceHashes => self.layout.groups(),
            Wanted::GroupHashes => self.layout.groups().min(1),
        };
        if first >= parts || count > parts - first {
            return Err(Misplaced("an ask for a part that the file does not have"));
        }
        self.asked = self.asked.saturating_add(count.into());
        let once = u64::from(self.layout.pieces()) + u64::from(self.layout.groups()) + 1;
        if self.asked > once + MAX_ASKED_AGAIN {
            return Err(Misplaced("the same parts were asked for again and again"));
        }
        let waiting = self.asks.len();
        match self.asks.back_mut() {
            Some(last) if last.wanted == wanted && last.first + last.count == first => {
                last.count += count;
            }
            _ if waiting >= MAX_ASKS => return Err(Misplaced("more asks than may wait")),
            _ => self.asks.push_back(Run { wanted, first, count }),
        }
        self.handle_alive(written, now);
        Ok(())
    }

    /// Whether something waits to be sent.
    #[must_use]
    pub fn has_part(&self) -> bool {
        !self.asks.is_empty()
    }

    /// What to send next. What it gave is to be sent.
    pub fn poll_part(&mut self) -> Option<Part> {
        let run = self.asks.front_mut()?;
        let part = match run.wanted {
            Wanted::Pieces => Part::Piece(run.first),
            Wanted::PieceHashes => Part::PieceHashes(run.first),
            Wanted::GroupHashes => Part::GroupHashes,
        };
        run.first += 1;
        run.count -= 1;
        if run.count == 0 {
            self.asks.pop_front();
        }
        Some(part)
    }

    /// Takes in that a part is under way.
    pub fn handle_sent(&mut self, part: Part, now: Duration) {
        self.since = now;
        if let Part::Piece(index) = part {
            self.sent += self.layout.len_of(index) as u64;
        }
    }

    /// Bytes of pieces that were sent.
    #[must_use]
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// Bytes that the peer has checked and written.
    #[must_use]
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// When to look whether it is idle.
    #[must_use]
    pub fn poll_timeout(&self) -> Duration {
        self.since.saturating_add(self.idle)
    }

    /// Whether nothing happened for too long.
    #[must_use]
    pub fn is_idle(&self, now: Duration) -> bool {
        now >= self.poll_timeout()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(30);

    fn outgoing() -> Outgoing {
        let layout = Layout::new(1_000 * 1_024 + 5, [1; 32], 1_024).unwrap();
        Outgoing::new(layout, 0, IDLE, Duration::ZERO)
    }

    fn ask(wanted: Wanted, first: u32, count: u32) -> AskFields {
        AskFields { id: 1, wanted, first, count, written: 0 }
    }

    #[test]
    fn it_sends_what_it_is_asked_for() {
        let mut outgoing = outgoing();
        outgoing.handle_ask(&ask(Wanted::GroupHashes, 0, 1), Duration::ZERO).unwrap();
        outgoing.handle_ask(&ask(Wanted::PieceHashes, 3, 1), Duration::ZERO).unwrap();
        outgoing.handle_ask(&ask(Wanted::Pieces, 999, 2), Duration::ZERO).unwrap();
        let parts: Vec<Part> = std::iter::from_fn(|| outgoing.poll_part()).collect();
        let pieces = [Part::Piece(999), Part::Piece(1_000)];
        assert_eq!(parts, [&[Part::GroupHashes, Part::PieceHashes(3)][..], &pieces].concat());
        for piece in pieces {
            outgoing.handle_sent(piece, Duration::ZERO);
        }
        assert_eq!(outgoing.sent(), 1_024 + 5);
    }

    #[test]
    fn what_has_no_place_is_refused() {
        let mut outgoing = outgoing();
        for (wanted, first, count) in [
            (Wanted::Pieces, 1_001, 1),
            (Wanted::Pieces, 0, 1_002),
            (Wanted::Pieces, u32::MAX, 1),
            (Wanted::Pieces, 1, u32::MAX),
            (Wanted::PieceHashes, 4, 1),
            (Wanted::GroupHashes, 1, 1),
            (Wanted::GroupHashes, 0, 2),
        ] {
            let refused = outgoing.handle_ask(&ask(wanted, first, count), Duration::ZERO);
            assert!(refused.is_err(), "{wanted:?} {first} {count}");
        }
        assert!(!outgoing.has_part());
        for _ in 0..MAX_ASKS {
            outgoing.handle_ask(&ask(Wanted::Pieces, 0, 1), Duration::ZERO).unwrap();
        }
        let more = outgoing.handle_ask(&ask(Wanted::Pieces, 0, 1), Duration::ZERO);
        assert_eq!(more, Err(Misplaced("more asks than may wait")));
    }

    #[test]
    fn nobody_can_have_it_send_for_ever() {
        let mut outgoing = outgoing();
        let mut taken = 0;
        while outgoing.handle_ask(&ask(Wanted::Pieces, 7, 1), Duration::ZERO).is_ok() {
            assert_eq!(outgoing.poll_part(), Some(Part::Piece(7)));
            taken += 1;
        }
        assert_eq!(taken, 1_001 + 4 + 1 + MAX_ASKED_AGAIN);
    }

    #[test]
    fn it_is_idle_when_nothing_happens() {
        let mut outgoing = outgoing();
        assert!(!outgoing.is_idle(IDLE - Duration::from_nanos(1)) && outgoing.is_idle(IDLE));
        outgoing.handle_ask(&ask(Wanted::Pieces, 7, 1), IDLE).unwrap();
        assert_eq!(outgoing.poll_timeout(), 2 * IDLE);
        outgoing.handle_sent(Part::Piece(7), 2 * IDLE);
        assert_eq!(outgoing.poll_timeout(), 3 * IDLE);
        outgoing.handle_alive(900, 3 * IDLE);
        assert_eq!((outgoing.poll_timeout(), outgoing.written()), (4 * IDLE, 900));
    }
}
