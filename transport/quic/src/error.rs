use deltawire_link::{Fault, TransportError, TransportErrorKind};
use quinn_proto::{ConnectionError, TransportErrorCode};

use crate::{Fingerprint, MAX_TOKEN_LEN};

/// Why a link over QUIC could not be had, or ended: the details of a [`TransportError`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuicError {
    /// A stream began with a number that does not belong there.
    #[error("a stream began with {number}, and {expected} belongs there")]
    Number {
        /// What it began with.
        number: u8,
        /// What belongs there.
        expected: u8,
    },
    /// The peer opened a stream a second time.
    #[error("stream {number} was opened twice")]
    Twice {
        /// The stream's number.
        number: u8,
    },
    /// The peer opened a stream that no link has.
    #[error("the peer opened a stream beside the three that a link has")]
    Extra,
    /// The peer opened more streams that are not known than there have to be.
    #[cfg(feature = "webtransport")]
    #[error("the peer opened more than {max} streams of types that are not known")]
    Unknown {
        /// How many it may.
        max: usize,
    },
    /// A browser, or what pretends to be one, broke the rules of HTTP/3 or of WebTransport.
    #[cfg(feature = "webtransport")]
    #[error("the peer broke the rules of WebTransport: {0}")]
    Http3(#[from] deltawire_webtransport::PrologueError),
    /// A message is empty, or longer than this side takes.
    #[error("a message of {len} bytes on stream {number}: it must have 1 to {max}")]
    Length {
        /// The stream's number.
        number: u8,
        /// The length that was announced, bytes.
        len: u32,
        /// The longest that is taken, bytes.
        max: usize,
    },
    /// A token is longer than any.
    #[error("a token of {len} bytes: at most {MAX_TOKEN_LEN} are taken")]
    Token {
        /// The length that was announced, bytes.
        len: u32,
    },
    /// The peer ended a stream within a message.
    #[error("stream {number} ended with {missing} bytes of a message missing")]
    Cut {
        /// The stream's number.
        number: u8,
        /// Bytes that did not come.
        missing: usize,
    },
    /// The peer gave a stream up, or asked this side to.
    #[error("the peer gave stream {number} up, with code {code}")]
    Abandoned {
        /// The stream's number.
        number: u8,
        /// The peer's code.
        code: u64,
    },
    /// The server's certificate is none of those that are pinned.
    #[error(
        "the server's certificate has the SHA-256 {came}, which is none of the {pins} pinned: if the server is \
         the right one, pin this"
    )]
    WrongPin {
        /// The certificate's hash.
        came: Fingerprint,
        /// How many are pinned.
        pins: usize,
    },
    /// The server's certificate is of no authority that is trusted.
    #[error(
        "the server's certificate is not trusted ({why}): pin its SHA-256 {came} if the server is the right one, or \
         trust the authority that made it"
    )]
    Untrusted {
        /// The certificate's hash.
        came: Fingerprint,
        /// What is wrong with it.
        why: String,
    },
    /// The peer does not let this side in.
    #[error("the peer refused: {reason}")]
    Refused {
        /// What it says.
        reason: String,
    },
    /// The peer has no room for one more connection.
    #[error("the peer takes no more connections now")]
    Full,
    /// The peer says that this side broke the rules.
    #[error("the peer says that this side broke the rules: {reason}")]
    Accused {
        /// What it says.
        reason: String,
    },
    /// The peer closed the connection for a reason of QUIC's or of TLS's.
    #[error("the peer closed the connection: {reason}")]
    ClosedByPeer {
        /// What it says.
        reason: String,
    },
    /// The peer broke the rules of QUIC or of TLS.
    #[error("the peer broke the rules of QUIC: {reason}")]
    Protocol {
        /// What was wrong.
        reason: String,
    },
    /// The peer knows nothing of the connection: most likely its process was started anew.
    #[error("the peer knows nothing of the connection: it may have been started anew")]
    Reset,
    /// Nothing was heard of the peer for too long.
    #[error("nothing was heard of the peer for too long")]
    TimedOut,
    /// The peer speaks no version of QUIC that this side does.
    #[error("the peer does not speak version 1 of QUIC")]
    Version,
    /// QUIC's stack panicked: this link ended, and no other.
    #[error("the QUIC stack panicked, which ended this link: {message}")]
    Panicked {
        /// What it said.
        message: String,
    },
    /// This side's options cannot be used.
    #[error("{what}: {why}")]
    Options {
        /// Of what they are.
        what: &'static str,
        /// What is wrong with them.
        why: String,
    },
}

