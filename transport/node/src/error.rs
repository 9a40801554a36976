use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use deltawire_channels::InvalidLimits;
use deltawire_link::{LinkEnded, TransportError};
use deltawire_signalling::{Refusal, SignallingError};

use crate::CapacityError;

/// An address as logs and errors have it: without a user's name and password, and without a ticket.
pub(crate) fn shown(url: &str) -> &str {
    let url = url.rsplit('@').next().unwrap_or_default();
    url.split(['?', '#']).next().unwrap_or_default()
}

/// A node could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A limit of each peer is out of bounds.
    #[error(transparent)]
    Limits(#[from] InvalidLimits),
    /// Another option is out of bounds.
    #[error("{option} is {value}, must be {expected}")]
    Option {
        /// The builder's method, or a field of what it takes.
        option: &'static str,
        /// The value that it was given.
        value: usize,
        /// The values that are allowed.
        expected: &'static str,
    },
    /// The signalling client could not be made.
    #[error(transparent)]
    Signalling(#[from] SignallingError),
    /// A socket could not be bound where the node should listen.
    #[error("cannot listen for UDP at {address}: {source}")]
    Listen {
        /// Where the node should listen.
        address: SocketAddr,
        /// Why: if the port is in use, another program has it.
        source: io::Error,
    },
    /// Nobody could listen for streams where the node should accept them.
    #[error("cannot listen at {address}: {source}")]
    ListenStream {
        /// Where.
        address: String,
        /// Why: if it is in use, another process has it.
        source: io::Error,
    },
    /// Nobody could listen for HTTP where the node should serve it.
    #[cfg(all(feature = "signalling-server", not(target_arch = "wasm32")))]
    #[error("the node cannot serve HTTP: {0}")]
    Http(#[from] deltawire_signalling::BindError),
    /// Links that are not encrypted would come from other machines.
    #[error(
        "links that come in at {address} would not be encrypted, and it is no loopback address: accept them by another kind, \
         or allow it with NodeBuilder::allow_unencrypted"
    )]
    Unencrypted {
        /// Where the node should accept them.
        address: SocketAddr,
    },
    /// Peers have to be told where the node listens, and 0.0.0.0 or :: says nothing.
    #[error(
        "{address} says nothing to peers: name the addresses at which they reach this node with \
         NodeBuilder::advertise"
    )]
    Advertise {
        /// Where it should listen, or what it should advertise.
        address: SocketAddr,
    },
    /// A STUN or TURN server's address cannot be used.
    #[cfg(all(feature = "turn", not(target_arch = "wasm32")))]
    #[error("the ICE server {url:?} {reason}")]
    IceServer {
        /// As it was given.
        url: String,
        /// What has to be different: "must …".
        reason: &'static str,
    },
    /// Peers are to be let in over QUIC or WebTransport, and there is no socket that they could come to.
    #[error(
        "NodeBuilder::accept_quic and accept_webtransport need a socket: say where with NodeBuilder::listen"
    )]
    AcceptNowhere,
    /// Browsers are to connect at what is no path.
    #[cfg(all(feature = "webtransport", not(target_arch = "wasm32")))]
    #[error(
        "webtransport_path is {path:?}, must begin with / and have letters, digits, -, ., _, ~ and / without segments . and .."
    )]
    WebTransportPath {
        /// What was given as one.
        path: String,
    },
    /// The certificate or the key of links over QUIC cannot be used.
    #[cfg(all(feature = "quic", not(target_arch = "wasm32")))]
    #[error(transparent)]
    Quic(#[from] deltawire_quic::QuicError),
    /// No certificate for links over QUIC could be made.
    #[cfg(all(feature = "quic", not(target_arch = "wasm32")))]
    #[error(transparent)]
    QuicCertificate(#[from] deltawire_quic::CertificateError),
    /// The system gave no randomness.
    #[error("the system gave no random bytes: {0}")]
    Random(io::Error),
    /// No certificate could be made.
    #[cfg(all(feature = "webrtc", not(target_arch = "wasm32")))]
    #[error(transparent)]
    Certificate(#[from] deltawire_webrtc::CertificateError),
    /// A kind of link is preferred that this node does not have.
    #[error("prefer_links names {name:?}: this node has {known}")]
    LinkKind {
        /// What is named.
        name: String,
        /// The kinds that it has.
        known: String,
    },
    /// In a browser: data channels that windows have to move would wait for everything that a page does.
    #[error("a node has to be built in a dedicated worker: start one with browser::spawn_worker")]
    NoWorker,
}

/// A link could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// This node takes no more links.
    #[error(transparent)]
    Capacity(#[from] CapacityError),
    /// No kind of link of this node's knows such addresses.
    #[error("no kind of link has addresses like {url:?}: this node has {known}")]
    NoKind {
        /// The address.
        url: String,
        /// The schemes that it knows.
        known: String,
    },
    /// The link would not be encrypted, and leave this machine.
    #[error(
        "{scheme}:// is not encrypted, and {host} is no loopback address: use an encrypted kind, or allow it with \
         NodeBuilder::allow_unencrypted"
    )]
    Unencrypted {
        /// The address's scheme.
        scheme: &'static str,
        /// Where it leads.
        host: String,
    },
    /// None of the kinds of links opened that the other node offers.
    #[error("no link opened: {}", tried_kinds(.tried))]
    NoLink {
        /// Each kind that was tried, and why it failed.
        tried: Vec<(String, ConnectError)>,
    },
    /// The other node offers no kind of link that this one has, or may use.
    #[error(
        "the other node offers no kind of link that this one uses: see NodeBuilder::prefer_links, and the features of \
         both"
    )]
    NothingInCommon,
    /// The address cannot be read.
    #[error("the address {url:?} cannot be used: {reason}")]
    Address {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The other node was not reached by signalling, or refused.
    #[error(transparent)]
    Signalling(#[from] SignallingError),
    /// The transport could not be set up: the answer cannot be used, or this node's options.
    #[error("the link cannot be set up: {0}")]
    Transport(#[from] TransportError),
    /// No socket could be had for it.
    #[error("cannot open a socket at {address}: {source}")]
    Socket {
        /// Where the socket should be bound.
        address: SocketAddr,
        /// Why the system refused.
        source: io::Error,
    },
    /// Nobody was reached at the address, or a process that may not be there.
    #[error("cannot open {address}: {source}")]
    Stream {
        /// The address.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// The host of the address is not known.
    #[error("cannot find a way to {host}: {source}")]
    Host {
        /// As the address names it.
        host: String,
        /// Why it was not found.
        source: io::Error,
    },
    /// In a browser: the window made no connection.
    #[cfg(all(feature = "webrtc", target_arch = "wasm32"))]
    #[error(transparent)]
    Window(#[from] deltawire_browser::OpeningError),
    /// The system gave no randomness.
    #[error("the system gave no random bytes: {0}")]
    Random(io::Error),
    /// The peer was not reached, and STUN or TURN servers gave no address that could have helped.
    #[cfg(all(feature = "turn", not(target_arch = "wasm32")))]
    #[error("the link did not open: {ended}; of its ICE servers {}", of_servers(.servers))]
    IceServers {
        /// How the link ended.
        ended: LinkEnded,
        /// Which servers were of no use, and why.
        servers: Vec<crate::IceServerError>,
    },
    /// The peer was found, but the link did not open.
    #[error("the link did not open: {0}")]
    Ended(#[from] LinkEnded),
}

impl ConnectError {
    /// How long the other node asks to wait before the next try, if it refused for now and says so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Signalling(error) => error.retry_after(),
            Self::NoLink { tried } => {
                tried.iter().filter_map(|(_, error)| error.retry_after()).max()
            }
            _ => None,
        }
    }
}

fn tried_kinds(tried: &[(String, ConnectError)]) -> String {
    let tried = tried.iter().map(|(kind, error)| format!("{kind}: {error}"));
    tried.collect::<Vec<_>>().join("; ")
}

#[cfg(all(feature = "turn", not(target_arch = "wasm32")))]
fn of_servers(servers: &[crate::IceServerError]) -> String {
    servers.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl From<CapacityError> for Refusal {
    fn from(error: CapacityError) -> Self {
        match error {
            CapacityError::OfAddress { limit } => Self::TooManyOfAddress { limit },
            CapacityError::Peers { limit } => Self::TooManyPeers { limit },
            CapacityError::Pending { limit } | CapacityError::PendingOfAddress { limit } => {
                Self::TooManyPending { limit }
            }
            CapacityError::ShuttingDown => Self::ShuttingDown,
        }
    }
}
