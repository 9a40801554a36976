use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Why a transport could not be had, or ended: what kind of failure it was and whose fault, in words that
/// fit every transport. The text, and [`downcast_ref`](Self::downcast_ref), have the details.
///
/// Two are equal when kind, fault and text are.
#[derive(Clone, Debug)]
pub struct TransportError {
    kind: TransportErrorKind,
    fault: Fault,
    keeps_channels: bool,
    source: Arc<dyn Error + Send + Sync>,
}

/// What kind of failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransportErrorKind {
    /// What the two sides said to set the transport up does not fit: malformed, or not supported.
    SetUp,
    /// There is no way to the peer.
    NotReached,
    /// The peer is not the one that it should be.
    Identity,
    /// The peer does not let this side in, or has no room.
    Refused,
    /// The peer broke the rules of the transport.
    Protocol,
    /// The transport cannot do what the session was configured for.
    Unsupported,
    /// The transport failed.
    Failed,
    /// The transport's code panicked; this link ended, and no other. The log says where.
    Panicked,
}

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The peer's: it sent what no honest peer does.
    Peer,
    /// This side's: its configuration, or the code under the link.
    Local,
    /// Not known, such as that of a network between the two.
    Unknown,
}

impl TransportError {
    /// An error of this kind, and its details.
    #[must_use]
    pub fn new(
        kind: TransportErrorKind,
        fault: Fault,
        details: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self { kind, fault, keeps_channels: false, source: Arc::from(details.into()) }
    }

    /// The same, of a transport whose channels still carry what is written: the peer can be told why its
    /// link ends.
    #[must_use]
    pub fn with_channels_kept(mut self) -> Self {
        self.keeps_channels = true;
        self
    }

    /// What kind of failure it was.
    #[must_use]
    pub fn kind(&self) -> TransportErrorKind {
        self.kind
    }

    /// Whose fault it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        self.fault
    }

    /// Whether the peer broke a rule and the channels are still there: say why, then
    /// [`close`](crate::MessageTransport::close). Nothing more of what it says is heard.
    #[must_use]
    pub fn keeps_channels(&self) -> bool {
        self.keeps_channels
    }

    /// The details, if they are of this type: that of the transport.
    #[must_use]
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.source.downcast_ref()
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl Error for TransportError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.source()
    }
}

impl PartialEq for TransportError {
    fn eq(&self, other: &Self) -> bool {
        (self.kind, self.fault) == (other.kind, other.fault)
            && self.to_string() == other.to_string()
    }
}

impl Eq for TransportError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_found_by_type_and_errors_compared_by_what_they_say() {
        let error = |text: &str| {
            TransportError::new(
                TransportErrorKind::Failed,
                Fault::Local,
                std::io::Error::other(text),
            )
        };
        assert!(error("a").downcast_ref::<std::io::Error>().is_some());
        assert!(error("a").downcast_ref::<std::fmt::Error>().is_none());
        assert_eq!(error("a"), error("a"));
        assert_ne!(error("a"), error("b"));
        assert_eq!(error("a").to_string(), "a");
        assert!(!error("a").keeps_channels() && error("a").with_channels_kept().keeps_channels());
    }
}
