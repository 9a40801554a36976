//! Links of a browser's worker: data channels that the window makes.

use deltawire_browser::{Offered, listen, open};
use deltawire_channels::{Delivery, Peer};
use deltawire_framing::control::Role;
use deltawire_link::runtime::BoxFuture;
use deltawire_link::{
    Connection, Fault, Link, MessageTransport, TransportError, TransportErrorKind,
};
use deltawire_sdp::Description;

use crate::settings::Settings;
use crate::webrtc_signalling::WebRtcSignalling;
use crate::{BuildError, ConnectError, LinkKind, Node};

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
        let (reservation, outcome) = node.begin_connect()?;
        let runtime = node.runtime();
        let config = node
            .settings()
            .connection(Role::Initiator, None, &**runtime)
            .map_err(ConnectError::Random)?;
        let Offered { opening, mut channels, route, sdp } = open(streams(node.settings())).await?;
        let answered = self.signalling.offer(node, url, &sdp, once).await?;
        let resource = answered.resource.as_deref();
        let answer = match Description::read(&answered.sdp) {
            Ok(answer) => answer,
            Err(error) => {
                self.signalling.hang_up(resource).await;
                let error = TransportError::new(TransportErrorKind::SetUp, Fault::Peer, error);
                return Err(error.into());
            }
        };
        channels.begin(answer.max_message_size);
        let state = reservation.state().clone();
        // As `Node::start` has them.
        let channels: Box<dyn MessageTransport> = Box::new(channels);
        let mut connection = match Connection::new(channels, config, state, runtime.now()) {
            Ok(connection) => connection,
            Err(error) => {
                self.signalling.hang_up(resource).await;
                return Err(error.into());
            }
        };
        connection.set_route(route);
        opening.answer(&answered.sdp);
        node.drive(reservation, connection, Some(Box::new(opening)));
        let outcome = outcome.await;
        if outcome.is_err() {
            self.signalling.hang_up(resource).await;
        }
        Ok(outcome?)
    }
}

/// Deliveries by stream.
fn streams(settings: &Settings) -> [Delivery; 3] {
    let command = Delivery { order: settings.command, ..Delivery::default() };
    [command, settings.initiator, settings.acceptor]
}
