//! Gives sessions of links that this node started other links to go on over.

use std::task::Poll;
use std::time::Duration;

use deltawire_framing::control::CloseCode;
use deltawire_link::Link;
use deltawire_link::runtime::{jitter, sleep};

use crate::backoff::Attempts;
use crate::{Backoff, CapacityError, ConnectError, Node};

/// Connects anew to `url` whenever a link's session wants another transport, until it is over. The first attempt
/// follows at once, others after the node's waits; each is given up when the session is over.
pub(crate) fn keep(node: &Node, url: &str, link: &Link) {
    let Some(name) = link.session() else { return };
    let (node, url, link) = (node.going_on(name), url.to_owned(), link.clone());
    let runtime = node.runtime().clone();
    runtime.spawn(Box::pin(async move {
        // Waits of a link that comes and goes grow as those of one that is refused.
        let mut attempts = Attempts::default();
        let mut since = node.runtime().now();
        while wants_transport(&node, &link).await {
            let now = node.runtime().now();
            let was_up = now.saturating_sub(since);
            let mut wait = Duration::ZERO;
            if was_up < Backoff::default().settled {
                wait = attempts.ended(node.backoff(), was_up, jitter(&**node.runtime()));
            }
            if !try_all(&node, &url, &link, wait, &mut attempts).await {
                if !link.is_down() && link.ended().is_none() {
                    // It was only to go another way, and there is none.
                    attempts.succeeded();
                    since = node.runtime().now();
                    continue;
                }
                link.close(CloseCode::NORMAL, "no link could be opened to go on over");
                link.cut_short();
                return;
            }
            attempts.succeeded();
            since = node.runtime().now();
        }
    }));
}

/// Whether the session wants another transport, as its own is gone, or may soon be; not when it is over.
async fn wants_transport(node: &Node, link: &Link) -> bool {
    until_changed(node, link.wants_transport()).await.unwrap_or(true)
}

/// What a future gives, unless the host's network changes before.
async fn until_changed<T>(node: &Node, future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    let mut changed = node.runtime().network_changed();
    std::future::poll_fn(|context| {
        if let Poll::Ready(done) = future.as_mut().poll(context) {
            return Poll::Ready(Some(done));
        }
        changed.as_mut().poll(context).map(|()| None)
    })
    .await
}

/// Tries until a transport is open, and says whether one is.
async fn try_all(
    node: &Node,
    url: &str,
    link: &Link,
    wait: Duration,
    attempts: &mut Attempts,
) -> bool {
    let mut told_to_wait = false;
    let mut begin_at = node.runtime().now().saturating_add(wait);
    loop {
        let attempt = async {
            sleep(&**node.runtime(), begin_at.saturating_sub(node.runtime().now())).await;
            node.connect_once(url).await
        };
        let Some(connected) = until_over(link, until_changed(node, attempt)).await else {
            return false;
        };
        let Some(connected) = connected else {
            // Where it was under way to may not be reached from here any more. What the server asked for holds.
            if !told_to_wait {
                begin_at = Duration::ZERO;
            }
            continue;
        };
        match connected {
            // The peer is of a session that was not begun.
            Ok((_nobody, _link)) => return true,
            Err(ConnectError::Capacity(CapacityError::ShuttingDown)) => return false,
            Err(error) => {
                if !link.is_down() {
                    // It has a way, which the next change may still better.
                    tracing::info!(url = crate::error::shown(url), %error, "no other link to go on over");
                    return true;
                }
                let random = jitter(&**node.runtime());
                told_to_wait = error.retry_after().is_some();
                let retry = attempts.failed(node.backoff(), error.retry_after(), random);
                tracing::info!(url = crate::error::shown(url), %error, ?retry, "no link to go on over");
                match retry {
                    Some(retry) => begin_at = node.runtime().now().saturating_add(retry),
                    None => return false,
                }
            }
        }
    }
}

/// What a future gives, unless the link is over before.
async fn until_over<T>(link: &Link, future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    let mut over = std::pin::pin!(link.closed());
    std::future::poll_fn(|context| {
        if let Poll::Ready(done) = future.as_mut().poll(context) {
            return Poll::Ready(Some(done));
        }
        over.as_mut().poll(context).map(|_| None)
    })
    .await
}
