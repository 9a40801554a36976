//! What the router answers, status by status.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use deltawire::signalling::{
    Cors, Rate, ResourceId, SdpFragment, SignallingOptions, Token, TrustedProxies, router,
};

use crate::node::{ID, Node, OFFER, client, fragment, refused, serve, start, unlimited, url};
use crate::raw::{self, Raw, ask};

const SDP: &str = "Content-Type: application/sdp";
const FRAGMENT: &str = "Content-Type: application/trickle-ice-sdpfrag";

#[tokio::test]
async fn an_offer_is_answered_candidates_follow_and_it_is_hung_up() {
    let (node, address) = start(SignallingOptions::default()).await;
    let client = client(None);
    let answered = client.offer(&url(address), OFFER).await.unwrap();
    let (offer, from) = node.offers.lock().unwrap()[0].clone();
    assert_eq!(offer, OFFER);
    assert!(from.ip().is_loopback() && from.port() != 0);
    assert_eq!(answered.sdp, format!("v=0\r\ns={from}\r\n"));
    let resource = answered.resource.unwrap();
    assert_eq!(resource.as_str(), format!("{}/{ID}", url(address)));

    client.add_candidates(&resource, &fragment()).await.unwrap();
    client.add_candidates(&resource, &fragment()).await.unwrap();
    let id: ResourceId = ID.parse().unwrap();
    let taken = node.candidates.lock().unwrap()[&id].clone();
    assert_eq!(taken, [fragment().candidates, fragment().candidates].concat());

    client.hang_up(&resource).await.unwrap();
    let gone = refused(client.hang_up(&resource).await);
    assert_eq!((gone.0, gone.1.as_str()), (404, "unknown-resource"));
    let gone = refused(client.add_candidates(&resource, &fragment()).await);
    assert_eq!((gone.0, gone.1.as_str()), (404, "unknown-resource"));
}

#[tokio::test]
async fn statuses_and_headers_are_those_of_the_rfc() {
    let (_, address) = start(SignallingOptions::default()).await;
    let path = format!("/webrtc/{ID}");
    let media_type = "content-type: Application/SDP; charset=utf-8";
    let created = ask(address, "POST", "/webrtc", &[media_type], OFFER.as_bytes()).await;
    assert_eq!((created.status, created.header("location")), (201, Some(path.as_str())));
    assert_eq!(created.header("content-type"), Some("application/sdp"));
    let text = fragment().to_text().unwrap();
    let taken = ask(address, "PATCH", &path, &[FRAGMENT], text.as_bytes()).await;
    assert_eq!((taken.status, taken.body.as_str()), (204, ""));
    assert_eq!(ask(address, "DELETE", &path, &[], b"").await.status, 200);
    for (path, allow, post, patch) in options_of(&path) {
        let options = ask(address, "OPTIONS", path, &[], b"").await;
        assert_eq!((options.status, options.header("allow")), (200, Some(allow)));
        assert_eq!((options.header("accept-post"), options.header("accept-patch")), (post, patch));
        assert_eq!(options.header("access-control-allow-origin"), None);
    }
}

/// What `OPTIONS` says: `Allow`, `Accept-Post` and `Accept-Patch`.
fn options_of(resource: &str) -> [(&str, &str, Option<&str>, Option<&str>); 2] {
    let fragment = "application/trickle-ice-sdpfrag";
    [
        ("/webrtc", "POST, OPTIONS", Some("application/sdp"), None),
        (resource, "PATCH, DELETE, OPTIONS", None, Some(fragment)),
    ]
}

#[tokio::test]
async fn what_the_node_refuses_has_its_status() {
    let (_, address) = start(SignallingOptions::default()).await;
    let client = client(None);
    for (offer, status, kind, detail, wait) in [
        ("malformed", 400, "malformed", "malformed: a=setup is \"xxx", None),
        ("no channels", 422, "no-channels", "create a data channel", None),
        ("unsupported", 422, "unsupported", "x…\", must be actpass", None),
        ("pending", 503, "too-many-pending", "3 peers are connecting", Some(1)),
        ("peers", 503, "too-many-peers", "4 peers are connected", None),
        ("address", 503, "too-many-of-address", "your address has 5 peers", None),
        ("shutdown", 503, "shutting-down", "offer to another", None),
        ("internal", 500, "about:blank", "the node failed", None),
    ] {
        let refused = refused(client.offer(&url(address), offer).await);
        let kind = kind.rsplit(':').next().unwrap();
        assert_eq!((refused.0, refused.1.as_str(), refused.3), (status, kind, wait), "{offer}");
        assert!(refused.2.contains(detail), "{}", refused.2);
        assert!(!refused.2.contains("secret"), "{}", refused.2);
    }
}

