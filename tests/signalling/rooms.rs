//! Rooms over HTTP: what well-behaved peers do, and what strangers do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deltawire::Identity;
use deltawire::signalling::{
    Cors, RoomLimits, SignallingOptions, TakenOffer, Token, Tokens, router,
};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::node::{Node, client, refused, serve, start, unlimited, url};
use crate::raw::{ask, read_to_end};

const SDP: &str = "Content-Type: application/sdp";

/// As much of a session description as is looked at.
fn description(setup: &str) -> String {
    format!(
        "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=ice-ufrag:EsAw\r\n\
         a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\na=setup:{setup}\r\na=fingerprint:sha-256 {}\r\n",
        ["07"; 32].join(":")
    )
}

fn with_rooms(limits: RoomLimits) -> SignallingOptions {
    SignallingOptions { rooms: Some(limits), ..SignallingOptions::default() }
}

fn room(address: SocketAddr, name: &str) -> String {
    format!("{}/rooms/{name}", url(address))
}

/// Takes an offer, for which it asks again while none comes.
async fn take(address: SocketAddr, name: &str) -> TakenOffer {
    loop {
        if let Some(taken) = client(None).take_offer(&room(address, name)).await.unwrap() {
            return taken;
        }
    }
}

#[tokio::test]
async fn an_offer_goes_to_who_accepts_and_the_answer_back() {
    let (node, address) = start(with_rooms(RoomLimits::default())).await;
    let (offer, answer) = (description("actpass"), description("active"));
    let room_of = room(address, "a-room");
    let client = client(None);
    let offering = client.offer(&room_of, offer.as_str());
    let accepting = async {
        let taken = take(address, "a-room").await;
        assert_eq!(taken.sdp, offer);
        assert!(taken.resource.starts_with(&format!("{room_of}/offers/")), "{}", taken.resource);
        client.answer(&taken.resource, answer.as_str()).await.unwrap();
        taken.resource
    };
    let (answered, resource) = tokio::join!(offering, accepting);
    let answered = answered.unwrap();
    assert_eq!((answered.sdp, answered.resource), (answer.clone(), None));
    let late = refused(client.answer(&resource, answer).await);
    assert_eq!((late.0, late.1.as_str()), (404, "unknown-resource"));
    assert!(node.offers.lock().unwrap().is_empty(), "none of it was this node's");
    let links = client.links(&room_of).await.unwrap();
    assert_eq!(links.links.iter().map(|link| link.kind.as_str()).collect::<Vec<_>>(), ["webrtc"]);
}

#[tokio::test]
async fn an_offer_that_nobody_takes_or_answers_comes_back_in_time() {
    let wait = Duration::from_millis(300);
    let (_, address) = start(with_rooms(RoomLimits { wait, ..RoomLimits::default() })).await;
    let client = client(None);
    let (room, offer) = (room(address, "a"), description("actpass"));
    let started = Instant::now();
    let nobody = refused(client.offer(&room, offer.as_str()).await);
    assert_eq!((nobody.0, nobody.1.as_str(), nobody.3), (503, "nobody-accepts", Some(1)));
    let (silent, taken) = tokio::join!(client.offer(&room, offer.as_str()), take(address, "a"));
    let silent = refused(silent);
    assert_eq!((silent.0, silent.1.as_str(), silent.3), (503, "not-answered", Some(1)));
    let late = refused(client.answer(&taken.resource, description("active")).await);
    assert_eq!(late.0, 404);
    let refusing = async { client.hang_up(&take(address, "a").await.resource).await.unwrap() };
    let (not_taken, ()) = tokio::join!(client.offer(&room, offer.as_str()), refusing);
    let not_taken = refused(not_taken);
    assert_eq!((not_taken.0, not_taken.1.as_str(), not_taken.3), (503, "not-taken", Some(1)));
    assert_eq!(client.take_offer(&room).await.unwrap(), None);
    assert!(started.elapsed() < Duration::from_secs(8));
}

