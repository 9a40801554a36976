//! Bulk's task on one link.

use core::future::poll_fn;
use core::task::Poll;
use std::sync::Arc;

use deltawire_channels::session::SendPriority;
use deltawire_channels::{Message, Receiver, SendError};
use deltawire_framing::Kind;
use deltawire_framing::bulk::{self, Subject};
use deltawire_framing::control::{Delivery, HelloFields};
use deltawire_link::Link;
use deltawire_link::runtime::SharedRuntime;

use super::sources::Source;
use super::state::{MAX_CONTROL, State};
use super::{Shared, messages};
use crate::error::{AttendError, TransferError};

/// Messages that are taken in at a time, before others have their turn.
const MAX_TURN: usize = 64;

/// Below everything, so that everything overtakes.
const LOWEST: SendPriority = SendPriority { priority: 0, weight: 1 };

pub(super) async fn over_link(
    shared: &Arc<Shared>,
    runtime: &SharedRuntime,
    link: &Link,
    receive: Receiver,
    others: impl FnMut(Message),
) -> Result<(), AttendError> {
    let session = link.stats().session;
    if session.peer_features & HelloFields::BULK == 0 {
        return Err(AttendError::NotSpoken);
    }
    if session.deltas != [Delivery::default(); 2] {
        return Err(AttendError::Delivery);
    }
    check_window(link).await?;
    let attending = Attending::begin(shared, runtime)?;
    for (pieces, share) in [(false, SendPriority::default()), (true, LOWEST)] {
        let source = Box::new(Source::new(shared, attending.link, pieces));
        if let Err(error) = link.open_source(source, share).await {
            // A link that is over or being closed takes none; the next one may.
            let over = link.ended().is_some() || receive.closed_reason().is_some();
            return if over { Ok(()) } else { Err(error.into()) };
        }
    }
    run(shared, runtime, receive, others).await
}

/// Whether the peer takes messages as long as those about bulk: one that is too long would end the session.
async fn check_window(link: &Link) -> Result<(), AttendError> {
    let Ok(mut sender) = link.open_sender(LOWEST).await else { return Ok(()) };
    match sender.try_reserve_opaque(messages::LONGEST) {
        Err(SendError::TooLongForPeer { allowed, .. }) => Err(AttendError::Window { allowed }),
        _ => Ok(()),
    }
}

/// Bulk has a link for as long as this lives.
struct Attending<'a> {
    shared: &'a Shared,
    link: u64,
}

impl<'a> Attending<'a> {
    fn begin(shared: &'a Shared, runtime: &SharedRuntime) -> Result<Self, AttendError> {
        let mut state = shared.lock();
        if state.closed || state.refusing {
            return Err(AttendError::Closed);
        }
        if state.attended {
            return Err(AttendError::Attended);
        }
        state.now = runtime.now();
        state.begin();
        let link = state.link;
        drop(state);
        Ok(Self { shared, link })
    }
}

impl Drop for Attending<'_> {
    fn drop(&mut self) {
        self.shared.lock().end_link();
    }
}

async fn run(
    shared: &Shared,
    runtime: &SharedRuntime,
    mut receive: Receiver,
    mut others: impl FnMut(Message),
) -> Result<(), AttendError> {
    let mut timer = runtime.timer();
    let mut set = None;
    poll_fn(|context| {
        let mut state = shared.lock();
        state.now = runtime.now();
        // What is done here does not wake this task.
        state.attendant = None;
        if state.closed && state.control.is_empty() {
            return Poll::Ready(Err(AttendError::Closed));
        }
        let mut again = true;
        for _ in 0..MAX_TURN {
            if state.control.len() >= MAX_CONTROL {
                // Answers wait for the link: who takes no answers asks for no more. One that is over takes none ever.
                if receive.closed_reason().is_some() {
                    return Poll::Ready(Ok(()));
                }
                again = false;
                break;
            }
            match receive.poll_take(context) {
                Poll::Ready(Ok(message)) if message.kind() == Kind::Bulk => {
                    state.handle_message(&message);
                }
                Poll::Ready(Ok(message)) => {
                    drop(state);
                    others(message);
                    state = shared.lock();
                }
                // The link is over; why, it says itself.
                Poll::Ready(Err(_)) => return Poll::Ready(Ok(())),
                Poll::Pending => {
                    again = false;
                    break;
                }
            }
        }
        state.handle_time();
        state.attendant = Some(context.waker().clone());
        if let Some(at) = state.poll_timeout() {
            if set != Some(at) {
                timer.set(at);
                set = Some(at);
            }
            if timer.poll(context).is_ready() {
                set = None;
                again = true;
            }
        }
        if again {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await
}

impl State {
    fn handle_message(&mut self, message: &Message) {
        // The session has checked what it says.
        let Ok(bulk) = message.frame().bulk() else { return };
        match bulk {
            bulk::Bulk::Offer(offer, name) => self.handle_offer(&offer.fields(), name),
            bulk::Bulk::Accept(accept) => self.handle_accept(accept.id(), accept.have()),
            bulk::Bulk::Ask(ask) => self.handle_ask(&ask.fields()),
            bulk::Bulk::Piece(piece, bytes) => {
                self.handle_piece(piece.id(), piece.index(), bytes, message);
            }
            bulk::Bulk::Hashes(it, hashes) => {
                self.handle_hashes(it.id(), it.wanted(), it.first(), hashes);
            }
            bulk::Bulk::Get(get, name) => self.handle_get(get.id(), get.what(), name),
            bulk::Bulk::Done(done) => {
                let done = done.fields();
                match done.subject {
                    Subject::YourOffer => self.handle_sending_done(done.id, done.status),
                    Subject::MyOffer => {
                        self.withdraw(done.subject, done.id);
                        self.handle_receiving_done(done.id, done.status);
                    }
                    Subject::YourRequest => {
                        self.end_getting(done.id, TransferError::Peer(done.status));
                    }
                    Subject::MyRequest => {
                        self.withdraw(done.subject, done.id);
                        self.withdraw_answers(done.id, done.status);
                    }
                }
            }
            _ => {}
        }
    }
}
