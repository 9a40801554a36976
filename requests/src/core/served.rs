//! Requests of the peer's.

use std::task::{Context, Poll, Waker};

use deltawire_channels::Message;
use deltawire_framing::DeltaFields;
use deltawire_framing::requests::{MESSAGE_OVERHEAD, RefusalCode};

use super::held::{Held, Pinned};
use super::{Core, grant, out_of_place, poll_with};
use crate::error::{RequestError, Violation};

pub(super) struct Served {
    /// How much the answers may take, if many may go.
    credit: Option<u64>,
    /// The longest answer that ever has room, of many.
    window: u64,
    cancelled: bool,
    ended: bool,
    /// Waits for credit.
    waker: Option<Waker>,
    /// Waits for it to be cancelled.
    cancel_waker: Option<Waker>,
}

impl Served {
    fn wake(&mut self, woken: &mut Vec<Waker>) {
        woken.extend(self.waker.take());
        woken.extend(self.cancel_waker.take());
    }

    pub(super) fn end(&mut self, woken: &mut Vec<Waker>) {
        self.ended = true;
        self.wake(woken);
    }
}

/// What the peer opened and nobody has taken yet.
pub(super) enum Arrival {
    /// A request.
    Request {
        /// Its number.
        id: u32,
        /// Whether many answers may go.
        many: bool,
        /// What waits.
        held: HeldRequest,
    },
    /// A stream.
    Stream {
        /// Its number.
        id: u32,
        /// How long it is, if that is known.
        len: Option<u64>,
        /// What it says of itself.
        fields: DeltaFields,
    },
}

/// A request's message, which waits.
pub(super) struct HeldRequest(Held, usize);

/// What was taken.
pub enum Taken {
    /// A request.
    Request {
        /// Its number.
        id: u32,
        /// Whether many answers may go.
        many: bool,
        /// The message.
        message: Pinned,
    },
    /// A stream.
    Stream {
        /// Its number.
        id: u32,
        /// How long it is, if that is known.
        len: Option<u64>,
        /// What it says of itself.
        fields: DeltaFields,
    },
}

impl Core {
    /// The exchange has the number that it must have.
    pub(super) fn open_peers(&mut self, id: u32) -> Result<(), Violation> {
        let expected = self.peers.next();
        if id != expected || self.served.contains_key(&id) || self.read.contains_key(&id) {
            return Err(Violation::Id { id, expected });
        }
        self.peers.open();
        Ok(())
    }

    pub(super) fn handle_request(
        &mut self,
        id: u32,
        answers: Option<u32>,
        len: usize,
        message: Message,
    ) -> Result<(), Violation> {
        self.open_peers(id)?;
        if self.replies.is_full() {
            self.replies.refuse_opened(id);
            return Ok(());
        }
        let bytes = len.saturating_add(MESSAGE_OVERHEAD as usize);
        let limits = &self.options;
        let refused = if self.unserved {
            Some((RefusalCode::NOT_SERVED, String::new()))
        } else if len > limits.max_request_len {
            let limit = limits.max_request_len;
            Some((RefusalCode::TOO_LONG, format!("max_request_len is {limit} bytes")))
        } else if self.served.len() >= limits.max_incoming {
            let limit = limits.max_incoming;
            Some((RefusalCode::TOO_MANY, format!("max_incoming is {limit}")))
        } else if self.arrived_bytes.saturating_add(bytes) > limits.max_incoming_bytes {
            let limit = limits.max_incoming_bytes;
            Some((RefusalCode::TOO_MANY, format!("max_incoming_bytes is {limit}")))
        } else {
            None
        };
        if let Some((code, reason)) = refused {
            self.refuse(id, code, reason, false);
            return Ok(());
        }
        let credit = answers.map(u64::from);
        let served = Served {
            credit,
            window: credit.unwrap_or(u64::MAX),
            cancelled: false,
            ended: false,
            waker: None,
            cancel_waker: None,
        };
        self.served.insert(id, served);
        self.arrived_bytes += bytes;
        let held = HeldRequest(self.holding.hold(message), bytes);
        self.arrivals.push_back(Arrival::Request { id, many: credit.is_some(), held });
        self.woken.extend(self.taker.take());
        Ok(())
    }

    pub(super) fn arrived_stream(&mut self, id: u32, len: Option<u64>, fields: DeltaFields) {
        self.arrivals.push_back(Arrival::Stream { id, len, fields });
        self.woken.extend(self.taker.take());
    }

    /// What the peer opened next; `None` when nothing comes any more.
    pub fn poll_arrival(&mut self, context: &Context<'_>) -> Poll<Option<Taken>> {
        match self.arrivals.pop_front() {
            Some(arrival) => Poll::Ready(Some(self.take_arrival(arrival))),
            None if self.ended.is_some() => Poll::Ready(None),
            None => poll_with(&mut self.taker, context).map(|never| match never {}),
        }
    }

