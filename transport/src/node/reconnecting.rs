//! A connection that outlives its links.

use std::time::Duration;

use deltawire_channels::Peer;
use deltawire_channels::session::Closed;

use super::{Backoff, ConnectError, Full, Node};
use crate::link::{Ended, Link, Undelivered};
use crate::platform;

/// A connection that is opened anew whenever its link ends: see
/// [`Node::keep_connected`]. Nothing happens but in [`next`](Self::next).
///
/// Each link has a session of its own: what was not delivered is told, and not sent again.
#[derive(Debug)]
pub struct Reconnecting {
    node: Node,
    url: String,
    backoff: Backoff,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The next attempt is due, after so many that failed in a row.
    Connecting {
        failed: u32,
    },
    /// The next attempt is due at this time.
    Waiting {
        failed: u32,
        until: Duration,
    },
    Up(Link),
    Over,
}

/// What became of a connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum Change {
    /// A link is open.
    Up(Box<Peer>, Link),
    /// The link has ended.
    Down {
        /// Why.
        ended: Ended,
        /// What had been committed and was not delivered.
        undelivered: Undelivered,
        /// When the next attempt follows; `None` if this side closed it, and it is over.
        retry_after: Option<Duration>,
    },
    /// An attempt failed.
    Failed {
        /// Why.
        error: ConnectError,
        /// When the next one follows; `None` when [`Backoff::max_attempts`] failed in a row or the
        /// node shuts down, and it is over.
        retry_after: Option<Duration>,
    },
}

impl Reconnecting {
    pub(crate) fn new(node: Node, url: String, backoff: Backoff) -> Self {
        Self { node, url, backoff, state: State::Connecting { failed: 0 } }
    }

    /// What becomes of it next; `None` when it is over: closed by this side, or given up.
    ///
    /// A future that is dropped before it is ready loses no more than an attempt.
    pub async fn next(&mut self) -> Option<Change> {
        if let State::Waiting { failed, until } = self.state {
            platform::sleep(until.saturating_sub(platform::now())).await;
            self.state = State::Connecting { failed };
        }
        match &self.state {
            State::Connecting { failed } => {
                let failed = failed + 1;
                match self.node.connect(&self.url).await {
                    Ok((peer, link)) => {
                        self.state = State::Up(link.clone());
                        Some(Change::Up(Box::new(peer), link))
                    }
                    Err(error) => {
                        let retry_after = match error {
                            ConnectError::Full(Full::ShuttingDown) => self.over(),
                            _ => self.wait(failed, self.backoff),
                        };
                        tracing::info!(url = self.url, %error, ?retry_after, "not connected");
                        Some(Change::Failed { error, retry_after })
                    }
                }
            }
            State::Up(link) => {
                let ended = link.closed().await;
                let undelivered = link.undelivered();
                let by_us = matches!(ended, Ended::Session(Closed::ByUs { .. }));
                let patient = Backoff { max_attempts: None, ..self.backoff };
                let retry_after = if by_us { self.over() } else { self.wait(0, patient) };
                tracing::info!(url = self.url, %ended, ?retry_after, "down");
                Some(Change::Down { ended, undelivered, retry_after })
            }
            State::Waiting { .. } | State::Over => None,
        }
    }

    fn wait(&mut self, failed: u32, backoff: Backoff) -> Option<Duration> {
        let random = getrandom::u64().unwrap_or_default();
        let Some(wait) = backoff.wait(failed, random) else { return self.over() };
        self.state = State::Waiting { failed, until: platform::now() + wait };
        Some(wait)
    }

    fn over(&mut self) -> Option<Duration> {
        self.state = State::Over;
        None
    }
}
