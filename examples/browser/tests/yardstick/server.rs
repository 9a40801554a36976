//! The server of the yardstick: a page of hand-written JavaScript, and for each that opens it a peer
//! that moves bytes without framing or session. `cargo xtask yardstick` starts it.

mod application;
mod peer;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use deltawire::webrtc::Certificate;
use deltawire_browser_demo::service::Error;

use self::peer::Peer;

const INDEX: &str = include_str!("page/index.html");
const WORKER: &str = include_str!("page/worker.js");

#[tokio::main]
async fn main() -> Result<(), Error> {
    let certificate = Arc::new(Certificate::generate()?);
    let router = Router::new()
        .route("/", get(|| async { file("text/html; charset=utf-8", INDEX) }))
        .route("/worker.js", get(|| async { file("text/javascript", WORKER) }))
        .route("/webrtc", post(move |offer: String| answer(certificate, offer)));
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("open http://{}/ in a browser", listener.local_addr()?);
    axum::serve(listener, router).await?;
    Ok(())
}

async fn answer(certificate: Arc<Certificate>, offer: String) -> impl IntoResponse {
    match Peer::answer(certificate, &offer) {
        Ok((peer, answer)) => {
            tokio::spawn(async move {
                if let Err(error) = peer.run().await {
                    println!("a peer ended: {error}");
                }
            });
            (StatusCode::CREATED, answer)
        }
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()),
    }
}

/// With the headers that the demo's page has: they give its worker a finer clock.
fn file(media_type: &'static str, text: &'static str) -> impl IntoResponse {
    let headers = [
        ("content-type", media_type),
        ("cache-control", "no-cache"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-embedder-policy", "require-corp"),
        ("cross-origin-resource-policy", "same-origin"),
    ];
    (headers, text)
}