/// Method, path, header lines and body of a request; status and one header of its answer.
type Case<'a> =
    (&'a str, &'a str, &'a [&'a str], &'a [u8], u16, Option<(&'static str, &'static str)>);

#[tokio::test]
async fn what_strangers_send_has_its_status() {
    let options = SignallingOptions { max_body: 1000, ..SignallingOptions::default() };
    let (node, address) = start(options).await;
    let (id, long) = (format!("/webrtc/{ID}"), vec![b'v'; 1001]);
    let accept_patch = Some(("accept-patch", "application/trickle-ice-sdpfrag"));
    let accept_post = Some(("accept-post", "application/sdp"));
    let cases: [Case<'_>; 21] = [
        ("POST", "/webrtc", &[SDP], b"v=\xff", 400, None),
        ("PATCH", &id, &[FRAGMENT], b"\xff", 400, None),
        ("PATCH", &id, &[FRAGMENT], b"hello", 400, None),
        ("PATCH", &id, &[FRAGMENT], b"", 400, None),
        ("POST", "/webrtc", &[], OFFER.as_bytes(), 415, accept_post),
        ("POST", "/webrtc", &["Content-Type: text/plain"], b"", 415, accept_post),
        ("POST", "/webrtc", &["Content-Type: \u{e9}"], b"", 415, accept_post),
        ("POST", "/webrtc", &[FRAGMENT], b"", 415, accept_post),
        ("PATCH", &id, &[SDP], b"", 415, accept_patch),
        ("POST", "/webrtc", &[SDP], &long, 413, None),
        ("PATCH", &id, &[FRAGMENT], &long, 413, None),
        ("GET", "/webrtc", &[], b"", 405, Some(("allow", "POST, OPTIONS"))),
        ("PUT", "/webrtc", &[], b"", 405, Some(("allow", "POST, OPTIONS"))),
        ("BREW", &id, &[], b"", 405, Some(("allow", "PATCH, DELETE, OPTIONS"))),
        ("POST", &id, &[], b"", 405, Some(("allow", "PATCH, DELETE, OPTIONS"))),
        ("POST", "/webrtc/", &[SDP], b"", 404, None),
        ("DELETE", "/webrtc/0", &[], b"", 404, None),
        ("DELETE", "/webrtc/%2e%2e", &[], b"", 404, None),
        ("DELETE", "/webrtc//", &[], b"", 404, None),
        ("PATCH", &format!("{id}/x"), &[], b"", 404, None),
        ("DELETE", &format!("{id}?x=y"), &[], b"", 404, None),
    ];
    for (method, path, headers, body, status, header) in cases {
        let answer = ask(address, method, path, headers, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        answer.assert_problem();
        if let Some((name, value)) = header {
            assert_eq!(answer.header(name), Some(value), "{method} {path}");
        }
    }
    assert!(node.offers.lock().unwrap().is_empty());
    assert_eq!(ask(address, "POST", "/webrtc", &[SDP], &long[1..]).await.status, 201);
}

#[tokio::test]
async fn a_long_body_is_refused_so_that_its_sender_learns_of_it() {
    let (node, address) = start(SignallingOptions::default()).await;
    let offer = "v".repeat(200_000);
    let too_long = refused(client(None).offer(&url(address), offer).await);
    assert_eq!(too_long.0, 413);
    assert!(too_long.2.contains("65536 bytes"), "{}", too_long.2);

    let chunk = format!("10000\r\n{}\r\n", "v".repeat(65_536));
    let head = format!(
        "POST /webrtc HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{SDP}\r\n\
         Transfer-Encoding: chunked\r\n\r\n"
    );
    let answer = raw::send(address, format!("{head}{chunk}1\r\nv\r\n0\r\n\r\n").as_bytes()).await;
    assert_eq!(answer.status, 413);
    let answer = raw::send(address, format!("{head}{chunk}0\r\n\r\n").as_bytes()).await;
    assert_eq!(answer.status, 201);
    assert_eq!(node.offers.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let body_timeout = Duration::from_millis(50);
    let (_, address) =
        start(SignallingOptions { body_timeout, ..SignallingOptions::default() }).await;
    let head = format!("POST /webrtc HTTP/1.1\r\nHost: x\r\n{SDP}\r\nContent-Length: 9\r\n\r\nv=0");
    let answer = raw::send(address, head.as_bytes()).await;
    assert_eq!(answer.status, 408);
    answer.assert_problem();
}

#[tokio::test]
async fn an_offer_is_given_up_when_its_client_goes_away() {
    let (node, address) = start(SignallingOptions::default()).await;
    let offering = tokio::spawn(async move { client(None).offer(&url(address), "never").await });
    node.started.notified().await;
    offering.abort();
    node.given_up.notified().await;
}

#[tokio::test]
async fn only_the_token_passes() {
    let token = Some(Token::new("the-right-token").unwrap());
    let (node, address) = start(SignallingOptions { token, ..SignallingOptions::default() }).await;
    let invalid = "Bearer error=\"invalid_token\"";
    for (authorization, challenge) in [
        (None, "Bearer"),
        (Some("Bearer wrong"), invalid),
        (Some("Bearer the-right-toke"), invalid),
        (Some("Bearer the-right-token2"), invalid),
        (Some("Bearer "), invalid),
        (Some("Bearer"), invalid),
        // Who uses another scheme sent no bearer token, so there is nothing wrong with it.
        (Some("Basic the-right-token"), "Bearer"),
        (Some("Bearers the-right-token"), "Bearer"),
        (Some("the-right-token"), "Bearer"),
        (Some("Bearer wrong\r\nAuthorization: Bearer the-right-token"), invalid),
        (Some("Bearer the-right-token\r\nAuthorization: Bearer wrong"), invalid),
    ] {
        let authorization = authorization.map(|value| format!("Authorization: {value}"));
        let mut headers = vec![SDP];
        headers.extend(authorization.as_deref());
        for (method, path) in
            [("POST", "/webrtc"), ("PATCH", "/webrtc/x"), ("DELETE", "/webrtc"), ("GET", "/webrtc")]
        {
            let answer = ask(address, method, path, &headers, OFFER.as_bytes()).await;
            assert_eq!(answer.status, 401, "{headers:?}");
            assert_eq!(answer.header("www-authenticate"), Some(challenge), "{headers:?}");
            answer.assert_problem();
        }
    }
    assert!(node.offers.lock().unwrap().is_empty());
    assert_eq!(ask(address, "OPTIONS", "/webrtc", &[], b"").await.status, 200);
    let lower = ["authorization: bearer the-right-token", SDP];
    assert_eq!(ask(address, "POST", "/webrtc", &lower, b"v=0").await.status, 201);

    assert_eq!(refused(client(None).offer(&url(address), OFFER).await).0, 401);
    assert_eq!(refused(client(Some("other")).offer(&url(address), OFFER).await).0, 401);
    let client = client(Some("the-right-token"));
    let resource = client.offer(&url(address), OFFER).await.unwrap().resource.unwrap();
    client.add_candidates(&resource, &fragment()).await.unwrap();
    client.hang_up(&resource).await.unwrap();
}

#[tokio::test]
async fn who_asks_too_often_has_to_wait() {
    let rate = Rate { burst: NonZeroU16::new(3).unwrap(), refill: Duration::from_secs(3600) };
    let token = Some(Token::new("token").unwrap());
    let options = SignallingOptions { rate, token, ..SignallingOptions::default() };
    let address = serve(router(Arc::new(Node::default()), options)).await;
    assert_eq!(refused(client(Some("wrong")).offer(&url(address), OFFER).await).0, 401);
    assert_eq!(ask(address, "GET", "/webrtc/x", &[], b"").await.status, 401);
    let client = client(Some("token"));
    client.offer(&url(address), OFFER).await.unwrap();
    let (status, _, detail, wait) = refused(client.offer(&url(address), OFFER).await);
    assert_eq!((status, detail.contains("Retry-After")), (429, true));
    assert!((1..=3600).contains(&wait.unwrap()), "{wait:?}");
}

/// So nobody tries out candidates, or resources, faster than any other request.
#[tokio::test]
async fn candidates_that_are_refused_count_as_requests() {
    const BURST: u16 = 6;
    let rate = Rate { burst: NonZeroU16::new(BURST).unwrap(), refill: Duration::from_secs(3600) };
    let options = SignallingOptions { rate, max_body: 8_192, ..SignallingOptions::default() };
    let node = Arc::new(Node::default());
    let address = serve(router(Arc::clone(&node), options)).await;
    let path = format!("/webrtc/{ID}");
    let unknown = format!("/webrtc/{}", "0".repeat(32));
    let text = fragment().to_text().unwrap();
    let candidate = format!("a={}\r\n", fragment().candidates[0]);
    let many = text.replace(&candidate, &candidate.repeat(SdpFragment::MAX_CANDIDATES + 1));
    assert!(many.len() > text.len());
    let long = "v".repeat(8_193);
    let refused: [(&str, &str, &str, u16); BURST as usize - 1] = [
        (&path, FRAGMENT, "hello", 400),
        (&path, FRAGMENT, &many, 400),
        (&path, SDP, &text, 415),
        (&path, FRAGMENT, &long, 413),
        (&unknown, FRAGMENT, &text, 404),
    ];
    assert_eq!(ask(address, "POST", "/webrtc", &[SDP], OFFER.as_bytes()).await.status, 201);
    for (path, header, body, status) in refused {
        let answer = ask(address, "PATCH", path, &[header], body.as_bytes()).await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }
    let answer = ask(address, "PATCH", &path, &[FRAGMENT], text.as_bytes()).await;
    assert_eq!(answer.status, 429, "{}", answer.body);
    let id: ResourceId = ID.parse().unwrap();
    assert!(node.candidates.lock().unwrap()[&id].is_empty(), "none was taken");
}

#[tokio::test]
async fn without_an_address_all_share_one_rate() {
    let node = Arc::new(Node::default());
    let burst = NonZeroU16::MIN;
    let rate = Rate { burst, refill: Duration::from_secs(3600) };
    let options = SignallingOptions { rate, ..SignallingOptions::default() };
    let router = router(Arc::clone(&node), options);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, router).into_future());
    client(None).offer(&url(address), OFFER).await.unwrap();
    assert_eq!(node.offers.lock().unwrap()[0].1, ([0, 0, 0, 0], 0).into());
    assert_eq!(refused(client(None).offer(&url(address), OFFER).await).0, 429);
}