#[tokio::test]
async fn what_strangers_send_to_rooms_has_its_status() {
    let wait = Duration::from_millis(50);
    let limits = RoomLimits { wait, max_len: 1_000, ..RoomLimits::default() };
    let (_, address) = start(with_rooms(limits)).await;
    let (offer, long) = (description("actpass"), "x".repeat(1_001));
    let behind_a_line = format!("\r\n{offer}");
    let foreign = ["Origin: https://foe.example", SDP];
    let without_channels = offer.replace("webrtc-datachannel", "other");
    let (name, id) = ("x".repeat(65), "0".repeat(32));
    let (long_name, offers) = (format!("/webrtc/rooms/{name}"), "/webrtc/rooms/a/offers");
    let unknown = format!("{offers}/{id}");
    for (method, path, headers, body, status, said) in [
        ("POST", "/webrtc/rooms/a", &[SDP][..], offer.as_str(), 503, "nobody accepts"),
        ("POST", "/webrtc/rooms/a", &[SDP], "hello", 400, "a line is"),
        ("POST", "/webrtc/rooms/a", &[SDP], "", 400, "the first line"),
        ("POST", "/webrtc/rooms/a", &[SDP], &behind_a_line, 400, "must start with v=0"),
        ("POST", "/webrtc/rooms/a", &foreign, &offer, 403, "may not connect"),
        ("POST", offers, &foreign[..1], "", 403, "may not connect"),
        ("DELETE", &unknown, &foreign[..1], "", 403, "may not connect"),
        ("POST", "/webrtc/rooms/a", &[SDP], "v=0\r\n", 422, "m=application"),
        ("POST", "/webrtc/rooms/a", &[SDP], &without_channels, 422, "m=application"),
        ("POST", "/webrtc/rooms/a", &[SDP], &long, 413, "at most 1000 bytes"),
        ("POST", "/webrtc/rooms/a", &[], &offer, 415, "application/sdp"),
        ("POST", &long_name, &[SDP], &offer, 400, "(65 bytes), must be 1 to 64"),
        ("POST", "/webrtc/rooms/", &[SDP], &offer, 400, "(0 bytes), must be 1 to 64"),
        ("POST", "/webrtc/rooms/a%20b", &[SDP], &offer, 400, "letters, digits and -._~"),
        ("POST", "/webrtc/rooms/..", &[SDP], &offer, 400, "neither . nor .."),
        ("POST", "/webrtc/rooms", &[SDP], &offer, 404, "POST offers to"),
        ("POST", "/webrtc/rooms/a/b", &[SDP], &offer, 404, "POST offers to"),
        ("POST", "/webrtc/rooms/a/offers/1", &[SDP], &offer, 404, "POST offers to"),
        ("POST", &unknown, &[SDP], &offer, 404, "no offer of this id"),
        ("POST", &unknown, &[SDP], "hello", 400, "a line is"),
        ("POST", &unknown, &[SDP], &long, 413, "at most 1000 bytes"),
        ("DELETE", &unknown, &[], "", 404, "no offer of this id"),
        ("GET", "/webrtc/rooms/a", &[], "", 405, "see Allow"),
        ("GET", offers, &[], "", 405, "see Allow"),
        ("PATCH", &unknown, &[SDP], &offer, 405, "see Allow"),
    ] {
        let answer = ask(address, method, path, headers, body.as_bytes()).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        assert!(answer.body.contains(said), "{method} {path}: {}", answer.body);
        assert!(!answer.body.contains("P2uYro0UCOQ4zxjKXaWCBui1"), "{}", answer.body);
        answer.assert_problem();
    }
    assert_eq!(ask(address, "POST", offers, &[], b"").await.status, 204);
    for (path, allow) in [
        ("/webrtc/rooms/a", "POST, OPTIONS"),
        (offers, "POST, OPTIONS"),
        (&unknown, "POST, DELETE, OPTIONS"),
    ] {
        let answer = ask(address, "OPTIONS", path, &[], b"").await;
        assert_eq!((answer.status, answer.header("allow")), (200, Some(allow)), "{path}");
    }
    let (_, without) = start(SignallingOptions::default()).await;
    for path in ["/webrtc/rooms/a", offers, &unknown] {
        let answer = ask(without, "POST", path, &[SDP], offer.as_bytes()).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.body.contains("SignallingOptions::rooms"), "{}", answer.body);
    }
}

#[tokio::test]
async fn floods_are_refused_and_leave_nothing_behind() {
    let limits = RoomLimits { max_per_address: 8, ..RoomLimits::default() };
    let (_, address) = start(with_rooms(limits)).await;
    let offer = description("actpass");
    let head = |path: &str| format!("POST /webrtc/rooms/{path} HTTP/1.1\r\nHost: x\r\n");
    for round in 0..3 {
        let mut waiting = Vec::new();
        for number in 0..40 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = match number % 2 {
                0 => {
                    format!("{}{SDP}\r\nContent-Length: {}\r\n\r\n{offer}", head("a"), offer.len())
                }
                _ => format!("{}Content-Length: 0\r\n\r\n", head(&format!("b{number}/offers"))),
            };
            stream.write_all(request.as_bytes()).await.unwrap();
            waiting.push(stream);
        }
        let mut full = 0;
        for stream in &mut waiting {
            let answer = tokio::time::timeout(Duration::from_millis(100), read_to_end(stream));
            if let Ok(answer) = answer.await {
                assert_eq!(answer.status, 503, "{}", answer.body);
                assert!(answer.body.contains("max_per_address allows 8"), "{}", answer.body);
                assert_eq!(answer.header("retry-after"), Some("1"));
                full += 1;
            }
        }
        assert_eq!(full, 32, "round {round}");
        // They go away, and their places are free again.
        drop(waiting);
        let client = client(None);
        let room = room(address, "c");
        let offering = async {
            loop {
                match client.offer(&room, offer.as_str()).await {
                    Ok(answered) => return answered,
                    error => assert_eq!(refused(error).1, "room-full"),
                }
            }
        };
        let accepting = async {
            let taken = loop {
                match client.take_offer(&room).await {
                    Ok(Some(taken)) => break taken,
                    Ok(None) => {}
                    error => assert_eq!(refused(error).1, "room-full"),
                }
            };
            client.answer(&taken.resource, description("active")).await.unwrap();
        };
        tokio::join!(offering, accepting);
    }
}

