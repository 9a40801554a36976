//! What every request passes before it is looked at.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, OriginalUri, Request, State};
use axum::http::header::{ALLOW, AUTHORIZATION, CONNECTION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use axum::middleware::Next;
use axum::response::Response;

use super::path::{InRoom, RoomTarget, Target};
use super::rate::RateLimits;
use super::{
    AuthorizationRequest, Authorizer, Denial, PathPrefix, Tickets, TrustedProxies, refuse,
};
use crate::{MEDIA_TYPE_FRAGMENT, MEDIA_TYPE_SDP, Token};
use deltawire_link::Identity;

/// What stands before everything else.
#[derive(Debug)]
pub(super) struct Front {
    pub(super) path: PathPrefix,
    pub(super) proxies: TrustedProxies,
}

/// Who may pass.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) token: Option<Token>,
    pub(super) authorizer: Option<Arc<dyn Authorizer>>,
    pub(super) authorize_timeout: Duration,
    pub(super) rates: RateLimits,
    pub(super) tickets: Tickets,
    /// Whether anything is opened with them, of those whom signalling let in.
    pub(super) tickets_open: bool,
    /// Whether that asks for one also where signalling asks for nothing.
    pub(super) tickets_for_all: bool,
}

impl Gate {
    /// Something that lets in, once, who was let in; `None` where nobody asks for it, or there are too many.
    pub(super) fn ticket(&self, identity: Option<Identity>, from: SocketAddr) -> Option<String> {
        let is_guarded = self.token.is_some() || self.authorizer.is_some();
        if !(is_guarded && self.tickets_open || self.tickets_for_all) {
            return None;
        }
        self.tickets.issue(identity, from.ip(), std::time::Instant::now())
    }
}

/// The ticket that who opens a WebSocket shows: browsers let no page send a header along.
#[cfg(feature = "websocket")]
fn ticket_of(request: &Request) -> Option<String> {
    let query = request.uri().query().filter(|_| super::websocket::is_asked_by(request))?;
    let ticket = query.split('&').find_map(|pair| pair.strip_prefix("ticket="))?;
    Some(ticket.to_owned())
}

/// Where a request came from: 0.0.0.0:0 if nobody says.
pub(super) fn client(request: &Request) -> SocketAddr {
    let info = request.extensions().get::<ConnectInfo<SocketAddr>>();
    info.map_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), |info| info.0)
}

/// Finds out who asks, says to `OPTIONS` what can be done, ends connections whose requests were
/// refused, and logs how each request went.
pub(super) async fn front(
    State(front): State<Arc<Front>>,
    mut request: Request,
    next: Next,
) -> Response {
    let Front { path, proxies } = &*front;
    if let Some(ConnectInfo(from)) = request.extensions().get::<ConnectInfo<SocketAddr>>() {
        let client = ConnectInfo(proxies.client(*from, request.headers()));
        request.extensions_mut().insert(client);
    }
    let (method, asked, version) =
        (request.method().clone(), request.uri().path().to_owned(), request.version());
    let from = client(&request);
    let mut response = next.run(request).await;
    let (status, headers) = (response.status(), response.headers_mut());
    if method == Method::OPTIONS && status.is_success() {
        describe(&path.target(&asked), headers);
    }
    let is_refusal = status.is_client_error() || status.is_server_error();
    if is_refusal && version < Version::HTTP_2 {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    tracing::debug!(%from, %method, path = asked, status = status.as_u16(), "signalling");
    response
}

/// What the answer to `OPTIONS` says (RFC 9725, section 4.1).
fn describe(target: &Target, headers: &mut HeaderMap) {
    let (allow, accept, media_type) = match target {
        Target::Offers => (refuse::OFFERS_ALLOW, refuse::ACCEPT_POST, MEDIA_TYPE_SDP),
        Target::Resource(_) => (refuse::RESOURCE_ALLOW, refuse::ACCEPT_PATCH, MEDIA_TYPE_FRAGMENT),
        Target::Room(InRoom { what: RoomTarget::Room, .. }) => {
            (refuse::OFFERS_ALLOW, refuse::ACCEPT_POST, MEDIA_TYPE_SDP)
        }
        Target::Room(InRoom { what: RoomTarget::Offer(_), .. }) => {
            (refuse::TAKEN_ALLOW, refuse::ACCEPT_POST, MEDIA_TYPE_SDP)
        }
        Target::Room(InRoom { what: RoomTarget::Offers, .. }) => {
            drop(headers.insert(ALLOW, refuse::TAKE_ALLOW));
            return;
        }
        Target::Nothing => return,
    };
    headers.insert(ALLOW, allow);
    headers.insert(accept, HeaderValue::from_static(media_type));
}

/// Says where offers go to who asks for a path at which nothing else is.
pub(super) async fn elsewhere(
    State(front): State<Arc<Front>>,
    request: Request,
    next: Next,
) -> Response {
    let asked = request.uri().path().to_owned();
    let response = next.run(request).await;
    if response.status() == StatusCode::NOT_FOUND && !response.headers().contains_key(CONTENT_TYPE)
    {
        return refuse::nothing_at(&asked, &front.path);
    }
    response
}

/// Refuses who asks too often or has not the token. `OPTIONS` needs none.
pub(super) async fn guard(
    State(gate): State<Arc<Gate>>,
    mut request: Request,
    next: Next,
) -> Response {
    let from = client(&request);
    if let Err(wait) = gate.rates.check(from.ip()) {
        tracing::warn!(%from, ?wait, "signalling refused: too many requests");
        return refuse::too_often(wait);
    }
    #[cfg(feature = "websocket")]
    if let Some(ticket) = ticket_of(&request) {
        match gate.tickets.redeem(&ticket, "websocket", std::time::Instant::now()) {
            Some(identity) => {
                if let Some(identity) = identity {
                    request.extensions_mut().insert(identity);
                }
                return next.run(request).await;
            }
            // Who has a token needs none: a ticket is used up though the node had no room just then.
            None if request.headers().contains_key(AUTHORIZATION) => {}
            None => {
                tracing::warn!(%from, "signalling refused: no valid ticket");
                return refuse::wrong_ticket();
            }
        }
    }
    if let Some(token) = &gate.token
        && request.method() != Method::OPTIONS
    {
        let mut values = request.headers().get_all(AUTHORIZATION).iter();
        let (first, second) = (values.next(), values.next());
        let is_right = first.is_some_and(|value| token.is_in(value.as_bytes()));
        if !is_right || second.is_some() {
            let came = first.is_some_and(|value| Token::is_scheme_of(value.as_bytes()));
            tracing::warn!(%from, came, "signalling refused: no valid token");
            return refuse::unauthorized(came);
        }
    }
    if let Some(authorizer) = &gate.authorizer
        && request.method() != Method::OPTIONS
    {
        let original = request.extensions().get::<OriginalUri>();
        let asks = AuthorizationRequest {
            address: from,
            method: request.method(),
            path: original.map_or(request.uri(), |original| &original.0).path(),
            headers: request.headers(),
        };
        let answer = tokio::time::timeout(gate.authorize_timeout, authorizer.authorize(asks)).await;
        let late = Denial::Unavailable { retry_after: Duration::from_secs(1) };
        match answer.unwrap_or(Err(late)) {
            Ok(identity) => drop(request.extensions_mut().insert(identity)),
            Err(denial) => {
                tracing::warn!(%from, ?denial, "signalling refused: not authorized");
                return refuse::denied(denial);
            }
        }
    }
    next.run(request).await
}
