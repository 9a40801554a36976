//! Answers who opens a WebSocket where offers go.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::header::{
    CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use deltawire_stream::ByteStream;
use deltawire_websocket::{SUBPROTOCOL, opening};
use hyper_util::rt::TokioIo;

use super::connections::Stream;
use super::{Cors, gate, refuse};
use crate::{Answerer, Offerer};

/// How long a client may take to take its answer.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether a request opens a WebSocket.
pub(super) fn is_asked_by(request: &Request) -> bool {
    request.method() == Method::GET && opening::asks(|name| values(request.headers(), name))
}

/// Answers who opens one, and hands the stream to the node.
pub(super) fn answer<A: Answerer>(
    answerer: &Arc<A>,
    cors: &Cors,
    mut request: Request,
) -> Response {
    let headers = request.headers();
    // Browsers let any page open a WebSocket, and send along who opens it: nobody else looks.
    if let Some(origin) = cors.refuses(headers) {
        return refuse::other_origin(origin);
    }
    let accept = match opening::check(|name| values(headers, name)) {
        Ok(accept) => accept,
        Err(error) => return refuse::wrong_opening(&error),
    };
    let Ok(accept) = HeaderValue::from_str(&accept) else { return refuse::failed() };
    let mut from = Offerer::new(gate::client(&request));
    from.identity = request.extensions().get().cloned();
    let attach = match answerer.websocket(from) {
        Ok(attach) => attach,
        Err(refusal) => return refuse::refused(&refusal),
    };
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match tokio::time::timeout(UPGRADE_TIMEOUT, upgrade).await {
            Ok(Ok(upgraded)) => attach(stream(upgraded)),
            Ok(Err(error)) => tracing::debug!(%error, "a WebSocket was not opened"),
            Err(_) => tracing::debug!("a WebSocket was not opened in time"),
        }
    });
    let headers = [
        (CONNECTION, HeaderValue::from_static("Upgrade")),
        (UPGRADE, HeaderValue::from_static("websocket")),
        (SEC_WEBSOCKET_ACCEPT, accept),
        (SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL)),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

/// What comes behind the answer: of this crate's own server without what it does for HTTP.
fn stream(upgraded: hyper::upgrade::Upgraded) -> Box<dyn ByteStream> {
    match upgraded.downcast::<TokioIo<Stream>>() {
        Ok(parts) if parts.read_buf.is_empty() => {
            let mut stream = parts.io.into_inner();
            // Who reads slowly is the session's to judge.
            stream.as_mut().set_write_timeout_pinned(None);
            Box::new(stream)
        }
        // A client that does not wait for the answer breaks the rules.
        Ok(parts) => {
            drop(parts);
            Box::new(tokio::io::empty())
        }
        Err(upgraded) => Box::new(TokioIo::new(upgraded)),
    }
}

/// All values of a header.
fn values(headers: &HeaderMap, name: &str) -> String {
    let values = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default());
    values.collect::<Vec<_>>().join(",")
}
