//! What all that runs over UDP sockets has in common.

#[cfg(any(feature = "quic", feature = "sctp"))]
pub(crate) mod driver;
pub(crate) mod socket;
pub(crate) mod timers;

use std::net::{IpAddr, SocketAddr};

pub(crate) use self::socket::{Inbox, Socket};

/// `NodeBuilder::socket_buffer` by default, bytes.
#[allow(unreachable_pub, reason = "a test of the limits' documentation reads it")]
pub const SOCKET_BUFFER: usize = 4 << 20;

/// Requests that may wait for a driver.
#[allow(unreachable_pub, reason = "a test of the limits' documentation reads it")]
pub const REQUESTS: usize = 64;

/// What a builder is told of sockets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) bind: Option<IpAddr>,
    pub(crate) socket_buffer: Option<usize>,
}

impl Options {
    pub(crate) fn buffer(&self) -> usize {
        self.socket_buffer.unwrap_or(SOCKET_BUFFER)
    }
}
