use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, ready};

use deltawire_framing::DeltaFields;
use futures_core::Stream;
use futures_sink::Sink;

use super::{Message, Receiver, SendError, Sender};

/// A receiver as a stream of owned messages, as [`Receiver::take`] gives them, because a stream cannot
/// lend.
///
/// It ends when the session is over and everything was read; [`Receiver::closed_reason`] says why.
#[derive(Debug)]
pub struct Messages {
    receiver: Receiver,
}

impl Messages {
    /// The receiver.
    #[must_use]
    pub fn get_ref(&self) -> &Receiver {
        &self.receiver
    }

    /// The receiver; no message is lost.
    #[must_use]
    pub fn into_inner(self) -> Receiver {
        self.receiver
    }
}

impl Receiver {
    /// A stream of owned messages.
    #[must_use]
    pub fn into_stream(self) -> Messages {
        Messages { receiver: self }
    }
}

impl Stream for Messages {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Message>> {
        self.receiver.poll_take(context).map(Result::ok)
    }
}

/// A sender as a sink of deltas: what they say of themselves, and their payload, which is copied into
/// the ring. [`Sender::reserve`] writes it there.
///
/// It holds one delta while the ring has no room for it. Flushing it ends when that is in the ring,
/// as [`Sender::send`] does; it says nothing of the peer.
pub struct DeltaSink<B> {
    sender: Sender,
    held: Option<(DeltaFields, B)>,
}

impl Sender {
    /// A sink of deltas.
    #[must_use]
    pub fn into_sink<B: AsRef<[u8]>>(self) -> DeltaSink<B> {
        DeltaSink { sender: self, held: None }
    }
}

impl<B> DeltaSink<B> {
    /// The sender.
    #[must_use]
    pub fn get_ref(&self) -> &Sender {
        &self.sender
    }

    /// The sender, and the delta that waited for room.
    #[must_use]
    pub fn into_inner(self) -> (Sender, Option<(DeltaFields, B)>) {
        (self.sender, self.held)
    }
}

impl<B: AsRef<[u8]> + Unpin> DeltaSink<B> {
    /// Ready when nothing is held any more. A delta that can never be sent is given up with the error.
    fn poll_put(&mut self, context: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let Some((fields, payload)) = &self.held else { return Poll::Ready(Ok(())) };
        let payload = payload.as_ref();
        let put = match ready!(self.sender.poll_reserve(context, payload.len())) {
            Ok(mut grant) => {
                grant.payload_mut().copy_from_slice(payload);
                grant.commit(*fields, payload.len()).map_err(SendError::from)
            }
            Err(error) => Err(error),
        };
        self.held = None;
        Poll::Ready(put)
    }
}

impl<B: AsRef<[u8]> + Unpin> Sink<(DeltaFields, B)> for DeltaSink<B> {
    type Error = SendError;

    fn poll_ready(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.get_mut().poll_put(context)
    }

    fn start_send(self: Pin<&mut Self>, delta: (DeltaFields, B)) -> Result<(), SendError> {
        let this = self.get_mut();
        assert!(this.held.is_none(), "a sink is asked whether it is ready before each delta");
        let (fields, payload) = &delta;
        match this.sender.try_send(*fields, payload.as_ref()) {
            Err(SendError::Full { .. }) => this.held = Some(delta),
            done => return done,
        }
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.get_mut().poll_put(context)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let this = self.get_mut();
        let put = ready!(this.poll_put(context));
        this.sender.close();
        Poll::Ready(put)
    }
}

impl<B> fmt::Debug for DeltaSink<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeltaSink")
            .field("sender", &self.sender)
            .field("holds", &self.held.is_some())
            .finish()
    }
}
