use std::fmt;

use deltawire_link::runtime::{BoxFuture, MaybeSync};

use super::SignallingError;
use crate::OfferedLinks;

/// Brings offers to other nodes, and their answers back: what a node signals with. `SignallingClient` does by
/// HTTP; who has another way, such as a message queue, implements this and gives it to
/// `NodeBuilder::signaller`.
pub trait Signaller: fmt::Debug + MaybeSync + 'static {
    /// The schemes of the addresses that it knows. Default: `http` and `https`.
    fn schemes(&self) -> &[&str] {
        &["http", "https"]
    }

    /// Brings an offer to the node at this address.
    fn offer<'a>(
        &'a self,
        url: &'a str,
        sdp: String,
    ) -> BoxFuture<'a, Result<Answered, SignallingError>>;

    /// Asks the node at this address what kinds of links it offers. Default: WebRTC, by [`offer`](Self::offer).
    fn links<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<OfferedLinks, SignallingError>> {
        let _ = url;
        Box::pin(std::future::ready(Ok(OfferedLinks::webrtc())))
    }

    /// Takes the next offer that was made in the room at this address; `None` if none came for now, which it waits for.
    /// Default: it knows of no rooms.
    fn take_offer<'a>(
        &'a self,
        room: &'a str,
    ) -> BoxFuture<'a, Result<Option<TakenOffer>, SignallingError>> {
        Box::pin(std::future::ready(Err(no_rooms(room))))
    }

    /// Brings the answer to an offer that was taken. To refuse it, hang up. Default: it knows of no rooms.
    fn answer<'a>(
        &'a self,
        resource: &'a str,
        sdp: String,
    ) -> BoxFuture<'a, Result<(), SignallingError>> {
        let _ = sdp;
        Box::pin(std::future::ready(Err(no_rooms(resource))))
    }

    /// Ends what an offer made, which was answered with this resource, or refuses an offer that was taken.
    fn hang_up<'a>(&'a self, resource: &'a str) -> BoxFuture<'a, Result<(), SignallingError>>;

    /// The host, by name or number, and the port that an address leads to: links to it start from the
    /// address from which the system reaches it.
    ///
    /// # Errors
    ///
    /// [`SignallingError::Url`] when nobody can be asked there.
    fn host(&self, url: &str) -> Result<(String, u16), SignallingError>;
}

fn no_rooms(url: &str) -> SignallingError {
    let reason = "who signals for this node takes no offers there: see Signaller::take_offer";
    SignallingError::Url { url: url.to_owned(), reason: reason.to_owned() }
}

/// An offer that was taken in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenOffer {
    /// The offer.
    pub sdp: String,
    /// Where its answer goes, and where to refuse it.
    pub resource: String,
}

/// What an offer was answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The answer.
    pub sdp: String,
    /// Where candidates go, and where to hang up; `None` if the other side named no such place.
    pub resource: Option<String>,
}
