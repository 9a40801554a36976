//! Where a peer's connectivity checks come from.
//!
//! ICE keeps each address from which a check came that proved itself, for as long as the link lives,
//! and its work for a check grows with how many there are. So only so many are let in.

use std::net::SocketAddr;

use super::stun::Check;

/// Addresses from which a peer's checks may come, over the life of its link. Those from others are
/// dropped, so a link ends when its peer has moved more often.
pub const MAX_SOURCES: usize = 64;

/// The addresses of one link's peer.
#[derive(Debug, Default)]
pub(super) struct Sources {
    known: Vec<SocketAddr>,
}

impl Sources {
    /// Whether a check may go on to the stack.
    pub(super) fn admit(&self, source: SocketAddr, check: Check<'_>) -> bool {
        self.known.len() < MAX_SOURCES
            || !matches!(check, Check::Request { .. })
            || self.known.contains(&source)
    }

    /// Notes a check that the stack sends: it answers only those that prove themselves.
    pub(super) fn sent(&mut self, destination: SocketAddr, check: Check<'_>) {
        if matches!(check, Check::Success { .. })
            && self.known.len() < MAX_SOURCES
            && !self.known.contains(&destination)
        {
            self.known.push(destination);
        }
    }
}
