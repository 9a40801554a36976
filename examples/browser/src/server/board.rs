//! The board that the page shows: a hub, on a node of its own.

use std::net::IpAddr;
use std::path::Path;

use axum::Router;
use deltawire::documents::{Hub, HubOptions, serve};
use deltawire::prelude::*;
use deltawire::signalling::SignallingOptions;
use deltawire_browser_demo::board::{PATH, Rules};
use deltawire_browser_demo::service::Error;

/// Serves the board to all that connect, and keeps it in a folder or, without one, in memory. Gives the part of the web server
/// that lets them in.
pub(super) fn open(local: IpAddr, folder: Option<&Path>) -> Result<Router, Error> {
    let node = Node::builder().listen((local, 0).into()).serve_documents().build()?;
    let (options, runtime) = (HubOptions::default(), node.runtime().clone());
    let hub = match folder {
        // It has one document. The number of shards is fixed with the folder, which may be read on another machine.
        Some(folder) => Hub::open(folder, HubOptions { shards: 1, ..options }, Rules, runtime)?,
        None => Hub::in_memory(options, Rules, runtime),
    };
    let options = SignallingOptions { path: PATH.parse()?, ..SignallingOptions::default() };
    let router = node.router(options);
    tokio::spawn(async move { serve(&node, &hub).await });
    Ok(router)
}
