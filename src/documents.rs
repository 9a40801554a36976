//! Documents that many share: [`Documents`] reads and writes them, a hub keeps and serves them.
//!
//! ```no_run
//! use deltawire::documents::{Documents, DocumentsOptions, Item, SubscribeOptions, keep};
//! use deltawire::prelude::*;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let node = Node::builder().build()?;
//! let documents = Documents::new(node.runtime().clone(), DocumentsOptions::default());
//! let board = DocId([7; 16]);
//! let mut publisher = documents.publish(board)?;
//! let mut subscription = documents.subscribe(board, SubscribeOptions::default())?;
//!
//! let work = async {
//!     publisher.publish(b"hello").await?.received().await?;
//!     loop {
//!         match subscription.next().await? {
//!             Item::Delta { place, message } => println!("{place:?}: {message:?}"),
//!             Item::Gap(gap) => println!("{} deltas are missing: {:?}", gap.skipped, gap.why),
//!             _ => {}
//!         }
//!     }
//!     # #[allow(unreachable_code)]
//!     # Ok::<(), Box<dyn std::error::Error>>(())
//! };
//! // Connects, and connects anew whenever the link ends: the subscription goes on where it stopped.
//! tokio::select! {
//!     over = keep(&node, "http://127.0.0.1:8080/webrtc", &documents) => over?,
//!     done = work => done?,
//! }
//! # Ok(())
//! # }
//! ```

pub use deltawire_hub::*;
use deltawire_node::{Node, ReconnectEvent};

/// Keeps documents attended over links to `url`: connects, and connects anew whenever the link ends, after the waits that the
/// node's [`Backoff`](crate::Backoff) says. Ends when the node gives up, or when the documents cannot be had there at
/// all. What becomes of links the node's events tell.
///
/// Cancel safe: the documents lose no more than their link.
///
/// # Errors
/// When the other node serves no documents, or breaks a rule.
pub async fn keep(node: &Node, url: &str, documents: &Documents) -> Result<(), AttendError> {
    let mut connection = node.keep_connected(url);
    while let Some(event) = connection.next().await {
        if let ReconnectEvent::Up(peer, link) = event {
            let attended = documents.attend(&link, *peer).await;
            if let Err(error) = attended {
                link.close(crate::framing::control::CloseCode::NORMAL, "no more documents");
                return match error {
                    AttendError::Closed => Ok(()),
                    error => Err(error),
                };
            }
        }
    }
    Ok(())
}

/// Serves documents to all that connect to a node, each in a task of its own, until the node shuts down. The node has to be
/// built with [`serve_documents`](crate::NodeBuilder::serve_documents).
#[cfg(all(feature = "hub", not(target_arch = "wasm32")))]
pub async fn serve(node: &Node, hub: &Hub) {
    while let Some((peer, link)) = node.accept().await {
        let hub = hub.clone();
        node.runtime().spawn(Box::pin(async move { hub.attend(&link, peer).await }));
    }
}
