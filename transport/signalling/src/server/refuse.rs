//! What goes wrong, as an answer.

use core::time::Duration;

use axum::http::header::{
    ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};

use super::rooms::RoomRefusal;
use super::{Denial, PathPrefix};
use crate::{MEDIA_TYPE_PROBLEM, Problem, Refusal, excerpt};

/// Where offers go, these may be sent.
pub(super) const OFFERS_ALLOW: HeaderValue = HeaderValue::from_static("POST, OPTIONS");

/// To a resource, these may be sent.
pub(super) const RESOURCE_ALLOW: HeaderValue = HeaderValue::from_static("PATCH, DELETE, OPTIONS");

/// Where a room's offers are taken, this may be sent.
pub(super) const TAKE_ALLOW: HeaderValue = HeaderValue::from_static("POST, OPTIONS");

/// To an offer that was taken, these may be sent.
pub(super) const TAKEN_ALLOW: HeaderValue = HeaderValue::from_static("POST, DELETE, OPTIONS");

/// What the answer to `OPTIONS` names the media type of offers in.
pub(super) const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");

/// The same of candidates.
pub(super) const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// A problem that the status says all of.
pub(super) fn plain(status: StatusCode, detail: String) -> Response {
    answer(status, "about:blank".to_owned(), detail)
}

/// A problem with a kind of its own.
fn named(status: StatusCode, name: &str, detail: String) -> Response {
    answer(status, format!("{}{name}", Problem::NAMESPACE), detail)
}

fn answer(status: StatusCode, kind: String, detail: String) -> Response {
    let title = status.canonical_reason().unwrap_or_default().to_owned();
    let problem = Problem { kind, title, status: status.as_u16(), detail };
    (status, [(CONTENT_TYPE, MEDIA_TYPE_PROBLEM)], problem.to_json()).into_response()
}

fn with(mut response: Response, name: HeaderName, value: HeaderValue) -> Response {
    response.headers_mut().insert(name, value);
    response
}

/// Whole seconds, at least one.
fn retry_after(response: Response, wait: Duration) -> Response {
    let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
    with(response, RETRY_AFTER, seconds.max(1).into())
}

pub(super) fn too_often(wait: Duration) -> Response {
    let detail = "too many requests from your address: wait as long as Retry-After says";
    retry_after(plain(StatusCode::TOO_MANY_REQUESTS, detail.to_owned()), wait)
}

