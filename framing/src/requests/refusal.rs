use core::fmt;

/// Longest reason of a refusal, bytes of UTF-8.
pub const MAX_REFUSAL_REASON: usize = 256;

/// Why a request is not answered, or a stream not taken. Numbers that are not known are kept; those from
/// [`APPLICATION`](Self::APPLICATION) on are the application's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RefusalCode(pub u16);

impl RefusalCode {
    /// Nobody answers requests, or takes streams, at the other end.
    pub const NOT_SERVED: Self = Self(1);
    /// There are as many as there may be at a time.
    pub const TOO_MANY: Self = Self(2);
    /// It is longer than the other side takes.
    pub const TOO_LONG: Self = Self(3);
    /// Whoever had it dropped it without an answer.
    pub const ABANDONED: Self = Self(4);
    /// The reader of a stream wants no more of it.
    pub const CANCELLED: Self = Self(5);
    /// The other side takes no new ones, because it is going away.
    pub const GOING_AWAY: Self = Self(6);
    /// The first of the application's own.
    pub const APPLICATION: Self = Self(256);

    /// What it says, for people.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::NOT_SERVED => "nobody answers that at the other end",
            Self::TOO_MANY => "there are as many as there may be at a time",
            Self::TOO_LONG => "it is longer than the other side takes",
            Self::ABANDONED => "it was dropped without an answer",
            Self::CANCELLED => "its reader wants no more of it",
            Self::GOING_AWAY => "the other side is going away",
            Self(256..) => "the application refused it",
            Self(_) => "for a reason that this version does not know",
        }
    }
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (code {})", self.text(), self.0)
    }
}
