//! The page's exercise between two native nodes.

#![cfg(not(target_arch = "wasm32"))]

use std::net::Ipv4Addr;
use std::sync::LazyLock;
use std::time::Instant;

use deltawire::prelude::*;
use deltawire::signalling::{SignallingOptions, SignallingServer};
use deltawire_browser_demo::service::Error;
use deltawire_browser_demo::{exercise, service};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

#[tokio::test(flavor = "multi_thread")]
async fn the_exercise_works_natively_too() -> Result<(), Error> {
    let local = (Ipv4Addr::LOCALHOST, 0).into();
    let server = Node::builder().listen(local).limits(service::limits()).build()?;
    let router = server.router(SignallingOptions::default());
    let signalling = SignallingServer::bind(local, router).await?;
    let url = format!("http://{}/webrtc", signalling.local_addr());
    tokio::spawn(signalling.serve(std::future::pending()));
    tokio::spawn(async move {
        while let Some((peer, _link)) = server.accept().await {
            tokio::spawn(service::serve(peer));
        }
    });
    let node = Node::builder().limits(service::limits()).build()?;
    let (mut peer, _link) = node.connect(&url).await?;
    let clock = || START.elapsed();
    exercise::shout(&mut peer, "in place").await?;
    exercise::sizes(&mut peer, &[1, 16_304, 16_305, 65_536, 4 << 20]).await?;
    exercise::mixed(&mut peer, 1_000).await?;
    exercise::commands_beside_bulk(&mut peer, 10, clock).await?;
    exercise::throughput(&mut peer, 16 << 10, 4 << 20, clock, |_| ()).await?;
    Ok(())
}
