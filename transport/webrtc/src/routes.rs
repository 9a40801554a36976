//! Routes datagrams to connections by address, and by ICE user fragment where the address is new.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use crate::stun::Check;

/// Addresses from which a peer may send at a time. More, and the oldest is forgotten: its next
/// connectivity check brings it back.
pub const ADDRESSES_PER_PEER: usize = 8;

/// Connections' keys by the peer's address, and for connectivity checks from new addresses by the
/// ICE user fragment.
#[derive(Debug, Default)]
pub struct Routes {
    by_address: HashMap<SocketAddr, usize>,
    by_user_fragment: HashMap<String, usize>,
    /// Whether no connection takes another's address.
    fixed: bool,
}

/// What a connection remembers of where its peer is.
#[derive(Debug, Default)]
pub struct KnownAddresses {
    addresses: Vec<SocketAddr>,
    user_fragment: String,
    /// For addresses from which datagrams came to one of this host's that peers do not know: which. The
    /// latest stand last.
    reached: Vec<(SocketAddr, IpAddr)>,
}

impl KnownAddresses {
    /// Notes where a datagram came from, and to which of this host's addresses if peers do not know it.
    #[inline]
    pub fn note_reached(&mut self, source: SocketAddr, reached: Option<IpAddr>) {
        if self.reached.is_empty() && reached.is_none() {
            return;
        }
        if self.reached.last().is_some_and(|(from, to)| *from == source && Some(*to) == reached) {
            return;
        }
        self.reached.retain(|(from, _)| *from != source);
        if let Some(reached) = reached {
            if self.reached.len() == ADDRESSES_PER_PEER {
                self.reached.remove(0);
            }
            self.reached.push((source, reached));
        }
    }

    /// From which of this host's addresses datagrams have to go to this address of the peer's, if peers do
    /// not know it.
    #[inline]
    pub fn reached_from(&self, destination: SocketAddr) -> Option<IpAddr> {
        let found = self.reached.iter().find(|(from, _)| *from == destination);
        found.map(|(_, reached)| *reached)
    }
}

impl Routes {
    /// For links that this side started, of which no two lead to the same address: there nobody takes
    /// another's, as a forged check may ask for. Servers do not check by themselves, so that it would not
    /// come back.
    #[must_use]
    pub fn of_initiators() -> Self {
        Self { fixed: true, ..Self::default() }
    }

    /// What is known of where a new connection's peer is: nothing yet but its user fragment.
    pub fn add(&mut self, key: usize, user_fragment: &str) -> KnownAddresses {
        self.by_user_fragment.insert(user_fragment.to_owned(), key);
        KnownAddresses { user_fragment: user_fragment.to_owned(), ..KnownAddresses::default() }
    }

    /// Forgets a connection.
    pub fn remove(&mut self, key: usize, known: &KnownAddresses) {
        if self.by_user_fragment.get(&known.user_fragment) == Some(&key) {
            self.by_user_fragment.remove(&known.user_fragment);
        }
        for address in &known.addresses {
            if self.by_address.get(address) == Some(&key) {
                self.by_address.remove(address);
            }
        }
    }

    /// Notes where an engine sends this datagram. It answers only who has shown that it knows the
    /// connection's password, so that is where its peer is, or was when it sent its check: only such
    /// an answer takes an address from another connection. An engine's own checks go to whatever
    /// addresses an offer names.
    #[inline]
    pub fn learn(
        &mut self,
        key: usize,
        known: &mut KnownAddresses,
        address: SocketAddr,
        datagram: &[u8],
    ) {
        // A peer with a forged source may have taken the address: an answer takes it back.
        let is_answer = matches!(Check::read(datagram), Some(Check::Success { .. }));
        if !is_answer && known.addresses.last() == Some(&address) {
            return;
        }
        let is_anothers = |other: &usize| *other != key;
        let may_take = is_answer && !self.fixed;
        if !may_take && self.by_address.get(&address).is_some_and(is_anothers) {
            return;
        }
        if let Some(index) = known.addresses.iter().position(|other| *other == address) {
            known.addresses.remove(index);
        } else if known.addresses.len() == ADDRESSES_PER_PEER {
            let oldest = known.addresses.remove(0);
            if self.by_address.get(&oldest) == Some(&key) {
                self.by_address.remove(&oldest);
            }
        }
        known.addresses.push(address);
        self.by_address.insert(address, key);
    }

