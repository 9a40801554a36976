//! Starts links.

use std::io;
use std::net::{IpAddr, SocketAddr};

use deltawire_channels::Peer;
use deltawire_framing::control::Role;
use deltawire_link::{Connection, Link, LinkEnded, TransportError};
use deltawire_sdp::grammar::Candidate;
use deltawire_sdp::{Description, DescriptionError};
use deltawire_webrtc::{Engine, EngineConfig, EngineError};

use super::driver::{Added, Request};
#[cfg(feature = "turn")]
use super::gathering::{self, Gathered};
use super::outgoing::{Local, Ticket};
use super::{NativeEngine, WebRtc};
use crate::network::Outcome;
use crate::reservation::Reservation;
use crate::{ConnectError, Node};

/// A link that waits for its answer. Bring [`sdp`](Self::sdp) to the other node and its answer
/// back. When it is dropped, the link is given up.
pub struct Offer {
    node: Node,
    /// By itself, for it is large and moves with every future that holds the offer.
    engine: Box<NativeEngine>,
    sdp: String,
    ticket: Ticket,
    reservation: Reservation,
    outcome: Outcome,
    #[cfg(feature = "turn")]
    gathered: Gathered,
}

/// What is there before an offer is made.
struct Begun {
    ticket: Ticket,
    reservation: Reservation,
    outcome: Outcome,
    config: EngineConfig,
}

/// What came of an answer.
enum Finished {
    Begun(Outcome),
    /// Another link over the same socket leads to the peer's address.
    Taken,
}

impl Offer {
    /// From a socket of its own at this address, with which the link lives and ends.
    pub(super) fn alone(node: &Node, local: IpAddr) -> Result<Self, ConnectError> {
        let begun = Begun::new(node, Local::Address(local), (String::new(), 0), true)?;
        #[cfg(feature = "turn")]
        return Self::make(node, begun, Gathered::default());
        #[cfg(not(feature = "turn"))]
        Self::make(node, begun)
    }

    /// The same, with the addresses that servers gave.
    #[cfg(feature = "turn")]
    pub(super) async fn alone_gathered(node: &Node, local: IpAddr) -> Result<Self, ConnectError> {
        Self::new(node, Local::Address(local), (String::new(), 0), true).await
    }

    async fn new(
        node: &Node,
        local: Local,
        host: (String, u16),
        alone: bool,
    ) -> Result<Self, ConnectError> {
        let begun = Begun::new(node, local, host, alone)?;
        #[cfg(feature = "turn")]
        let gathered = {
            let Ticket { address, requests, .. } = &begun.ticket;
            // By itself, as the future of who connects is to stay small.
            Box::pin(gathering::gather(node, &[*address], requests)).await
        };
        Self::make(
            node,
            begun,
            #[cfg(feature = "turn")]
            gathered,
        )
    }

    fn make(
        node: &Node,
        begun: Begun,
        #[cfg(feature = "turn")] gathered: Gathered,
    ) -> Result<Self, ConnectError> {
        let Begun { ticket, reservation, outcome, config } = begun;
        #[cfg(feature = "turn")]
        let config = {
            let mut config = config;
            gathered.tell(&mut config);
            config
        };
        let (engine, sdp) = NativeEngine::offer(&config, &[ticket.address], node.runtime().now())
            .map_err(TransportError::from)?;
        Ok(Self {
            node: node.clone(),
            engine: Box::new(engine),
            sdp,
            ticket,
            reservation,
            outcome,
            #[cfg(feature = "turn")]
            gathered,
        })
    }

    /// The session description to be answered.
    #[must_use]
    pub fn sdp(&self) -> &str {
        &self.sdp
    }

    /// Opens the link with the other node's answer.
    ///
    /// # Errors
    ///
    /// When the answer cannot be used, or the peer is not reached.
    pub async fn finish(self, answer: &str) -> Result<(Peer, Link), ConnectError> {
        match self.begin(answer).await? {
            Finished::Begun(outcome) => Ok(outcome.await?),
            // Not of one that has its socket alone.
            Finished::Taken => Err(ConnectError::Ended(LinkEnded::Stopped)),
        }
    }