    fn take_arrival(&mut self, arrival: Arrival) -> Taken {
        match arrival {
            Arrival::Request { id, many, held: HeldRequest(held, bytes) } => {
                self.arrived_bytes -= bytes;
                Taken::Request { id, many, message: self.holding.take(held) }
            }
            Arrival::Stream { id, len, fields } => Taken::Stream { id, len, fields },
        }
    }

    /// Nobody takes them any more: those that wait are refused, as are those that come.
    pub fn stop_serving(&mut self) {
        self.unserved = true;
        while let Some(arrival) = self.arrivals.pop_front() {
            match self.take_arrival(arrival) {
                Taken::Request { id, .. } => {
                    self.served.remove(&id);
                    self.refuse_if_open(id, false);
                }
                Taken::Stream { id, .. } => {
                    self.forget_read(id);
                    self.refuse_if_open(id, false);
                }
            }
        }
    }

    fn refuse_if_open(&mut self, id: u32, may_have_run: bool) {
        if self.ended.is_none() {
            self.refuse(id, RefusalCode::NOT_SERVED, String::new(), may_have_run);
        }
    }

    pub(super) fn cancel_served(&mut self, id: u32) {
        let waits = self
            .arrivals
            .iter()
            .position(|it| matches!(it, Arrival::Request { id: of, .. } if *of == id));
        if let Some(arrival) = waits.and_then(|at| self.arrivals.remove(at)) {
            drop(self.take_arrival(arrival));
            self.served.remove(&id);
        } else if let Some(served) = self.served.get_mut(&id) {
            served.cancelled = true;
            served.wake(&mut self.woken);
        }
    }

    pub(super) fn handle_answer_credit(&mut self, id: u32, bytes: u32) -> Result<(), Violation> {
        const WHAT: &str = "a credit for answers";
        match self.served.get_mut(&id) {
            Some(Served { credit: Some(credit), waker, .. }) => {
                grant(credit, bytes, id)?;
                self.woken.extend(waker.take());
                Ok(())
            }
            Some(_) => Err(out_of_place(WHAT, id)),
            None if self.read.contains_key(&id) => Err(out_of_place(WHAT, id)),
            None if self.peers.was_opened(id) => Ok(()),
            None => Err(Violation::NeverOpened { what: WHAT, id }),
        }
    }

    /// Whether an answer that takes `cost` may go now.
    pub fn check_answer(&self, id: u32, cost: u64) -> Result<bool, RequestError> {
        let Some(served) = self.served.get(&id) else { return Err(RequestError::Cancelled) };
        if served.cancelled {
            return Err(RequestError::Cancelled);
        }
        self.check_open()?;
        if cost > served.window {
            let overhead = u64::from(MESSAGE_OVERHEAD);
            let limit = served.window.saturating_sub(overhead);
            return Err(RequestError::TooLong { len: cost - overhead, limit });
        }
        Ok(served.credit.is_none_or(|credit| cost <= credit))
    }

    /// Waits until it may.
    pub fn poll_answer_room(
        &mut self,
        id: u32,
        cost: u64,
        context: &Context<'_>,
    ) -> Poll<Result<(), RequestError>> {
        if self.check_answer(id, cost)? {
            return Poll::Ready(Ok(()));
        }
        match self.served.get_mut(&id) {
            Some(served) => poll_with(&mut served.waker, context).map(|never| match never {}),
            None => Poll::Ready(Err(RequestError::Cancelled)),
        }
    }

    /// An answer was sent.
    pub fn answered(&mut self, id: u32, cost: u64, more: bool) {
        if !more {
            self.served.remove(&id);
        } else if let Some(Served { credit: Some(credit), .. }) = self.served.get_mut(&id) {
            *credit = credit.saturating_sub(cost);
        }
    }

    /// Refuses a request that was taken, unless it was answered or cancelled.
    pub fn refuse_served(&mut self, id: u32, code: RefusalCode, reason: String) {
        if let Some(served) = self.served.remove(&id)
            && !served.cancelled
            && self.ended.is_none()
        {
            self.refuse(id, code, reason, true);
        }
    }

    /// Ready when nobody waits for the answer any more.
    pub fn poll_cancelled(&mut self, id: u32, context: &Context<'_>) -> Poll<()> {
        match self.served.get_mut(&id) {
            Some(served) if !served.cancelled && !served.ended => {
                poll_with(&mut served.cancel_waker, context).map(|never| match never {})
            }
            _ => Poll::Ready(()),
        }
    }
}