    /// Whose a datagram is; `None` when it is nobody's.
    #[inline]
    pub fn find(&self, source: SocketAddr, datagram: &[u8]) -> Option<usize> {
        // A new connection may come from an old one's address: checks name theirs.
        if let Some(user_fragment) = Check::read(datagram).and_then(|it| it.user_fragment()) {
            return self.by_user_fragment.get(user_fragment).copied();
        }
        self.by_address.get(&source).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::stun::request;

    fn check(username: &[u8]) -> Vec<u8> {
        request(9, username)
    }

    /// To a check that proved itself.
    fn answer() -> Vec<u8> {
        let mut bytes = request(9, b"");
        bytes[0] = 1;
        bytes
    }

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn checks_find_their_connection_and_addresses_are_learned() {
        let mut routes = Routes::default();
        let mut known = routes.add(3, "abcd");
        assert_eq!(routes.find(address(1), &check(b"abcd:efgh")), Some(3));
        assert_eq!(routes.find(address(1), &check(b"efgh:abcd")), None);
        assert_eq!(routes.find(address(1), &[22, 254, 253]), None);
        for port in 1..20 {
            routes.learn(3, &mut known, address(port), &[22]);
            assert_eq!(routes.find(address(port), &[22, 254, 253]), Some(3));
        }
        assert_eq!(routes.by_address.len(), ADDRESSES_PER_PEER);
        routes.remove(3, &known);
        assert!(routes.by_address.is_empty() && routes.by_user_fragment.is_empty());
    }

    #[test]
    fn answers_go_out_where_the_last_datagram_came_in() {
        let mut known = KnownAddresses::default();
        let local = |last| Some(IpAddr::from([10, 0, 0, last]));
        known.note_reached(address(1), None);
        assert_eq!(known.reached_from(address(1)), None);
        for port in 1..20 {
            known.note_reached(address(port), local(1));
            known.note_reached(address(port), local(2));
            known.note_reached(address(port), local(2));
            assert_eq!(known.reached_from(address(port)), local(2));
        }
        assert_eq!(known.reached.len(), ADDRESSES_PER_PEER);
        assert_eq!(known.reached_from(address(1)), None, "the oldest is forgotten");
        // Now it came to one that peers know.
        known.note_reached(address(19), None);
        assert_eq!(known.reached_from(address(19)), None);
        assert_eq!(known.reached_from(address(18)), local(2));
    }

    #[test]
    fn an_address_that_moved_to_another_connection_stays_with_it() {
        let mut routes = Routes::default();
        let (mut old, mut new) = (routes.add(1, "old"), routes.add(2, "new"));
        routes.learn(1, &mut old, address(1), &[22]);
        // Not by a check of ours: an offer may name any address.
        routes.learn(2, &mut new, address(1), &check(b"new:old"));
        assert_eq!(routes.find(address(1), &[22]), Some(1));
        // Nor by what an older link sends once more.
        routes.learn(2, &mut new, address(1), &[22]);
        assert_eq!(routes.find(address(1), &[22]), Some(1));
        routes.learn(2, &mut new, address(1), &answer());
        routes.remove(1, &old);
        assert_eq!(routes.find(address(1), &[22]), Some(2));
    }

    #[test]
    fn links_that_this_side_started_keep_their_addresses() {
        let mut routes = Routes::of_initiators();
        let (mut honest, mut forger) = (routes.add(1, "honest"), routes.add(2, "forger"));
        routes.learn(1, &mut honest, address(1), &[22]);
        routes.learn(2, &mut forger, address(1), &answer());
        assert_eq!(routes.find(address(1), &[22]), Some(1));
        routes.remove(1, &honest);
        routes.learn(2, &mut forger, address(1), &answer());
        assert_eq!(routes.find(address(1), &[22]), Some(2), "nobody has it any more");
    }

    #[test]
    fn an_address_that_a_forged_source_took_comes_back_with_the_next_answer() {
        let mut routes = Routes::default();
        let (mut honest, mut forger) = (routes.add(1, "honest"), routes.add(2, "forger"));
        routes.learn(1, &mut honest, address(1), &answer());
        routes.learn(2, &mut forger, address(1), &answer());
        assert_eq!(routes.find(address(1), &[22]), Some(2));
        routes.learn(1, &mut honest, address(1), &answer());
        assert_eq!(routes.find(address(1), &[22]), Some(1));
        routes.remove(2, &forger);
        assert_eq!(routes.find(address(1), &[22]), Some(1));
    }
}
