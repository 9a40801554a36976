//! The server's process: it sends back what comes.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};

use deltawire::signalling::{SignallingOptions, SignallingServer};
use deltawire::{Admission, Node};
use deltawire_channels::Peer;
use deltawire_framing::DeltaFields;

/// Says of which kind the server is, in its process.
pub(crate) const KIND: &str = "DELTAWIRE_TEST_SERVER";

/// A server in a process of its own.
pub(crate) struct Server {
    kind: String,
    process: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    pub(crate) fn start(kind: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .env(KIND, kind)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { kind: kind.to_owned(), process, address: line.trim().parse().unwrap() }
    }

    /// Where it is reached at another address.
    pub(crate) fn url(&self, address: SocketAddr) -> String {
        match &*self.kind {
            "tcp" => format!("tcp://{address}"),
            _ => format!("http://{address}/webrtc"),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn run(kind: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let any = (Ipv4Addr::LOCALHOST, 0).into();
        let node = match kind {
            "tcp" => {
                let node = Node::builder().accept_tcp(any, Admission::anyone()).build().unwrap();
                println!("{}", node.tcp_address().unwrap());
                node
            }
            _ => {
                let node = Node::builder().listen(any).build().unwrap();
                let router = node.router(SignallingOptions::default());
                let server = SignallingServer::bind(any, router).await.unwrap();
                println!("{}", server.local_addr());
                tokio::spawn(server.serve(std::future::pending()));
                node
            }
        };
        while let Some((peer, _link)) = node.accept().await {
            tokio::spawn(echo(peer));
        }
    });
}

async fn echo(mut peer: Peer) {
    while let Ok(message) = peer.receive.next().await {
        let payload = message.delta().unwrap().payload();
        let mut grant = peer.send.reserve(payload.len()).await.unwrap();
        grant.payload_mut().copy_from_slice(payload);
        let len = payload.len();
        grant.commit(DeltaFields::new(deltawire_framing::DocId([7; 16])), len).unwrap();
    }
}
