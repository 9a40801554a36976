//! The documents' task on one link.

use core::future::poll_fn;
use core::task::{Context, Poll};
use std::sync::Arc;

use deltawire_channels::session::SendPriority;
use deltawire_channels::{Command, Peer, SendError};
use deltawire_framing::Kind;
use deltawire_framing::control::HelloFields;
use deltawire_framing::documents::Document;
use deltawire_link::Link;
use deltawire_link::runtime::SharedRuntime;

use super::AttendError;
use super::outgoing::Outgoing;
use super::state::Client;
use crate::arrivals::{Arrivals, Over};
use crate::outages;

/// Deltas that are taken in at a time, before others have their turn.
const MAX_TURN: usize = 256;

pub(super) async fn over_link(
    client: &Arc<Client>,
    runtime: &SharedRuntime,
    link: &Link,
    peer: Peer,
) -> Result<(), AttendError> {
    if link.stats().session.peer_features & HelloFields::HUB == 0 {
        return Err(AttendError::NotServed);
    }
    let _attending = Attending::begin(client)?;
    let outgoing = Box::new(Outgoing::new(client.clone()));
    if let Err(error) = link.open_source(outgoing, SendPriority::default()).await {
        // A link that is over or being closed takes none; the next one may.
        let over = link.ended().is_some() || peer.send.is_closed();
        return if over { Ok(()) } else { Err(error.into()) };
    }
    let Peer { command, send: _send, receive } = peer;
    let attending = run(client, runtime, command, Arrivals::Link(receive));
    outages::told(link, attending, |down| client.lock().set_down(down)).await
}

#[cfg(feature = "serve")]
pub(super) async fn in_process(
    client: &Arc<Client>,
    runtime: &SharedRuntime,
    command: Command,
    connect: impl FnOnce(Box<dyn deltawire_channels::session::FrameSource>) -> Arrivals,
) -> Result<(), AttendError> {
    let _attending = Attending::begin(client)?;
    let arrivals = connect(Box::new(Outgoing::new(client.clone())));
    run(client, runtime, command, arrivals).await
}

/// The documents have a link for as long as this lives.
struct Attending<'a>(&'a Client);

impl<'a> Attending<'a> {
    fn begin(client: &'a Client) -> Result<Self, AttendError> {
        let mut state = client.lock();
        if state.closed {
            return Err(AttendError::Closed);
        }
        if state.attended {
            return Err(AttendError::Attended);
        }
        state.begin();
        drop(state);
        Ok(Self(client))
    }
}

impl Drop for Attending<'_> {
    fn drop(&mut self) {
        self.0.lock().end();
    }
}

async fn run(
    client: &Client,
    runtime: &SharedRuntime,
    command: Command,
    arrivals: Arrivals,
) -> Result<(), AttendError> {
    let mut timer = runtime.timer();
    let interval = client.lock().options.presence_interval;
    timer.set(runtime.now().saturating_add(interval));
    let mut task = Task { client, command, arrivals };
    poll_fn(|context| {
        while timer.poll(context).is_ready() {
            client.lock().refresh_presences();
            timer.set(runtime.now().saturating_add(interval));
        }
        task.poll(context)
    })
    .await
}

struct Task<'a> {
    client: &'a Client,
    command: Command,
    arrivals: Arrivals,
}

/// Whether there may be more to do at once.
type Turn = Result<bool, AttendError>;

impl Task<'_> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), AttendError>> {
        {
            let mut state = self.client.lock();
            if state.closed {
                return Poll::Ready(Err(AttendError::Closed));
            }
            state.attendant = Some(context.waker().clone());
        }
        let more =
            [self.send_requests(context), self.take_answers(context), self.take_deltas(context)];
        let mut again = false;
        for turn in more {
            match turn {
                Ok(more) => again |= more,
                // The link is over; why, it says itself.
                Err(AttendError::Send(SendError::Closed(_))) => return Poll::Ready(Ok(())),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        if again {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn send_requests(&mut self, context: &mut Context<'_>) -> Turn {
        loop {
            let mut state = self.client.lock();
            let Some(body) = state.peek_request() else { return Ok(false) };
            match self.command.send.poll_send_document(context, body.as_bytes()) {
                Poll::Ready(Ok(())) => state.told_request(),
                Poll::Ready(Err(error)) => return Err(AttendError::Send(error)),
                Poll::Pending => return Ok(false),
            }
        }
    }

    fn take_answers(&mut self, context: &mut Context<'_>) -> Turn {
        for _ in 0..MAX_TURN {
            let Poll::Ready(frame) = self.command.receive.poll_next(context) else {
                return Ok(false);
            };
            let frame = frame.map_err(|closed| AttendError::Send(SendError::Closed(closed)))?;
            if frame.kind() != Kind::Document {
                // A command of the application's at the other end: documents have none.
                tracing::debug!("a command that is not about documents was passed over");
                continue;
            }
            match frame.document() {
                Ok(Document::Acknowledge(acknowledge)) => {
                    self.client.lock().handle_acknowledge(acknowledge.fields());
                }
                Ok(Document::Denied(denied)) => self.client.lock().handle_denied(denied.fields()),
                _ => return Err(AttendError::OutOfPlace("a command of a reader's or a writer's")),
            }
        }
        Ok(true)
    }

    fn take_deltas(&mut self, context: &mut Context<'_>) -> Turn {
        for _ in 0..MAX_TURN {
            let message = match self.arrivals.poll_take(context) {
                Poll::Ready(Ok(message)) => message,
                // What the commands say is why.
                Poll::Ready(Err(Over)) | Poll::Pending => return Ok(false),
            };
            match message.kind() {
                Kind::Document => match message.frame().document() {
                    Ok(Document::Mark(mark)) => self.client.lock().handle_mark(mark.fields()),
                    _ => return Err(AttendError::OutOfPlace("no mark on the data channel")),
                },
                Kind::Delta => {
                    let Ok(delta) = message.delta() else {
                        return Err(AttendError::OutOfPlace("what is no delta"));
                    };
                    let of = (delta.doc_id(), delta.delta_type());
                    self.client.lock().handle_delta(of, message);
                }
                Kind::Opaque | Kind::Control | Kind::Request | Kind::Bulk => {
                    tracing::debug!("a message that is not about documents was passed over");
                }
            }
        }
        Ok(true)
    }
}
