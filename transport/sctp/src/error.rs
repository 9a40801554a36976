#[cfg(feature = "links")]
use deltawire_link::{Fault, TransportError, TransportErrorKind};

/// What a peer did over SCTP that no honest one does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// It used a stream where it must not.
    #[error("the peer used stream {stream}: {reason}")]
    Stream {
        /// The stream.
        stream: u16,
        /// Why it must not.
        reason: &'static str,
    },
    /// It broke a rule of the protocol.
    #[error("the peer broke the rules of SCTP: {0}")]
    Protocol(&'static str),
}

/// Why a link over SCTP could not be had, or ended: the details of a [`TransportError`].
#[cfg(feature = "links")]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SctpError {
    /// The peer sent what no honest one does.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// The peer does not speak this protocol.
    #[error("the peer began with {began:?}, not with \"deltawire.1\"")]
    Foreign {
        /// What it began with.
        began: String,
    },
    /// A token is longer than any.
    #[error("a token of {len} bytes: at most {max} are taken", max = crate::MAX_TOKEN_LEN)]
    Token {
        /// Its length, bytes.
        len: usize,
    },
    /// The peer does not let this side in.
    #[error("the peer refused: {reason}")]
    Refused {
        /// What it says.
        reason: String,
    },
    /// The stack panicked: a fault of its, which ended this link and no other. The log says where.
    #[error("the SCTP stack panicked: {0}")]
    Panicked(String),
    /// The stack failed.
    #[error("the SCTP stack failed: {0}")]
    Stack(String),
}

#[cfg(feature = "links")]
impl From<SctpError> for TransportError {
    fn from(error: SctpError) -> Self {
        let (kind, fault) = match &error {
            SctpError::Violation(_) | SctpError::Foreign { .. } => {
                (TransportErrorKind::Protocol, Fault::Peer)
            }
            SctpError::Token { .. } => (TransportErrorKind::SetUp, Fault::Local),
            SctpError::Refused { .. } => (TransportErrorKind::Refused, Fault::Local),
            SctpError::Panicked(_) => (TransportErrorKind::Panicked, Fault::Local),
            SctpError::Stack(_) => (TransportErrorKind::Failed, Fault::Unknown),
        };
        let keeps_channels = matches!(error, SctpError::Violation(_));
        let error = Self::new(kind, fault, error);
        if keeps_channels { error.with_channels_kept() } else { error }
    }
}
