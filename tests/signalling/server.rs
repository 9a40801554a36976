//! The server: its address, its limits and its end.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use deltawire::signalling::{
    BindError, Rate, ServerLimits, SignallingError, SignallingOptions, SignallingServer,
    TrustedProxies, router,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};

use crate::node::{Node, OFFER, client, start, unlimited, url};
use crate::raw::{ask, read_to_end};

#[tokio::test]
async fn a_port_in_use_is_named() {
    let any = ([127, 0, 0, 1], 0).into();
    let first = SignallingServer::bind(any, Router::new()).await.unwrap();
    let error = SignallingServer::bind(first.local_addr(), Router::new()).await.unwrap_err();
    assert!(matches!(error, BindError::InUse { address } if address == first.local_addr()));
    assert!(error.to_string().starts_with(&first.local_addr().to_string()));
    let elsewhere = ([192, 0, 2, 1], 0).into();
    let error = SignallingServer::bind(elsewhere, Router::new()).await.unwrap_err();
    assert!(matches!(error, BindError::NotHere { address } if address == elsewhere), "{error}");
}

#[tokio::test]
async fn a_server_that_ends_answers_what_it_took() {
    let (started, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (starts, goes_on) = (Arc::clone(&started), Arc::clone(&go_on));
    let slow = get(async move || {
        starts.notify_one();
        goes_on.notified().await;
        "done"
    });
    let options = SignallingOptions { rate: unlimited(), ..SignallingOptions::default() };
    let router = router(Arc::new(Node::default()), options).route("/slow", slow);
    let server = SignallingServer::bind(([127, 0, 0, 1], 0).into(), router).await.unwrap();
    let address = server.local_addr();
    let (end, ended) = oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve(async { drop(ended.await) }));

    let client = client(None);
    client.offer(&url(address), OFFER).await.unwrap();
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    started.notified().await;
    end.send(()).unwrap();
    loop {
        match client.offer(&url(address), OFFER).await {
            Err(SignallingError::Unreachable { .. }) => break,
            Ok(_) | Err(SignallingError::Broken { .. }) => tokio::task::yield_now().await,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(!serving.is_finished());
    go_on.notify_one();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("done"), "{answer}");
    serving.await.unwrap();
}

#[tokio::test]
async fn a_server_does_not_wait_for_ever_when_it_ends() {
    let started = Arc::new(Notify::new());
    let starts = Arc::clone(&started);
    let never = get(async move || {
        starts.notify_one();
        std::future::pending::<()>().await;
    });
    let limits =
        ServerLimits { shutdown_timeout: Duration::from_millis(20), ..ServerLimits::default() };
    let router = Router::new().route("/never", never);
    let server = SignallingServer::bind(([127, 0, 0, 1], 0).into(), router).await.unwrap();
    let server = server.with_limits(limits);
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    stream.write_all(b"GET /never HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    server.serve(started.notified()).await;
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn connections_that_say_nothing_make_room() {
    let limits = ServerLimits {
        max_connections: 2,
        head_timeout: Duration::from_millis(50),
        ..ServerLimits::default()
    };
    let router = router(Arc::new(Node::default()), SignallingOptions::default());
    let server = SignallingServer::bind(([127, 0, 0, 1], 0).into(), router).await.unwrap();
    let address = server.local_addr();
    tokio::spawn(server.with_limits(limits).serve(std::future::pending()));
    let mut silent = Vec::new();
    for start in ["", "POST /webrtc HTTP/1.1\r\nHo", "nonsense"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(start.as_bytes()).await.unwrap();
        silent.push(stream);
    }
    client(None).offer(&url(address), OFFER).await.unwrap();
    for mut stream in silent {
        let mut rest = Vec::new();
        // LinkEnded by the server, whether or not it said why.
        let _ = stream.read_to_end(&mut rest).await;
    }
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let (_node, address) = start(SignallingOptions::default()).await;
    for (len, status) in [(8 << 10, 200), (32 << 10, 431)] {
        let header = format!("X: {}", "x".repeat(len));
        let answer = ask(address, "OPTIONS", "/webrtc", &[&header], &[]).await;
        assert_eq!(answer.status, status, "a head of {len} bytes");
    }
}

const OPTIONS: &str = "OPTIONS /webrtc HTTP/1.1\r\nHost: x\r\n\r\n";

/// A server with these limits, and without one of requests.
async fn limited(limits: ServerLimits, proxies: TrustedProxies) -> SocketAddr {
    let options = SignallingOptions { rate: unlimited(), ..SignallingOptions::default() };
    let router = router(Arc::new(Node::default()), options);
    let server = SignallingServer::bind(([127, 0, 0, 1], 0).into(), router).await.unwrap();
    let address = server.local_addr();
    let server = server.with_limits(limits).with_trusted_proxies(proxies);
    tokio::spawn(server.serve(std::future::pending()));
    address
}

/// Asks on a connection, and reads as much as comes at once.
async fn asked(stream: &mut TcpStream) -> std::io::Result<String> {
    stream.write_all(OPTIONS.as_bytes()).await?;
    let mut answer = [0; 4096];
    let len = stream.read(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer[..len]).into_owned())
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let result = tokio::time::timeout(Duration::from_secs(30), future).await;
    result.unwrap_or_else(|_| panic!("waited 30 s for {what}"))
}

#[tokio::test]
async fn an_answer_that_refuses_ends_its_connection() {
    let rate = Rate { refill: Duration::from_secs(3600), ..Rate::default() };
    let options = SignallingOptions { rate, ..SignallingOptions::default() };
    let node = Arc::new(Node::default());
    let address = crate::node::serve(router(node, options)).await;
    for (request, status) in [
        ("GET /webrtc", 405),
        ("POST /webrtc", 415),
        ("DELETE /webrtc/x", 404),
        ("DELETE /webrtc/07070707070707070707070707070707", 404),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = soon("the end", read_to_end(&mut stream)).await;
        assert_eq!((answer.status, answer.header("connection")), (status, Some("close")));
    }
    // What is granted keeps its connection, until there are too many.
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut granted = 0;
    let last = loop {
        let answer = asked(&mut stream).await.unwrap();
        if !answer.starts_with("HTTP/1.1 200") {
            break answer;
        }
        granted += 1;
    };
    assert_eq!(granted, rate.burst.get() - 4);
    assert!(last.starts_with("HTTP/1.1 429") && last.contains("connection: close"), "{last}");
    assert_eq!(soon("the end", stream.read(&mut [0; 1])).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn a_connection_that_asks_ever_again_ends_when_it_is_old() {
    let max_age = Duration::from_millis(200);
    let limits = ServerLimits { max_age, ..ServerLimits::default() };
    let address = limited(limits, TrustedProxies::none()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    soon("the end", async {
        while let Ok(answer) = asked(&mut stream).await
            && !answer.is_empty()
        {
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(asked(&mut TcpStream::connect(address).await.unwrap()).await.is_ok());
}

#[tokio::test]
async fn a_client_that_does_not_read_is_not_waited_for() {
    let limits =
        ServerLimits { write_timeout: Duration::from_millis(200), ..ServerLimits::default() };
    let address = limited(limits, TrustedProxies::none()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let requests = OPTIONS.repeat(100);
    // Room runs out on the way there only when the server reads no more, as it waits to write.
    soon("the end", async { while stream.write_all(requests.as_bytes()).await.is_ok() {} }).await;
}

#[tokio::test]
async fn one_address_cannot_take_all_connections() {
    let patient = Duration::from_secs(3600);
    let limits = ServerLimits {
        max_connections_per_address: 2,
        head_timeout: patient,
        max_age: patient,
        ..ServerLimits::default()
    };
    let address = limited(limits, TrustedProxies::none()).await;
    let connect = || async { TcpStream::connect(address).await.unwrap() };
    let mut held = [connect().await, connect().await];
    for stream in &mut held {
        assert!(asked(stream).await.unwrap().starts_with("HTTP/1.1 200"));
    }
    let answer = soon("the end", read_to_end(&mut connect().await)).await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("1")));
    answer.assert_problem();
    assert!(answer.body.contains("your address has 2 connections"), "{}", answer.body);

    drop(held);
    soon("a place", async {
        while !asked(&mut connect().await).await.is_ok_and(|answer| answer.contains(" 200 ")) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;

    let proxies = TrustedProxies::forwarded(["127.0.0.1"]).unwrap();
    let address = limited(limits, proxies).await;
    let mut held = Vec::new();
    for _ in 0..10 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        assert!(asked(&mut stream).await.unwrap().starts_with("HTTP/1.1 200"));
        held.push(stream);
    }
}
