//! Accepts links whose offers are made in a room of another node's.

use std::future::{Future, poll_fn};
use std::net::{IpAddr, Ipv4Addr};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use deltawire_link::runtime::{jitter, sleep};
use deltawire_signalling::{Signaller, SignallingError, TakenOffer};

use crate::backoff::Attempts;
use crate::{AnswerError, Node};

/// What a server has at the least between two requests, if it says at once that no offer came.
const LEAST: Duration = Duration::from_secs(1);

/// Why a node accepts in a room no longer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RoomError {
    /// There is no such room, this node may not accept in it, or the server was not reached as often as
    /// [`Backoff::max_attempts`](crate::Backoff::max_attempts) says.
    #[error(transparent)]
    Signalling(#[from] SignallingError),
    /// This node can answer no offers.
    #[error(transparent)]
    Answer(#[from] AnswerError),
}

impl Node {
    /// Accepts links from nodes that connect to a room, such as `http://example.org/webrtc/rooms/name`, of a node that has
    /// rooms (`SignallingOptions::rooms`). Their offers go by that node, and nothing else does. The peers show in
    /// [`accept`](Self::accept), beside those who reach this node in other ways.
    ///
    /// A future that does so as long as it is polled: dropped, it takes no more offers, and the links that there are stay; who
    /// made the one that it was answering just then is told so after 8 s.
    /// It is ready without an error once this node shuts down. A server that is not reached is asked again after the waits of
    /// [`NodeBuilder::backoff`](crate::NodeBuilder::backoff).
    ///
    /// Natively the node has to `NodeBuilder::listen`, at an address at which those reach it that connect. Both sides check, so
    /// a firewall before it need only let answers in.
    ///
    /// Whoever else accepts in the room may get what was meant for this node, and the node that passes offers on could have
    /// both sides speak with itself: take one that you trust, that asks for a token, and by `https`.
    ///
    /// Peers from rooms count as those of one address together: [`NodeLimits::max_per_address`](crate::NodeLimits), and
    /// `max_pending_per_address`. Each offer is answered before the next is taken.
    ///
    /// # Errors
    ///
    /// What waiting would not help against, such as a token that is wrong, or a server that has no rooms.
    pub async fn accept_in_room(&self, url: &str) -> Result<(), RoomError> {
        let network = &self.inner().network;
        let accepting = self.accept_offers(url);
        let (mut accepting, mut closing) = (pin!(accepting), pin!(network.closing()));
        poll_fn(|context| {
            if closing.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ok(()));
            }
            accepting.as_mut().poll(context)
        })
        .await
    }

    async fn accept_offers(&self, url: &str) -> Result<(), RoomError> {
        let signaller = self.inner().webrtc.for_rooms(url)?;
        let runtime = self.runtime();
        let mut attempts = Attempts::default();
        loop {
            let asked = runtime.now();
            let wait = match signaller.take_offer(url).await {
                Ok(Some(taken)) => {
                    attempts.succeeded();
                    match self.answer_taken(&signaller, taken).await {
                        Ok(()) => Duration::ZERO,
                        // Others who accept may have room.
                        Err(AnswerError::Capacity(_)) => LEAST,
                        Err(error) if error.is_of_this_node() => return Err(error.into()),
                        Err(_) => Duration::ZERO,
                    }
                }
                Ok(None) => {
                    attempts.succeeded();
                    LEAST.saturating_sub(runtime.now().saturating_sub(asked))
                }
                Err(error) if is_final(&error) => return Err(error.into()),
                Err(error) => {
                    let random = jitter(&**runtime);
                    let wait = attempts.failed(self.backoff(), error.retry_after(), random);
                    tracing::info!(url, %error, ?wait, "no offers are taken");
                    wait.ok_or(error)?
                }
            };
            if wait > Duration::ZERO {
                sleep(&**runtime, wait).await;
            }
        }
    }

    async fn answer_taken(
        &self,
        signaller: &Arc<dyn Signaller>,
        taken: TakenOffer,
    ) -> Result<(), AnswerError> {
        let TakenOffer { sdp, resource } = taken;
        let (told, answered) = match self.answer_in_room(&sdp).await {
            // Who offered may have gone: the link is given up in time.
            Ok(answer) => (signaller.answer(&resource, answer).await, Ok(())),
            Err(error) => {
                tracing::info!(%error, "an offer was not answered");
                (signaller.hang_up(&resource).await, Err(error))
            }
        };
        if let Err(error) = told {
            tracing::info!(%error, "who offered was not told");
        }
        answered
    }
}

/// Where peers from rooms come from, as far as limits of addresses go: who passes their offers on does not say.
pub(crate) const OF_ROOMS: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Whether asking again would not help.
fn is_final(error: &SignallingError) -> bool {
    match error {
        SignallingError::Unreachable { .. }
        | SignallingError::Broken { .. }
        | SignallingError::TimedOut { .. } => false,
        SignallingError::Refused { status, .. } => {
            (400..500).contains(status) && ![408, 429].contains(status)
        }
        _ => true,
    }
}
