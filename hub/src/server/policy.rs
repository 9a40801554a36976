//! Who may do what with which document.

use std::fmt;
use std::time::Duration;

use deltawire_framing::{Delta, DocId};
use deltawire_link::Identity;
use deltawire_link::runtime::BoxFuture;

use crate::DeniedCode;

/// What somebody wants to do with a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// Read its deltas.
    Read,
    /// Write deltas to it.
    Write,
    /// See who looks at it, and be seen.
    Presence,
}

/// A question to a [`Policy`].
#[derive(Clone, Debug)]
pub struct Ask {
    /// Who asks, if that is known.
    pub identity: Option<Identity>,
    /// Of which document.
    pub doc_id: DocId,
    /// What for.
    pub action: Action,
}

/// What a [`Policy`] permits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permission {
    /// For how long; then the subscription or publication ends by [`DeniedCode::REVOKED`]. Default: for as long as
    /// the link lives.
    pub valid_for: Option<Duration>,
    /// Whether snapshots may be written too: what they cover is dropped. Default: no.
    pub snapshots: bool,
}

/// Decides who may do what. It is asked once for each subscription and publication; an answer that takes longer than
/// [`HubOptions::ask_timeout`](super::HubOptions::ask_timeout) counts as no.
pub trait Policy: fmt::Debug + Send + Sync + 'static {
    /// Whether this is permitted.
    fn permit(&self, ask: Ask) -> BoxFuture<'static, Result<Permission, DeniedCode>>;

    /// Whether a delta is let in. Called for each, of a group for each of its own, while others wait: for what is seen at a
    /// glance. Default: yes.
    fn validate(&self, identity: Option<&Identity>, delta: Delta<'_>) -> Result<(), DeniedCode> {
        let _ = (identity, delta);
        Ok(())
    }

    /// What a delta is about, for readers that want only the newest of each
    /// ([`SlowPolicy::LatestPerKey`](crate::SlowPolicy::LatestPerKey)): an entity of a game, a row of a table; a group has one. Asked
    /// where a document has such readers, while others wait: it must not use the hub. Default: `None`, its writer.
    fn key_of(&self, delta: Delta<'_>) -> Option<u64> {
        let _ = delta;
        None
    }
}

/// Lets everybody that has a link do everything with every document, snapshots included.
#[derive(Clone, Copy, Debug, Default)]
pub struct Everyone;

impl Policy for Everyone {
    fn permit(&self, _: Ask) -> BoxFuture<'static, Result<Permission, DeniedCode>> {
        Box::pin(async { Ok(Permission { valid_for: None, snapshots: true }) })
    }
}
