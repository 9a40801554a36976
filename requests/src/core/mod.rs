//! What this side and its peer have asked and streamed, without I/O and without a clock: messages go in by
//! [`Core::handle`], what it has to say comes out of [`Core::reply`], and time is an argument.
//!
//! Everything is counted: exchanges by number, what waits by bytes. A peer that goes past what it was granted breaks
//! a rule ([`Violation`]); one that asks for more than there is room for is refused.

mod asked;
mod held;
mod ids;
mod read;
mod reply;
mod served;
mod written;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use deltawire_channels::Message;
use deltawire_framing::requests::{CreditOf, MAX_REFUSAL_REASON, RefusalCode, RequestMessage};

use crate::error::{Ended, RequestError, Violation};
use crate::options::RequestsOptions;
use asked::Asked;
use held::Holding;
pub use held::Pinned;
use ids::Ids;
use read::Read;
use reply::Replies;
pub use reply::{MAX_REPLIES, Reply};
use served::Served;
use written::Written;

use served::Arrival;
pub use served::Taken;

/// The state of all exchanges over one channel of one link.
pub struct Core {
    options: RequestsOptions,
    /// Those that this side opened.
    own: Ids,
    asked: HashMap<u32, Asked>,
    written: HashMap<u32, Written>,
    /// Those that the peer opened.
    peers: Ids,
    served: HashMap<u32, Served>,
    read: HashMap<u32, Read>,
    /// What nobody has taken yet of those.
    arrivals: VecDeque<Arrival>,
    arrived_bytes: usize,
    taker: Option<Waker>,
    /// Whether nobody takes any more.
    unserved: bool,
    holding: Holding,
    replies: Replies,
    deadlines: BTreeSet<(Duration, u32)>,
    /// Those that are to be woken once the lock is free.
    woken: Vec<Waker>,
    /// Places that are free since the last look.
    freed: usize,
    ended: Option<Ended>,
}

impl Core {
    /// Nothing asked yet.
    #[must_use]
    pub fn new(options: RequestsOptions) -> Self {
        let options = options.sound();
        Self {
            options,
            own: Ids::default(),
            asked: HashMap::new(),
            written: HashMap::new(),
            peers: Ids::default(),
            served: HashMap::new(),
            read: HashMap::new(),
            arrivals: VecDeque::new(),
            arrived_bytes: 0,
            taker: None,
            unserved: false,
            holding: Holding::new(options.max_uncopied),
            replies: Replies::default(),
            deadlines: BTreeSet::new(),
            woken: Vec::new(),
            freed: 0,
            ended: None,
        }
    }

    /// What bounds it.
    #[must_use]
    pub fn options(&self) -> &RequestsOptions {
        &self.options
    }

    /// Takes in a message of the peer's.
    ///
    /// # Errors
    /// When it breaks a rule: nothing more of the peer's is to be taken in, and [`end`](Self::end) is next.
    pub fn handle(&mut self, message: Message) -> Result<(), Violation> {
        if self.ended.is_some() {
            return Ok(());
        }
        let Ok(said) = message.frame().request() else { return Err(Violation::Malformed) };
        match said {
            RequestMessage::Request { id, answers, payload } => {
                let len = payload.len();
                self.handle_request(id, answers, len, message)
            }
            RequestMessage::Open { id, len, fields } => self.handle_open(id, len, fields),
            RequestMessage::Piece { id, last, payload } => {
                let len = payload.len();
                self.handle_piece(id, last, len, message)
            }
            RequestMessage::Cancel { id } => self.handle_cancel(id),
            RequestMessage::Answer { id, more, payload } => {
                let len = payload.len();
                self.handle_answer(id, more, len, message)
            }
            RequestMessage::Refused { id, code, may_have_run, reason } => {
                let error = RequestError::Refused { code, reason: reason.into(), may_have_run };
                self.handle_refused(id, error)
            }
            RequestMessage::Credit { id, of: CreditOf::Answers, bytes } => {
                self.handle_answer_credit(id, bytes)
            }
            RequestMessage::Credit { id, of: CreditOf::Pieces, bytes } => {
                self.handle_piece_credit(id, bytes)
            }
        }
    }

    /// The peer wants no more of what it opened.
    fn handle_cancel(&mut self, id: u32) -> Result<(), Violation> {
        if self.served.contains_key(&id) {
            self.cancel_served(id);
        } else if self.read.contains_key(&id) {
            self.cancel_read(id);
        } else if !self.peers.was_opened(id) {
            return Err(Violation::NeverOpened { what: "a cancel", id });
        }
        Ok(())
    }

