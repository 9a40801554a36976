//! Two nodes with a link over TCP, and bulk at both ends.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use deltawire_bulk::{AttendError, Bulk, BulkOptions, Existing, FileName, Proposal, Sink};
use deltawire_channels::{Command, Receiver, Sender};
use deltawire_link::{Link, LinkEnded};
use deltawire_node::{Admission, Node};
use tokio::task::JoinHandle;

/// What has to come within seconds.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let within = tokio::time::timeout(Duration::from_secs(60), future).await;
    within.unwrap_or_else(|_| panic!("no {what}"))
}

pub(crate) fn name(name: &str) -> FileName {
    FileName::new(name).unwrap()
}

/// Bytes that repeat nowhere.
pub(crate) fn random(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

/// A folder that goes with the test.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("deltawire-bulk-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> =
            entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub(crate) fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn get(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.0.join(name)).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One end of a link.
pub(crate) struct End {
    pub(crate) link: Link,
    /// The application's own, which keep the session.
    _send: Sender,
    _command: Command,
    pub(crate) attending: JoinHandle<Result<LinkEnded, AttendError>>,
}

/// Two nodes, of which the first connects.
pub(crate) struct Nodes {
    pub(crate) near: Node,
    pub(crate) far: Node,
    url: String,
}

impl Nodes {
    pub(crate) fn new() -> Self {
        let listen = "127.0.0.1:0".parse().unwrap();
        let far = Node::builder().accept_tcp(listen, Admission::anyone()).build().unwrap();
        let url = format!("tcp://{}", far.tcp_address().unwrap());
        Self { near: Node::builder().build().unwrap(), far, url }
    }

    /// A link, its links' two ends as they are.
    pub(crate) async fn link(&self) -> [(deltawire_channels::Peer, Link); 2] {
        let (near, far) = tokio::join!(self.near.connect(&self.url), self.far.accept());
        [near.unwrap(), far.unwrap()]
    }

    pub(crate) async fn join(&self, near: &Bulk, far: &Bulk) -> [End; 2] {
        let [(near_peer, near_link), (far_peer, far_link)] = soon("link", self.link()).await;
        let end = |bulk: &Bulk, peer: deltawire_channels::Peer, link: Link| {
            let (attending, at) = (bulk.clone(), link.clone());
            let receive: Receiver = peer.receive;
            let attending = tokio::spawn(async move { attending.attend(&at, receive).await });
            End { link, _send: peer.send, _command: peer.command, attending }
        };
        [end(near, near_peer, near_link), end(far, far_peer, far_link)]
    }

    pub(crate) fn bulk(&self, options: BulkOptions) -> [Bulk; 2] {
        [&self.near, &self.far].map(|node| Bulk::new(node.runtime().clone(), options).unwrap())
    }
}

/// Takes all that is offered into a folder.
pub(crate) fn take_all(bulk: &Bulk, folder: &Path, existing: Existing) -> JoinHandle<()> {
    let (bulk, folder) = (bulk.clone(), folder.to_owned());
    tokio::spawn(async move {
        while let Some(proposal) = bulk.proposals().await {
            match proposal {
                Proposal::Offer(offer) => {
                    let _ = offer.accept(Sink::folder(&folder, existing));
                }
                Proposal::Request(request) => drop(request),
                _ => unreachable!(),
            }
        }
    })
}
