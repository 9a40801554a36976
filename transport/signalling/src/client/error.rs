use core::error::Error;
use core::time::Duration;

use crate::{DEFAULT_PATH, Problem, SdpFragmentError, excerpt};

/// Why signalling failed, and what helps.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignallingError {
    /// The address cannot be asked. Nothing was sent.
    #[error("the address \"{}\" cannot be used: {reason}", excerpt(.url))]
    Url {
        /// The address, without what stands before an @: that may be a password.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No connection could be made. Nothing was sent.
    #[error("{url} cannot be reached: check the address, and that its server runs")]
    Unreachable {
        /// The address.
        url: String,
        /// The reason.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The server's certificate is not trusted. Nothing was sent.
    #[error(
        "the certificate of {url} is not trusted ({reason}): check the address; if it is your own \
         server, give the certificate of its authority (ClientOptions::root_certificates)"
    )]
    Untrusted {
        /// The address.
        url: String,
        /// What is wrong with the certificate.
        reason: String,
    },
    /// The connection broke, or what came is not HTTP. The server may have taken the request.
    #[error("the exchange with {url} broke off: check that it is a web server's, and try again")]
    Broken {
        /// The address.
        url: String,
        /// The reason.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The answer took too long. The server may have taken the request.
    #[error("{url} did not answer within {after:?}: try again, or allow more time")]
    TimedOut {
        /// The address.
        url: String,
        /// How long was waited: [`ClientOptions::timeout`](super::ClientOptions::timeout).
        after: Duration,
    },
    /// The server refused. 401: check the token. 404 of a resource: its peer is gone, offer anew;
    /// of an offer: check the path, `/webrtc` if the server was not told another.
    #[error(
        "{url} refused with status {status}{}{}",
        detail(*.status, .problem.as_deref()),
        wait(*.retry_after)
    )]
    Refused {
        /// The address.
        url: String,
        /// The status of the answer.
        status: u16,
        /// What the server says of it, if it does.
        problem: Option<Box<Problem>>,
        /// How long the server asks to wait before the next try.
        retry_after: Option<Duration>,
    },
    /// What came is no answer of signalling: the address is probably another service's.
    #[error("not an answer: {field} is \"{}\", {expected}; check the address", excerpt(.value))]
    NotAnAnswer {
        /// What breaks a rule: `status`, a header's name, `body`, or `redirects`.
        field: &'static str,
        /// What was found there; its first 64 characters are shown.
        value: String,
        /// The rule.
        expected: &'static str,
    },
    /// The server sends to another origin, where the token must not go, or from https to http.
    #[error("{from} sends to {to}: if that is trusted, use it as the address")]
    Redirected {
        /// The address that was asked.
        from: String,
        /// Where it sends.
        to: String,
    },
    /// The answer is longer than is taken.
    #[error("the answer of {url} is longer than {limit} bytes: check the address")]
    TooLong {
        /// The address.
        url: String,
        /// How many bytes are taken.
        limit: usize,
    },
    /// The candidates cannot be sent. Nothing was.
    #[error(transparent)]
    SdpFragment(#[from] SdpFragmentError),
    /// The client could not be made, for lack of the system's certificates perhaps.
    #[error("the client could not be made")]
    Client {
        /// The reason.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl SignallingError {
    /// Whether a server that takes offers only does not understand what it is asked.
    #[cfg(feature = "client")]
    pub(super) fn is_not_understood(&self) -> bool {
        matches!(self, Self::Refused { status: 400 | 404 | 405 | 406 | 415 | 422, .. })
    }

    /// How long the server asks to wait before the next try, if it refused for now and says so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { status: 429 | 503, retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

fn detail(status: u16, problem: Option<&Problem>) -> String {
    match problem {
        Some(problem) => format!(": {problem}"),
        None if status == 404 => {
            format!(": nothing is there; check the path, {DEFAULT_PATH} by default, and the port")
        }
        None => String::new(),
    }
}

fn wait(retry_after: Option<Duration>) -> String {
    retry_after.map_or_else(String::new, |wait| format!(" (try again in {wait:?})"))
}
