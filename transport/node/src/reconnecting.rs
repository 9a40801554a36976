//! A connection that outlives its links.

use std::time::Duration;

use deltawire_channels::Peer;
use deltawire_channels::session::Closed;
use deltawire_link::runtime::{jitter, sleep_until};
use deltawire_link::{Link, LinkEnded, Undelivered};

use crate::backoff::Attempts;
use crate::{Backoff, CapacityError, ConnectError, Node};

/// A connection that is opened anew whenever its link ends: see
/// [`Node::keep_connected`]. Nothing happens but in [`next`](Self::next).
///
/// Each link has a session of its own: what was not delivered is told, and not sent again. Between
/// attempts it waits as [`Backoff`] says, and as long as the server asks by `Retry-After`.
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
        since: Duration,
    },
    Over,
}

/// What became of a connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReconnectEvent {
    /// A link is open.
    Up(Box<Peer>, Link),
    /// The link has ended.
    Down {
        /// Why the link ended.
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
        match &self.state {
            State::Connecting => match self.node.connect_once(&self.url).await {
                Ok((peer, link)) => {
                    self.attempts.succeeded();
                    self.state = State::Up { link: link.clone(), since: self.node.runtime().now() };
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
            State::Up { link, since } => {
                let (ended, since) = (link.closed().await, *since);
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
