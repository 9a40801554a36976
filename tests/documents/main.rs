//! Documents that many share, over real links and within one process: what is published reaches all that
//! subscribe, once and in order, whatever becomes of links and readers.

#![cfg(not(target_arch = "wasm32"))]

#[cfg(feature = "hub-archive")]
mod archived;
mod hostile;
mod in_files;
mod in_process;
mod over_links;
mod presence;
mod readers;
mod rejected;
mod support;
mod writers;

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use deltawire::TokioRuntime;
use deltawire::documents::{
    Documents, DocumentsOptions, Everyone, Hub, HubOptions, Item, Place, Subscription, serve,
};
use deltawire::link::runtime::SharedRuntime;
use deltawire::prelude::*;
use deltawire::signalling::{SignallingOptions, SignallingServer};

const PATIENCE: Duration = Duration::from_secs(20);
const BOARD: DocId = DocId([7; 16]);

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("no {what} in time"))
}

fn runtime() -> SharedRuntime {
    std::sync::Arc::new(TokioRuntime::current())
}

fn hub() -> Hub {
    Hub::in_memory(HubOptions::default(), Everyone, runtime())
}

fn documents(hub: &Hub) -> Documents {
    hub.documents(None, DocumentsOptions::default())
}

/// A node whose peers the hub serves, and its address.
async fn serve_hub(hub: &Hub) -> (Node, SocketAddr) {
    serve_hub_at(hub, (Ipv4Addr::LOCALHOST, 0).into()).await
}

async fn serve_hub_at(hub: &Hub, address: SocketAddr) -> (Node, SocketAddr) {
    let node =
        Node::builder().listen((Ipv4Addr::LOCALHOST, 0).into()).serve_documents().build().unwrap();
    let router = node.router(SignallingOptions::default());
    let server = SignallingServer::bind(address, router).await.unwrap();
    let address = server.local_addr();
    tokio::spawn(server.serve(std::future::pending()));
    let (serving, hub) = (node.clone(), hub.clone());
    tokio::spawn(async move { serve(&serving, &hub).await });
    (node, address)
}

/// The next delta's place and payload; whatever else comes before it is passed over.
async fn next_delta(subscription: &mut Subscription) -> (Place, Vec<u8>) {
    loop {
        match soon("delta", subscription.next()).await.unwrap() {
            Item::Delta { place, message } => {
                return (place, message.delta().unwrap().payload().to_vec());
            }
            Item::Gap(gap) => panic!("{gap:?}"),
            _ => {}
        }
    }
}
