//! Documents over HTTP, beside documents over WebSocket.

mod common;

use std::time::Duration;

use common::{Client, Directory, config, document, documents, soon, token};
use deltawire_framing::documents::{Document, Why};
use deltawire_framing::{Frame, Kind};
use deltawire_hub::store::OpenError;
use deltawire_hub::{Item, SubscribeOptions};
use deltawire_node::Node;
use deltawire_server::config::Access;
use deltawire_server::{Server, StartError};
use deltawire_signalling::{ClientOptions, Token};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn payload(number: u32) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(4 + (number as usize * 37) % 3_000, number as u8);
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_by_either_is_read_by_both() {
    let server = Server::start(config()).await.unwrap();
    let client = Client::new(&server);
    let (node, documents) = documents(&client.base, None).await;
    let board = document(1);
    let mut follower = client.follow(board, "&from=1").await;
    let mut subscription = documents.subscribe(board, SubscribeOptions::default()).unwrap();
    let mut publisher = documents.publish(board).unwrap();
    for number in 0..20 {
        if number % 2 == 0 {
            let (status, placed) =
                client.post(board, "?type=300&timestamp=7", &payload(number)).await;
            assert_eq!(status, 201, "{placed}");
            assert_eq!(placed["position"], u64::from(number) + 1);
            assert_eq!(placed["level"], "appended");
        } else {
            let receipt = soon("room", publisher.publish(&payload(number))).await.unwrap();
            soon("receipt", receipt.received()).await.unwrap();
        }
    }
    for number in 0..20 {
        let line = follower.delta().await;
        assert_eq!((line.position, line.payload), (u64::from(number) + 1, payload(number)));
    }
    let mut number = 0;
    while number < 20 {
        match soon("item", subscription.next()).await.unwrap() {
            Item::Delta { place, message } => {
                let delta = message.delta().unwrap();
                assert_eq!(place.position, u64::from(number) + 1);
                assert_eq!(delta.payload(), payload(number));
                if number % 2 == 0 {
                    assert_eq!((delta.delta_type().get(), delta.timestamp()), (300, 7));
                }
                number += 1;
            }
            Item::Gap(gap) => panic!("{gap:?}"),
            _ => {}
        }
    }
    let deltas = client.deltas(board, "?from=5&limit=3").await;
    let found: Vec<_> = deltas.iter().map(|line| (line.position, line.payload.clone())).collect();
    let expected: Vec<_> = (4..7).map(|it| (u64::from(it) + 1, payload(it))).collect();
    assert_eq!(found, expected);
    let lines = client.lines(board, "?from=5&limit=3").await;
    assert_eq!(lines.last().unwrap()["next"]["position"], 8);
    let lines = client.lines(board, "").await;
    assert_eq!(lines.len(), 21);
    assert_eq!(lines.last().unwrap()["live"]["position"], 21);
    let (status, head) = client.answer("GET", &format!("/documents/{board}")).await;
    assert_eq!((status, &head["next"], &head["records"]), (200, &21.into(), &20.into()));
    // In order: the follower is told that there is no more, and the link is closed.
    documents.close();
    node.shut_down(Duration::from_secs(2)).await;
    let rest = async {
        while let Some(line) = follower.line().await {
            assert!(line.get("live").is_some(), "{line}");
        }
    };
    let (ended, ()) = tokio::join!(server.shut_down(), rest);
    assert!(ended.stored && ended.answered, "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_come_with_their_lengths_and_marks_tell_positions() {
    let server = Server::start(config()).await.unwrap();
    let client = Client::new(&server);
    let board = document(2);
    // Short ones, and one that is handed on as it lies.
    let payloads = [vec![1; 10], vec![2; 50_000], vec![], vec![4; 100]];
    for payload in &payloads {
        assert_eq!(client.post(board, "", payload).await.0, 201);
    }
    for query in ["", "?follow&limit=4"] {
        let path = format!("/documents/{board}/deltas{query}");
        let answer = soon("answer", client.request("GET", &path).send()).await.unwrap();
        assert_eq!(answer.headers()["content-type"], "application/vnd.deltawire.frames");
        let bytes = soon("bytes", answer.bytes()).await.unwrap();
        let (mut rest, mut position, mut found) = (&bytes[..], 0, Vec::new());
        while let Some((len, after)) = rest.split_first_chunk::<4>() {
            let (frame, after) = after.split_at(u32::from_le_bytes(*len) as usize);
            // Frames are read at multiples of 16.
            let mut aligned = vec![0_u128; frame.len().div_ceil(16)];
            zerocopy::IntoBytes::as_mut_bytes(&mut aligned[..])[..frame.len()]
                .copy_from_slice(frame);
            let frame = &zerocopy::IntoBytes::as_bytes(&aligned[..])[..frame.len()];
            let frame = Frame::parse(frame).unwrap();
            match frame.kind() {
                Kind::Document => match frame.document().unwrap() {
                    Document::Mark(mark) => {
                        let mark = mark.fields();
                        assert!(matches!(mark.why, Why::Start | Why::Live), "{mark:?}");
                        position = mark.position;
                    }
                    other => panic!("{other:?}"),
                },
                _ => {
                    let delta = frame.delta().unwrap();
                    delta.verify_checksum().unwrap();
                    found.push((position, delta.payload().to_vec()));
                    position += 1;
                }
            }
            rest = after;
        }
        let expected: Vec<_> = (1..).zip(payloads.iter().cloned()).collect();
        assert_eq!(found, expected, "{query}");
    }
}

/// Starts in a directory that a server of this process had: its threads let it go a moment after it has ended.
async fn start_anew(options: deltawire_server::config::Config) -> Server {
    soon("directory", async {
        loop {
            match Server::start(options.clone()).await {
                Ok(server) => break server,
                Err(StartError::Open(OpenError::Locked { .. })) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_is_told_once_it_is() {
    let directory = Directory::new("stored");
    let mut options = config();
    options.store.directory = Some(directory.0.clone());
    let server = Server::start(options.clone()).await.unwrap();
    let client = Client::new(&server);
    let board = document(3);
    for number in 1..=30 {
        let (status, placed) = client.post(board, "?wait=stored", &[number]).await;
        assert_eq!((status, &placed["level"]), (201, &"stored".into()), "{placed}");
        let (_, head) = client.answer("GET", &format!("/documents/{board}")).await;
        assert!(head["durable"].as_u64() > placed["position"].as_u64(), "{head} {placed}");
    }
    // Many at a time share what the disk does.
    let posts = (0..60_u8).map(|number| {
        let client = client.clone();
        async move { client.post(document(4), "?wait=stored", &[number; 100]).await }
    });
    for (status, placed) in futures_util::future::join_all(posts).await {
        assert_eq!((status, &placed["level"]), (201, &"stored".into()), "{placed}");
    }
    assert!(server.shut_down().await.stored);
    // Another life of the server has all of it, with its own number of shards too.
    options.hub.shards = None;
    let server = start_anew(options).await;
    let client = Client::new(&server);
    let deltas = client.deltas(board, "").await;
    let found: Vec<_> = deltas.iter().map(|line| line.payload.clone()).collect();
    assert_eq!(found, (1..=30).map(|number| vec![number]).collect::<Vec<_>>());
    assert_eq!(client.deltas(document(4), "").await.len(), 60);
    // From the disk, followed.
    let mut follower = client.follow(board, "&from=1").await;
    for number in 1..=30 {
        assert_eq!(follower.delta().await.payload, [number]);
    }
    let (_, listed) = client.answer("GET", "/documents").await;
    assert_eq!(listed["documents"].as_array().unwrap().len(), 2);
    drop(follower);
    assert!(server.shut_down().await.stored);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_named() {
    let mut options = config();
    options.limits.max_body = 2_000;
    options.limits.body_timeout = Duration::from_millis(400);
    let server = Server::start(options).await.unwrap();
    let client = Client::new(&server);
    let deltas = format!("/documents/{}/deltas", document(5));
    for (method, path, status, field) in [
        ("GET", "/documents/x", 400, "document"),
        ("GET", "/documents/%ff/deltas", 400, "document"),
        ("DELETE", "/documents/00000000-0000-0000-0000-00000000000g", 400, "document"),
        ("DELETE", "/documents/x/deltas/1", 400, "document"),
        ("DELETE", &format!("{deltas}/0"), 400, "position"),
        ("DELETE", &format!("{deltas}/-1"), 400, "position"),
        ("DELETE", &format!("{deltas}/1?epoch=x"), 400, "epoch"),
        ("GET", "/documents?limit=0", 400, "limit"),
        ("GET", "/documents?limti=5", 400, "query"),
        ("GET", "/documents?after=x", 400, "document"),
        ("GET", &format!("{deltas}?from=0"), 400, "from"),
        ("GET", &format!("{deltas}?from=-1"), 400, "from"),
        ("GET", &format!("{deltas}?from=1&from=2"), 400, "query"),
        ("GET", &format!("{deltas}?follow=maybe"), 400, "follow"),
        ("GET", &format!("{deltas}?limit=99999999999999999999"), 400, "limit"),
        ("POST", &format!("{deltas}?type=4"), 400, "type"),
        ("POST", &format!("{deltas}?type=255"), 400, "type"),
        ("POST", &format!("{deltas}?type=65536"), 400, "type"),
        ("POST", &format!("{deltas}?wait=sotred"), 400, "wait"),
        ("POST", &format!("{deltas}?wait=stored"), 422, "wait"),
        ("POST", &format!("{deltas}?position=9"), 409, "position"),
    ] {
        let (answered, problem) = client.answer(method, path).await;
        assert_eq!(answered, status, "{method} {path}: {problem}");
        assert_eq!(problem["status"], status, "{problem}");
        assert_eq!(problem["field"], field, "{problem}");
        assert!(problem.get("value").is_some() && problem.get("limit").is_some(), "{problem}");
        assert!(problem["detail"].as_str().unwrap().len() > 10, "{problem}");
    }
    for (method, path, status) in [
        ("GET", &*deltas, 404),
        ("GET", "/documents/00000000-0000-0000-0000-000000000000", 404),
        ("DELETE", "/documents/00000000-0000-0000-0000-000000000000", 404),
        ("DELETE", &format!("{deltas}/1"), 404),
        ("GET", &format!("{deltas}/1"), 405),
        ("GET", "/nothing", 404),
        ("GET", "/metrics", 404),
        ("PUT", "/documents", 405),
        ("PATCH", &*deltas, 405),
    ] {
        let request = client.request(method, path);
        let answer = soon("answer", request.send()).await.unwrap();
        assert_eq!(answer.status(), status, "{method} {path}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{path}");
        if status == 405 {
            assert!(answer.headers().contains_key("allow"), "{path}");
        }
    }
    // Too long: announced, and in chunks of which nobody knows how many come.
    let (status, problem) = client.post(document(5), "", &[7; 2_001]).await;
    assert_eq!(
        (status, &problem["field"], &problem["limit"]),
        (413, &"body".into(), &2_000.into())
    );
    let chunks = futures_util::stream::iter((0..50).map(|_| Ok::<_, std::io::Error>(vec![7; 100])));
    let request = client.request("POST", &deltas).body(reqwest::Body::wrap_stream(chunks));
    assert_eq!(soon("answer", request.send()).await.unwrap().status(), 413);
    assert_eq!(client.post(document(5), "", &[7; 2_000]).await.0, 201);
    // Too slow.
    let mut slow = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    let head =
        format!("POST {deltas} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc");
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon("answer", slow.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("\"limit\":\"400ms\""), "{answer}");
    // A writer that expects the next position gets it once.
    assert_eq!(client.post(document(5), "?position=2", b"once").await.0, 201);
    let (status, problem) = client.post(document(5), "?position=2", b"once").await;
    assert_eq!((status, &problem["next"]), (409, &3.into()));
    assert_eq!(client.deltas(document(5), "").await.len(), 2);
    // Beyond its end.
    let (status, problem) = client.answer("GET", &format!("{deltas}?from=4")).await;
    assert_eq!((status, &problem["limit"]), (416, &3.into()));
    let (status, problem) = client.answer("GET", &format!("{deltas}?from=1&epoch=1")).await;
    assert_eq!((status, &problem["field"]), (409, &"epoch".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn any_bytes_are_answered_or_cut_off() {
    let mut options = config();
    options.limits.head_timeout = Duration::from_millis(300);
    options.limits.body_timeout = Duration::from_millis(300);
    let server = Server::start(options).await.unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    let heads = [
        "GET /documents HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "POST /documents/00000000000000000000000000000001/deltas?type=1 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "GET /documents/00000000000000000000000000000001/deltas?from=1&follow HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "DELETE /documents/00000000000000000000000000000001 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\n\r\n",
    ];
    for round in 0..300 {
        let mut bytes = heads[round % heads.len()].as_bytes().to_vec();
        for _ in 0..random.usize(0..6) {
            let at = random.usize(0..bytes.len());
            match random.u8(0..3) {
                0 => bytes[at] = random.u8(..),
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, random.u8(..)),
            }
        }
        let mut stream = tokio::net::TcpStream::connect(server.address()).await.unwrap();
        let _ = stream.write_all(&bytes).await;
        let mut answer = [0; 16];
        let _ = tokio::time::timeout(Duration::from_millis(20), stream.read(&mut answer)).await;
    }
    let client = Client::new(&server);
    assert_eq!(client.answer("GET", "/ready").await.0, 200);
    assert_eq!(client.post(document(9), "", b"still here").await.0, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_permits_what_it_says() {
    let mut options = config();
    options.server.tokens = vec![
        token("r-token", "reader", Access::Read),
        token("w-token", "writer", Access::Write),
        token("a-token", "admin", Access::Admin),
    ];
    let mut server = Server::start(options.clone()).await.unwrap();
    assert!(server.admin_token().is_none());
    let nobody = Client::new(&server);
    let (reader, writer, admin) =
        (nobody.with("r-token"), nobody.with("w-token"), nobody.with("a-token"));
    let board = document(6);
    let path = format!("/documents/{board}");
    for path in ["/documents", "/info", "/admin/stats", &path, &format!("{path}/deltas")] {
        let answer = nobody.request("GET", path).send().await.unwrap();
        assert_eq!(answer.status(), 401, "{path}");
        assert_eq!(answer.headers()["www-authenticate"], "Bearer");
        assert_eq!(nobody.with("r-tokem").answer("GET", path).await.0, 401, "{path}");
    }
    assert_eq!(nobody.post(board, "", b"x").await.0, 401);
    for path in ["/health", "/ready", "/admin"] {
        assert_eq!(nobody.request("GET", path).send().await.unwrap().status(), 200, "{path}");
    }
    assert_eq!(reader.post(board, "", b"x").await.0, 403);
    assert_eq!(writer.post(board, "", b"x").await.0, 201);
    assert_eq!(writer.post(board, "?type=3", &[0; 32]).await.0, 403, "a snapshot");
    assert_eq!(reader.deltas(board, "").await.len(), 1);
    assert_eq!(writer.answer("DELETE", &path).await.0, 403);
    assert_eq!(writer.answer("DELETE", &format!("{path}/deltas/1")).await.0, 403);
    assert_eq!(writer.answer("GET", "/admin/stats").await.0, 403);
    let (status, stats) = admin.answer("GET", "/admin/stats").await;
    assert_eq!((status, &stats["log"]["documents"]), (200, &1.into()), "{stats}");

    // Over WebSocket the same tokens hold.
    let (_node, of_reader) = documents(&nobody.base, Some("r-token")).await;
    let mut subscription = of_reader.subscribe(board, SubscribeOptions::default()).unwrap();
    while !matches!(soon("delta", subscription.next()).await.unwrap(), Item::Delta { .. }) {}
    let mut publisher = of_reader.publish(board).unwrap();
    let published = soon("answer", async { publisher.publish(b"no").await?.received().await });
    assert!(published.await.is_err());
    let (_other, of_nobody) = documents(&nobody.base, None).await;
    let mut refused = of_nobody.subscribe(board, SubscribeOptions::default()).unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(500), refused.next()).await.is_err());
    let (_, stats) = admin.answer("GET", "/admin/stats").await;
    assert_eq!(stats["peers"][0]["identity"], "reader", "{stats}");

    // Tokens are exchanged while it runs, and what they had opened ends.
    let mut follower = reader.follow(board, "").await;
    follower.delta().await;
    options.server.tokens.remove(0);
    options.server.tokens.push(token("n-token", "new", Access::Write));
    options.limits.max_body = 4_096;
    options.hub.tail = 1 << 20;
    let reloaded = server.reload(options);
    assert_eq!(reloaded.changed, ["limits.max_body", "server.tokens"]);
    assert_eq!(reloaded.needs_restart, ["hub.tail"]);
    assert_eq!(reloaded.revoked, ["reader"]);
    let mut last = follower.line().await;
    while let Some(line) = follower.line().await {
        last = Some(line);
    }
    assert!(last.unwrap()["ended"].as_str().unwrap().contains("not any longer"));
    assert_eq!(reader.answer("GET", "/documents").await.0, 401);
    assert!(
        soon("end", async {
            loop {
                if let Err(ended) = subscription.next().await {
                    break ended;
                }
            }
        })
        .await
        .to_string()
        .contains("not any longer")
    );
    let new = nobody.with("n-token");
    assert_eq!(new.post(board, "", &[1; 4_097]).await.0, 413);
    assert_eq!(new.post(board, "", b"y").await.0, 201);
    assert_eq!(admin.answer("DELETE", &path).await.0, 204);
    assert_eq!(admin.answer("GET", &path).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rejected_is_taken_back() {
    let server = Server::start(config()).await.unwrap();
    let client = Client::new(&server);
    let board = document(40);
    let path = format!("/documents/{board}/deltas");
    let mut placed = serde_json::Value::Null;
    for number in 0..4 {
        placed = client.post(board, "", &payload(number)).await.1;
    }
    let epoch = placed["epoch"].as_u64().unwrap();
    let mut follower = client.follow(board, "").await;
    for position in 1..=4 {
        assert_eq!(follower.delta().await.position, position);
    }
    let (status, problem) = client.answer("DELETE", &format!("{path}/5")).await;
    assert_eq!(
        (status, &problem["field"], &problem["limit"]),
        (404, &"position".into(), &5.into())
    );
    let other = (epoch + 1) % (1 << 32);
    let (status, problem) = client.answer("DELETE", &format!("{path}/2?epoch={other}")).await;
    assert_eq!((status, &problem["field"]), (409, &"epoch".into()));
    for _ in 0..2 {
        let (status, _) = client.answer("DELETE", &format!("{path}/2?epoch={epoch}")).await;
        assert_eq!(status, 204);
    }
    loop {
        let line = follower.line().await.unwrap();
        if let Some(rejected) = line.get("rejected") {
            assert_eq!((&rejected["epoch"], &rejected["position"]), (&epoch.into(), &2.into()));
            break;
        }
        assert!(line.get("live").is_some(), "{line}");
    }
    let left: Vec<_> = client.deltas(board, "").await.iter().map(|line| line.position).collect();
    assert_eq!(left, [1, 3, 4]);
    // One that comes back is told too, and frames tell it by a mark.
    let back = client.request("GET", &format!("{path}?from=4&follow&limit=1")).send();
    let bytes = soon("bytes", soon("answer", back).await.unwrap().bytes()).await.unwrap();
    let mut whys = Vec::new();
    let mut rest = &bytes[..];
    while let Some((len, after)) = rest.split_first_chunk::<4>() {
        let (frame, after) = after.split_at(u32::from_le_bytes(*len) as usize);
        // A mark is 40 bytes behind the frame's 16: its `why` at 2, `skipped` at 24.
        if frame.len() == 56 && frame[16] == 7 {
            whys.push((frame[18], u64::from_le_bytes(frame[40..48].try_into().unwrap())));
        }
        rest = after;
    }
    assert!(whys.contains(&(Why::Rejected as u8, 2)), "{whys:?}");
    server.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tokens_only_this_machine_asks_and_pages_do_not() {
    let server = Server::start(config()).await.unwrap();
    let client = Client::new(&server);
    let post = |name: &str, value: &str| {
        let path = format!("/documents/{}/deltas", document(7));
        client.request("POST", &path).header(name, value).body("x").send()
    };
    for (name, value, status) in [
        ("origin", "https://elsewhere.example", 403),
        ("origin", "null", 403),
        ("origin", &*client.base, 201),
        ("host", "elsewhere.example", 421),
        ("host", "127.0.0.1.elsewhere.example:80", 421),
        ("host", "localhost:1", 201),
        ("host", "[::1]:1", 201),
        ("authorization", "Bearer wrong", 401),
    ] {
        let answer = soon("answer", post(name, value)).await.unwrap();
        assert_eq!(answer.status(), status, "{name}: {value}");
    }
    // The page's numbers are for who has seen the log.
    assert_eq!(client.answer("GET", "/admin/stats").await.0, 403);
    let token = server.admin_token().unwrap().authorization();
    let admin = client.with(token.trim_start_matches("Bearer "));
    let (status, stats) = admin.answer("GET", "/admin/stats").await;
    assert_eq!(status, 200, "{stats}");
    let page = client.request("GET", "/admin").send().await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    let page = page.text().await.unwrap();
    for elsewhere in ["src=", "href=", "@import", "url("] {
        assert!(!page.contains(elsewhere), "{elsewhere}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_origins_that_are_named_may_ask() {
    let mut options = config();
    options.server.origins = vec!["https://page.example".to_owned()];
    options.server.tokens = vec![token("w-token", "writer", Access::Write)];
    let server = Server::start(options).await.unwrap();
    let client = Client::new(&server).with("w-token");
    let path = format!("/documents/{}/deltas", document(16));
    // What a browser asks first, without a token.
    let asked = Client::new(&server)
        .request("OPTIONS", &path)
        .header("origin", "https://page.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization")
        .send();
    let answer = soon("answer", asked).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["access-control-allow-origin"], "https://page.example");
    assert!(answer.headers().contains_key("access-control-allow-headers"));
    for (origin, status) in [("https://page.example", 201), ("https://other.example", 403)] {
        let request = client.request("POST", &path).header("origin", origin).body("x");
        let answer = soon("answer", request.send()).await.unwrap();
        assert_eq!(answer.status(), status, "{origin}");
        let allowed = answer.headers().get("access-control-allow-origin").is_some();
        assert_eq!(allowed, status == 201, "{origin}");
    }
    assert_eq!(client.answer("GET", "/nothing").await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_does_not_read_waits_alone() {
    let mut options = config();
    options.limits.max_followers = 2;
    options.limits.heartbeat = Duration::from_millis(200);
    let server = Server::start(options).await.unwrap();
    let client = Client::new(&server);
    let board = document(8);
    let mut slow = client.follow(board, "").await;
    let mut quick = client.follow(board, "").await;
    let path = format!("/documents/{board}/deltas?follow");
    let (status, problem) = client.answer("GET", &path).await;
    assert_eq!((status, &problem["limit"]), (503, &2.into()), "{problem}");
    // More than sockets and queues hold.
    let (rounds, len) = (600_u32, 50_000);
    for number in 0..rounds {
        let mut payload = number.to_le_bytes().to_vec();
        payload.resize(len, 1);
        assert_eq!(client.post(board, "", &payload).await.0, 201);
        let line = quick.delta().await;
        assert_eq!(line.payload[..4], number.to_le_bytes());
    }
    let token = server.admin_token().unwrap().authorization();
    let admin = client.with(token.trim_start_matches("Bearer "));
    let (_, stats) = admin.answer("GET", "/admin/stats").await;
    let behind = stats["slow"][0]["behind"].as_u64().unwrap_or(0);
    assert!(behind > 100, "the slow one is told: {}", stats["slow"]);
    for number in 0..rounds {
        let line = slow.delta().await;
        assert_eq!(
            (line.position, &line.payload[..4]),
            (u64::from(number) + 1, &number.to_le_bytes()[..])
        );
    }
    drop((slow, quick));
    // Their places are free again, and the hub has forgotten them.
    soon("places", async {
        while server.hub().stats().readers > 0 || server.hub().stats().peers > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    client.follow(board, "&from=latest").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_kept_any_more_is_told() {
    let mut options = config();
    options.store.log.retention.per_document_records = 10;
    options.hub.shards = Some(1);
    let server = Server::start(options).await.unwrap();
    let client = Client::new(&server);
    let board = document(10);
    for number in 0..50_u8 {
        assert_eq!(client.post(board, "", &[number]).await.0, 201);
    }
    soon("retention", async {
        while server.hub().head(&board).unwrap().first.0 < 41 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let lines = client.lines(board, "?from=1").await;
    assert_eq!(lines[0]["gap"]["skipped"], 40, "{}", lines[0]);
    assert_eq!(lines[0]["gap"]["why"], "expired");
    assert_eq!(lines[1]["position"], 41);
    let mut follower = client.follow(board, "&from=1").await;
    let first = follower.line().await.unwrap();
    assert_eq!(first["gap"]["skipped"], 40, "{first}");
    assert_eq!(follower.delta().await.position, 41);
    // Deleted: its followers hear of it.
    assert_eq!(client.answer("DELETE", &format!("/documents/{board}")).await.0, 204);
    assert_eq!(client.post(board, "", b"anew").await.0, 201);
    let gap = loop {
        let line = follower.line().await.unwrap();
        if let Some(gap) = line.get("gap") {
            break gap.clone();
        }
    };
    assert_eq!(gap["why"], "new-epoch", "{gap}");
    loop {
        let line = follower.line().await.unwrap();
        if let Some(line) = common::line_of(&line) {
            assert_eq!((line.position, &line.payload[..]), (1, &b"anew"[..]));
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_for_prometheus_are_elsewhere_and_off_by_default() {
    let mut options = config();
    options.metrics.prometheus = true;
    options.metrics.address = (std::net::Ipv4Addr::LOCALHOST, 0).into();
    let server = Server::start(options).await.unwrap();
    let client = Client::new(&server);
    assert_eq!(client.post(document(11), "", b"counted").await.0, 201);
    let metrics = Client::at(&format!("http://{}", server.metrics_address().unwrap()));
    let answer = metrics.request("GET", "/metrics").send().await.unwrap();
    assert!(
        answer.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4")
    );
    let text = answer.text().await.unwrap();
    for line in [
        "deltawire_ready 1",
        "deltawire_documents 1",
        "deltawire_log_appended_records_total 1",
        "deltawire_http_deltas_written_total 1",
        "deltawire_http_bytes_written_total 7",
        "# TYPE deltawire_links gauge",
    ] {
        assert!(text.lines().any(|it| it == line), "{line}\n{text}");
    }
    assert_eq!(metrics.answer("GET", "/documents").await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_comes_past_http() {
    for tokens in [Vec::new(), vec![token("w-token", "writer", Access::Write)]] {
        let mut options = config();
        options.server.listen = Some((std::net::Ipv4Addr::LOCALHOST, 0).into());
        options.server.tokens = tokens;
        let server = Server::start(options).await.unwrap();
        let address = server.node().addresses().next().unwrap();
        let token = Some(Token::new("w-token").unwrap());
        let signalling = ClientOptions { token, ..ClientOptions::default() };
        for node in [Node::builder(), Node::builder().signalling(signalling)] {
            let node = node.build().unwrap();
            let refused = soon("refusal", node.connect(&format!("quic://{address}"))).await;
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains("a ticket of its signalling is needed"), "{refused}");
        }
        assert!(server.node().peers().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn links_by_udp_have_the_same_documents() {
    for kind in ["quic", "webrtc"] {
        let mut options = config();
        options.server.listen = Some((std::net::Ipv4Addr::LOCALHOST, 0).into());
        options.server.tokens = vec![token("w-token", "writer", Access::Write)];
        let server = Server::start(options).await.unwrap();
        let client = Client::new(&server).with("w-token");
        let (node, documents) = common::documents_over(kind, &client.base, Some("w-token")).await;
        let board = document(12);
        let mut publisher = documents.publish(board).unwrap();
        let receipt = soon("room", publisher.publish(b"over UDP")).await.unwrap();
        soon("receipt", receipt.received()).await.unwrap();
        assert_eq!(client.deltas(board, "").await[0].payload, b"over UDP");
        assert_eq!(client.post(board, "", b"over HTTP").await.0, 201);
        let mut subscription = documents.subscribe(board, SubscribeOptions::default()).unwrap();
        let mut found = Vec::new();
        while found.len() < 2 {
            if let Item::Delta { message, .. } = soon("delta", subscription.next()).await.unwrap() {
                found.push(message.delta().unwrap().payload().to_vec());
            }
        }
        assert_eq!(found, [&b"over UDP"[..], b"over HTTP"]);
        assert_eq!(server.node().peers()[0].link.kind(), kind);
        // Links end in order.
        let ended = server.shut_down().await;
        assert_eq!((ended.links.in_order, ended.links.cut_off), (1, 0), "{ended:?}");
        drop(node);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_deliver_stored_nobody_sees_what_could_be_lost() {
    let directory = Directory::new("deliver");
    let mut options = config();
    options.store.directory = Some(directory.0.clone());
    options.store.log.durability = deltawire_hub::store::Durability::Grouped {
        max_wait: Duration::from_millis(700),
        max_bytes: 1 << 20,
    };
    options.hub.deliver = deltawire_hub::Deliver::Stored;
    let server = Server::start(options).await.unwrap();
    let client = Client::new(&server);
    let board = document(13);
    let mut follower = client.follow(board, "&from=1").await;
    assert_eq!(client.post(board, "", b"later").await.0, 201);
    let (_, head) = client.answer("GET", &format!("/documents/{board}")).await;
    if head["durable"] == 1 {
        let lines = client.lines(board, "").await;
        let (_, head) = client.answer("GET", &format!("/documents/{board}")).await;
        assert!(lines.len() == 1 || head["durable"] == 2, "{lines:?} {head}");
    }
    assert_eq!(follower.delta().await.payload, b"later");
    let (_, head) = client.answer("GET", &format!("/documents/{board}")).await;
    assert_eq!(head["durable"], 2);
    assert_eq!(client.deltas(board, "").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_together_take_no_more_than_they_may() {
    let mut options = config();
    options.limits.max_body = 4_000;
    options.limits.max_body_bytes = 5_000;
    let server = Server::start(options).await.unwrap();
    let client = Client::new(&server);
    let path = format!("/documents/{}/deltas", document(14));
    // One that has sent most of its body.
    let mut slow = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000\r\n\r\n");
    slow.write_all(head.as_bytes()).await.unwrap();
    slow.write_all(&[7; 3_900]).await.unwrap();
    soon("refusal", async {
        loop {
            let (status, problem) = client.post(document(15), "", &[1; 3_000]).await;
            if status == 503 {
                assert_eq!(problem["limit"], "limits.max_body_bytes", "{problem}");
                break;
            }
            assert_eq!(status, 201, "{problem}");
        }
    })
    .await;
    // Short ones have room beside it, and all have when it is done.
    assert_eq!(client.post(document(15), "", &[1; 100]).await.0, 201);
    slow.write_all(&[7; 100]).await.unwrap();
    let mut answer = [0; 12];
    soon("answer", slow.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 201");
    assert_eq!(client.post(document(15), "", &[1; 4_000]).await.0, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_waits_for_requests_and_not_for_ever() {
    let directory = Directory::new("end");
    let mut options = config();
    options.store.directory = Some(directory.0.clone());
    options.server.shutdown = Duration::from_secs(3);
    let server = Server::start(options.clone()).await.unwrap();
    let client = Client::new(&server);
    let path = format!("/documents/{}/deltas", document(17));
    let mut slow = Vec::new();
    for missing in [0, 5] {
        // One sends the rest of its body while the server ends, the other one does not.
        let mut stream = tokio::net::TcpStream::connect(server.address()).await.unwrap();
        let head = format!(
            "POST {path}?wait=stored HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&[missing; 5]).await.unwrap();
        slow.push(stream);
    }
    assert_eq!(client.post(document(17), "", b"before").await.0, 201);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let begun = std::time::Instant::now();
    let rest = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        slow[0].write_all(&[0; 5]).await.unwrap();
        let mut answer = [0; 12];
        soon("answer", slow[0].read_exact(&mut answer)).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 201");
    };
    let (ended, ()) = tokio::join!(server.shut_down(), rest);
    assert!(ended.stored && !ended.answered, "{ended:?}");
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    let refused = client.request("GET", "/health").send().await;
    assert!(refused.is_err());
    let server = start_anew(options).await;
    let client = Client::new(&server);
    let deltas = client.deltas(document(17), "").await;
    let found: Vec<_> = deltas.iter().map(|line| &line.payload[..]).collect();
    assert_eq!(found, [&b"before"[..], &[0; 10]]);
}