#[tokio::test]
async fn who_goes_away_has_made_no_offer() {
    let (_, address) = start(with_rooms(RoomLimits::default())).await;
    let (offer, room) = (description("actpass"), room(address, "a"));
    let client = client(None);
    let gone = client.offer(&room, offer.as_str());
    assert!(tokio::time::timeout(Duration::from_millis(200), gone).await.is_err());
    let started = Instant::now();
    let (answered, ()) = tokio::join!(client.offer(&room, description("passive")), async {
        let taken = take(address, "a").await;
        assert!(taken.sdp.contains("a=setup:passive"), "the other was taken back: {}", taken.sdp);
        client.answer(&taken.resource, description("active")).await.unwrap();
    });
    answered.unwrap();
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn rooms_are_for_who_may_signal() {
    let token = Some(Token::new("right").unwrap());
    let (_, address) =
        start(SignallingOptions { token, ..with_rooms(RoomLimits::default()) }).await;
    let alice = Identity::new("alice");
    let tokens = Tokens::new([(Token::new("right").unwrap(), alice)]);
    let authorizer = Some(Arc::new(tokens) as _);
    let options = SignallingOptions { authorizer, ..with_rooms(RoomLimits::default()) };
    let (_, authorized) = start(options).await;
    for address in [address, authorized] {
        let room = room(address, "a");
        for token in [None, Some("wrong")] {
            let client = client(token);
            assert_eq!(refused(client.offer(&room, description("actpass")).await).0, 401);
            assert_eq!(refused(client.take_offer(&room).await).0, 401);
            let resource = format!("{room}/offers/{}", "0".repeat(32));
            assert_eq!(refused(client.answer(&resource, description("active")).await).0, 401);
            assert_eq!(refused(client.hang_up(&resource).await).0, 401);
        }
        let client = client(Some("right"));
        let (answered, ()) = tokio::join!(client.offer(&room, description("actpass")), async {
            let taken = client.take_offer(&room).await.unwrap().unwrap();
            client.answer(&taken.resource, description("active")).await.unwrap();
        });
        answered.unwrap();
    }
}

#[tokio::test]
async fn pages_of_other_origins_use_rooms_where_cors_allows_it() {
    let cors = Cors::origins(["https://example.org"]).unwrap();
    let wait = Duration::from_millis(50);
    let limits = RoomLimits { wait, ..RoomLimits::default() };
    let options = SignallingOptions { cors, rate: unlimited(), ..with_rooms(limits) };
    let address = serve(router(Arc::new(Node::default()), options)).await;
    let allowed = "access-control-allow-origin";
    let (own, listed) = ("http://x", "https://example.org");
    for (origin, status, expected) in
        [(listed, 204, Some(listed)), (own, 204, None), ("https://other.org", 403, None)]
    {
        let origin = format!("Origin: {origin}");
        let taken = ask(address, "POST", "/webrtc/rooms/a/offers", &[&origin], b"").await;
        assert_eq!((taken.status, taken.header(allowed)), (status, expected));
    }
}

#[tokio::test]
async fn one_address_does_not_fill_a_room() {
    let wait = Duration::from_millis(500);
    let (_, address) = start(with_rooms(RoomLimits { wait, ..RoomLimits::default() })).await;
    let client = client(None);
    let room = room(address, "a");
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let (client, room) = (client.clone(), room.clone());
        asking.spawn(async move { client.take_offer(&room).await });
    }
    let answers = asking.join_all().await;
    let refused: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
    assert_eq!(refused.len(), 4);
    for error in refused {
        assert!(error.to_string().contains("max_per_address_and_room allows 8"), "{error}");
    }
    assert_eq!(client.take_offer(&room).await.unwrap(), None, "there is room again");
}
