use deltawire_link::{Fault, TransportError, TransportErrorKind};
use deltawire_sctp::Violation;
use deltawire_sdp::DescriptionError;

/// Why an engine could not be made, or ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The peer's session description cannot be used.
    #[error(transparent)]
    Description(#[from] DescriptionError),
    /// An answer came, and there is no offer that waits for it.
    #[error("an answer that nobody asked for")]
    NotOffered,
    /// A candidate that cannot be read.
    #[error("malformed ICE candidate {candidate:?}: {reason}")]
    Candidate {
        /// The line.
        candidate: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The peer's certificate is not the one that its session description names.
    #[error("the peer's certificate does not have the fingerprint of its session description")]
    Fingerprint,
    /// The peer uses a stream where it must not.
    #[error("the peer used stream {stream}: {reason}")]
    Stream {
        /// The SCTP stream, when it is known.
        stream: u16,
        /// Why it must not.
        reason: &'static str,
    },
    /// The peer sends over SCTP what no honest peer does.
    #[error("the peer broke the rules of SCTP: {0}")]
    Sctp(&'static str),
    /// The stack panicked: a fault of its, which ended this link and no other. The log says where.
    #[error("the WebRTC stack panicked: {0}")]
    Panicked(String),
    /// The stack failed.
    #[error("the WebRTC stack failed: {0}")]
    Stack(String),
}

impl EngineError {
    /// Whether the peer broke a rule, and its channels are still there to tell it so.
    fn keeps_channels(&self) -> bool {
        matches!(self, Self::Stream { .. } | Self::Sctp(_))
    }
}

impl From<Violation> for EngineError {
    fn from(violation: Violation) -> Self {
        match violation {
            Violation::Stream { stream, reason } => Self::Stream { stream, reason },
            Violation::Protocol(what) => Self::Sctp(what),
            other => Self::Stack(other.to_string()),
        }
    }
}

impl From<EngineError> for TransportError {
    fn from(error: EngineError) -> Self {
        let (kind, fault) = match &error {
            EngineError::Description(_)
            | EngineError::NotOffered
            | EngineError::Candidate { .. } => (TransportErrorKind::SetUp, Fault::Peer),
            EngineError::Fingerprint => (TransportErrorKind::Identity, Fault::Peer),
            EngineError::Stream { .. } | EngineError::Sctp(_) => {
                (TransportErrorKind::Protocol, Fault::Peer)
            }
            EngineError::Panicked(_) => (TransportErrorKind::Panicked, Fault::Local),
            EngineError::Stack(_) => (TransportErrorKind::Failed, Fault::Unknown),
        };
        let keeps_channels = error.keeps_channels();
        let error = Self::new(kind, fault, error);
        if keeps_channels { error.with_channels_kept() } else { error }
    }
}
