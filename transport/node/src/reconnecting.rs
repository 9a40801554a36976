//! A connection that outlives its links.

use std::time::Duration;

use deltawire_channels::Peer;
use deltawire_channels::session::Closed;
use deltawire_link::runtime::{jitter, sleep_until};
use deltawire_link::{Link, LinkChange, LinkChanges, LinkEnded, Resumed, Undelivered};

use crate::backoff::Attempts;
use crate::{Backoff, CapacityError, ConnectError, Node, resuming};

/// A connection that is opened anew whenever its link ends: see
/// [`Node::keep_connected`]. Nothing happens but in [`next`](Self::next).
///
/// Where sessions outlive their links ([`NodeBuilder::resume`](crate::NodeBuilder::resume)), the peer that it gives goes
/// on working while links come and go, and nothing is lost. When a session is over, because it was not resumed in time
/// or the server has forgotten it, what was not delivered is told, and the next one begins. Between attempts it waits as
/// [`Backoff`] says, and as long as the server asks by `Retry-After`.
#[derive(Debug)]
pub struct Reconnecting {
    node: Node,
    url: String,
    backoff: Backoff,
    attempts: Attempts,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The next attempt is due.
    Connecting,
    /// The next attempt is due at this time.
    Waiting {
        until: Duration,
    },
    /// The link is open since this time.
    Up {
        link: Link,
        changes: LinkChanges,
        since: Duration,
    },
    Over,
}

/// What became of a connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReconnectEvent {
    /// A link is open, with a session of its own.
    Up(Box<Peer>, Link),
    /// What the link went over is gone; its session waits for another, and its peer is still good.
    Detached {
        /// Why it is gone.
        why: LinkEnded,
    },
    /// The session goes on.
    Resumed(Resumed),
    /// The link and its session have ended.
    Down {
        /// Why they ended.
        ended: LinkEnded,
        /// What had been committed and was not delivered.
        undelivered: Undelivered,
        /// When the next attempt follows; `None` if this side closed it, and it is over.
        retry_after: Option<Duration>,
    },
    /// An attempt failed.
    Failed {
        /// Why the attempt failed.
        error: ConnectError,
        /// When the next one follows; `None` when [`Backoff::max_attempts`] failed in a row or the
        /// node shuts down, and it is over.
        retry_after: Option<Duration>,
    },
}

impl Reconnecting {
    pub(crate) fn new(node: Node, url: String, backoff: Backoff) -> Self {
        let (attempts, state) = (Attempts::default(), State::Connecting);
        Self { node, url, backoff, attempts, state }
    }

    /// What becomes of it next; `None` when it is over: closed by this side, or given up.
    ///
    /// A future that is dropped before it is ready loses no more than an attempt.
    pub async fn next(&mut self) -> Option<ReconnectEvent> {
        if let State::Waiting { until } = self.state {
            sleep_until(&**self.node.runtime(), until).await;
            self.state = State::Connecting;
        }
        match &mut self.state {
            State::Connecting => match self.node.connect_once(&self.url).await {
                Ok((peer, link)) => {
                    self.attempts.succeeded();
                    resuming::keep(&self.node, &self.url, &link);
                    let (since, changes) = (self.node.runtime().now(), link.changes());
                    self.state = State::Up { link: link.clone(), changes, since };
                    Some(ReconnectEvent::Up(Box::new(peer), link))
                }
                Err(error) => {
                    let wait = match &error {
                        ConnectError::Capacity(CapacityError::ShuttingDown) => None,
                        error => self.attempts.failed(
                            &self.backoff,
                            error.retry_after(),
                            jitter(&**self.node.runtime()),
                        ),
                    };
                    let retry_after = match wait {
                        Some(wait) => self.wait(wait),
                        None => self.over(),
                    };
                    tracing::info!(url = self.url, %error, ?retry_after, "not connected");
                    Some(ReconnectEvent::Failed { error, retry_after })
                }
            },
            State::Up { link, changes, since } => {
                let ended = loop {
                    match changes.next().await {
                        LinkChange::Down { why } => return Some(ReconnectEvent::Detached { why }),
                        LinkChange::Resumed(resumed) => {
                            return Some(ReconnectEvent::Resumed(resumed));
                        }
                        LinkChange::Over(ended) => break ended,
                        _ => {}
                    }
                };
                let since = *since;
                let undelivered = link.undelivered();
                let by_us = matches!(ended, LinkEnded::Session(Closed::ByUs { .. }));
                let retry_after = if by_us {
                    self.over()
                } else {
                    let was_up = self.node.runtime().now().saturating_sub(since);
                    let wait =
                        self.attempts.ended(&self.backoff, was_up, jitter(&**self.node.runtime()));
                    self.wait(wait)
                };
                tracing::info!(url = self.url, %ended, ?retry_after, "down");
                Some(ReconnectEvent::Down { ended, undelivered, retry_after })
            }
            State::Waiting { .. } | State::Over => None,
        }
    }

    fn wait(&mut self, wait: Duration) -> Option<Duration> {
        self.state = State::Waiting { until: self.node.runtime().now().saturating_add(wait) };
        Some(wait)
    }

    fn over(&mut self) -> Option<Duration> {
        self.state = State::Over;
        None
    }
}
