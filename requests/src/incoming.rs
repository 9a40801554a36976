use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::{Context, Poll};
use std::sync::Arc;

use deltawire_channels::Message;
use deltawire_framing::requests::{RefusalCode, message_cost};
use deltawire_link::runtime::{MaybeSend, MaybeSync};

use crate::answers::payload;
use crate::core::{Pinned, Taken};
use crate::error::{Refusal, RequestError};
use crate::shared::{Handle, NotNow};
use crate::stream_reader::StreamReader;

/// What the peer asks and streams, one after the other. When it is dropped, what waits and what comes is refused with
/// [`RefusalCode::NOT_SERVED`].
pub struct IncomingRequests {
    handle: Handle,
}

/// What the peer opened.
#[derive(Debug)]
pub enum Incoming {
    /// A request, to be answered.
    Request(Request),
    /// A message of any length, to be read piece by piece.
    Stream(StreamReader),
}

impl IncomingRequests {
    pub(crate) fn new(handle: Handle) -> Self {
        Self { handle }
    }

    /// The next request or stream of the peer's; `None` when none come any more.
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<Incoming> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// [`next`](Self::next), for futures written by hand.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Incoming>> {
        let taken = self.handle.update(|state| state.core.poll_arrival(context));
        taken.map(|taken| {
            Some(match taken? {
                Taken::Request { id, many, message } => {
                    let handle = self.handle.clone();
                    Incoming::Request(Request { handle, id, many, message, open: true })
                }
                Taken::Stream { id, len, fields } => {
                    Incoming::Stream(StreamReader::new(self.handle.clone(), id, len, fields))
                }
            })
        })
    }

    /// Answers each request by a function, each in a task of its own, as many at a time as
    /// [`max_incoming`](crate::RequestsOptions::max_incoming), until no more come. When nobody waits for an answer any more, its
    /// future is dropped. Streams are refused.
    ///
    /// ```
    /// use deltawire_requests::{IncomingRequests, Refusal, RefusalCode, Request};
    ///
    /// async fn upper(incoming: IncomingRequests) {
    ///     let respond = |request: &Request| {
    ///         let asked = String::from_utf8(request.payload().to_vec());
    ///         async move {
    ///             match asked {
    ///                 Ok(text) => Ok(text.to_uppercase().into_bytes()),
    ///                 Err(error) => Err(Refusal::new(RefusalCode(256), error.to_string())),
    ///             }
    ///         }
    ///     };
    ///     incoming.serve(respond).await;
    /// }
    /// ```
    pub async fn serve<F, A>(mut self, respond: F)
    where
        F: Fn(&Request) -> A + MaybeSend + MaybeSync + 'static,
        A: Future<Output = Result<Vec<u8>, Refusal>> + MaybeSend + 'static,
    {
        while let Some(incoming) = self.next().await {
            match incoming {
                Incoming::Request(request) => {
                    let answer = respond(&request);
                    self.handle.runtime.spawn(Box::pin(answer_one(request, answer)));
                }
                Incoming::Stream(stream) => {
                    stream.refuse(RefusalCode::NOT_SERVED, "only requests are answered here");
                }
            }
        }
    }
}

async fn answer_one(request: Request, answer: impl Future<Output = Result<Vec<u8>, Refusal>>) {
    let mut answer = pin!(answer);
    let answered = poll_fn(|context| {
        if let Poll::Ready(answered) = answer.as_mut().poll(context) {
            return Poll::Ready(Some(answered));
        }
        request.poll_cancelled(context).map(|()| None)
    })
    .await;
    match answered {
        // The peer is told by the refusal, or does not wait.
        Some(Ok(answer)) => drop(request.respond(&answer).await),
        Some(Err(refusal)) => request.refuse(refusal.code, &refusal.reason),
        None => {}
    }
}

impl Drop for IncomingRequests {
    fn drop(&mut self) {
        self.handle.update(|state| state.core.stop_serving());
    }
}

impl fmt::Debug for IncomingRequests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingRequests").finish_non_exhaustive()
    }
}

/// A request of the peer's. Dropped without an answer, it is refused with [`RefusalCode::ABANDONED`].
///
/// Its message may keep its part of the session's window until it is answered, as far as
/// [`max_uncopied`](crate::RequestsOptions::max_uncopied) allows; [`release`](Self::release) gives that back before.
pub struct Request {
    handle: Handle,
    id: u32,
    many: bool,
    message: Pinned,
    /// Whether it is to be answered.
    open: bool,
}

