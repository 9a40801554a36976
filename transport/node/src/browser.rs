//! Links of a browser's worker: data channels that the window makes.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use deltawire_browser::{Candidates, Offered, OpeningError, answer, listen, open};
use deltawire_channels::{Delivery, Peer};
use deltawire_framing::control::Role;
use deltawire_link::runtime::BoxFuture;
use deltawire_link::{
    Connection, ConnectionConfig, Fault, Link, MessageTransport, TransportError, TransportErrorKind,
};
use deltawire_sdp::{Description, DescriptionError};
use deltawire_signalling::Signaller;

use crate::network::Outcome;
use crate::reservation::Reservation;
use crate::rooms::OF_ROOMS;
use crate::settings::Settings;
use crate::webrtc_signalling::WebRtcSignalling;
use crate::{BuildError, CapacityError, ConnectError, LinkKind, Node, RoomError};

/// WebRTC by the browser's own stack.
#[derive(Debug)]
pub(crate) struct WebRtc {
    signalling: WebRtcSignalling,
}

impl WebRtc {
    pub(crate) fn new(signalling: WebRtcSignalling) -> Result<Self, BuildError> {
        if !listen() {
            return Err(BuildError::NoWorker);
        }
        Ok(Self { signalling })
    }

    /// Who takes offers in a room.
    pub(crate) fn for_rooms(&self, url: &str) -> Result<Arc<dyn Signaller>, RoomError> {
        Ok(self.signalling.for_rooms(url)?)
    }
}

impl LinkKind for WebRtc {
    fn schemes(&self) -> &[&str] {
        self.signalling.schemes()
    }

    fn name(&self) -> &str {
        "webrtc"
    }

    fn address(&self, asked: &str, offered: Option<&str>, _ticket: Option<&str>) -> Option<String> {
        Some(WebRtcSignalling::address(asked, offered))
    }

    fn connect<'a>(
        &'a self,
        node: &'a Node,
        url: &'a str,
        once: bool,
    ) -> BoxFuture<'a, Result<(Peer, Link), ConnectError>> {
        Box::pin(self.connect(node, url, once))
    }
}

impl WebRtc {
    async fn connect(
        &self,
        node: &Node,
        url: &str,
        once: bool,
    ) -> Result<(Peer, Link), ConnectError> {
        // One that is a room's by chance costs the time of gathering.
        let is_room = url.contains("/rooms/");
        let candidates = if is_room { Candidates::Gathered } else { Candidates::AtOnce };
        let offer = Offer::new(node, candidates).await?;
        let answered = self.signalling.offer(node, url, offer.sdp(), once).await?;
        let connected = offer.finish(&answered.sdp).await;
        if connected.is_err() {
            self.signalling.hang_up(answered.resource.as_deref()).await;
        }
        connected
    }
}

/// What a node has because it has links over WebRTC.
impl Node {
    /// Starts a link whose offer travels by other means than signalling: see [`Offer`].
    ///
    /// # Errors
    ///
    /// When the node is full, or its window makes no connection.
    pub async fn offer(&self) -> Result<Offer, ConnectError> {
        Offer::new(self, Candidates::Gathered).await
    }

    /// Answers an offer that came by other means than signalling. The peer then shows in
    /// [`accept`](Self::accept).
    ///
    /// # Errors
    ///
    /// When the offer cannot be read or has no data channels, the node is full, or its window makes no connection.
    pub async fn answer(&self, offer: &str) -> Result<String, AnswerError> {
        self.answer_from(offer, None).await
    }

    async fn answer_from(&self, offer: &str, from: Option<IpAddr>) -> Result<String, AnswerError> {
        let max_message_len = Description::read(offer)?.max_message_size;
        let reservation = self.inner().network.begin_accept(from, None)?;
        let config = configure(self, Role::Acceptor).map_err(AnswerError::Random)?;
        let answered = answer(streams(self.settings()), offer).await?;
        let sdp = answered.sdp.clone();
        begin(self, reservation, config, answered, max_message_len)?;
        Ok(sdp)
    }

    /// Answers an offer that was taken in a room.
    pub(crate) async fn answer_in_room(&self, offer: &str) -> Result<String, AnswerError> {
        self.answer_from(offer, Some(OF_ROOMS)).await
    }
}

/// A link that waits for its answer. Bring [`sdp`](Self::sdp) to the other node and its answer
/// back. When it is dropped, the link is given up.
pub struct Offer {
    node: Node,
    offered: Offered,
    config: ConnectionConfig,
    reservation: Reservation,
    outcome: Outcome,
}

impl Offer {
    async fn new(node: &Node, candidates: Candidates) -> Result<Self, ConnectError> {
        let (reservation, outcome) = node.begin_connect()?;
        let config = configure(node, Role::Initiator).map_err(ConnectError::Random)?;
        let offered = open(streams(node.settings()), candidates).await?;
        Ok(Self { node: node.clone(), offered, config, reservation, outcome })
    }

    /// The session description to be answered.
    #[must_use]
    pub fn sdp(&self) -> &str {
        &self.offered.sdp
    }

    /// Opens the link with the other node's answer.
    ///
    /// # Errors
    ///
    /// When the answer cannot be used, or the peer is not reached.
    pub async fn finish(self, answer: &str) -> Result<(Peer, Link), ConnectError> {
        let Self { node, offered, config, reservation, outcome } = self;
        let read = Description::read(answer)
            .map_err(|error| TransportError::new(TransportErrorKind::SetUp, Fault::Peer, error))?;
        // If it cannot begin after all, the window closes the connection.
        offered.opening.answer(answer);
        begin(&node, reservation, config, offered, read.max_message_size)?;
        Ok(outcome.await?)
    }
}

impl std::fmt::Debug for Offer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Offer").field("sdp", &self.sdp()).finish_non_exhaustive()
    }
}

/// An offer was not answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The node takes no more links.
    #[error(transparent)]
    Capacity(#[from] CapacityError),
    /// The offer is malformed, has no data channels, or asks for what this node cannot do.
    #[error(transparent)]
    Description(#[from] DescriptionError),
    /// The window made no connection, or the browser cannot take the offer.
    #[error(transparent)]
    Window(#[from] OpeningError),
    /// The link cannot be set up with this node's options.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The system gave no randomness.
    #[error("the system gave no random bytes: {0}")]
    Random(io::Error),
}

impl AnswerError {
    /// Whether no other offer would be answered either.
    pub(crate) fn is_of_this_node(&self) -> bool {
        matches!(self, Self::Random(_) | Self::Window(OpeningError::WindowSilent { .. }))
    }
}

fn configure(node: &Node, role: Role) -> io::Result<ConnectionConfig> {
    node.settings().connection(role, None, &**node.runtime())
}

/// Has a link driven over channels that the window gave.
fn begin(
    node: &Node,
    reservation: Reservation,
    config: ConnectionConfig,
    mut offered: Offered,
    max_message_len: usize,
) -> Result<(), TransportError> {
    offered.channels.begin(max_message_len);
    let state = reservation.state().clone();
    // As `Node::start` has them.
    let channels: Box<dyn MessageTransport> = Box::new(offered.channels);
    let mut connection = Connection::new(channels, config, state, node.runtime().now())?;
    connection.set_route(offered.route);
    node.drive(reservation, connection, Some(Box::new(offered.opening)));
    Ok(())
}

/// Deliveries by stream.
fn streams(settings: &Settings) -> [Delivery; 3] {
    let command = Delivery { order: settings.command, ..Delivery::default() };
    [command, settings.initiator, settings.acceptor]
}
