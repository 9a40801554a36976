//! QUIC under links, without I/O: sockets, clocks and tasks are those of whoever moves it.
//!
//! | | |
//! |---|---|
//! | [`QuicEndpoint`] | the connections of a socket: connects, accepts, and says whose a datagram is |
//! | [`QuicTransport`] | one connection, as a [`MessageTransport`](deltawire_link::MessageTransport) |
//! | [`QuicConfig`] | what both are made with |
//! | [`QuicCertificate`], [`QuicTrust`], [`Fingerprint`] | who the server is |
//!
//! # On the wire
//!
//! QUIC version 1 (RFC 9000) with TLS 1.3 (RFC 9001) and the ALPN protocol [`ALPN`]. A link has three streams. Who
//! opens one writes its number, a byte, at once:
//!
//! | number | stream | opened by | after the number | priority |
//! |---|---|---|---|---|
//! | 0 | bidirectional: commands both ways | the initiator | the token, then messages | 2 |
//! | 1 | unidirectional: deltas | the initiator | messages | 0 |
//! | 2 | unidirectional: deltas | the acceptor, once it let the peer in | messages | 0 |
//!
//! Deltas that may overtake each other ([`QuicConfig::initiator`], [`QuicConfig::acceptor`]) do not go there. Each of their
//! messages has a unidirectional stream of its own: the number 3, then the message until the stream's end. One that is never
//! to be sent again goes in a datagram (RFC 9221) where it fits, without a number. One whose lifetime is over is given up: its
//! stream is reset with the code 3.
//!
//! The token is a `u32` in little endian, its length, and so many bytes: none where none is needed, at most
//! [`MAX_TOKEN_LEN`]. A message is a `u32` in little endian, its length, and so many bytes: 1 to what its receiver
//! takes. On its half of stream 0, the acceptor writes messages only. A link is open at each side when both
//! unidirectional streams are there.
//!
//! A connection is closed with a code of the application's: [`CLOSED`], [`REFUSED`] or [`BROKEN`], and a text that says
//! why.
//!
//! # Bounds
//!
//! See [`QuicConfig`]. Until a peer is let in, it can have no more than [`MAX_UNADMITTED`] bytes lie here.

#![forbid(unsafe_code)]

mod certificate;
mod config;
mod endpoint;
mod error;
#[cfg(feature = "webtransport")]
mod http3;
mod keys;
mod messages;
mod progress;
mod reader;
#[cfg(feature = "webtransport")]
mod renewal;
mod silence;
mod stack;
mod transport;
mod trust;
mod writer;

pub use certificate::{CertificateError, Fingerprint, FingerprintError, QuicCertificate};
pub use config::{COMMAND_ROOM, QuicConfig};
pub use endpoint::{Arrival, Handed, Handle, PeerEvent, QuicEndpoint, Routed};
pub use error::QuicError;
#[cfg(feature = "webtransport")]
pub use renewal::RenewedCertificate;
pub use transport::{EndpointEvent, QuicTransport};
pub use trust::QuicTrust;

/// The application protocol that both sides have to speak (RFC 7301).
pub const ALPN: &[u8] = b"deltawire/1";

/// The longest token that is taken, bytes.
pub const MAX_TOKEN_LEN: usize = 4_096;

/// The longest message that a link takes, bytes; [`QuicConfig::max_message_len`] may say less.
pub const MAX_MESSAGE_LEN: usize = 65_535;

/// Bytes of its streams that a peer can have lie here before it is let in: a token, and a hello behind it.
pub const MAX_UNADMITTED: u32 = 16 << 10;

/// Why a connection was closed: the link is over.
pub const CLOSED: u32 = 0;
/// Why a connection was closed: its peer is not let in.
pub const REFUSED: u32 = 1;
/// Why a connection was closed: its peer broke the rules.
pub const BROKEN: u32 = 2;