impl Request {
    /// What is asked.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        payload(self.message.message())
    }

    /// The message that it came in.
    #[must_use]
    pub fn message(&self) -> &Message {
        self.message.message()
    }

    /// Whether many answers may go: see [`answers`](Self::answers).
    #[must_use]
    pub fn wants_many(&self) -> bool {
        self.many
    }

    /// Answers it, with the last answer where many may go. Waits for room.
    ///
    /// Cancel safe: a future that is dropped has refused the request.
    ///
    /// # Errors
    /// When nobody waits for it any more, it can never go, or it is over. An answer that is too long is refused by
    /// [`RefusalCode::TOO_LONG`].
    pub async fn respond(mut self, payload: &[u8]) -> Result<(), RequestError> {
        send_answer(&self.handle, self.id, payload, false).await?;
        self.open = false;
        Ok(())
    }

    /// Refuses it.
    pub fn refuse(mut self, code: RefusalCode, reason: &str) {
        self.open = false;
        self.handle.refuse(self.id, code, reason);
    }

    /// Sends answers one by one, to a request that [wants many](Self::wants_many); to another the first is the last.
    #[must_use]
    pub fn answers(mut self) -> AnswerWriter {
        self.open = false;
        AnswerWriter { handle: self.handle.clone(), id: self.id, open: true, one: !self.many }
    }

    /// Gives back what its message keeps of the window: a copy takes its place.
    pub fn release(&mut self) {
        self.message.release();
    }

    /// Waits until nobody waits for the answer any more: the other side cancelled it, or it is over.
    ///
    /// Cancel safe.
    pub async fn cancelled(&self) {
        poll_fn(|context| self.poll_cancelled(context)).await;
    }

    fn poll_cancelled(&self, context: &mut Context<'_>) -> Poll<()> {
        self.handle.update(|state| state.core.poll_cancelled(self.id, context))
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if self.open {
            self.handle.refuse(self.id, RefusalCode::ABANDONED, "");
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("id", &self.id)
            .field("many", &self.many)
            .field("len", &self.payload().len())
            .finish()
    }
}

/// Sends the answers to one request. Dropped before the [last](Self::finish), what was sent stands, and the request is
/// refused with [`RefusalCode::ABANDONED`].
pub struct AnswerWriter {
    handle: Handle,
    id: u32,
    open: bool,
    /// The first is the last.
    one: bool,
}

impl AnswerWriter {
    /// Sends an answer; waits for room, and for the other side to read those before.
    ///
    /// Cancel safe: a future that is dropped before it is ready has sent nothing.
    ///
    /// # Errors
    /// When nobody waits for it any more, it can never go, or it is over.
    pub async fn send(&mut self, payload: &[u8]) -> Result<(), RequestError> {
        send_answer(&self.handle, self.id, payload, !self.one).await?;
        self.open &= !self.one;
        Ok(())
    }

    /// Sends the last answer.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn finish(mut self, payload: &[u8]) -> Result<(), RequestError> {
        send_answer(&self.handle, self.id, payload, false).await?;
        self.open = false;
        Ok(())
    }

    /// Says that no more come, and why.
    pub fn refuse(mut self, code: RefusalCode, reason: &str) {
        self.open = false;
        self.handle.refuse(self.id, code, reason);
    }

    /// Waits until nobody waits for answers any more.
    ///
    /// Cancel safe.
    pub async fn cancelled(&self) {
        poll_fn(|context| self.handle.update(|state| state.core.poll_cancelled(self.id, context)))
            .await;
    }
}

impl Drop for AnswerWriter {
    fn drop(&mut self) {
        if self.open {
            self.handle.refuse(self.id, RefusalCode::ABANDONED, "");
        }
    }
}

impl fmt::Debug for AnswerWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerWriter").field("id", &self.id).finish_non_exhaustive()
    }
}

async fn send_answer(
    handle: &Handle,
    id: u32,
    payload: &[u8],
    more: bool,
) -> Result<(), RequestError> {
    let cost = message_cost(payload.len());
    loop {
        let attempt = |state: &mut crate::shared::State| state.try_answer(id, payload, more);
        let sent = handle.wait_for_room(attempt, |why| matches!(why, NotNow::Room)).await;
        match sent {
            Ok(()) => return Ok(()),
            Err(NotNow::Never(error)) => {
                if matches!(error, RequestError::TooLong { .. }) && !more {
                    let reason: Arc<str> = error.to_string().into();
                    handle.refuse(id, RefusalCode::TOO_LONG, &reason);
                }
                return Err(error);
            }
            Err(_) => {
                poll_fn(|context| {
                    handle.update(|state| state.core.poll_answer_room(id, cost, context))
                })
                .await?;
            }
        }
    }
}
