use core::future::Future;
use std::net::{IpAddr, SocketAddr};

use deltawire_link::Identity;
use deltawire_sdp::DescriptionError;

use super::{OfferedLink, OfferedLinks, ResourceId, excerpt};

/// Who answers offers: the node. Nothing here knows HTTP.
///
/// Calls come from many tasks at once.
pub trait Answerer: Send + Sync + 'static {
    /// Answers an offer.
    ///
    /// The future is dropped when the client goes away before it is ready: what it made by then
    /// has to be undone by whatever it holds. A client that never learns of its answer does not
    /// hang up, so peers that do not connect in time have to be given up by the node.
    fn answer(
        &self,
        offer: String,
        from: Offerer,
    ) -> impl Future<Output = Result<Answer, Refusal>> + Send;

    /// Takes candidates of the other side, each as `candidate:…` without `a=` before it. At most
    /// [`SdpFragment::MAX_CANDIDATES`](super::SdpFragment::MAX_CANDIDATES) a call, of printable ASCII;
    /// none when the other side only says that there are no more. They may come again, and after
    /// the peers are connected.
    fn add_candidates(&self, id: &ResourceId, candidates: Vec<String>) -> Result<(), Refusal>;

    /// The kinds of links that it offers. Default: WebRTC.
    fn links(&self) -> Vec<OfferedLink> {
        OfferedLinks::webrtc().links
    }

    /// Where it looks for tickets that links are opened with elsewhere, if there are such links: those that signalling
    /// gives are put there. Default: nowhere, and tickets open WebSockets only.
    #[cfg(all(feature = "server", not(target_arch = "wasm32")))]
    fn tickets(&self) -> Option<crate::Tickets> {
        None
    }

    /// Whether there are links that nobody opens without a ticket, so that signalling gives them also where it asks for nothing. Default: no.
    #[cfg(all(feature = "server", not(target_arch = "wasm32")))]
    fn needs_tickets(&self) -> bool {
        false
    }

    /// Makes room for a peer that opens a WebSocket where offers go, and gives who takes over its stream once
    /// it is open. Dropped before, it gives the room back.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](Refusal::Unsupported), unless it is implemented.
    #[cfg(all(feature = "server", feature = "websocket", not(target_arch = "wasm32")))]
    fn websocket(&self, from: Offerer) -> Result<AttachStream, Refusal> {
        let _ = from;
        let value = "websocket".to_owned();
        let expected = "cannot be answered: this node takes offers only";
        Err(Refusal::Unsupported { field: "upgrade", value, expected })
    }

    /// Closes what the offer made. It is then [`Unknown`](Refusal::Unknown).
    fn hang_up(&self, id: &ResourceId) -> Result<(), Refusal>;
}

/// Takes over the stream of a WebSocket.
#[cfg(all(feature = "server", feature = "websocket", not(target_arch = "wasm32")))]
pub type AttachStream = Box<dyn FnOnce(Box<dyn deltawire_stream::ByteStream>) + Send>;

/// Who makes an offer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Offerer {
    /// Where the offer came from: 0.0.0.0:0 if that is not known.
    pub address: SocketAddr,
    /// Who it is, as the authorizer says; `None` where nobody was asked.
    pub identity: Option<Identity>,
}

impl Offerer {
    /// Somebody at this address.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { address, identity: None }
    }

    /// What counts as its address in limits: of IPv6 the first 64 bits. `None` if it is not known.
    #[must_use]
    pub fn network(&self) -> Option<IpAddr> {
        Some(self.address.ip()).filter(|address| !address.is_unspecified()).map(network)
    }

    /// The same, known as this one.
    #[must_use]
    pub fn with_identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }
}

/// What counts as one address: of IPv6, the first 64 bits, which one customer usually has alone.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        address => address,
    }
}

/// What an offer is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Names what the offer made.
    pub id: ResourceId,
    /// The answer (RFC 8866).
    pub sdp: String,
}

/// Why the node did not do what a client asked. All but [`Internal`](Self::Internal) is told to
/// the client as it reads here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The offer or a candidate breaks its format. Status 400.
    #[error("malformed: {field} is \"{}\", {expected}", excerpt(.value))]
    Malformed {
        /// What breaks a rule: a line's type, an attribute.
        field: &'static str,
        /// What was found there; its first 64 characters are shown.
        value: String,
        /// The rule: "must be …".
        expected: &'static str,
    },
    /// The offer has no `m=application` section. Status 422.
    #[error("the offer has no m=application section: create a data channel before the offer")]
    NoChannels,
    /// There is no such resource, or not any more. Status 404.
    #[error("no peer has this id, or not any more: make a new offer")]
    Unknown,
    /// As many offers as are allowed have been answered and wait for their peers to connect.
    /// Status 503, with `Retry-After`: one second.
    #[error("{limit} peers are connecting, as many as are allowed: try again in a moment")]
    TooManyPending {
        /// How many are allowed.
        limit: usize,
    },
    /// As many peers as are allowed are connected. Status 503.
    #[error("{limit} peers are connected, as many as are allowed: try again later")]
    TooManyPeers {
        /// How many are allowed.
        limit: usize,
    },
    /// The client's address has as many peers as one may have. Status 503.
    #[error("your address has {limit} peers, as many as one may have: close those not needed")]
    TooManyOfAddress {
        /// How many one address may have.
        limit: usize,
    },
    /// The client sent more candidates for one offer than are allowed. Status 422.
    #[error("{limit} candidates have been taken for this offer, as many as are allowed")]
    TooManyCandidates {
        /// How many are allowed.
        limit: usize,
    },
    /// The node takes no more offers. Status 503.
    #[error("the node is shutting down: offer to another one")]
    ShuttingDown,
    /// The offer is well formed, and asks for what the node cannot do. Status 422.
    #[error("not supported: {field} is \"{}\", {expected}", excerpt(.value))]
    Unsupported {
        /// What cannot be done: a line's type, an attribute.
        field: &'static str,
        /// What was found there; its first 64 characters are shown.
        value: String,
        /// What can be done: "must be …".
        expected: &'static str,
    },
    /// The node failed. Status 500; the reason is logged and not told to the client.
    #[error("the node failed: {reason}")]
    Internal {
        /// Why.
        reason: String,
    },
}

impl From<DescriptionError> for Refusal {
    fn from(error: DescriptionError) -> Self {
        match error {
            DescriptionError::Malformed { field, value, expected, .. } => {
                Self::Malformed { field, value, expected }
            }
            DescriptionError::Missing { field } => {
                Self::Unsupported { field, value: String::new(), expected: "must be there" }
            }
            DescriptionError::NoChannels => Self::NoChannels,
            DescriptionError::Unsupported { field, value, expected } => {
                Self::Unsupported { field, value, expected }
            }
            DescriptionError::TooLong { field, len, .. } => Self::Unsupported {
                field,
                value: format!("{len} bytes"),
                expected: "must be shorter: docs/LIMITS.md has the limits",
            },
            DescriptionError::TooManyCandidates { limit } => Self::TooManyCandidates { limit },
            error => Self::Internal { reason: error.to_string() },
        }
    }
}
