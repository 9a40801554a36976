//! Links over WebSocket (RFC 6455).
//!
//! A transport message is one binary message. Extensions are not offered and not taken: what is sent is not
//! compressed. A message is sent in one frame; what comes may be in several, as browsers send long ones.
//! Natively `WebSocketFraming` puts them into a stream of bytes, after both sides said what
//! `opening` has; nothing of that does I/O. In a browser `BrowserWebSocket` is a transport on the browser's own.

#![forbid(unsafe_code)]

#[cfg(target_arch = "wasm32")]
mod browser;
#[cfg(not(target_arch = "wasm32"))]
mod framing;
#[cfg(not(target_arch = "wasm32"))]
pub mod opening;

#[cfg(target_arch = "wasm32")]
pub use browser::{AddressError, BrowserWebSocket, WebSocketMisuse, host};
#[cfg(not(target_arch = "wasm32"))]
pub use framing::{Random, Side, WebSocketFraming};

/// What both sides say that they speak over a WebSocket (RFC 6455, section 1.9).
pub const SUBPROTOCOL: &str = "deltawire.1";

/// What links over WebSocket are [called](deltawire_link::Link::kind).
pub const KIND: &str = "websocket";
