//! Two ends, and patience.

use std::future::Future;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use deltawire_channels::{Command, Limits, Peer};
use deltawire_framing::{DeltaFields, DocId};
use deltawire_link::runtime::SharedRuntime;
use deltawire_link::{Link, memory};
use deltawire_node::{Admission, Node, TokioRuntime};
use deltawire_requests::{CallOptions, IncomingRequests, Opened, Requests, RequestsOptions};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn runtime() -> SharedRuntime {
    Arc::new(TokioRuntime::current())
}

pub(crate) fn fields() -> DeltaFields {
    DeltaFields::new(DocId([7; 16]))
}

/// What has to happen soon.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("no {what} within {PATIENCE:?}"),
    }
}

pub(crate) fn within(timeout: Duration) -> CallOptions {
    CallOptions { timeout: Some(timeout), ..CallOptions::default() }
}

/// Two ends in one process.
pub(crate) fn pair_with(options: RequestsOptions) -> [Opened; 2] {
    let (near, far) = memory::pair();
    [near, far].map(|peer| Requests::in_process(peer.command, runtime(), options).unwrap())
}

pub(crate) fn pair() -> [Opened; 2] {
    pair_with(RequestsOptions::default())
}

/// Two ends of a link over TCP.
pub(crate) struct Linked {
    pub(crate) peers: [Option<Peer>; 2],
    pub(crate) links: [Link; 2],
    _nodes: [Node; 2],
}

impl Linked {
    pub(crate) async fn new() -> Self {
        Self::with(Limits::default()).await
    }

    pub(crate) async fn with(limits: Limits) -> Self {
        let any = (Ipv4Addr::LOCALHOST, 0).into();
        let server =
            Node::builder().limits(limits).accept_tcp(any, Admission::anyone()).build().unwrap();
        let client = Node::builder().limits(limits).build().unwrap();
        let url = format!("tcp://{}", server.tcp_address().unwrap());
        let (near, near_link) = soon("link", client.connect(&url)).await.unwrap();
        let (far, far_link) = soon("peer", server.accept()).await.unwrap();
        let peers = [Some(near), Some(far)];
        Self { peers, links: [near_link, far_link], _nodes: [client, server] }
    }

    pub(crate) fn take_command(&mut self, end: usize) -> Command {
        let Peer { command, send, receive } = self.peers[end].take().unwrap();
        // What is not used is kept: the session ends when all of it is dropped.
        std::mem::forget((send, receive));
        command
    }

    pub(crate) fn over_commands(&mut self, options: RequestsOptions) -> [Opened; 2] {
        [0, 1].map(|end| {
            let command = self.take_command(end);
            Requests::over_commands(&self.links[end], command, runtime(), options).unwrap()
        })
    }

    pub(crate) async fn over_deltas(
        &mut self,
        options: RequestsOptions,
    ) -> [(Requests, IncomingRequests); 2] {
        let mut both = Vec::new();
        for end in 0..2 {
            let receive = &mut self.peers[end].as_mut().unwrap().receive;
            let priority = Default::default();
            let link = &self.links[end];
            let opened = Requests::over_deltas(link, receive, priority, runtime(), options).await;
            both.push(opened.unwrap());
        }
        both.try_into().unwrap()
    }
}
