//! Signalling over HTTP: how an offer reaches the peer that answers it, and the answer its way
//! back.
//!
//! In the manner of WHIP (RFC 9725), for data channels instead of media:
//!
//! | request | body | answer |
//! |---|---|---|
//! | `POST /webrtc` | the offer, `application/sdp` | 201, the answer, `Location: /webrtc/<id>` |
//! | `PATCH <Location>` | candidates, `application/trickle-ice-sdpfrag` (RFC 8840) | 204 |
//! | `DELETE <Location>` | | 200: hung up |
//! | `OPTIONS` either | | 200, with `Allow`, and `Accept-Post` or `Accept-Patch` |
//! | `POST /webrtc`, `Accept: application/json` | none | 200, [`OfferedLinks`]: what else there is than WebRTC |
//! | `GET /webrtc`, `Upgrade: websocket` | | 101: a link over WebSocket (feature `websocket`) |
//!
//! With `SignallingOptions::rooms` there are rooms, in which others than the node itself accept:
//!
//! | request | body | answer |
//! |---|---|---|
//! | `POST /webrtc/rooms/<name>` | an offer, `application/sdp` | 201, the answer of who accepts there |
//! | `POST /webrtc/rooms/<name>`, `Accept: application/json` | none | 200, [`OfferedLinks`]: WebRTC |
//! | `POST /webrtc/rooms/<name>/offers` | none | 200, the next offer, `Location: …/offers/<id>`; 204: none came for now |
//! | `POST <Location>` | the answer, `application/sdp` | 204 |
//! | `DELETE <Location>` | | 204: the offer is refused |
//!
//! What goes wrong is told by a status and a [`Problem`] (RFC 9457), and then the connection is
//! closed:
//!
//! | status | why |
//! |---|---|
//! | 400 | the body is not UTF-8, or breaks its format |
//! | 401 | the bearer token, or the ticket, is missing or wrong; with `WWW-Authenticate` |
//! | 403 | who asks is known, and may not; or a page of another origin opens a WebSocket |
//! | 404 | no such resource, or nothing at this path; says where offers go |
//! | 405 | another method; with `Allow` |
//! | 408 | the body took too long |
//! | 413 | the body is too long |
//! | 415 | another media type; with `Accept-Post` or `Accept-Patch` |
//! | 422 | an offer without data channels, or that asks for what the node cannot do |
//! | 429 | too many requests or connections from one address; with `Retry-After` |
//! | 500 | the node failed |
//! | 503 | the node is full or shuts down, or nobody accepts in a room; with `Retry-After` where waiting a moment helps |
//!
//! There are no entity tags, so that no `If-Match` is needed, and no ICE restart: who needs new
//! credentials makes a new offer.
//!
//! Whoever answers offers implements [`Answerer`]; `router` serves it, within an application of its
//! own or by a `SignallingServer` (feature `server`, not in a browser). `SignallingClient` is the other end
//! (feature `client`), by `fetch` in a browser; who signals in another way implements [`Signaller`].
//!
//! Who may signal says a [`Token`] that all share, a list of them, or an `Authorizer` of the application's
//! own, which gives each peer an [`Identity`](deltawire_link::Identity).

#![forbid(unsafe_code)]

mod answerer;
mod client;
mod offered;
mod problem;
mod resource;
mod sdpfrag;
#[cfg(all(feature = "server", not(target_arch = "wasm32")))]
mod server;
mod token;

#[cfg(all(feature = "server", feature = "websocket", not(target_arch = "wasm32")))]
pub use answerer::AttachStream;
pub use answerer::{Answer, Answerer, Offerer, Refusal};
#[cfg(feature = "client")]
pub use client::SignallingClient;
pub use client::{Answered, ClientOptions, Signaller, SignallingError, TakenOffer};
pub use offered::{OfferedLink, OfferedLinks};
pub use problem::Problem;
pub use resource::{ResourceId, ResourceIdError};
pub use sdpfrag::{SdpFragment, SdpFragmentError};
#[cfg(all(feature = "server", not(target_arch = "wasm32")))]
pub use server::{
    AuthorizationRequest, Authorizer, BindError, Cors, Denial, OriginError, PathPrefix,
    PathPrefixError, ProxyError, Rate, RoomLimits, ServerLimits, SignallingOptions,
    SignallingServer, Tickets, Tokens, TrustedProxies, router,
};
pub use token::{Token, TokenError};

/// Where offers go if nothing else is said.
pub const DEFAULT_PATH: &str = "/webrtc";

/// The media type of offers and answers (RFC 8866).
pub const MEDIA_TYPE_SDP: &str = "application/sdp";

/// The media type of a [`SdpFragment`] (RFC 8840).
pub const MEDIA_TYPE_FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// The media type of a [`Problem`] (RFC 9457).
pub const MEDIA_TYPE_PROBLEM: &str = "application/problem+json";

/// The media type of [`OfferedLinks`].
pub const MEDIA_TYPE_LINKS: &str = "application/json";

/// The longest body that is taken if nothing else is said, and the longest that the client takes:
/// 64 KiB.
pub const DEFAULT_MAX_BODY: usize = 64 << 10;

/// The start of a text that a stranger sent, short enough and safe to show.
fn excerpt(text: &str) -> String {
    const MAX: usize = 64;
    let mut shown: String = text.chars().take(MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(MAX).is_some() {
        shown.push('…');
    }
    shown
}

/// Whether a `Content-Type` names this media type, whatever its parameters.
#[cfg(any(test, feature = "client", feature = "server"))]
pub(crate) fn is_media_type(content_type: &str, wanted: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts_are_short_and_on_one_line() {
        assert_eq!(excerpt("v=0\r\n"), "v=0\\r\\n");
        assert_eq!(excerpt(&"é".repeat(64)), "é".repeat(64));
        assert_eq!(excerpt(&"é".repeat(65)), format!("{}…", "é".repeat(64)));
    }

    #[test]
    fn media_types_are_compared_as_http_does() {
        for same in ["application/sdp", "Application/SDP", " application/sdp ; charset=utf-8"] {
            assert!(is_media_type(same, MEDIA_TYPE_SDP), "{same}");
        }
        for other in ["", ";", "application/sdpx", "text/plain; application/sdp"] {
            assert!(!is_media_type(other, MEDIA_TYPE_SDP), "{other}");
        }
    }
}
