//! Where a peer's connectivity checks come from.
//!
//! ICE keeps each address from which a check came that proved itself, for as long as the link lives,
//! and its work for a check grows with how many there are. So only so many are let in.

use std::net::SocketAddr;

/// Addresses from which a peer's checks may come, over the life of its link. Those from others are
/// dropped, so a link ends when its peer has moved more often.
pub const MAX_SOURCES: usize = 64;

const REQUEST: [u8; 2] = [0, 1];
const SUCCESS: [u8; 2] = [1, 1];

/// The addresses of one link's peer.
#[derive(Debug, Default)]
pub(super) struct Sources {
    known: Vec<SocketAddr>,
}

impl Sources {
    /// Whether a datagram may go on to the stack.
    #[inline]
    pub(super) fn admit(&self, source: SocketAddr, datagram: &[u8]) -> bool {
        self.known.len() < MAX_SOURCES
            || !datagram.starts_with(&REQUEST)
            || self.known.contains(&source)
    }

    /// Notes a datagram that the stack sends: it answers only checks that prove themselves.
    #[inline]
    pub(super) fn sent(&mut self, destination: SocketAddr, datagram: &[u8]) {
        if datagram.starts_with(&SUCCESS)
            && self.known.len() < MAX_SOURCES
            && !self.known.contains(&destination)
        {
            self.known.push(destination);
        }
    }
}
