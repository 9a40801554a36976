//! The board that the page shows: a hub, on a node of its own.

use std::net::IpAddr;

use axum::Router;
use deltawire::documents::{Hub, HubOptions, serve};
use deltawire::prelude::*;
use deltawire::signalling::SignallingOptions;
use deltawire_browser_demo::board::{PATH, Rules};
use deltawire_browser_demo::service::Error;

/// Serves the board to all that connect. Gives the part of the web server that lets them in.
pub(super) fn open(local: IpAddr) -> Result<Router, Error> {
    let node = Node::builder().listen((local, 0).into()).serve_documents().build()?;
    let hub = Hub::in_memory(HubOptions::default(), Rules, node.runtime().clone());
    let options = SignallingOptions { path: PATH.parse()?, ..SignallingOptions::default() };
    let router = node.router(options);
    tokio::spawn(async move { serve(&node, &hub).await });
    Ok(router)
}
