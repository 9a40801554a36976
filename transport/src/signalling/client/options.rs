use core::time::Duration;

use crate::signalling::Token;

/// How a node, or a `SignallingClient`, signals.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// What the server asks for, if it does. Goes to no other origin than the one asked. Default:
    /// none.
    pub token: Option<Token>,
    /// How long a request may take, with its answer and redirects. Default: 10 s.
    pub timeout: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self { token: None, timeout: Duration::from_secs(10) }
    }
}
