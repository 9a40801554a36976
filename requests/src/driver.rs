//! The task that takes in what the peer says.

use core::future::poll_fn;
use core::task::{Context, Poll};
use std::sync::Arc;
use std::time::Duration;

use deltawire_channels::{ChannelClosed, Receiver};
use deltawire_framing::control::CloseCode;
use deltawire_link::Link;
use deltawire_link::runtime::Timer;

use crate::error::Ended;
use crate::shared::Shared;

/// Messages that are taken in at a time, before others have their turn.
const MAX_TURN: usize = 256;

/// Takes in what comes, until the session is over, the peer breaks a rule, or no handle is left.
pub(crate) async fn drive(driven: Driven, receiver: Receiver, link: Option<Link>) {
    let shared = &driven.0;
    let timer = shared.runtime.timer();
    let mut task = Task { shared, receiver, timer, due: None };
    let ended = poll_fn(|context| task.poll(context)).await;
    if let (Ended::Violation(violation), Some(link)) = (&ended, &link) {
        tracing::warn!(link = %link.id(), %violation, "a peer broke a rule of requests");
        link.close(CloseCode::OUT_OF_PLACE, &violation.to_string());
    }
    shared.end(ended);
}

/// Ends everything when the task is dropped, as by a runtime that is shut down: nobody waits for what never comes.
pub(crate) struct Driven(pub(crate) Arc<Shared>);

impl Drop for Driven {
    fn drop(&mut self) {
        self.0.end(Ended::Closed(ChannelClosed::Dropped));
    }
}

struct Task<'a> {
    shared: &'a Shared,
    receiver: Receiver,
    timer: Box<dyn Timer>,
    /// When the timer wakes this.
    due: Option<Duration>,
}

impl Task<'_> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Ended> {
        if self.shared.is_left() {
            return Poll::Ready(Ended::ByUs);
        }
        let mut turns = 0;
        loop {
            // Says what is to be said first.
            if let Some(ended) = self.shared.drive(context, |state| state.core.ended().cloned()) {
                return Poll::Ready(ended);
            }
            if turns == MAX_TURN {
                context.waker().wake_by_ref();
                break;
            }
            match self.receiver.poll_take(context) {
                Poll::Ready(Ok(message)) => {
                    turns += 1;
                    if let Err(violation) = self.shared.update(|state| state.core.handle(message)) {
                        return Poll::Ready(Ended::Violation(violation));
                    }
                }
                Poll::Ready(Err(closed)) => return Poll::Ready(Ended::Closed(closed)),
                Poll::Pending => break,
            }
        }
        self.keep_time(context);
        Poll::Pending
    }

    fn keep_time(&mut self, context: &mut Context<'_>) {
        // A timer that was set stays: one call after the other does not set it anew.
        loop {
            let set = self.due;
            let due = self.shared.update(|state| {
                state.timer = set;
                state.core.poll_timeout()
            });
            if let Some(due) = due
                && set.is_none_or(|set| due < set)
            {
                self.timer.set(due);
                self.due = Some(due);
                continue;
            }
            let Some(set) = set else { return };
            if self.timer.poll(context).is_pending() {
                return;
            }
            self.due = None;
            let now = self.shared.runtime.now().max(set);
            self.shared.update(|state| state.core.handle_timeout(now));
        }
    }
}