    /// Has the link driven.
    async fn begin(self, answer: &str) -> Result<Finished, ConnectError> {
        let Self { node, mut engine, ticket, reservation, outcome, .. } = self;
        #[cfg(feature = "turn")]
        let relay = self.gathered.relay;
        if !ticket.leads_to(addresses(answer)?) {
            return Ok(Finished::Taken);
        }
        let now = node.runtime().now();
        engine.accept_answer(answer, now).map_err(TransportError::from)?;
        let config = node
            .settings()
            .connection(Role::Initiator, None, &**node.runtime())
            .map_err(ConnectError::Random)?;
        let user_fragment = engine.user_fragment().to_owned();
        let state = reservation.state().clone();
        let connection = Box::new(Connection::new(*engine, config, state, now)?);
        let Ok(request) = ticket.requests.reserve().await else {
            return Err(ConnectError::Ended(LinkEnded::Stopped));
        };
        request.send(Request::Add(Added {
            connection,
            user_fragment,
            #[cfg(feature = "turn")]
            relay,
        }));
        ticket.keep();
        reservation.take();
        Ok(Finished::Begun(outcome))
    }
}

impl Begun {
    fn new(
        node: &Node,
        local: Local,
        host: (String, u16),
        alone: bool,
    ) -> Result<Self, ConnectError> {
        let (reservation, outcome) = node.begin_connect()?;
        let (runtime, webrtc) = (node.runtime(), &node.inner().webrtc);
        let (Local::Address(address) | Local::Host(address)) = local;
        let (id, buffer) = (reservation.id(), webrtc.socket_buffer);
        let ticket = webrtc
            .outgoing
            .socket(id, local, host, buffer, runtime, alone)
            .map_err(|source| no_socket(address, source))?;
        let config = webrtc.engine(address, ticket.burst);
        Ok(Self { ticket, reservation, outcome, config })
    }
}

/// The addresses that an answer names.
fn addresses(answer: &str) -> Result<Vec<SocketAddr>, ConnectError> {
    let read = Description::read(answer);
    let answer = read.map_err(|error: DescriptionError| {
        ConnectError::Transport(EngineError::Description(error).into())
    })?;
    let addresses = answer.candidates.iter().filter_map(|candidate| Candidate::address(candidate));
    Ok(addresses.collect())
}

impl std::fmt::Debug for Offer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Offer").field("sdp", &self.sdp).finish_non_exhaustive()
    }
}

impl WebRtc {
    /// Offers by signalling, and opens the link with the answer.
    pub(super) async fn connect(
        &self,
        node: &Node,
        url: &str,
        once: bool,
    ) -> Result<(Peer, Link), ConnectError> {
        let host = self.signalling.host(url)?;
        let local = match self.bind {
            Some(local) => Local::Address(local),
            None => {
                let found = node.runtime().local_address(&host.0, host.1).await;
                let unreachable = |source| ConnectError::Host { host: host.0.clone(), source };
                let local = found.map_err(unreachable)?;
                // That of the host to itself stays, and what is there is for nobody else.
                if local.is_loopback() { Local::Address(local) } else { Local::Host(local) }
            }
        };
        let mut alone = false;
        loop {
            #[cfg_attr(not(feature = "turn"), expect(unused_mut, reason = "what servers said"))]
            let mut offer = Offer::new(node, local, host.clone(), alone).await?;
            #[cfg(feature = "turn")]
            let servers = std::mem::take(&mut offer.gathered.problems);
            let answered = self.signalling.offer(node, url, offer.sdp(), once).await?;
            let outcome = match offer.begin(&answered.sdp).await {
                Ok(Finished::Begun(outcome)) => outcome.await.map_err(ConnectError::from),
                Ok(Finished::Taken) if !alone => {
                    self.signalling.hang_up(answered.resource.as_deref()).await;
                    alone = true;
                    continue;
                }
                Ok(Finished::Taken) => Err(ConnectError::Ended(LinkEnded::Stopped)),
                Err(error) => Err(error),
            };
            #[cfg(feature = "turn")]
            let outcome = outcome.map_err(|error| match error {
                ConnectError::Ended(ended @ LinkEnded::NotReached(_)) if !servers.is_empty() => {
                    ConnectError::IceServers { ended, servers }
                }
                error => error,
            });
            if outcome.is_err() {
                self.signalling.hang_up(answered.resource.as_deref()).await;
            }
            return outcome;
        }
    }
}

fn no_socket(address: IpAddr, source: io::Error) -> ConnectError {
    ConnectError::Socket { address: SocketAddr::new(address, 0), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_future_of_connecting_is_small() {
        let node = Node::builder().build().unwrap();
        let future = node.connect("http://127.0.0.1:1/webrtc");
        let len = size_of_val(&future);
        assert!(len <= 8 << 10, "{len} bytes");
    }
}
