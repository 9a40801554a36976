//! The kinds of links, and how a node of each is reached.

use std::net::{Ipv4Addr, SocketAddr};

use deltawire::signalling::{
    ClientOptions, ServerLimits, SignallingOptions, SignallingServer, Token,
};
use deltawire::{Identity, Node, NodeBuilder, QuicAdmission};

/// A kind of link.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    scheme: &'static str,
}

pub(crate) const ALL: [Kind; 3] = [
    Kind { name: "webrtc", scheme: "http" },
    Kind { name: "websocket", scheme: "ws" },
    Kind { name: "quic", scheme: "quic" },
];

/// A node that accepts, and its address.
pub(crate) struct Served {
    pub(crate) node: Node,
    pub(crate) url: String,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Kind {
    pub(crate) fn named(name: &str) -> Self {
        ALL.into_iter().find(|kind| kind.name == name).expect("a kind of this name")
    }

    /// A node that accepts at this port, or at any; from who has the token, if there is one.
    pub(crate) async fn serve(self, port: u16, token: Option<Token>) -> Served {
        if self.scheme == "quic" {
            return self.serve_quic(port, token);
        }
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let node = Node::builder().listen(loopback).build().unwrap();
        let router = node.router(SignallingOptions { token, ..Default::default() });
        let address = (Ipv4Addr::LOCALHOST, port).into();
        let server = SignallingServer::bind(address, router).await.unwrap();
        let url = format!("{}://{}/webrtc", self.scheme, server.local_addr());
        let server = server.with_limits(ServerLimits::default());
        let task = tokio::spawn(server.serve(std::future::pending()));
        Served { node, url, task }
    }

    fn serve_quic(self, port: u16, token: Option<Token>) -> Served {
        let admission = match token {
            Some(token) => QuicAdmission::tokens([(token, Identity::new("guest"))]),
            None => QuicAdmission::anyone(),
        };
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let node = Node::builder().listen(at).accept_quic(admission).build().unwrap();
        let url = format!("quic://{}", node.addresses().next().unwrap());
        Served { node, url, task: tokio::spawn(std::future::ready(())) }
    }

    /// A node that connects.
    pub(crate) fn client(self, token: Option<Token>) -> NodeBuilder {
        let builder = Node::builder().signalling(ClientOptions { token, ..Default::default() });
        // Of those that an address does not name.
        if self.scheme == "http" { builder.prefer_links([self.name]) } else { builder }
    }
}
