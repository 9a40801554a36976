/// A breach of HTTP/3's or WebTransport's rules by a client: the connection ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrologueError {
    /// A stream of HTTP/3 that there is one of was opened again (RFC 9114, section 6.2).
    #[error("the {stream} stream was opened twice")]
    Twice {
        /// Which one.
        stream: &'static str,
    },
    /// A stream that must stay open was closed (RFC 9114, section 6.2.1).
    #[error("the {stream} stream was closed")]
    Closed {
        /// Which one.
        stream: &'static str,
    },
    /// A client opened a stream that only servers open, or within a session that is not there.
    #[error("a stream began with {kind:#x}, session {session}: only session 0 is there")]
    Session {
        /// The type that it began with.
        kind: u64,
        /// The session that it names; `u64::MAX` if it names none.
        session: u64,
    },
    /// A stream's number is none of those that a link has.
    #[error("stream {number} was opened where {expected} belongs")]
    Number {
        /// The byte that came.
        number: u8,
        /// The one that belongs there.
        expected: u8,
    },
    /// A frame came where it does not belong (RFC 9114, section 7).
    #[error("a frame of type {kind:#x} came on the {stream} stream, {expected}")]
    Frame {
        /// Where.
        stream: &'static str,
        /// Its type.
        kind: u64,
        /// The rule.
        expected: &'static str,
    },
    /// A frame or a capsule that is read is longer than any has to be.
    #[error("{field} of {len} bytes: at most {max} are taken")]
    TooLong {
        /// Of settings, a request or a capsule.
        field: &'static str,
        /// The length that was announced, bytes.
        len: u64,
        /// The longest that is taken, bytes.
        max: u64,
    },
    /// More came of what is passed over than an honest client sends.
    #[error(
        "{len} bytes came on the {stream} stream that say nothing: at most {max} are passed over"
    )]
    Skipped {
        /// Where.
        stream: &'static str,
        /// So many bytes.
        len: u64,
        /// The most, bytes.
        max: u64,
    },
    /// The settings cannot be read (RFC 9114, section 7.2.4).
    #[error("the settings cannot be read: {reason}")]
    Settings {
        /// Why.
        reason: String,
    },
    /// The request cannot be read, or asks for something else than a session of WebTransport.
    #[error("the request is no CONNECT for WebTransport: {reason}")]
    Request {
        /// Why.
        reason: String,
    },
}

impl PrologueError {
    /// The code with which a connection ends because of it (RFC 9114, section 8.1).
    #[must_use]
    pub fn code(&self) -> u32 {
        match self {
            Self::Twice { .. } | Self::Session { .. } | Self::Number { .. } => 0x103,
            Self::Closed { .. } => 0x104,
            Self::Frame { .. } => 0x105,
            Self::TooLong { .. } | Self::Skipped { .. } => 0x107,
            Self::Settings { .. } => 0x109,
            Self::Request { .. } => 0x10e,
        }
    }
}
