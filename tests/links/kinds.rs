//! The kinds of links, and how a node of each is reached.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;

use deltawire::signalling::{
    ClientOptions, ServerLimits, SignallingOptions, SignallingServer, Token,
};
use deltawire::{Admission, Identity, Node, NodeBuilder};

/// A kind of link.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    scheme: &'static str,
}

pub(crate) const ALL: [Kind; 6] = [
    Kind { name: "webrtc", scheme: "http" },
    Kind { name: "websocket", scheme: "ws" },
    Kind { name: "quic", scheme: "quic" },
    Kind { name: "sctp", scheme: "sctp" },
    Kind { name: "tcp", scheme: "tcp" },
    Kind { name: "unix", scheme: "unix" },
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

/// A number that no other of these processes has now.
fn free_number() -> u16 {
    static NEXT: Mutex<u16> = Mutex::new(0);
    let mut next = NEXT.lock().unwrap();
    *next += 1;
    (std::process::id() as u16 ^ *next << 12).max(1)
}

impl Kind {
    pub(crate) fn named(name: &str) -> Self {
        ALL.into_iter().find(|kind| kind.name == name).expect("a kind of this name")
    }

    /// A node that accepts at this port, or at any; from who has the token, if there is one.
    pub(crate) async fn serve(self, port: u16, token: Option<Token>) -> Served {
        if !matches!(self.scheme, "http" | "ws") {
            return self.serve_itself(port, token);
        }
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let node = Node::builder().resume(None).listen(loopback).build().unwrap();
        let router = node.router(SignallingOptions { token, ..Default::default() });
        let address = (Ipv4Addr::LOCALHOST, port).into();
        let server = SignallingServer::bind(address, router).await.unwrap();
        let url = format!("{}://{}/webrtc", self.scheme, server.local_addr());
        let server = server.with_limits(ServerLimits::default());
        let task = tokio::spawn(server.serve(std::future::pending()));
        Served { node, url, task }
    }

    /// Of those that let peers in by themselves.
    fn serve_itself(self, port: u16, token: Option<Token>) -> Served {
        let admission = match token {
            Some(token) => Admission::tokens([(token, Identity::new("guest"))]),
            None => Admission::anyone(),
        };
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (node, url) = match self.scheme {
            "quic" => {
                let node =
                    Node::builder().resume(None).listen(at).accept_quic(admission).build().unwrap();
                let url = format!("quic://{}", node.addresses().next().unwrap());
                (node, url)
            }
            "sctp" => {
                let node = Node::builder().resume(None).accept_sctp(at, admission).build().unwrap();
                let url = format!("sctp://{}", node.sctp_address().unwrap());
                (node, url)
            }
            "tcp" => {
                let node = Node::builder().resume(None).accept_tcp(at, admission).build().unwrap();
                let url = format!("tcp://{}", node.tcp_address().unwrap());
                (node, url)
            }
            _ => {
                // In place of a port.
                let number = if port == 0 { free_number() } else { port };
                let path = std::env::temp_dir().join(format!("deltawire-links:{number}"));
                let node =
                    Node::builder().resume(None).accept_unix(&path, admission).build().unwrap();
                (node, format!("unix://{}", path.display()))
            }
        };
        Served { node, url, task: tokio::spawn(std::future::ready(())) }
    }

    /// A node that connects.
    pub(crate) fn client(self, token: Option<Token>) -> NodeBuilder {
        let builder =
            Node::builder().resume(None).signalling(ClientOptions { token, ..Default::default() });
        // Of those that an address does not name.
        if self.scheme == "http" { builder.prefer_links([self.name]) } else { builder }
    }
}
