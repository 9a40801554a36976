//! Streams of the peer's.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use deltawire_channels::Message;
use deltawire_framing::DeltaFields;
use deltawire_framing::requests::{CreditOf, RefusalCode, message_cost};

use super::held::{Held, Holding, Pinned};
use super::{Core, Granted, Reply, out_of_place, poll_with};
use crate::error::{Ended, RequestError, Violation};

pub(super) struct Read {
    len: Option<u64>,
    came: u64,
    granted: Granted,
    pieces: VecDeque<Held>,
    /// No more come.
    done: Option<Result<(), RequestError>>,
    waker: Option<Waker>,
}

impl Read {
    pub(super) fn end(&mut self, ended: &Ended, woken: &mut Vec<Waker>) {
        if self.done.is_none() {
            let ended = ended.clone();
            self.done = Some(Err(RequestError::LinkOver { ended, may_have_run: true }));
        }
        woken.extend(self.waker.take());
    }

    fn release(self, holding: &mut Holding) {
        for held in self.pieces {
            drop(holding.take(held));
        }
    }
}

impl Core {
    pub(super) fn handle_open(
        &mut self,
        id: u32,
        len: Option<u64>,
        fields: DeltaFields,
    ) -> Result<(), Violation> {
        self.open_peers(id)?;
        if self.replies.is_full() {
            self.replies.refuse_opened(id);
            return Ok(());
        }
        let limits = &self.options;
        if self.unserved {
            self.refuse(id, RefusalCode::NOT_SERVED, String::new(), false);
        } else if len.is_some_and(|len| len > limits.max_stream_len) {
            let reason = format!("max_stream_len is {} bytes", limits.max_stream_len);
            self.refuse(id, RefusalCode::TOO_LONG, reason, false);
        } else if self.read.len() >= limits.max_streams {
            let reason = format!("max_streams is {}", limits.max_streams);
            self.refuse(id, RefusalCode::TOO_MANY, reason, false);
        } else {
            let window = limits.stream_window;
            let granted = Granted::new(window);
            let read =
                Read { len, came: 0, granted, pieces: VecDeque::new(), done: None, waker: None };
            self.read.insert(id, read);
            self.replies.push(Reply::Credit(id, CreditOf::Pieces, window));
            self.arrived_stream(id, len, fields);
        }
        Ok(())
    }

    pub(super) fn handle_piece(
        &mut self,
        id: u32,
        last: bool,
        len: usize,
        message: Message,
    ) -> Result<(), Violation> {
        const WHAT: &str = "a piece";
        let limit = self.options.max_stream_len;
        let Some(read) = self.read.get_mut(&id) else {
            return if self.served.contains_key(&id) {
                Err(out_of_place(WHAT, id))
            } else if self.peers.was_opened(id) {
                // It was refused, and the peer may not know.
                Ok(())
            } else {
                Err(Violation::NeverOpened { what: WHAT, id })
            };
        };
        match &read.done {
            // It was refused, and the peer may not know.
            Some(Err(RequestError::StreamTooLong { .. })) => return Ok(()),
            Some(_) => return Err(out_of_place("a piece behind the last", id)),
            None => {}
        }
        read.granted.take(message_cost(len), id)?;
        read.came = read.came.saturating_add(len as u64);
        if let Some(len) = read.len
            && (read.came > len || last && read.came < len)
        {
            return Err(Violation::StreamLen { id, len, came: read.came });
        }
        if read.came > limit {
            read.done = Some(Err(RequestError::StreamTooLong { limit }));
            let reason = format!("max_stream_len is {limit} bytes");
            self.woken.extend(read.waker.take());
            self.refuse(id, RefusalCode::TOO_LONG, reason, true);
            return Ok(());
        }
        if len > 0 {
            read.pieces.push_back(self.holding.hold(message));
        }
        if last {
            read.done = Some(Ok(()));
        }
        self.woken.extend(read.waker.take());
        Ok(())
    }

    pub(super) fn cancel_read(&mut self, id: u32) {
        if let Some(read) = self.read.get_mut(&id)
            && read.done.is_none()
        {
            read.done = Some(Err(RequestError::Cancelled));
            self.woken.extend(read.waker.take());
        }
    }

    /// The next piece; `None` after the last, and then its writer is told that all was read.
    pub fn poll_piece(
        &mut self,
        id: u32,
        context: &Context<'_>,
    ) -> Poll<Result<Option<Pinned>, RequestError>> {
        let Some(read) = self.read.get_mut(&id) else { return Poll::Ready(Ok(None)) };
        if let Some(held) = read.pieces.pop_front() {
            let message = self.holding.take(held);
            if read.done.is_none() {
                let len = message.message().frame().request().map_or(0, |it| it.payload().len());
                if let Some(bytes) =
                    read.granted.read(message_cost(len), read.pieces.is_empty(), message_cost(1))
                {
                    self.replies.push(Reply::Credit(id, CreditOf::Pieces, bytes));
                }
            }
            return Poll::Ready(Ok(Some(message)));
        }
        match read.done.take() {
            Some(done) => {
                self.forget_read(id);
                if done.is_ok() && self.ended.is_none() {
                    self.replies.push(Reply::Taken(id));
                }
                Poll::Ready(done.map(|()| None))
            }
            None => poll_with(&mut read.waker, context).map(|never| match never {}),
        }
    }

    /// Nobody reads it any more.
    pub fn drop_read(&mut self, id: u32, code: RefusalCode, reason: String) {
        let Some(read) = self.read.get(&id) else { return };
        if !matches!(read.done, Some(Err(_))) && self.ended.is_none() {
            self.refuse(id, code, reason, true);
        }
        self.forget_read(id);
    }

    pub(super) fn forget_read(&mut self, id: u32) {
        if let Some(read) = self.read.remove(&id) {
            read.release(&mut self.holding);
        }
    }
}
