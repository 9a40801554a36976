//! What is more over datagrams.

use std::time::Duration;

use super::Connection;
use crate::{Datagram, DatagramTransport};

/// Datagrams that a transport takes in before it is asked what to send: its acknowledgements go
/// together.
const DATAGRAMS_BETWEEN_DRAINS: usize = 16;

impl<T: DatagramTransport> Connection<T> {
    /// Takes in a datagram. Says whether it is time to [`work`](Self::work).
    pub fn handle_datagram(&mut self, datagram: Datagram<'_>, now: Duration) -> bool {
        self.traffic.datagrams_received += 1;
        self.traffic.bytes_received += datagram.bytes.len() as u64;
        self.transport.handle_datagram(datagram, now);
        self.transport_now = now;
        self.dirty = true;
        self.fed += 1;
        self.fed >= DATAGRAMS_BETWEEN_DRAINS
    }
}
