//! Tickets: let in, once by each kind of link, who was let in before by another request.

use core::time::Duration;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use deltawire_link::Identity;

use crate::answerer::network;

/// How long one can be used.
const LIFETIME: Duration = Duration::from_secs(30);

/// How many there are at a time, about 150 bytes each.
const MAX_TICKETS: usize = 4_096;

/// How many of these one address has.
const MAX_OF_ADDRESS: usize = 64;

/// The tickets that were given: each lets in, for 30 s and once by each of two kinds of links, who was let in before by signalling. A
/// kind that has used it and does not come to be leaves it to the others. At most 4,096 at a time, 64 of one address. Clones
/// are the same ones.
#[derive(Clone, Debug, Default)]
pub struct Tickets(Arc<Mutex<HashMap<[u8; 16], Ticket>>>);

#[derive(Debug)]
struct Ticket {
    identity: Option<Identity>,
    of: IpAddr,
    until: Instant,
    /// The kind of link that has used it; the second takes it.
    used: Option<&'static str>,
}

impl Tickets {
    /// One more, for who was let in from this address; `None` if there are too many.
    pub(super) fn issue(
        &self,
        identity: Option<Identity>,
        from: IpAddr,
        now: Instant,
    ) -> Option<String> {
        let mut number = [0; 16];
        getrandom::fill(&mut number).ok()?;
        let of = network(from);
        let mut tickets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tickets.retain(|_, ticket| ticket.until > now);
        let unused = |ticket: &&Ticket| ticket.used.is_none();
        let of_address = tickets.values().filter(unused).filter(|ticket| ticket.of == of).count();
        // Where it is not known who asks, all would count as one.
        let of_one = !from.is_unspecified() && of_address >= MAX_OF_ADDRESS;
        if of_one {
            return None;
        }
        if tickets.len() >= MAX_TICKETS {
            // One that was used stays for the sake of another kind only.
            let used = tickets.iter().find(|(_, ticket)| ticket.used.is_some());
            let used = *used?.0;
            tickets.remove(&used);
        }
        tickets.insert(number, Ticket { identity, of, until: now + LIFETIME, used: None });
        Some(format!("{:032x}", u128::from_be_bytes(number)))
    }

    /// Uses one for a kind of link, and gives whom it lets in: `Some(None)` is somebody whom nobody was asked about, and `None`
    /// that there is no such ticket, or not any more.
    #[must_use]
    pub fn redeem(
        &self,
        ticket: &str,
        kind: &'static str,
        now: Instant,
    ) -> Option<Option<Identity>> {
        if ticket.len() != 32 || !ticket.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let number = u128::from_str_radix(ticket, 16).ok()?.to_be_bytes();
        let mut tickets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ticket = tickets.get_mut(&number).filter(|ticket| ticket.until > now)?;
        match ticket.used.replace(kind) {
            None => Some(ticket.identity.clone()),
            Some(before) if before == kind => None,
            Some(_) => tickets.remove(&number).map(|ticket| ticket.identity),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_lets_in_once_and_in_time() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let address = "192.0.2.1".parse().unwrap();
        let ticket = tickets.issue(Some(Identity::new("a")), address, now).unwrap();
        for wrong in ["", "0", &"0".repeat(32), &"+".repeat(32), &"é".repeat(16)] {
            assert!(tickets.redeem(wrong, "a", now).is_none(), "{wrong}");
        }
        let identity = tickets.redeem(&ticket, "a", now + LIFETIME / 2).unwrap();
        assert_eq!(identity.unwrap().subject(), "a");
        assert!(tickets.redeem(&ticket, "a", now).is_none());
        assert!(tickets.redeem(&ticket, "b", now).is_some(), "it is left to the other kind");
        assert!(tickets.redeem(&ticket, "a", now).is_none());
        assert!(tickets.redeem(&ticket, "b", now).is_none());
        let late = tickets.issue(None, address, now).unwrap();
        assert!(tickets.redeem(&late, "a", now + LIFETIME).is_none());
    }

    #[test]
    fn there_are_so_many_and_those_of_yesterday_do_not_count() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let address = |number: u32| IpAddr::from(number.to_be_bytes());
        for number in 0..MAX_OF_ADDRESS {
            assert!(tickets.issue(None, address(1), now).is_some(), "{number}");
        }
        assert!(tickets.issue(None, address(1), now).is_none());
        for number in MAX_OF_ADDRESS..MAX_TICKETS {
            assert!(tickets.issue(None, address(number as u32), now).is_some(), "{number}");
        }
        assert!(tickets.issue(None, address(0), now).is_none());
        assert!(tickets.issue(None, address(1), now + LIFETIME).is_some());
        assert_eq!(tickets.0.lock().unwrap().len(), 1);
    }

    #[test]
    fn those_that_were_used_make_room() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let address = |number: u32| IpAddr::from(number.to_be_bytes());
        for number in 0..2 * MAX_OF_ADDRESS {
            let ticket = tickets.issue(None, address(1), now);
            assert!(tickets.redeem(&ticket.unwrap(), "a", now).is_some(), "{number}");
        }
        for number in 0..2 * MAX_TICKETS {
            let ticket = tickets.issue(None, address(number as u32), now).unwrap();
            assert!(tickets.redeem(&ticket, "a", now).is_some(), "{number}");
        }
        assert_eq!(tickets.0.lock().unwrap().len(), MAX_TICKETS);
    }
}
