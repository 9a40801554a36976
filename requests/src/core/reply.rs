//! What is to be said without anybody waiting for it.

use std::collections::VecDeque;

use deltawire_framing::requests::{CreditOf, RefusalCode, RequestMessage};

use super::ids::Ids;

/// Replies that may wait for room; past it all that the peer opens is refused, until they have gone.
pub const MAX_REPLIES: usize = 1_024;

/// What is to be said without anybody waiting for it.
#[derive(Debug)]
pub enum Reply {
    /// A request or stream of the peer's is refused.
    Refused {
        /// The exchange.
        id: u32,
        /// Why.
        code: RefusalCode,
        /// Why, for people.
        reason: String,
        /// Whether the application saw it.
        may_have_run: bool,
    },
    /// This side wants no more answers, or sends no more of a stream.
    Cancel(u32),
    /// The peer may send more.
    Credit(u32, CreditOf, u32),
    /// All of a stream of the peer's was read.
    Taken(u32),
}

impl Reply {
    /// What it says on the wire.
    #[must_use]
    pub fn message(&self) -> RequestMessage<'_> {
        match self {
            Self::Refused { id, code, reason, may_have_run } => RequestMessage::Refused {
                id: *id,
                code: *code,
                may_have_run: *may_have_run,
                reason,
            },
            Self::Cancel(id) => RequestMessage::Cancel { id: *id },
            Self::Credit(id, of, bytes) => {
                RequestMessage::Credit { id: *id, of: *of, bytes: *bytes }
            }
            Self::Taken(id) => RequestMessage::Answer { id: *id, more: false, payload: &[] },
        }
    }
}

/// Replies that wait for room. However much a peer says that takes no replies, they are bounded: each exchange has a few at a
/// time, and what is opened while they are [too many](Self::is_full) is refused by number only.
///
/// So what the peer says is always taken in: two sides that waited with that for each other's room would wait for ever.
#[derive(Default)]
pub(super) struct Replies {
    queue: VecDeque<Reply>,
    /// Behind those of the queue.
    refused: VecDeque<Run>,
}

/// Refusals of exchanges one after another: all that came while there was too much to say.
struct Run {
    next: Reply,
    /// How many there are, with the next.
    left: u64,
    /// The last one.
    last: u32,
}

/// Runs of refusals that may wait: while there are so many nothing is taken in between.
const MAX_RUNS: usize = 64;

impl Replies {
    pub(super) fn front(&self) -> Option<&Reply> {
        self.queue.front().or_else(|| self.refused.front().map(|run| &run.next))
    }

    pub(super) fn pop_front(&mut self) {
        if self.queue.pop_front().is_some() {
            return;
        }
        if let Some(run) = self.refused.front_mut() {
            run.left -= 1;
            match &mut run.next {
                Reply::Refused { id, .. } if run.left > 0 => *id = Ids::after(*id),
                _ => drop(self.refused.pop_front()),
            }
        }
    }

    /// The next cannot be said at such length: its reason goes.
    pub(super) fn shorten_front(&mut self) {
        let front = self.queue.front_mut();
        let front = front.or_else(|| self.refused.front_mut().map(|run| &mut run.next));
        if let Some(Reply::Refused { reason, .. }) = front {
            reason.clear();
        }
    }

    pub(super) fn push(&mut self, reply: Reply) {
        if let Reply::Credit(of_id, of_what, bytes) = reply {
            for waiting in &mut self.queue {
                if let Reply::Credit(id, what, sum) = waiting
                    && (*id, *what) == (of_id, of_what)
                    && let Some(both) = sum.checked_add(bytes)
                {
                    *sum = both;
                    return;
                }
            }
        }
        self.queue.push_back(reply);
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether all that the peer opens is to be [refused](Self::refuse_opened).
    pub(super) fn is_full(&self) -> bool {
        self.refused.len() >= MAX_RUNS || self.queue.len() >= MAX_REPLIES
    }

    /// Refuses what the peer has just opened. There is a place for it: once there are as many runs as there may be, each exchange
    /// follows the one before.
    pub(super) fn refuse_opened(&mut self, id: u32) {
        match self.refused.back_mut() {
            Some(run) if id == Ids::after(run.last) => (run.left, run.last) = (run.left + 1, id),
            _ => {
                let (code, reason) = (RefusalCode::TOO_MANY, "too many refusals wait".to_owned());
                let next = Reply::Refused { id, code, reason, may_have_run: false };
                self.refused.push_back(Run { next, left: 1, last: id });
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.queue.clear();
        self.refused.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_of(replies: &Replies) -> Option<u32> {
        match replies.front()? {
            Reply::Refused { id, .. } | Reply::Cancel(id) => Some(*id),
            other => panic!("{other:?}"),
        }
    }

    /// Each that is opened is refused once, and what waits is bounded, however it goes.
    #[test]
    fn each_is_refused_once_in_bounded_room() {
        let (mut replies, mut seed) = (Replies::default(), 7_u64);
        // Ids begin anew on the way.
        let (mut opened, mut told) = (u32::MAX - 50_000, Vec::new());
        let first = opened;
        for _ in 0..200_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (dice, drains) = (seed >> 33, seed >> 60 < 7);
            if dice % 100 < 60 {
                if replies.is_full() {
                    replies.refuse_opened(opened);
                } else {
                    replies.push(Reply::Cancel(opened));
                }
                opened = Ids::after(opened);
            } else if drains {
                told.extend(id_of(&replies));
                replies.pop_front();
            }
            assert!(replies.queue.len() <= MAX_REPLIES && replies.refused.len() <= MAX_RUNS);
        }
        let waiting =
            replies.queue.len() as u64 + replies.refused.iter().map(|run| run.left).sum::<u64>();
        assert!(waiting > 10_000, "{waiting}");
        while let Some(id) = id_of(&replies) {
            told.push(id);
            replies.pop_front();
        }
        told.sort_by_key(|id| id.wrapping_sub(first) as u64);
        told.dedup();
        let expected = opened.wrapping_sub(first) - 1;
        assert_eq!(told.len() as u32, expected, "0 is not one");
    }
}
