//! Moves a socket that has links of one kind only: one task.

use std::task::{Context, Poll};
use std::time::Duration;

use deltawire_link::Datagram;
use deltawire_link::runtime::{self, SharedRuntime};

use super::{Inbox, Socket};

/// Receiving calls before others get their turn.
const RECEIVES: usize = 4;

/// How long a socket that fails to receive [`RECEIVES`] times in a row is left alone.
const RECEIVE_AGAIN: Duration = Duration::from_millis(10);

/// The links of one socket.
pub(crate) trait Hub {
    /// Whether nobody can ask for anything any more, and nothing is left.
    fn is_over(&self) -> bool;

    /// Connections that there are.
    fn len(&self) -> usize;

    /// When something is to be done even if nothing happens.
    fn next(&mut self) -> Option<Duration>;

    /// Does what is to be done now, and registers to be woken.
    fn poll(&mut self, socket: &mut Socket, now: Duration, context: &mut Context<'_>);

    /// Takes in a datagram.
    fn handle_datagram(&mut self, datagram: Datagram<'_>, socket: &mut Socket, now: Duration);

    /// Does what those have to do that have something.
    fn work_all(&mut self, socket: &mut Socket, now: Duration);
}

/// The future that moves one socket.
pub(crate) struct Driver<H> {
    hub: H,
    socket: Socket,
    inbox: Inbox,
    /// How many of the inbox's places the next call may need.
    places: usize,
    runtime: SharedRuntime,
    alarm: Box<dyn runtime::Timer>,
    alarm_at: Option<Duration>,
    /// When to receive again after failures: nothing else wakes the task for it.
    receive_at: Option<Duration>,
}

impl<H: Hub> Driver<H> {
    pub(crate) fn new(hub: H, socket: Socket, runtime: SharedRuntime) -> Self {
        let inbox = Inbox::new(socket.local_address());
        let alarm = runtime.timer();
        Self { hub, socket, inbox, places: 1, runtime, alarm, alarm_at: None, receive_at: None }
    }

    /// Runs until nobody can ask for anything any more and no connection is left.
    pub(crate) async fn run(mut self) {
        std::future::poll_fn(|context| self.poll(context)).await;
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let now = self.runtime.now();
        self.hub.poll(&mut self.socket, now, context);
        let drained = self.receive(context);
        self.socket.poll_waiting(context);
        if self.hub.is_over() {
            return Poll::Ready(());
        }
        self.sleep(context);
        if !drained {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Receives for a while. Says whether nothing is left for now.
    fn receive(&mut self, context: &mut Context<'_>) -> bool {
        let mut failed = 0;
        self.receive_at = None;
        for _ in 0..RECEIVES {
            let most = self.places.max(self.hub.len() + 1);
            let places = match self.socket.poll_receive(&mut self.inbox, most, context) {
                Poll::Pending => return true,
                Poll::Ready(Ok(places)) => places,
                Poll::Ready(Err(error)) => {
                    tracing::debug!(%error, "receiving failed");
                    failed += 1;
                    continue;
                }
            };
            self.places = if places < most { places } else { 2 * places };
            let now = self.runtime.now();
            for datagram in self.inbox.datagrams(places) {
                self.hub.handle_datagram(datagram, &mut self.socket, now);
            }
            self.hub.work_all(&mut self.socket, now);
        }
        // The socket says that there is something, and wakes nobody until that is taken.
        let fails = failed == RECEIVES;
        self.receive_at = fails.then(|| self.runtime.now() + RECEIVE_AGAIN);
        fails
    }

    /// Sleeps until the next timer. An alarm that is too early costs a wake-up for nothing, which is less than to set
    /// the clock with every datagram.
    fn sleep(&mut self, context: &mut Context<'_>) {
        let next = self.hub.next().into_iter().chain(self.receive_at).min();
        let Some(next) = next else { return };
        if self.alarm_at.is_none_or(|until| next < until) {
            self.alarm.set(next);
            self.alarm_at = Some(next);
        }
        while self.alarm.poll(context).is_ready() {
            if self.alarm_at == Some(next) {
                self.alarm_at = None;
                context.waker().wake_by_ref();
                return;
            }
            self.alarm.set(next);
            self.alarm_at = Some(next);
        }
    }
}
