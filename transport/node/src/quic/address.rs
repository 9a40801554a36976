//! Addresses of links over QUIC: `quic://host:port?ticket=…#hash,hash`.

use deltawire_quic::Fingerprint;

use crate::host_and_port::host_and_port;
use crate::{ConnectError, offered_address};

/// What an address says.
#[derive(Debug)]
pub(super) struct Address<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    /// What lets in who connects.
    pub(super) ticket: Option<&'a str>,
    /// The certificates of which the server has to have one; none if that is said elsewhere.
    pub(super) pins: Vec<Fingerprint>,
}

impl<'a> Address<'a> {
    pub(super) fn read(url: &'a str) -> Result<Self, ConnectError> {
        // Errors show no ticket.
        let place = url.split(['?', '#']).next().unwrap_or_default();
        let (host, port) = host_and_port(place, "quic")?;
        let wrong = |reason: &str| ConnectError::Address {
            url: place.to_owned(),
            reason: reason.to_owned(),
        };
        let (rest, hashes) = offered_address::read("quic", url)
            .ok_or_else(|| wrong("behind # belong hashes of 64 digits, with commas between"))?;
        let ticket = match rest.split_once('?').map(|(_, query)| query.strip_prefix("ticket=")) {
            Some(None) => return Err(wrong("behind ? belongs a ticket")),
            Some(ticket) => ticket,
            None => None,
        };
        let pins = hashes.into_iter().map(Fingerprint).collect();
        Ok(Self { host, port, ticket, pins })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_have_a_ticket_and_hashes() {
        let hash = "ab".repeat(32);
        let url = format!("quic://a.org:1?ticket=00#{hash},{hash}");
        let Address { host, port, ticket, pins } = Address::read(&url).unwrap();
        assert_eq!((host, port, ticket), ("a.org", 1, Some("00")));
        assert_eq!(pins, [Fingerprint([0xab; 32]); 2]);
        let plain = Address::read("quic://[::1]:1").unwrap();
        assert_eq!((plain.host, plain.ticket, plain.pins.len()), ("::1", None, 0));
        for wrong in ["?token=secret", "?ticket=secret#ab", "/path?ticket=secret", "#secret"] {
            let error = Address::read(&format!("quic://a.org:1{wrong}")).unwrap_err();
            assert!(matches!(error, ConnectError::Address { .. }), "{error:?}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
