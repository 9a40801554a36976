//! How the program ends when it does not do what it was asked for.

/// Why the program did not do what it was asked for. Its exit code is part of what it promises.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum End {
    /// A file was not sent, received or read: 1.
    #[error("{0}")]
    Failed(String),
    /// It could not start: an address is taken, a folder is not there: 3.
    #[error("{0}")]
    NotStarted(String),
    /// The other side was not reached: 4.
    #[error("{0}")]
    NotReached(String),
    /// The other side refused: 5.
    #[error("{0}")]
    Refused(String),
    /// Ctrl+C: 130.
    #[error("interrupted: what came is kept for the next time")]
    Interrupted,
}

impl End {
    /// The exit code. 0 is everything done, 2 wrong arguments.
    #[must_use]
    pub(crate) const fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::NotStarted(_) => 3,
            Self::NotReached(_) => 4,
            Self::Refused(_) => 5,
            Self::Interrupted => 130,
        }
    }
}
