//! Starts links.

use deltawire_channels::session::Config;
use deltawire_framing::control::Role;
use wasm_bindgen_futures::spawn_local;

use super::*;
use crate::browser::channels::BUFFER;
use crate::browser::opening::{self, Offered};
use crate::browser::{driver, signal};
use crate::connection::{Connection, ConnectionConfig};
use crate::engine::EngineError;
use crate::engine::description::Description;
use crate::flight::FlightLimits;
use crate::link::Ended;
use crate::node::patience::patiently;
use crate::node::{Full, Place};
use crate::signalling::SignallingError;

/// A link could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// This node takes no more links.
    #[error(transparent)]
    Full(#[from] Full),
    /// The window did not answer.
    #[error("the window made no connection within {after:?}: does it have a browser::Port?")]
    WindowSilent {
        /// How long was waited.
        after: Duration,
    },
    /// The window could not make a connection.
    #[error("the window made no connection: {reason}")]
    Window {
        /// What the browser says.
        reason: String,
    },
    /// The other node was not reached by HTTP, or refused.
    #[error(transparent)]
    Signalling(#[from] SignallingError),
    /// The answer cannot be used.
    #[error("the answer cannot be used: {0}")]
    Engine(#[from] EngineError),
    /// The browser gave no randomness.
    #[error("the browser gave no random bytes: {0}")]
    Random(getrandom::Error),
    /// Signalling was done, but the link did not open.
    #[error("the link did not open: {0}")]
    Ended(#[from] Ended),
}

pub(super) async fn connect(
    inner: &Rc<Inner>,
    url: &str,
    patience: Duration,
) -> Result<(Peer, Link), ConnectError> {
    let Inner { settings, network } = &**inner;
    let (shared, outcome) = network.begin_connect()?;
    let place = Place::new(network, &shared);
    let config = settings.connection().map_err(ConnectError::Random)?;
    let Offered { opening, mut channels, route, sdp } = opening::open(settings.streams()).await?;
    let answered = patiently(patience, || signal::offer(&settings.client, url, &sdp)).await?;
    let answer = match Description::read(&answered.sdp) {
        Ok(answer) => answer,
        Err(error) => {
            hang_up(settings, answered.resource.as_deref()).await;
            return Err(EngineError::from(error).into());
        }
    };
    channels.begin(answer.max_message_size);
    let mut connection = Connection::new(channels, config, shared, clock::now());
    connection.set_route(route);
    opening.answer(&answered.sdp);
    spawn_local(driver::drive(connection, opening, network.clone()));
    place.take();
    let outcome = outcome.await.unwrap_or(Err(Ended::Stopped));
    if outcome.is_err() {
        hang_up(settings, answered.resource.as_deref()).await;
    }
    Ok(outcome?)
}

/// Tells the node that answered that nobody comes.
async fn hang_up(settings: &Settings, resource: Option<&str>) {
    if let Some(resource) = resource
        && let Err(error) = signal::hang_up(&settings.client, resource).await
    {
        tracing::debug!(%error, "hanging up failed; the peer gives up by itself");
    }
}

impl Settings {
    /// Deliveries by stream.
    fn streams(&self) -> [Delivery; 3] {
        let command = Delivery { order: self.command, ..Delivery::default() };
        [command, self.initiator, self.acceptor]
    }

    fn connection(&self) -> Result<ConnectionConfig, getrandom::Error> {
        let mut session_id = [0; 16];
        getrandom::fill(&mut session_id)?;
        let mut session = Config::new(Role::Initiator, session_id, getrandom::u64()?);
        session.limits = self.limits;
        session.command = self.command;
        (session.send, session.receive) = (self.initiator, self.acceptor);
        // The browser does not say what was acknowledged, so there is nothing to adapt to.
        let flight = FlightLimits { min: BUFFER, max: BUFFER };
        Ok(ConnectionConfig { session, flight, connect_timeout: self.connect_timeout })
    }
}
