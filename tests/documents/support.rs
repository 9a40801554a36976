//! What tests of documents share beside [`super`]: policies, folders, peers that write bodies themselves.

use std::path::{Path, PathBuf};

use deltawire::documents::store::{Durability, LogOptions, OpenError};
use deltawire::documents::{Ask, DeniedCode, Permission, Policy, keep};
use deltawire::framing::Delta;
use deltawire::framing::documents::{
    Publish, PublishFields, SlowPolicy, Start, Subscribe, SubscribeFields, WriterId,
};
use deltawire::link::runtime::BoxFuture;
use deltawire::{Backoff, Identity, Link};

use super::*;

pub(crate) type Validate = Box<dyn Fn(&[u8]) -> Result<(), DeniedCode> + Send + Sync>;

/// Permits everything after having thought, and looks at payloads.
pub(crate) struct Thinking {
    pub(crate) think: Duration,
    pub(crate) validate: Validate,
}

impl std::fmt::Debug for Thinking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Thinking")
    }
}

impl Policy for Thinking {
    fn permit(&self, _: Ask) -> BoxFuture<'static, Result<Permission, DeniedCode>> {
        let think = self.think;
        Box::pin(async move {
            if !think.is_zero() {
                tokio::time::sleep(think).await;
            }
            Ok(Permission { valid_for: None, snapshots: true })
        })
    }

    fn validate(&self, _: Option<&Identity>, delta: Delta<'_>) -> Result<(), DeniedCode> {
        (self.validate)(delta.payload())
    }
}

/// A directory of a test's own, which goes with it.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("deltawire-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) async fn open(path: &Path) -> Hub {
    open_with(path, HubOptions::default()).await
}

pub(crate) async fn open_with(path: &Path, options: HubOptions) -> Hub {
    // The process that had it, or its threads, may be on their way out.
    for _ in 0..400 {
        match Hub::open(path, options, Everyone, runtime()) {
            Ok(hub) => return hub,
            Err(OpenError::Locked { .. }) => pause(5).await,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the directory stays locked")
}

/// Options of a hub that waits so long before it stores something.
pub(crate) fn lazy_disk(max_wait: Duration) -> HubOptions {
    let durability = Durability::Grouped { max_wait, max_bytes: 1 << 30 };
    let log = LogOptions { durability, ..HubOptions::default().log };
    HubOptions { log, shards: 1, ..HubOptions::default() }
}

/// Documents that are kept attended over WebSocket, and come back at once.
pub(crate) fn connect(address: SocketAddr) -> Documents {
    let backoff = Backoff {
        first: Duration::from_millis(20),
        longest: Duration::from_millis(50),
        ..Backoff::default()
    };
    let node = Node::builder().prefer_links(["websocket"]).backoff(backoff).build().unwrap();
    let documents = Documents::new(node.runtime().clone(), DocumentsOptions::default());
    let keeping = documents.clone();
    tokio::spawn(async move { keep(&node, &format!("http://{address}/webrtc"), &keeping).await });
    documents
}

/// Ends all links of a node in the middle of everything.
pub(crate) fn cut(node: &Node) {
    for peer in node.peers() {
        peer.link.close(CloseCode(300), "cut");
        peer.link.cut_short();
    }
}

pub(crate) async fn pause(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

/// A peer that says what it likes.
pub(crate) async fn raw(address: SocketAddr) -> (Node, Peer, Link) {
    let node = Node::builder().prefer_links(["websocket"]).build().unwrap();
    let url = format!("http://{address}/webrtc");
    let (peer, link) = soon("link", node.connect(&url)).await.unwrap();
    (node, peer, link)
}

pub(crate) fn publish(id: u32, doc_id: DocId, writer: u8) -> Publish {
    let writer = WriterId([writer; 16]);
    Publish::new(PublishFields { id, doc_id, writer, presence: false })
}

pub(crate) fn subscribe(id: u32, doc_id: DocId, presence: bool) -> Subscribe {
    let (start, policy) = (Start::Oldest, SlowPolicy::Block);
    Subscribe::new(SubscribeFields { id, doc_id, start, policy, presence })
}