/// RFC 6750, section 3.1: the kind of error is named only to who did send a bearer token.
pub(super) fn unauthorized(token_came: bool) -> Response {
    let (detail, challenge) = if token_came {
        ("the bearer token is wrong", "Bearer error=\"invalid_token\"")
    } else {
        ("a bearer token is needed: send Authorization: Bearer and the token", "Bearer")
    };
    let response = plain(StatusCode::UNAUTHORIZED, detail.to_owned());
    with(response, WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}

/// A ticket that lets nobody in.
#[cfg(feature = "websocket")]
pub(super) fn wrong_ticket() -> Response {
    let detail = "the ticket is wrong, was used, or is older than 30 s: ask for another";
    let response = plain(StatusCode::UNAUTHORIZED, detail.to_owned());
    with(response, WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
}

/// What the authorizer said.
pub(super) fn denied(denial: Denial) -> Response {
    match denial {
        Denial::NoToken => unauthorized(false),
        Denial::WrongToken => unauthorized(true),
        Denial::Forbidden { reason } => plain(StatusCode::FORBIDDEN, reason),
        Denial::Unavailable { retry_after: wait } => {
            let detail = "who you are cannot be told now: wait as long as Retry-After says";
            retry_after(plain(StatusCode::SERVICE_UNAVAILABLE, detail.to_owned()), wait)
        }
    }
}

/// RFC 6455, section 4.2.2: the version that is understood is named.
#[cfg(feature = "websocket")]
pub(super) fn wrong_opening(error: &deltawire_websocket::opening::OpeningError) -> Response {
    use deltawire_websocket::opening::VERSION;

    let name = axum::http::header::SEC_WEBSOCKET_VERSION;
    with(malformed(error.to_string()), name, HeaderValue::from_static(VERSION))
}

/// A page of another origin opens a WebSocket, or asks something of a room.
pub(super) fn other_origin(origin: &HeaderValue) -> Response {
    let origin = excerpt(origin.to_str().unwrap_or_default());
    let detail =
        format!("pages of {origin} may not connect: SignallingOptions::cors says which may");
    plain(StatusCode::FORBIDDEN, detail)
}

/// Below the path where offers go, but no resource; or elsewhere.
pub(super) fn nothing_at(asked: &str, path: &PathPrefix) -> Response {
    let asked = excerpt(asked);
    let detail = format!(
        "nothing is at {asked}: POST offers to {path}, and use the Location that comes back"
    );
    plain(StatusCode::NOT_FOUND, detail)
}

/// A room, where there are none.
pub(super) fn no_rooms(asked: &str) -> Response {
    let asked = excerpt(asked);
    let detail =
        format!("nothing is at {asked}: this node has no rooms (SignallingOptions::rooms)");
    plain(StatusCode::NOT_FOUND, detail)
}

pub(super) fn wrong_method(method: &Method, allow: HeaderValue) -> Response {
    let shown = excerpt(method.as_str());
    let detail = format!("{shown} cannot be done here: see Allow");
    with(plain(StatusCode::METHOD_NOT_ALLOWED, detail), ALLOW, allow)
}

/// `header` is where the media type that is taken is named.
pub(super) fn wrong_media_type(header: HeaderName, wanted: &'static str) -> Response {
    let detail = format!("the body must be {wanted}, and Content-Type must say so");
    let response = plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail);
    with(response, header, HeaderValue::from_static(wanted))
}

pub(super) fn malformed(detail: String) -> Response {
    named(StatusCode::BAD_REQUEST, "malformed", detail)
}

/// What the node refused.
pub(super) fn refused(refusal: &Refusal) -> Response {
    let detail = refusal.to_string();
    match refusal {
        Refusal::Malformed { .. } => malformed(detail),
        Refusal::NoChannels => named(StatusCode::UNPROCESSABLE_ENTITY, "no-channels", detail),
        Refusal::Unsupported { .. } => {
            named(StatusCode::UNPROCESSABLE_ENTITY, "unsupported", detail)
        }
        Refusal::TooManyCandidates { .. } => {
            named(StatusCode::UNPROCESSABLE_ENTITY, "too-many-candidates", detail)
        }
        Refusal::Unknown => named(StatusCode::NOT_FOUND, "unknown-resource", detail),
        Refusal::TooManyPending { .. } => {
            let response = named(StatusCode::SERVICE_UNAVAILABLE, "too-many-pending", detail);
            retry_after(response, Duration::from_secs(1))
        }
        Refusal::TooManyPeers { .. } => {
            named(StatusCode::SERVICE_UNAVAILABLE, "too-many-peers", detail)
        }
        Refusal::TooManyOfAddress { .. } => {
            named(StatusCode::SERVICE_UNAVAILABLE, "too-many-of-address", detail)
        }
        Refusal::ShuttingDown => named(StatusCode::SERVICE_UNAVAILABLE, "shutting-down", detail),
        Refusal::Internal { reason } => {
            tracing::error!(%reason, "the node failed");
            failed()
        }
    }
}

/// What a room refused.
pub(super) fn of_room(refusal: &RoomRefusal) -> Response {
    let detail = refusal.to_string();
    let name = match refusal {
        RoomRefusal::Name { .. } => return malformed(detail),
        RoomRefusal::Random(error) => {
            tracing::error!(%error, "an offer in a room was not taken");
            return failed();
        }
        RoomRefusal::Unknown => return named(StatusCode::NOT_FOUND, "unknown-resource", detail),
        RoomRefusal::NobodyAccepts { .. } => "nobody-accepts",
        RoomRefusal::NotAnswered { .. } => "not-answered",
        RoomRefusal::NotTaken => "not-taken",
        RoomRefusal::Full { .. } => "room-full",
    };
    let response = named(StatusCode::SERVICE_UNAVAILABLE, name, detail);
    retry_after(response, Duration::from_secs(1))
}

pub(super) fn failed() -> Response {
    let detail = "the node failed: its log says why";
    plain(StatusCode::INTERNAL_SERVER_ERROR, detail.to_owned())
}
