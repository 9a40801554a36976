//! Documents over links: each subscriber and each publisher has a link of its own to the hub's process.
//!
//! Defaults on both ends, but for limits of how many peers come from one address. Deltas carry a CRC-32C, as is the default. What is not
//! acknowledged is bounded by 1 MiB.

use anyhow::{Context, bail, ensure};
use deltawire::documents::{
    Documents, DocumentsOptions, Item, Publisher, SubscribeOptions, Subscription,
};
use deltawire::prelude::*;
use tokio::task::JoinSet;

use crate::flow::{LEN, Publish, Subscribe};
use crate::role::many_peers;
use crate::server::Server;
use crate::stamp::Stamp;

pub(crate) const DOC: DocId = DocId([7; 16]);

/// Links that are opened at a time.
const AT_A_TIME: usize = 16;

/// What carries links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    WebSocket,
    Tcp,
    Quic,
    WebRtc,
}

impl Kind {
    /// A node that connects, for any number of links.
    pub(crate) fn node(self) -> anyhow::Result<Node> {
        let builder = Node::builder().node_limits(many_peers());
        Ok(match self {
            Self::WebSocket => builder.prefer_links(["websocket"]),
            Self::WebRtc => builder.prefer_links(["webrtc"]),
            Self::Tcp | Self::Quic => builder,
        }
        .build()?)
    }

    /// Where a hub's process is reached.
    pub(crate) fn url(self, server: &Server) -> anyhow::Result<String> {
        let name = match self {
            Self::WebSocket | Self::WebRtc => "http",
            Self::Tcp => "tcp",
            Self::Quic => "quic",
        };
        server.said(name).map(str::to_owned)
    }
}

/// Documents over a link.
pub(crate) async fn connect(node: &Node, url: &str) -> anyhow::Result<Documents> {
    let (peer, link) = node.connect(url).await?;
    Ok(attended(node, peer, link))
}

fn attended(node: &Node, peer: Peer, link: Link) -> Documents {
    let documents = Documents::new(node.runtime().clone(), DocumentsOptions::default());
    let attending = documents.clone();
    tokio::spawn(async move {
        // Whoever reads and writes is told how it ended.
        let _ = attending.attend(&link, peer).await;
    });
    documents
}

/// Opens so many links, some at a time.
pub(crate) async fn connect_all(
    node: &Node,
    url: &str,
    count: usize,
) -> anyhow::Result<Vec<(Peer, Link)>> {
    let (mut connecting, mut links) = (JoinSet::new(), Vec::new());
    for _ in 0..count {
        if connecting.len() >= AT_A_TIME {
            links.extend(connecting.join_next().await.transpose()?.transpose()?);
        }
        let (node, url) = (node.clone(), url.to_owned());
        connecting.spawn(async move { node.connect(&url).await });
    }
    while let Some(connected) = connecting.join_next().await {
        links.push(connected??);
    }
    Ok(links)
}

/// A publisher and so many subscribers of one document of the hub.
pub(crate) async fn ends(
    kind: Kind,
    server: &Server,
    subscribers: usize,
) -> anyhow::Result<(LinkedPublisher, Vec<LinkedSubscriber>)> {
    let (node, url) = (kind.node()?, kind.url(server)?);
    let documents = connect(&node, &url).await?;
    let publisher = LinkedPublisher::new(&documents, DOC)?;
    let links = connect_all(&node, &url, subscribers).await?;
    let subscribers = links
        .into_iter()
        .map(|(peer, link)| LinkedSubscriber::new(attended(&node, peer, link), DOC, LEN));
    Ok((publisher, subscribers.collect::<anyhow::Result<_>>()?))
}

/// Publishes over a link.
pub(crate) struct LinkedPublisher {
    publisher: Publisher,
    _documents: Documents,
}

impl LinkedPublisher {
    pub(crate) fn new(documents: &Documents, doc_id: DocId) -> anyhow::Result<Self> {
        Ok(Self { publisher: documents.publish(doc_id)?, _documents: documents.clone() })
    }
}

impl Publish for LinkedPublisher {
    async fn publish(&mut self, payload: &[u8]) -> anyhow::Result<()> {
        self.publisher.publish(payload).await?;
        Ok(())
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        // It has been sent already, or is as soon as the link takes it.
        Ok(())
    }
}

/// Reads a document over a link.
pub(crate) struct LinkedSubscriber {
    subscription: Subscription,
    documents: Documents,
    len: usize,
}

impl LinkedSubscriber {
    pub(crate) fn new(documents: Documents, doc_id: DocId, len: usize) -> anyhow::Result<Self> {
        let subscription = documents.subscribe(doc_id, SubscribeOptions::default())?;
        Ok(Self { subscription, documents, len })
    }
}

impl Subscribe for LinkedSubscriber {
    async fn next(&mut self) -> anyhow::Result<Stamp> {
        next(&mut self.subscription, self.len).await
    }
}

impl Drop for LinkedSubscriber {
    fn drop(&mut self) {
        self.documents.close();
    }
}

/// The next delta of a document of which nothing is missing.
pub(crate) async fn next(subscription: &mut Subscription, len: usize) -> anyhow::Result<Stamp> {
    loop {
        match subscription.next().await? {
            Item::Delta { place, message } => {
                let stamp = Stamp::read(message.delta()?.payload(), len)?;
                let position = place.position;
                ensure!(
                    position == stamp.number + 1,
                    "number {} has position {position}",
                    stamp.number
                );
                return Ok(stamp);
            }
            Item::Gap(gap) => bail!("a gap: {gap:?}"),
            _ => {}
        }
    }
}

/// Reads deltas that somebody sends over a link without a hub.
pub(crate) struct PlainReceiver {
    peer: Peer,
    _link: Link,
}

impl PlainReceiver {
    pub(crate) fn new((peer, link): (Peer, Link)) -> Self {
        Self { peer, _link: link }
    }

    pub(crate) async fn next(&mut self) -> anyhow::Result<Stamp> {
        let frame = self.peer.receive.next().await.context("the sender is gone")?;
        Stamp::read(frame.delta()?.payload(), LEN)
    }
}
