//! Questions to STUN servers that go by a driver's own socket, so that the answers are about it.

use std::net::SocketAddr;

use deltawire_link::{Datagram, Transmit};
use deltawire_turn::{Transaction, binding_request, read_binding};
use tokio::sync::mpsc;

/// Questions of one socket's that may be open; beyond, the oldest is forgotten.
pub const MAX_PROBES: usize = 256;

/// A question to a server.
pub(crate) struct Probe {
    pub(super) server: SocketAddr,
    /// The socket's address, as peers know it.
    pub(super) base: SocketAddr,
    pub(super) transaction: Transaction,
    /// How the server sees it. Who asked is gone once this is closed.
    pub(super) found: mpsc::Sender<SocketAddr>,
}

/// The open questions of a socket.
#[derive(Default)]
pub(crate) struct Probes {
    open: Vec<Probe>,
}

impl Probes {
    /// Asks; gives what is to be sent.
    pub(crate) fn ask(&mut self, probe: Probe) -> Transmit {
        self.open.retain(|open| !open.found.is_closed());
        if self.open.len() == MAX_PROBES {
            self.open.remove(0);
        }
        let bytes = binding_request(probe.transaction);
        let (source, destination) = (probe.base, probe.server);
        self.open.push(probe);
        Transmit { source, destination, bytes, segment: None }
    }

    /// Whether a datagram answered a question.
    pub(crate) fn take(&mut self, datagram: &Datagram<'_>) -> bool {
        if self.open.is_empty() || !datagram.bytes.starts_with(&[1, 1]) {
            return false;
        }
        let Some((transaction, address)) = read_binding(datagram.bytes) else { return false };
        let answered =
            |open: &Probe| open.transaction == transaction && open.server == datagram.source;
        let Some(at) = self.open.iter().position(answered) else { return false };
        let _ = self.open.swap_remove(at).found.try_send(address);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn answer(transaction: Transaction) -> Vec<u8> {
        let mut answer = vec![1, 1, 0, 12, 0x21, 0x12, 0xa4, 0x42];
        answer.extend(transaction);
        // 192.0.2.1:32853, hidden.
        answer.extend([0, 0x20, 0, 8, 0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43]);
        answer
    }

    #[test]
    fn only_the_server_that_was_asked_answers() {
        let (found, mut told) = mpsc::channel(1);
        let mut probes = Probes::default();
        let probe = Probe { server: address(1), base: address(2), transaction: [7; 12], found };
        let transmit = probes.ask(probe);
        assert_eq!((transmit.source, transmit.destination), (address(2), address(1)));
        for (port, transaction, answered) in
            [(3, [7; 12], false), (1, [8; 12], false), (1, [7; 12], true), (1, [7; 12], false)]
        {
            let bytes = &answer(transaction);
            let datagram = Datagram { source: address(port), destination: address(2), bytes };
            assert_eq!(probes.take(&datagram), answered);
        }
        assert_eq!(told.try_recv(), Ok("192.0.2.1:32853".parse().unwrap()));
    }

    #[test]
    fn what_nobody_waits_for_is_forgotten() {
        let mut probes = Probes::default();
        let (kept, _told) = mpsc::channel(1);
        for number in 0..2 * MAX_PROBES {
            let found = if number % 2 == 0 { mpsc::channel(1).0 } else { kept.clone() };
            let (server, base) = (address(1), address(2));
            probes.ask(Probe { server, base, transaction: [0; 12], found });
        }
        assert!(probes.open.len() <= MAX_PROBES);
        drop(_told);
        probes.ask(Probe {
            server: address(1),
            base: address(2),
            transaction: [0; 12],
            found: mpsc::channel(1).0,
        });
        assert_eq!(probes.open.len(), 1);
    }
}
