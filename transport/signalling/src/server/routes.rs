use core::time::Duration;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{OriginalUri, Request, State};
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::any;

use super::gate::{self, Front, Gate};
use super::path::{InRoom, RoomTarget, Target};
use super::rate::RateLimits;
use super::refuse::{self, ACCEPT_PATCH, ACCEPT_POST};
use super::rooms::Rooms;
#[cfg(feature = "websocket")]
use super::websocket;
use super::{SignallingOptions, body};
use crate::{
    Answerer, MEDIA_TYPE_FRAGMENT, MEDIA_TYPE_LINKS, MEDIA_TYPE_SDP, OfferedLinks, Offerer,
    Refusal, ResourceId, SdpFragment, is_media_type,
};
use deltawire_sdp::Description;

struct Shared<A> {
    answerer: Arc<A>,
    cors: super::Cors,
    gate: Arc<Gate>,
    front: Arc<Front>,
    rooms: Option<Rooms>,
    max_body: usize,
    body_timeout: Duration,
}

/// The routes of signalling, to be served alone or merged or nested into an application's own.
///
/// Whatever it is nested in, `Location` names the path as the client sees it. Outside
/// [`SignallingOptions::path`] nothing is counted or refused; where neither the application nor its
/// fallback has an answer, who asks is told where offers go.
///
/// ```
/// use std::sync::Arc;
///
/// use axum::Router;
/// use deltawire_signalling::{Answerer, SignallingOptions, router};
///
/// fn application(node: Arc<impl Answerer>) -> Router {
///     Router::new().nest("/api", router(node, SignallingOptions::default()))
/// }
/// ```
pub fn router<A: Answerer>(answerer: Arc<A>, options: SignallingOptions) -> Router {
    let SignallingOptions { token, cors, max_body, body_timeout, rate, max_rate_keys, .. } =
        options;
    let SignallingOptions { path, trusted_proxies: proxies, .. } = options;
    let SignallingOptions { authorizer, authorize_timeout, rooms, .. } = options;
    let rates = RateLimits::new(rate, max_rate_keys);
    let of_node = answerer.tickets();
    let gate = Arc::new(Gate {
        token,
        authorizer,
        authorize_timeout,
        rates,
        tickets_open: cfg!(feature = "websocket") || of_node.is_some(),
        tickets_for_all: answerer.needs_tickets(),
        tickets: of_node.unwrap_or_default(),
    });
    let routes = path.routes();
    let front = Arc::new(Front { path, proxies });
    let mut router = Router::new();
    for route in routes {
        router = router.route(&route, any(handle::<A>));
    }
    let mut router =
        router.route_layer(middleware::from_fn_with_state(Arc::clone(&gate), gate::guard));
    let of_pages = cors.clone();
    if let Some(layer) = cors.layer() {
        router = router.route_layer(layer);
    }
    router
        .route_layer(middleware::from_fn_with_state(Arc::clone(&front), gate::front))
        .layer(middleware::from_fn_with_state(Arc::clone(&front), gate::elsewhere))
        .with_state(Arc::new(Shared {
            answerer,
            cors: of_pages,
            gate,
            front,
            rooms: rooms.map(Rooms::new),
            max_body,
            body_timeout,
        }))
}

async fn handle<A: Answerer>(
    State(shared): State<Arc<Shared<A>>>,
    OriginalUri(original): OriginalUri,
    request: Request,
) -> Response {
    let path = &shared.front.path;
    let result = match (path.target(request.uri().path()), request.method()) {
        (Target::Room(room), _) => match &shared.rooms {
            Some(rooms) => shared.room(rooms, &room, original.path(), request).await,
            None => Err(refuse::no_rooms(original.path())),
        },
        (Target::Offers, &Method::POST) if asks_for_links(request.headers()) => {
            Ok(shared.links(&request))
        }
        (Target::Offers, &Method::POST) => shared.offer(original.path(), request).await,
        #[cfg(feature = "websocket")]
        (Target::Offers, &Method::GET) if websocket::is_asked_by(&request) => {
            Ok(websocket::answer(&shared.answerer, &shared.cors, request))
        }
        (Target::Resource(id), &Method::PATCH) => shared.candidates(&id, request).await,
        (Target::Resource(id), &Method::DELETE) => match shared.answerer.hang_up(&id) {
            Ok(()) => Ok(StatusCode::OK.into_response()),
            Err(refusal) => Err(refuse::refused(&refusal)),
        },
        // What there is to say, all of them are told.
        (Target::Offers | Target::Resource(_), &Method::OPTIONS) => {
            Ok(StatusCode::OK.into_response())
        }
        (Target::Offers, method) => Err(refuse::wrong_method(method, refuse::OFFERS_ALLOW)),
        (Target::Resource(_), method) => Err(refuse::wrong_method(method, refuse::RESOURCE_ALLOW)),
        (Target::Nothing, _) => Err(refuse::nothing_at(original.path(), path)),
    };
    result.unwrap_or_else(|refusal| refusal)
}

impl<A: Answerer> Shared<A> {
    /// Says what kinds of links there are, and lets in who opens one.
    fn links(&self, request: &Request) -> Response {
        let offered = OfferedLinks {
            ticket: self.gate.ticket(request.extensions().get().cloned(), gate::client(request)),
            links: self.answerer.links(),
        };
        // What opens a link is for nobody else.
        let headers = [(CONTENT_TYPE, MEDIA_TYPE_LINKS), (CACHE_CONTROL, "no-store")];
        (headers, offered.to_json()).into_response()
    }

