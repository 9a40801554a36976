//! What all links of a node are made with: settings become the configuration of sessions here, and nowhere
//! else.

use std::io;
use std::time::Duration;

use deltawire_channels::session::SessionConfig;
use deltawire_channels::{Delivery, Limits, Order};
use deltawire_framing::control::Role;
use deltawire_link::{ConnectionConfig, Identity, PacingLimits, Runtime};

/// `NodeBuilder::connect_timeout` by default.
#[allow(unreachable_pub, reason = "a test of the limits' documentation reads it")]
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What a node's links have in common, whatever their kind.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) limits: Limits,
    pub(crate) pacing: PacingLimits,
    pub(crate) connect_timeout: Duration,
    /// Of commands.
    pub(crate) command: Order,
    /// Of the initiator's deltas.
    pub(crate) initiator: Delivery,
    /// Of the acceptor's deltas.
    pub(crate) acceptor: Delivery,
    /// Whether its peers are told that it serves documents.
    pub(crate) serves_documents: bool,
}

impl Settings {
    /// For a link on which this side is `role`, to a peer of this identity.
    pub(crate) fn connection(
        &self,
        role: Role,
        identity: Option<&Identity>,
        runtime: &dyn Runtime,
    ) -> io::Result<ConnectionConfig> {
        let (mut session_id, mut seed) = ([0; 16], [0; 8]);
        runtime.random(&mut session_id)?;
        runtime.random(&mut seed)?;
        let mut session = SessionConfig::new(role, session_id, u64::from_le_bytes(seed));
        session.limits = self.limits;
        session.command = self.command;
        session.serves_documents = self.serves_documents;
        (session.send, session.receive) = match role {
            Role::Initiator => (self.initiator, self.acceptor),
            Role::Acceptor => (self.acceptor, self.initiator),
        };
        let Self { pacing, connect_timeout, .. } = *self;
        let validity = identity.and_then(Identity::validity);
        let valid_until = validity.map(|validity| runtime.now().saturating_add(validity));
        Ok(ConnectionConfig { session, pacing, connect_timeout, valid_until })
    }
}
