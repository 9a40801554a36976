//! Requests of this side's.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use deltawire_channels::Message;
use deltawire_framing::requests::{CreditOf, message_cost};

use super::held::{Held, Holding, Pinned};
use super::{Core, Granted, Reply, out_of_place, poll_with};
use crate::error::{Ended, RequestError, Violation};

pub(super) struct Asked {
    /// Of the answers, if many may come.
    granted: Option<Granted>,
    answers: VecDeque<Held>,
    /// No more come.
    done: Option<Result<(), RequestError>>,
    /// When it is too late for the first answer, and how long that was.
    deadline: Option<(Duration, Duration)>,
    waker: Option<Waker>,
}

impl Asked {
    pub(super) fn refuse(&mut self, error: RequestError, woken: &mut Vec<Waker>) -> Result<(), ()> {
        match &self.done {
            // This side gave up already, and the peer may not know.
            Some(Err(_)) => Ok(()),
            Some(Ok(())) => Err(()),
            None => {
                self.done = Some(Err(error));
                woken.extend(self.waker.take());
                Ok(())
            }
        }
    }

    pub(super) fn end(&mut self, ended: &Ended, woken: &mut Vec<Waker>) {
        if self.done.is_none() {
            let ended = ended.clone();
            self.done = Some(Err(RequestError::LinkOver { ended, may_have_run: true }));
        }
        woken.extend(self.waker.take());
    }

    fn release(self, holding: &mut Holding) {
        for held in self.answers {
            drop(holding.take(held));
        }
    }
}

impl Core {
    /// Whether one more may be asked.
    #[must_use]
    pub fn has_place_to_ask(&self) -> bool {
        self.asked.len() < self.options.max_pending
    }

    /// The number that the next request or stream has.
    #[must_use]
    pub fn next_id(&self) -> u32 {
        self.own.next()
    }

    /// A request with [`next_id`](Self::next_id) was sent: its answers are awaited until then.
    pub fn asked(&mut self, many: bool, now: Duration, timeout: Duration) -> u32 {
        let id = self.own.next();
        self.own.open();
        let deadline = now.checked_add(timeout).map(|at| (at, timeout));
        if let Some((at, _)) = deadline {
            self.deadlines.insert((at, id));
        }
        let granted = many.then(|| Granted::new(self.options.answer_window));
        let asked = Asked { granted, answers: VecDeque::new(), done: None, deadline, waker: None };
        self.asked.insert(id, asked);
        id
    }

    pub(super) fn handle_answer(
        &mut self,
        id: u32,
        more: bool,
        len: usize,
        message: Message,
    ) -> Result<(), Violation> {
        const WHAT: &str = "an answer";
        if let Some(written) = self.written.get_mut(&id) {
            let whole = !more && len == 0;
            return written
                .taken(whole, &mut self.woken)
                .map_err(|()| out_of_place("an answer to a stream that is not at its end", id));
        }
        let limit = self.options.max_answer_len;
        let Some(asked) = self.asked.get_mut(&id) else {
            return if self.own.was_opened(id) {
                Ok(())
            } else {
                Err(Violation::NeverOpened { what: WHAT, id })
            };
        };
        match &asked.done {
            Some(Ok(())) => return Err(out_of_place(WHAT, id)),
            // This side gave up already, and the peer may not know.
            Some(Err(_)) => return Ok(()),
            None => {}
        }
        match &mut asked.granted {
            Some(granted) => granted.take(message_cost(len), id)?,
            None if more => return Err(out_of_place("one answer of several", id)),
            None => {}
        }
        if let Some((at, _)) = asked.deadline.take() {
            self.deadlines.remove(&(at, id));
        }
        if len > limit {
            let error = RequestError::AnswerTooLong { len: len as u64, limit: limit as u64 };
            asked.done = Some(Err(error));
            if more {
                self.replies.push(Reply::Cancel(id));
            }
        } else {
            asked.answers.push_back(self.holding.hold(message));
            if !more {
                asked.done = Some(Ok(()));
            }
        }
        self.woken.extend(asked.waker.take());
        Ok(())
    }

    /// The next answer; `None` after the last. An error, and the end, are told once: the exchange is then gone.
    pub fn poll_answer(
        &mut self,
        id: u32,
        context: &Context<'_>,
    ) -> Poll<Result<Option<Pinned>, RequestError>> {
        let longest = message_cost(self.options.max_answer_len);
        let Some(asked) = self.asked.get_mut(&id) else { return Poll::Ready(Ok(None)) };
        if let Some(held) = asked.answers.pop_front() {
            let message = self.holding.take(held);
            if let Some(granted) = &mut asked.granted
                && asked.done.is_none()
            {
                let len = message.message().frame().request().map_or(0, |it| it.payload().len());
                let nothing_waits = asked.answers.is_empty();
                if let Some(bytes) = granted.read(message_cost(len), nothing_waits, longest) {
                    self.replies.push(Reply::Credit(id, CreditOf::Answers, bytes));
                }
            } else if asked.answers.is_empty() && asked.done == Some(Ok(())) {
                self.forget_asked(id);
            }
            return Poll::Ready(Ok(Some(message)));
        }
        match asked.done.take() {
            Some(done) => {
                self.forget_asked(id);
                Poll::Ready(done.map(|()| None))
            }
            None => poll_with(&mut asked.waker, context).map(|never| match never {}),
        }
    }

    /// Nobody waits for its answers any more.
    pub fn drop_asked(&mut self, id: u32) {
        let Some(asked) = self.asked.get(&id) else { return };
        if asked.done.is_none() {
            self.replies.push(Reply::Cancel(id));
        }
        self.forget_asked(id);
    }

    fn forget_asked(&mut self, id: u32) {
        if let Some(asked) = self.asked.remove(&id) {
            if let Some((at, _)) = asked.deadline {
                self.deadlines.remove(&(at, id));
            }
            asked.release(&mut self.holding);
            self.freed_one();
        }
    }

    pub(super) fn time_out(&mut self, id: u32) {
        if let Some(asked) = self.asked.get_mut(&id)
            && let Some((_, after)) = asked.deadline.take()
            && asked.done.is_none()
        {
            asked.done = Some(Err(RequestError::TimedOut { after, may_have_run: true }));
            self.woken.extend(asked.waker.take());
            self.replies.push(Reply::Cancel(id));
        }
    }
}