fn allowed_origin(answer: &Raw) -> Option<&str> {
    answer.header("access-control-allow-origin")
}

#[tokio::test]
async fn pages_of_listed_origins_may_signal() {
    let token = Some(Token::new("token").unwrap());
    let cors = Cors::origins(["https://example.org"]).unwrap();
    let (_, address) =
        start(SignallingOptions { token, cors, ..SignallingOptions::default() }).await;
    let origin = "Origin: https://example.org";
    let preflight = [
        origin,
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: authorization,content-type",
    ];
    let resource = format!("/webrtc/{ID}");
    for (path, allow, post, patch) in options_of(&resource) {
        let answer = ask(address, "OPTIONS", path, &preflight, b"").await;
        assert_eq!((answer.status, allowed_origin(&answer)), (200, Some("https://example.org")));
        let methods = answer.header("access-control-allow-methods").unwrap();
        assert!(["POST", "PATCH", "DELETE"].iter().all(|method| methods.contains(method)));
        let headers = answer.header("access-control-allow-headers").unwrap();
        assert!(["authorization", "content-type"].iter().all(|name| headers.contains(name)));
        assert_eq!(answer.header("allow"), Some(allow));
        assert_eq!((answer.header("accept-post"), answer.header("accept-patch")), (post, patch));
    }
    let other = ["Origin: https://evil.org", "Access-Control-Request-Method: POST"];
    assert_eq!(allowed_origin(&ask(address, "OPTIONS", "/webrtc", &other, b"").await), None);

    let authorization = "Authorization: Bearer token";
    let answer = ask(address, "POST", "/webrtc", &[origin, SDP, authorization], b"v=0").await;
    assert_eq!((answer.status, allowed_origin(&answer)), (201, Some("https://example.org")));
    let exposed = answer.header("access-control-expose-headers").unwrap();
    assert!(["location", "etag", "link"].iter().all(|name| exposed.contains(name)), "{exposed}");
    // A page can read refusals too.
    let answer = ask(address, "POST", "/webrtc", &[origin, SDP], b"v=0").await;
    assert_eq!((answer.status, allowed_origin(&answer)), (401, Some("https://example.org")));
}

