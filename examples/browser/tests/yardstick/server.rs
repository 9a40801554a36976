//! The server of the yardstick: a page of hand-written JavaScript, and for each that opens it a peer
//! that moves bytes without framing or session: over WebRTC, and with the feature `yardstick-links`
//! over WebSocket and WebTransport. `cargo xtask yardstick` starts it.

mod application;
mod peer;
#[cfg(feature = "yardstick-links")]
mod websocket;
#[cfg(feature = "yardstick-links")]
mod webtransport;

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
const SCRIPTS: [(&str, &str); 4] = [
    ("/worker.js", include_str!("page/worker.js")),
    ("/webrtc.js", include_str!("page/webrtc.js")),
    ("/websocket.js", include_str!("page/websocket.js")),
    ("/webtransport.js", include_str!("page/webtransport.js")),
];

#[tokio::main]
async fn main() -> Result<(), Error> {
    let certificate = Arc::new(Certificate::generate()?);
    let mut router = Router::new()
        .route("/", get(|| async { file("text/html; charset=utf-8", INDEX) }))
        .route("/webrtc", post(move |offer: String| answer(certificate, offer)));
    for (path, script) in SCRIPTS {
        router = router.route(path, get(move || async move { file("text/javascript", script) }));
    }
    // These listen at ports of their own, and the page asks at which.
    #[cfg(feature = "yardstick-links")]
    for (path, address) in
        [("/websocket", websocket::listen().await?), ("/webtransport", webtransport::listen()?)]
    {
        router = router.route(path, get(|| async { address }));
    }
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("open http://{}/ in a browser", listener.local_addr()?);
    axum::serve(listener, router).await?;
    Ok(())
}

async fn answer(certificate: Arc<Certificate>, offer: String) -> impl IntoResponse {
    match Peer::answer(certificate, &offer) {
        Ok((peer, answer)) => {
            spawn(peer.run());
            (StatusCode::CREATED, answer)
        }
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()),
    }
}

/// Has a peer run until its page is gone.
fn spawn(peer: impl Future<Output = Result<(), Error>> + Send + 'static) {
    tokio::spawn(async move {
        if let Err(error) = peer.await {
            println!("a peer ended: {error}");
        }
    });
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
