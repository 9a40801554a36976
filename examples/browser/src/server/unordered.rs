//! Nodes whose deltas may overtake each other.

use std::net::IpAddr;

use axum::Router;
use deltawire::Admission;
use deltawire::prelude::*;
use deltawire::signalling::SignallingOptions;
use deltawire::webrtc::EngineKind;
use deltawire_browser_demo::service::{self, Error};
use deltawire_browser_demo::unordered::{WAYS, delivery, path};

/// Serves who connects to them. Gives the part of the web server that lets them in.
pub(super) fn open(local: IpAddr, engine: EngineKind) -> Result<Router, Error> {
    let mut router = Router::new();
    for (name, reliability, _) in WAYS {
        let way = delivery(reliability);
        let node = Node::builder()
            .limits(service::limits())
            .engine(engine)
            .delivery(way, way)
            .listen((local, 0).into())
            .accept_webtransport(Admission::anyone())
            .build()?;
        let path = path(name).parse()?;
        router =
            router.merge(node.router(SignallingOptions { path, ..SignallingOptions::default() }));
        tokio::spawn(async move {
            while let Some((peer, link)) = node.accept().await {
                tokio::spawn(async move {
                    if let Err(error) = service::serve(peer).await {
                        println!("{}: {error}", link.id());
                    }
                });
            }
        });
    }
    Ok(router)
}
