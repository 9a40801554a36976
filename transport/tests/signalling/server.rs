//! The server: its address, its limits and its end.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use deltawire_transport::signalling::{
    BindError, ServerLimits, SignallingError, SignallingOptions, SignallingServer, router,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};

use crate::node::{Node, OFFER, client, start, unlimited, url};
use crate::raw::ask;

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
        // Ended by the server, whether or not it said why.
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
