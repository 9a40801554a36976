//! Streams of this side's.

use std::task::{Context, Poll, Waker};

use deltawire_framing::requests::{MESSAGE_OVERHEAD, message_cost};

use super::{Core, Reply, grant, out_of_place, poll_with};
use crate::error::{Ended, RequestError, Violation};

/// The longest piece: with its headers it is a frame of the default length.
const MAX_PIECE: usize = 16_384 - 32;

pub(super) struct Written {
    len: Option<u64>,
    sent: u64,
    credit: u64,
    /// Its last piece was sent.
    finished: bool,
    /// All of it was read, or none of it is wanted any more.
    done: Option<Result<(), RequestError>>,
    waker: Option<Waker>,
}

impl Written {
    pub(super) fn refuse(&mut self, error: RequestError, woken: &mut Vec<Waker>) -> Result<(), ()> {
        if self.done.is_some() {
            return Err(());
        }
        self.done = Some(Err(error));
        woken.extend(self.waker.take());
        Ok(())
    }

    pub(super) fn taken(&mut self, whole: bool, woken: &mut Vec<Waker>) -> Result<(), ()> {
        if !whole || !self.finished || self.done.is_some() {
            return Err(());
        }
        self.done = Some(Ok(()));
        woken.extend(self.waker.take());
        Ok(())
    }

    pub(super) fn end(&mut self, ended: &Ended, woken: &mut Vec<Waker>) {
        if self.done.is_none() {
            let ended = ended.clone();
            self.done = Some(Err(RequestError::LinkOver { ended, may_have_run: true }));
        }
        woken.extend(self.waker.take());
    }
}

impl Core {
    /// Whether one more stream may be announced.
    #[must_use]
    pub fn has_place_to_write(&self) -> bool {
        self.written.len() < self.options.max_streams
    }

    /// A stream with [`next_id`](Self::next_id) was announced.
    pub fn wrote_open(&mut self, len: Option<u64>) -> u32 {
        let id = self.own.next();
        self.own.open();
        let written = Written { len, sent: 0, credit: 0, finished: false, done: None, waker: None };
        self.written.insert(id, written);
        id
    }

    pub(super) fn handle_piece_credit(&mut self, id: u32, bytes: u32) -> Result<(), Violation> {
        const WHAT: &str = "a credit for pieces";
        match self.written.get_mut(&id) {
            Some(written) => {
                grant(&mut written.credit, bytes, id)?;
                self.woken.extend(written.waker.take());
                Ok(())
            }
            None if self.asked.contains_key(&id) => Err(out_of_place(WHAT, id)),
            None if self.own.was_opened(id) => Ok(()),
            None => Err(Violation::NeverOpened { what: WHAT, id }),
        }
    }

    /// How many bytes of `rest` the next piece may have; 0 where it has to wait. Of the last piece also how many it
    /// may have, when `rest` is 0.
    pub fn check_piece(&self, id: u32, rest: usize) -> Result<Option<usize>, RequestError> {
        let Some(written) = self.written.get(&id) else { return Err(RequestError::Cancelled) };
        if let Some(Err(error)) = &written.done {
            return Err(error.clone());
        }
        self.check_open()?;
        if let Some(len) = written.len {
            let would = written.sent.saturating_add(rest as u64);
            if would > len {
                return Err(RequestError::WrongLength { len, written: would });
            }
        }
        let room = written.credit.checked_sub(MESSAGE_OVERHEAD.into());
        let room = room.map(|room| usize::try_from(room).unwrap_or(usize::MAX));
        Ok(match room {
            Some(room) if room > 0 || rest == 0 => Some(rest.min(room).min(MAX_PIECE)),
            _ => None,
        })
    }

    /// Waits until a piece may go.
    pub fn poll_piece_room(
        &mut self,
        id: u32,
        rest: usize,
        context: &Context<'_>,
    ) -> Poll<Result<(), RequestError>> {
        if self.check_piece(id, rest)?.is_some() {
            return Poll::Ready(Ok(()));
        }
        match self.written.get_mut(&id) {
            Some(written) => poll_with(&mut written.waker, context).map(|never| match never {}),
            None => Poll::Ready(Err(RequestError::Cancelled)),
        }
    }

    /// A piece was sent.
    pub fn wrote_piece(&mut self, id: u32, len: usize, last: bool) {
        if let Some(written) = self.written.get_mut(&id) {
            written.sent += len as u64;
            written.credit = written.credit.saturating_sub(message_cost(len));
            written.finished = last;
        }
    }

    /// What was announced and what was sent, if the two are not the same.
    pub fn check_written(&self, id: u32) -> Result<(), RequestError> {
        match self.written.get(&id) {
            Some(Written { len: Some(len), sent, .. }) if sent != len => {
                Err(RequestError::WrongLength { len: *len, written: *sent })
            }
            _ => Ok(()),
        }
    }

    /// Ready when all of it was read.
    pub fn poll_taken(&mut self, id: u32, context: &Context<'_>) -> Poll<Result<(), RequestError>> {
        let Some(written) = self.written.get_mut(&id) else { return Poll::Ready(Ok(())) };
        match written.done.take() {
            Some(done) => {
                self.forget_written(id);
                Poll::Ready(done)
            }
            None => poll_with(&mut written.waker, context).map(|never| match never {}),
        }
    }

    /// Nobody writes it any more, or waits for it to be read.
    pub fn drop_written(&mut self, id: u32) {
        let Some(written) = self.written.get(&id) else { return };
        if written.done.is_none() && !written.finished && self.ended.is_none() {
            self.replies.push(Reply::Cancel(id));
        }
        self.forget_written(id);
    }

    fn forget_written(&mut self, id: u32) {
        if self.written.remove(&id).is_some() {
            self.freed_one();
        }
    }
}
