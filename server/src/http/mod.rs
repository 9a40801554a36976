//! What is served over HTTP beside links: documents, and what there is to know of the server.

mod admin;
mod asked;
mod body;
mod counters;
mod documents;
mod encoder;
mod following;
mod gate;
mod metrics;
mod problem;
mod reading;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue,
    RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use deltawire_hub::{Deliver, Hub};
use deltawire_node::Node;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};
use tower_http::cors::{AllowOrigin, CorsLayer};

pub(crate) use body::Room;
pub(crate) use counters::{Counted, Followers};
pub(crate) use gate::Gate;
use problem::{Problem, excerpt};

use crate::config::{Config, LimitsConfig};

/// What handlers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) hub: Hub,
    pub(crate) node: Node,
    pub(crate) gate: Arc<Gate>,
    pub(crate) deliver: Deliver,
    pub(crate) shards: usize,
    /// Those that are looked at with each request, so that others may come in their place.
    pub(crate) limits: RwLock<LimitsConfig>,
    pub(crate) room: Room,
    pub(crate) follower_places: Arc<Semaphore>,
    pub(crate) followers: Followers,
    /// Lists are long: few are made at a time.
    pub(crate) lists: Semaphore,
    /// Whether the server is going away.
    pub(crate) ending: watch::Sender<bool>,
    pub(crate) counted: Counted,
    pub(crate) started: Instant,
    pub(crate) watched: admin::Watched,
}

impl Shared {
    pub(crate) fn limits(&self) -> LimitsConfig {
        self.limits.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why it takes no more deltas, if so.
    fn not_ready(&self) -> Option<String> {
        if *self.ending.borrow() {
            return Some("the server is going away".to_owned());
        }
        self.hub.broken().map(|broken| format!("nothing more is stored: {broken}"))
    }
}

pub(crate) use admin::Watched;

/// Everything that is served at the server's address, links by `links`.
pub(crate) fn router(shared: Arc<Shared>, config: &Config, links: Router) -> Router {
    let mut guarded = Router::new()
        .route("/documents", get(documents::list))
        .route("/documents/{document}/deltas/{position}", delete(documents::reject))
        .route("/documents/{document}", get(documents::head).delete(documents::delete))
        .route("/documents/{document}/deltas", get(documents::read).post(documents::append))
        .route("/info", get(info))
        .route("/admin/stats", get(admin::stats))
        .method_not_allowed_fallback(wrong_method)
        .route_layer(middleware::from_fn_with_state(shared.gate.clone(), gate::guard));
    if !config.server.origins.is_empty() {
        let origins = config.server.origins.iter().filter_map(|it| HeaderValue::from_str(it).ok());
        let cors = CorsLayer::new()
            .allow_origin(AllowOrigin::list(origins))
            .allow_methods([Method::GET, Method::POST, Method::DELETE])
            .allow_headers([AUTHORIZATION, ACCEPT, CONTENT_TYPE])
            .expose_headers([RETRY_AFTER]);
        guarded = guarded.layer(cors);
    }
    let gate = shared.gate.clone();
    let own = guarded
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/admin", get(admin::page))
        .layer(middleware::from_fn_with_state(shared.clone(), count))
        .with_state(shared);
    links
        .merge(own)
        .fallback(nothing_here)
        .layer(middleware::from_fn_with_state(gate, gate::only_this_machine))
}

/// What is served for Prometheus, at an address of its own.
pub(crate) fn metrics_router(shared: Arc<Shared>) -> Router {
    let gate = shared.gate.clone();
    Router::new()
        .route("/metrics", get(metrics::metrics))
        .method_not_allowed_fallback(wrong_method)
        .route_layer(middleware::from_fn_with_state(gate.clone(), gate::guard))
        .fallback(nothing_here)
        .layer(middleware::from_fn_with_state(gate, gate::only_this_machine))
        .with_state(shared)
}

/// Counts a request, and ends connections whose requests were refused.
async fn count(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = next.run(request).await;
    let status = response.status();
    shared.counted.answered(status.as_u16());
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if status.is_client_error() || status.is_server_error() {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        let path = excerpt(&path);
        tracing::debug!(%method, path, status = status.as_u16(), "refused");
    }
    response
}

fn answer(status: StatusCode, value: &Value) -> Response {
    let headers: [(HeaderName, HeaderValue); 2] = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, headers, format!("{value}\n")).into_response()
}

/// Whether the process is there.
async fn health() -> Response {
    answer(StatusCode::OK, &json!({ "alive": true }))
}

/// Whether it takes deltas.
async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    match shared.not_ready() {
        None => answer(StatusCode::OK, &json!({ "ready": true })),
        Some(reason) => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", reason).into_response()
        }
    }
}

async fn info(State(shared): State<Arc<Shared>>) -> Response {
    let limits = shared.limits();
    let value = json!({
        "name": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": shared.started.elapsed().as_secs(),
        "stores": !shared.hub.is_volatile(),
        "deliver": match shared.deliver {
            Deliver::Appended => "appended",
            Deliver::Stored => "stored",
        },
        "shards": shared.shards,
        "links": shared.node.peers().len(),
        "documents": shared.hub.logs().iter().map(|log| log.documents).sum::<u64>(),
        "limits": {
            "max_body": limits.max_body,
            "body_timeout_ms": limits.body_timeout.as_millis() as u64,
            "stored_timeout_ms": limits.stored_timeout.as_millis() as u64,
            "heartbeat_ms": limits.heartbeat.as_millis() as u64,
            "max_followers": limits.max_followers,
        },
    });
    answer(StatusCode::OK, &value)
}

async fn nothing_here(uri: Uri) -> Response {
    let path = excerpt(uri.path());
    let detail = format!(
        "nothing is at {path}: there are /documents, /health, /ready, /info and /admin, and where links are opened"
    );
    Problem::new(StatusCode::NOT_FOUND, "not-found", detail).with("value", path).into_response()
}

async fn wrong_method(method: Method, uri: Uri) -> Response {
    let method = excerpt(method.as_str());
    let detail = format!("{method} cannot be done at {}", excerpt(uri.path()));
    // axum adds the header Allow.
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", detail)
        .with("value", method)
        .into_response()
}
