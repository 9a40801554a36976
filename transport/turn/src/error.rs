/// Why a server gave no address, or takes it back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TurnError {
    /// It does not take the name and the password.
    #[error(
        "the server does not take the username or the credential ({code} {reason}): check them, and whether they have expired"
    )]
    Credentials {
        /// What it said (RFC 8489, section 14.8): 401, or another.
        code: u16,
        /// The same in words: at most 64 characters.
        reason: String,
    },
    /// It asks for a name and a password, and none are known.
    #[error("the server asks for credentials: set IceServer::username and credential")]
    NoCredentials,
    /// It says no.
    #[error("the server refuses: {code} {reason}")]
    Refused {
        /// What it said (RFC 8656, section 19).
        code: u16,
        /// The same in words: at most 64 characters.
        reason: String,
    },
    /// It says nothing.
    #[error("the server does not answer")]
    Silent,
    /// It says what no server should.
    #[error("the server breaks the rules of TURN: {0}")]
    Broken(&'static str),
}

impl TurnError {
    /// Whether the same may be had a little later.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Silent => true,
            Self::Refused { code, .. } => *code >= 500,
            Self::Credentials { .. } | Self::NoCredentials | Self::Broken(_) => false,
        }
    }
}
