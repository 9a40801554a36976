//! How nodes offer links over WebRTC to others, whatever brings the offers.

use std::sync::Arc;
use std::time::Duration;

use deltawire_signalling::{Answered, Signaller, SignallingError};

use crate::Node;
use crate::patience::patiently;

/// Whom a node signals with, if it has somebody.
#[derive(Clone, Debug)]
pub(crate) struct WebRtcSignalling {
    pub(crate) signaller: Option<Arc<dyn Signaller>>,
    pub(crate) patience: Duration,
}

impl WebRtcSignalling {
    pub(crate) fn schemes(&self) -> &[&str] {
        self.signaller.as_ref().map_or(&[], |signaller| signaller.schemes())
    }

    /// Where offers go: the address that was asked, or another that it names.
    pub(crate) fn address(asked: &str, offered: Option<&str>) -> String {
        offered.unwrap_or(asked).to_owned()
    }

    /// Who takes offers in a room.
    pub(crate) fn for_rooms(&self, url: &str) -> Result<Arc<dyn Signaller>, SignallingError> {
        self.signaller.clone().ok_or_else(|| nobody(url))
    }

    /// Host and port of an address.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn host(&self, url: &str) -> Result<(String, u16), SignallingError> {
        self.signaller.as_ref().ok_or_else(|| nobody(url))?.host(url)
    }

    /// Makes an offer, and makes it again while the server says that it has no room for now, unless it is
    /// to be made once.
    pub(crate) async fn offer(
        &self,
        node: &Node,
        url: &str,
        sdp: &str,
        once: bool,
    ) -> Result<Answered, SignallingError> {
        let signaller = self.signaller.as_ref().ok_or_else(|| nobody(url))?;
        let patience = if once { Duration::ZERO } else { self.patience };
        patiently(&**node.runtime(), patience, || signaller.offer(url, sdp.to_owned())).await
    }

    /// Tells the node that answered that nobody comes.
    pub(crate) async fn hang_up(&self, resource: Option<&str>) {
        if let Some((signaller, resource)) = self.signaller.as_ref().zip(resource)
            && let Err(error) = signaller.hang_up(resource).await
        {
            tracing::debug!(%error, "hanging up failed; the peer gives up by itself");
        }
    }
}

fn nobody(url: &str) -> SignallingError {
    let reason = "this node has nobody to signal with: see the feature signalling-client";
    SignallingError::Url { url: url.to_owned(), reason: reason.to_owned() }
}
