//! Links over WebTransport (draft-ietf-webtrans-http3, over HTTP/3, RFC 9114).
//!
//! | | |
//! |---|---|
//! | `StreamHead` | tells what a stream is by the bytes that it begins with |
//! | `Prologue` | reads what a client says before its link: settings, the request, and when the session closes |
//! | `Rules` | where links are, and of which pages |
//! | `wire` | what a server says |
//! | `BrowserWebTransport` | in a browser: a transport on the browser's own |
//!
//! The first four are native, and know neither QUIC nor a socket: whoever has a connection hands bytes over. On the wire
//! a link has the three streams that one over QUIC has, each behind the head by which WebTransport knows its streams:
//! see [`COMMANDS`], [`FROM_INITIATOR`] and [`FROM_ACCEPTOR`].

#![forbid(unsafe_code)]

#[cfg(target_arch = "wasm32")]
mod browser;
#[cfg(not(target_arch = "wasm32"))]
mod error;
#[cfg(not(target_arch = "wasm32"))]
mod head;
#[cfg(not(target_arch = "wasm32"))]
mod prologue;
#[cfg(not(target_arch = "wasm32"))]
mod request;
#[cfg(not(target_arch = "wasm32"))]
mod tagged;
#[cfg(not(target_arch = "wasm32"))]
pub mod wire;

#[cfg(target_arch = "wasm32")]
pub use browser::{BrowserWebTransport, WebTransportMisuse};
#[cfg(not(target_arch = "wasm32"))]
pub use error::PrologueError;
#[cfg(not(target_arch = "wasm32"))]
pub use head::{StreamHead, StreamKind};
#[cfg(not(target_arch = "wasm32"))]
pub use prologue::{MAX_CAPSULE, MAX_HEADERS, MAX_SETTINGS, MAX_SKIPPED, Part, Prologue};
#[cfg(not(target_arch = "wasm32"))]
pub use request::{Denied, Origins, Request, Rules};

/// The name of links over WebTransport: see `Link::kind`.
pub const KIND: &str = "webtransport";

/// The application protocol of HTTP/3 (RFC 9114, section 3.1).
pub const ALPN: &[u8] = b"h3";

/// The number of the stream of commands, bidirectional and opened by the initiator.
pub const COMMANDS: u8 = 0;

/// The number of the initiator's stream of deltas.
pub const FROM_INITIATOR: u8 = 1;

/// The number of the acceptor's stream of deltas.
pub const FROM_ACCEPTOR: u8 = 2;

/// The number of each stream that has one message, up to its end: a delta that may overtake others.
pub const ALONE: u8 = 3;