/// The longest text of a peer's that is kept, characters.
const MAX_REASON: usize = 256;

/// Text of a peer's, safe to show.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().take(MAX_REASON).flat_map(char::escape_debug).collect()
}

impl QuicError {
    /// What became of a connection; `None` if one of the two closed it in order.
    pub(crate) fn of(lost: &ConnectionError) -> Option<Self> {
        Some(match lost {
            ConnectionError::LocallyClosed => return None,
            ConnectionError::ApplicationClosed(close) => {
                let reason = shown(&close.reason);
                match u32::try_from(close.error_code.into_inner()) {
                    Ok(crate::CLOSED) => return None,
                    Ok(crate::REFUSED) => Self::Refused { reason },
                    _ => Self::Accused { reason },
                }
            }
            ConnectionError::ConnectionClosed(close)
                if close.error_code == TransportErrorCode::CONNECTION_REFUSED =>
            {
                Self::Full
            }
            ConnectionError::ConnectionClosed(close) => {
                Self::ClosedByPeer { reason: shown(close.to_string().as_bytes()) }
            }
            ConnectionError::TransportError(error)
                if error.code == TransportErrorCode::STREAM_LIMIT_ERROR =>
            {
                Self::Extra
            }
            ConnectionError::TransportError(error) => {
                Self::Protocol { reason: shown(error.to_string().as_bytes()) }
            }
            ConnectionError::Reset => Self::Reset,
            ConnectionError::TimedOut => Self::TimedOut,
            ConnectionError::VersionMismatch => Self::Version,
            ConnectionError::CidsExhausted => {
                Self::Options { what: "connection IDs", why: "none is left".to_owned() }
            }
        })
    }
}

/// What of a connection's end is HTTP/3's.
#[cfg(feature = "webtransport")]
impl QuicError {
    /// What became of a browser's connection; `None` if one of the two closed it in order.
    pub(crate) fn of_http3(lost: &ConnectionError) -> Option<Self> {
        match lost {
            // Pages that are left, and browsers that end, close connections in one of these ways.
            ConnectionError::ApplicationClosed(close)
                if close.error_code.into_inner() == u64::from(crate::http3::NO_ERROR) =>
            {
                None
            }
            ConnectionError::ConnectionClosed(close)
                if close.error_code == TransportErrorCode::NO_ERROR =>
            {
                None
            }
            ConnectionError::ApplicationClosed(close) => Some(Self::Accused {
                reason: format!("{:#x} {}", close.error_code.into_inner(), shown(&close.reason)),
            }),
            other => Self::of(other),
        }
    }
}

impl From<QuicError> for TransportError {
    fn from(error: QuicError) -> Self {
        let (kind, fault) = match &error {
            QuicError::Number { .. }
            | QuicError::Twice { .. }
            | QuicError::Extra
            | QuicError::Length { .. }
            | QuicError::Token { .. }
            | QuicError::Cut { .. }
            | QuicError::Abandoned { .. }
            | QuicError::Protocol { .. } => (TransportErrorKind::Protocol, Fault::Peer),
            #[cfg(feature = "webtransport")]
            QuicError::Unknown { .. } | QuicError::Http3(_) => {
                (TransportErrorKind::Protocol, Fault::Peer)
            }
            QuicError::WrongPin { .. } | QuicError::Untrusted { .. } => {
                (TransportErrorKind::Identity, Fault::Unknown)
            }
            QuicError::Refused { .. } => (TransportErrorKind::Refused, Fault::Local),
            QuicError::Full => (TransportErrorKind::Refused, Fault::Unknown),
            QuicError::Accused { .. } => (TransportErrorKind::Protocol, Fault::Local),
            QuicError::ClosedByPeer { .. } | QuicError::Reset => {
                (TransportErrorKind::Failed, Fault::Unknown)
            }
            QuicError::TimedOut => (TransportErrorKind::NotReached, Fault::Unknown),
            QuicError::Panicked { .. } => (TransportErrorKind::Panicked, Fault::Local),
            QuicError::Version => (TransportErrorKind::Unsupported, Fault::Unknown),
            QuicError::Options { .. } => (TransportErrorKind::SetUp, Fault::Local),
        };
        Self::new(kind, fault, error)
    }
}