#[tokio::test]
async fn all_pages_may_signal_or_none() {
    for (cors, expected) in [(Cors::any(), Some("*")), (Cors::none(), None)] {
        let (_, address) = start(SignallingOptions { cors, ..SignallingOptions::default() }).await;
        let answer = ask(address, "POST", "/webrtc", &["Origin: https://a.b", SDP], b"v=0").await;
        assert_eq!((answer.status, allowed_origin(&answer)), (201, expected));
    }
}

#[tokio::test]
async fn nested_and_merged_routers_name_the_path_that_the_client_sees() {
    let options = || SignallingOptions { rate: unlimited(), ..SignallingOptions::default() };
    let at = |path: &str| SignallingOptions { path: path.parse().unwrap(), ..options() };
    let node = Arc::new(Node::default());
    let application = Router::new()
        .route("/", axum::routing::get(async || "the application"))
        .merge(router(Arc::clone(&node), options()))
        .nest("/api/v1", router(Arc::clone(&node), options()))
        .nest("/rooms/{room}", router(Arc::clone(&node), at("/signal")))
        .nest("/root", router(Arc::clone(&node), at("/")));
    let address = serve(application).await;
    let client = client(None);
    for path in ["/webrtc", "/api/v1/webrtc", "/rooms/a%20b/signal", "/root"] {
        let offered = client.offer(&format!("http://{address}{path}?query"), OFFER).await;
        let resource = offered.unwrap().resource.unwrap();
        assert_eq!(resource.as_str(), format!("http://{address}{path}/{ID}"));
        client.add_candidates(&resource, &fragment()).await.unwrap();
        client.hang_up(&resource).await.unwrap();
    }
    let answer = ask(address, "GET", "/", &[], b"").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "the application"));
    // This application has no answer of its own.
    let answer = ask(address, "GET", "/other", &[], b"").await;
    assert_eq!(answer.status, 404);
    assert!(
        answer.body.contains("nothing is at /other: POST offers to /webrtc"),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn a_wrong_path_says_which_is_right() {
    let path = "/signal".parse().unwrap();
    let (node, address) = start(SignallingOptions { path, ..SignallingOptions::default() }).await;
    for wrong in ["/", "/webrtc", "/signal/x", "/signal/"] {
        let answer = ask(address, "POST", wrong, &[SDP], OFFER.as_bytes()).await;
        assert_eq!(answer.status, 404);
        answer.assert_problem();
        let said = format!("nothing is at {wrong}: POST offers to /signal,");
        assert!(answer.body.contains(&said), "{}", answer.body);
    }
    // An application's own answers stay as they are.
    let own = |answer| axum::routing::get(async move || answer);
    let not_found = (axum::http::StatusCode::NOT_FOUND, "no such page");
    let application = router(node, SignallingOptions::default())
        .route("/page", own((axum::http::StatusCode::OK, "a page")))
        .fallback(async move || not_found);
    let address = serve(application).await;
    assert_eq!(ask(address, "GET", "/page", &[], b"").await.body, "a page");
    assert_eq!(ask(address, "GET", "/other", &[], b"").await.body, "no such page");
}

#[tokio::test]
async fn behind_trusted_proxies_each_client_counts_for_itself() {
    let rate = Rate { burst: NonZeroU16::MIN, refill: Duration::from_secs(3600) };
    for (trusted_proxies, statuses) in [
        (TrustedProxies::x_forwarded_for(["127.0.0.0/8"]), [201, 201, 429, 429]),
        (TrustedProxies::forwarded(["127.0.0.1"]), [201, 429, 429, 429]),
        (TrustedProxies::x_forwarded_for(["127.0.0.2"]), [201, 429, 429, 429]),
        (Ok(TrustedProxies::none()), [201, 429, 429, 429]),
    ] {
        let trusted_proxies = trusted_proxies.unwrap();
        let node = Arc::new(Node::default());
        let options = SignallingOptions { rate, trusted_proxies, ..SignallingOptions::default() };
        let address = serve(router(Arc::clone(&node), options)).await;
        let mut got = Vec::new();
        // The second client makes up an address before its own, the third is the first again.
        for named in ["192.0.2.1", "192.0.2.1, 192.0.2.2", "10.9.8.7, 192.0.2.1", "192.0.2.2"] {
            let header = format!("X-Forwarded-For: {named}");
            got.push(ask(address, "POST", "/webrtc", &[SDP, &header], b"v=0").await.status);
        }
        assert_eq!(got, statuses);
        let from = node.offers.lock().unwrap().last().unwrap().1.ip();
        let believed = statuses[1] == 201;
        assert_eq!(from.to_string(), if believed { "192.0.2.2" } else { "127.0.0.1" });
    }
}
