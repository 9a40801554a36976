use core::time::Duration;

use crate::Token;

/// How a node, or a `SignallingClient`, signals.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// What the server asks for, if it does. Goes to no other host than the one asked. Default:
    /// none.
    pub token: Option<Token>,
    /// How long a request may take, with its answer and redirects. Default: 10 s.
    pub timeout: Duration,
    /// How long a node's `connect` goes on asking a server that refuses with a `Retry-After`, for
    /// lack of room. Zero: it asks once. Default: 10 s.
    pub patience: Duration,
    /// Certificates that are trusted besides the system's, for https: PEM, one after another, such
    /// as that of a certificate authority of your own. Default: none.
    #[cfg(not(target_arch = "wasm32"))]
    pub root_certificates: Option<String>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            token: None,
            timeout: Duration::from_secs(10),
            patience: Duration::from_secs(10),
            #[cfg(not(target_arch = "wasm32"))]
            root_certificates: None,
        }
    }
}