    async fn offer(&self, path: &str, request: Request) -> Result<Response, Response> {
        let from = offerer(&request);
        let offer = self.text(request, MEDIA_TYPE_SDP, ACCEPT_POST).await?;
        let answered = self.answerer.answer(offer, from).await;
        let answer = answered.map_err(|refusal| refuse::refused(&refusal))?;
        let location = format!("{}/{}", path.trim_end_matches('/'), answer.id);
        let location = HeaderValue::from_str(&location).map_err(|_| refuse::failed())?;
        let media_type = HeaderValue::from_static(MEDIA_TYPE_SDP);
        let headers = [(LOCATION, location), (CONTENT_TYPE, media_type)];
        Ok((StatusCode::CREATED, headers, answer.sdp).into_response())
    }

    /// Does what is asked of a room.
    async fn room(
        &self,
        rooms: &Rooms,
        InRoom { name, what }: &InRoom,
        path: &str,
        request: Request,
    ) -> Result<Response, Response> {
        let refused = |refusal| refuse::of_room(&refusal);
        rooms.check_name(name).map_err(refused)?;
        // Browsers send some of these for any page, and ask nobody first: to take an offer needs no body.
        if let Some(origin) = self.cors.refuses(request.headers()) {
            return Err(refuse::other_origin(origin));
        }
        let from = offerer(&request);
        match (what, request.method()) {
            (_, &Method::OPTIONS) => Ok(StatusCode::OK.into_response()),
            (RoomTarget::Room, &Method::POST) if asks_for_links(request.headers()) => {
                let headers = [(CONTENT_TYPE, MEDIA_TYPE_LINKS), (CACHE_CONTROL, "no-store")];
                Ok((headers, OfferedLinks::webrtc().to_json()).into_response())
            }
            (RoomTarget::Room, &Method::POST) => {
                let offer = self.description(request, rooms.max_len()).await?;
                let answer = rooms.offer(name, offer, &from).await.map_err(refused)?;
                let headers = [(CONTENT_TYPE, MEDIA_TYPE_SDP), (CACHE_CONTROL, "no-store")];
                Ok((StatusCode::CREATED, headers, answer).into_response())
            }
            (RoomTarget::Offers, &Method::POST) => {
                let taken = rooms.take(name, &from).await.map_err(refused)?;
                let Some((id, offer)) = taken else {
                    return Ok(StatusCode::NO_CONTENT.into_response());
                };
                let location = format!("{}/{id}", path.trim_end_matches('/'));
                let location = HeaderValue::from_str(&location).map_err(|_| refuse::failed())?;
                let media_type = HeaderValue::from_static(MEDIA_TYPE_SDP);
                Ok(([(LOCATION, location), (CONTENT_TYPE, media_type)], offer).into_response())
            }
            (RoomTarget::Offer(id), &Method::POST) => {
                let answer = self.description(request, rooms.max_len()).await?;
                rooms.answer(name, id, Some(answer)).map_err(refused)?;
                Ok(StatusCode::NO_CONTENT.into_response())
            }
            (RoomTarget::Offer(id), &Method::DELETE) => {
                rooms.answer(name, id, None).map_err(refused)?;
                Ok(StatusCode::NO_CONTENT.into_response())
            }
            (RoomTarget::Room, method) => Err(refuse::wrong_method(method, refuse::OFFERS_ALLOW)),
            (RoomTarget::Offers, method) => Err(refuse::wrong_method(method, refuse::TAKE_ALLOW)),
            (RoomTarget::Offer(_), method) => {
                Err(refuse::wrong_method(method, refuse::TAKEN_ALLOW))
            }
        }
    }

    /// An offer or an answer, if it can be read as one: whom it goes to need not say so.
    async fn description(&self, request: Request, max: usize) -> Result<String, Response> {
        let text = self.text_of(request, MEDIA_TYPE_SDP, ACCEPT_POST, max).await?;
        match Description::read(&text) {
            // What those who get it look for first.
            Ok(_) if !text.starts_with("v=0") => {
                Err(refuse::malformed("it must start with v=0".to_owned()))
            }
            Ok(_) => Ok(text),
            Err(error) => Err(refuse::refused(&Refusal::from(error))),
        }
    }

    async fn candidates(&self, id: &ResourceId, request: Request) -> Result<Response, Response> {
        let text = self.text(request, MEDIA_TYPE_FRAGMENT, ACCEPT_PATCH).await?;
        let fragment =
            SdpFragment::parse(&text).map_err(|error| refuse::malformed(error.to_string()))?;
        let taken = self.answerer.add_candidates(id, fragment.candidates);
        taken.map_err(|refusal| refuse::refused(&refusal))?;
        Ok(StatusCode::NO_CONTENT.into_response())
    }

    /// The body, if it is of this media type; `header` is where else that is named.
    async fn text(
        &self,
        request: Request,
        media_type: &'static str,
        header: HeaderName,
    ) -> Result<String, Response> {
        self.text_of(request, media_type, header, self.max_body).await
    }

    /// The same, of at most so many bytes.
    async fn text_of(
        &self,
        request: Request,
        media_type: &'static str,
        header: HeaderName,
        max: usize,
    ) -> Result<String, Response> {
        let (parts, body) = request.into_parts();
        if !is_of_type(&parts.headers, media_type) {
            return Err(refuse::wrong_media_type(header, media_type));
        }
        body::read(Body::new(body), max.min(self.max_body), self.body_timeout).await
    }
}

/// Who asks.
fn offerer(request: &Request) -> Offerer {
    let mut from = Offerer::new(gate::client(request));
    from.identity = request.extensions().get().cloned();
    from
}

fn is_of_type(headers: &HeaderMap, media_type: &str) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(|content_type| is_media_type(content_type, media_type))
}

/// Whether who sends no offer asks what links there are.
fn asks_for_links(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    !headers.contains_key(CONTENT_TYPE)
        && accept.split(',').any(|accepted| is_media_type(accepted, MEDIA_TYPE_LINKS))
}
