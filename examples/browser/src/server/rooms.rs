//! A native peer of pages, which meets them in a room of a server that it has no other link with.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use deltawire::NodeBuilder;
use deltawire::prelude::*;
use deltawire_browser_demo::exercise;
use deltawire_browser_demo::service::{self, Error};

use super::native::tell;

/// Serves who connects to a room, as the server does.
pub(super) async fn accept(
    builder: NodeBuilder,
    listen: SocketAddr,
    room: &str,
) -> Result<(), Error> {
    let node = builder.listen(listen).build()?;
    println!("accepting in {room} ; Ctrl+C ends");
    let serving = async {
        while let Some((peer, link)) = node.accept().await {
            println!("{}: connected", link.id());
            tokio::spawn(tell(link));
            tokio::spawn(service::serve(peer));
        }
    };
    tokio::select! {
        result = node.accept_in_room(room) => Ok(result?),
        () = serving => Ok(()),
    }
}

/// Tries a link to who accepts in a room.
pub(super) async fn meet(builder: NodeBuilder, room: &str) -> Result<(), Error> {
    let node = builder.build()?;
    let started = Instant::now();
    let (mut peer, link) = node.connect(room).await?;
    println!("connected over {} after {:.0?}", link.kind(), started.elapsed());
    println!("{}", exercise::shout(&mut peer, "from a process to a page").await?);
    println!("{}", exercise::sizes(&mut peer, &[1, 1_000, 16_384, 100_000, 4_194_304]).await?);
    println!("{}", exercise::mixed(&mut peer, 2_000).await?);
    link.close(CloseCode::NORMAL, "done");
    println!("{}", link.closed().await);
    node.shut_down(Duration::from_secs(1)).await;
    Ok(())
}
