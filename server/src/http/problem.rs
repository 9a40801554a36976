//! What goes wrong with a request, as an answer (RFC 9457).

use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use deltawire_signalling::{Denial, MEDIA_TYPE_PROBLEM};
use serde_json::{Map, Value};

/// How the kinds that say more than a status begin.
const NAMESPACE: &str = "urn:deltawire:server:";

/// The longest text of a stranger's that is repeated, characters.
const MAX_SHOWN: usize = 64;

/// A refusal. Beside what RFC 9457 names it has the field at fault, its value, and what it may be.
#[derive(Debug)]
pub(crate) struct Problem(Box<Parts>);

#[derive(Debug)]
struct Parts {
    status: StatusCode,
    members: Map<String, Value>,
    headers: HeaderMap,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, kind: &str, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or_default();
        let mut members = Map::new();
        members.insert("type".to_owned(), format!("{NAMESPACE}{kind}").into());
        members.insert("title".to_owned(), title.into());
        members.insert("status".to_owned(), status.as_u16().into());
        members.insert("detail".to_owned(), detail.into().into());
        Self(Box::new(Parts { status, members, headers: HeaderMap::new() }))
    }

    /// A part of the request that cannot be.
    pub(crate) fn invalid(field: &str, value: &str, expected: &str) -> Self {
        let value = excerpt(value);
        let detail = format!("{field} is {value:?}: it must be {expected}");
        let problem = Self::new(StatusCode::BAD_REQUEST, "invalid", detail);
        problem.of(field, value.as_str(), expected)
    }

    /// Names the field at fault, its value, and what it may be.
    pub(crate) fn of(self, field: &str, value: impl Into<Value>, limit: impl Into<Value>) -> Self {
        self.with("field", field).with("value", value).with("limit", limit)
    }

    pub(crate) fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.0.members.insert(member.to_owned(), value.into());
        self
    }

    /// Asks to come again.
    pub(crate) fn later(mut self, wait: Duration) -> Self {
        let seconds = wait.as_secs().max(1);
        self.0.headers.insert(RETRY_AFTER, seconds.into());
        self
    }

    pub(crate) fn unknown_document(document: deltawire_framing::DocId) -> Self {
        let detail = format!("document {document} is not known: nobody has written to it");
        let document = document.to_string();
        Self::new(StatusCode::NOT_FOUND, "unknown-document", detail).with("document", document)
    }

    pub(crate) fn denied(denial: Denial) -> Self {
        let (detail, challenge) = match denial {
            Denial::NoToken => {
                ("a token is needed: send the header Authorization: Bearer and the token", "Bearer")
            }
            Denial::WrongToken => ("the token is wrong", "Bearer error=\"invalid_token\""),
            Denial::Forbidden { reason } => {
                return Self::new(StatusCode::FORBIDDEN, "forbidden", reason);
            }
            Denial::Unavailable { retry_after } => {
                let detail = "who you are cannot be told now: wait as long as Retry-After says";
                let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail);
                return problem.later(retry_after);
            }
            _ => ("this is not permitted", "Bearer"),
        };
        let mut problem = Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail);
        problem.0.headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        problem
    }
}

/// The start of a stranger's text, on one line.
pub(crate) fn excerpt(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(MAX_SHOWN)
        .map(|it| if it.is_control() { '\u{fffd}' } else { it })
        .collect();
    if text.chars().nth(MAX_SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Parts { status, members, headers } = *self.0;
        let body = Value::Object(members).to_string();
        let media_type = HeaderValue::from_static(MEDIA_TYPE_PROBLEM);
        (status, headers, [(CONTENT_TYPE, media_type)], body).into_response()
    }
}