    /// The peer refuses what this side opened.
    fn handle_refused(&mut self, id: u32, error: RequestError) -> Result<(), Violation> {
        const WHAT: &str = "a refusal";
        if let Some(asked) = self.asked.get_mut(&id) {
            asked.refuse(error, &mut self.woken).map_err(|()| out_of_place(WHAT, id))
        } else if let Some(written) = self.written.get_mut(&id) {
            written.refuse(error, &mut self.woken).map_err(|()| out_of_place(WHAT, id))
        } else if self.own.was_opened(id) {
            // It was dropped on this side meanwhile.
            Ok(())
        } else {
            Err(Violation::NeverOpened { what: WHAT, id })
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Ends what is not answered in time.
    pub fn handle_timeout(&mut self, now: Duration) {
        while let Some(&(at, id)) = self.deadlines.first().filter(|(at, _)| *at <= now) {
            self.deadlines.remove(&(at, id));
            self.time_out(id);
        }
    }

    /// The next thing to say, which waits until [`replied`](Self::replied).
    #[must_use]
    pub fn reply(&self) -> Option<&Reply> {
        self.replies.front()
    }

    /// It was said.
    pub fn replied(&mut self) {
        self.replies.pop_front();
    }

    /// It cannot be said at such length: its reason goes.
    pub fn shorten_reply(&mut self) {
        self.replies.shorten_front();
    }

    /// How many things are to be said, beside refusals that were given [for want of room](MAX_REPLIES).
    #[must_use]
    pub fn waiting_replies(&self) -> usize {
        self.replies.len()
    }

    /// Nobody hears any more what is to be said.
    pub fn forget_replies(&mut self) {
        self.replies.clear();
    }

    fn refuse(&mut self, id: u32, code: RefusalCode, mut reason: String, may_have_run: bool) {
        // As much as is sent: no more of it waits.
        reason.truncate(reason.floor_char_boundary(MAX_REFUSAL_REASON));
        reason.shrink_to_fit();
        self.replies.push(Reply::Refused { id, code, reason, may_have_run });
    }

    /// Nothing more goes either way. What came can still be taken.
    pub fn end(&mut self, ended: Ended) {
        if self.ended.is_some() {
            return;
        }
        self.replies.clear();
        self.deadlines.clear();
        for asked in self.asked.values_mut() {
            asked.end(&ended, &mut self.woken);
        }
        for written in self.written.values_mut() {
            written.end(&ended, &mut self.woken);
        }
        for served in self.served.values_mut() {
            served.end(&mut self.woken);
        }
        for read in self.read.values_mut() {
            read.end(&ended, &mut self.woken);
        }
        self.woken.extend(self.taker.take());
        self.ended = Some(ended);
        self.freed = usize::MAX;
    }

    /// Why nothing more goes.
    #[must_use]
    pub fn ended(&self) -> Option<&Ended> {
        self.ended.as_ref()
    }

    /// An error for what was not sent because it is over.
    pub fn check_open(&self) -> Result<(), RequestError> {
        match &self.ended {
            None => Ok(()),
            Some(ended) => {
                Err(RequestError::LinkOver { ended: ended.clone(), may_have_run: false })
            }
        }
    }

    /// Those to wake, and how many places have become free.
    pub fn take_woken(&mut self) -> (Vec<Waker>, usize) {
        (core::mem::take(&mut self.woken), core::mem::take(&mut self.freed))
    }

    /// Bytes that wait here: of requests, answers and pieces.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.holding.bytes()
    }

    /// Exchanges that are open, of both sides.
    #[must_use]
    pub fn open_exchanges(&self) -> usize {
        self.asked.len() + self.written.len() + self.served.len() + self.read.len()
    }

    fn freed_one(&mut self) {
        self.freed = self.freed.saturating_add(1);
    }
}

fn out_of_place(what: &'static str, id: u32) -> Violation {
    Violation::OutOfPlace { what, id }
}

/// Credits of an exchange are never more.
const MAX_CREDIT: u64 = 1 << 62;

/// Adds to a credit.
fn grant(credit: &mut u64, bytes: u32, id: u32) -> Result<(), Violation> {
    let sum = credit.saturating_add(bytes.into());
    if sum > MAX_CREDIT {
        return Err(Violation::TooMuchCredit { id });
    }
    *credit = sum;
    Ok(())
}

/// What a reader of answers or pieces may have the other side send, and what it has read since it last said so.
struct Granted {
    left: u64,
    owed: u64,
    window: u32,
}

impl Granted {
    fn new(window: u32) -> Self {
        Self { left: window.into(), owed: 0, window }
    }

    /// A message came.
    fn take(&mut self, cost: u64, id: u32) -> Result<(), Violation> {
        match self.left.checked_sub(cost) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Violation::Credit { id, cost, credit: self.left }),
        }
    }

    /// A message was read: says how much to grant now, if it is worth it or the other side may wait for it.
    fn read(&mut self, cost: u64, nothing_waits: bool, longest: u64) -> Option<u32> {
        self.owed += cost;
        let due = self.owed >= u64::from(self.window) / 2 || nothing_waits && self.left < longest;
        if !due {
            return None;
        }
        let owed = core::mem::take(&mut self.owed);
        self.left += owed;
        u32::try_from(owed).ok()
    }
}

fn poll_with(waker: &mut Option<Waker>, context: &Context<'_>) -> Poll<core::convert::Infallible> {
    match waker {
        Some(waker) => waker.clone_from(context.waker()),
        None => *waker = Some(context.waker().clone()),
    }
    Poll::Pending
}

#[cfg(test)]
mod tests;
