//! What every request passes before it is looked at.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{AUTHORIZATION, HeaderName};
use axum::http::{HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;

use super::rate::RateLimits;
use super::refuse;
use crate::signalling::{MEDIA_TYPE_SDP, Token};

/// What the answer to `OPTIONS` names the media type of offers in (RFC 9725, section 4.1).
pub(super) const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");

/// Who may pass.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) token: Option<Token>,
    pub(super) rates: RateLimits,
}

/// Where a request came from: 0.0.0.0:0 if nobody says.
pub(super) fn client(request: &Request) -> SocketAddr {
    let info = request.extensions().get::<ConnectInfo<SocketAddr>>();
    info.map_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), |info| info.0)
}

/// Logs how each request went, and says to `OPTIONS` what may be posted.
pub(super) async fn log(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let from = client(&request);
    let mut response = next.run(request).await;
    if method == Method::OPTIONS {
        response.headers_mut().insert(ACCEPT_POST, HeaderValue::from_static(MEDIA_TYPE_SDP));
    }
    tracing::debug!(%from, %method, path, status = response.status().as_u16(), "signalling");
    response
}

/// Refuses who asks too often or has not the token. `OPTIONS` needs none.
pub(super) async fn guard(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let from = client(&request);
    if let Err(wait) = gate.rates.check(from.ip()) {
        tracing::warn!(%from, ?wait, "signalling refused: too many requests");
        return refuse::too_often(wait);
    }
    if let Some(token) = &gate.token
        && request.method() != Method::OPTIONS
    {
        let mut values = request.headers().get_all(AUTHORIZATION).iter();
        let (first, second) = (values.next(), values.next());
        let is_right = first.is_some_and(|value| token.is_in(value.as_bytes()));
        if !is_right || second.is_some() {
            tracing::warn!(%from, came = first.is_some(), "signalling refused: no valid token");
            return refuse::unauthorized(first.is_some());
        }
    }
    next.run(request).await
}
