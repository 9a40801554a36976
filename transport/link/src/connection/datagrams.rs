//! What is more over datagrams.

use std::time::Duration;

use super::Connection;
use crate::{Datagram, DatagramTransport, MessageTransport};

/// Datagrams that a transport takes in before it is asked what to send: its acknowledgements go
/// together.
const DATAGRAMS_BETWEEN_DRAINS: usize = 16;

impl<T: DatagramTransport> Connection<T> {
    /// Takes in a datagram. Says whether it is time to [`work`](Self::work).
    pub fn handle_datagram(&mut self, datagram: Datagram<'_>, now: Duration) -> bool {
        self.transport.handle_datagram(datagram, now);
        self.note_datagram(datagram.bytes.len(), now)
    }
}

impl<T: MessageTransport> Connection<T> {
    /// Notes that the [transport](Self::transport_mut) was given a datagram of so many bytes, where something
    /// that links share reads them first. Says whether it is time to [`work`](Self::work).
    pub fn note_datagram(&mut self, len: usize, now: Duration) -> bool {
        self.traffic.datagrams_received += 1;
        self.traffic.bytes_received += len as u64;
        self.transport_now = now;
        self.dirty = true;
        self.fed += 1;
        self.fed >= DATAGRAMS_BETWEEN_DRAINS
    }
}
