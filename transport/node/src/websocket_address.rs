//! Addresses of WebSockets: what is asked becomes one, and where those may lead that are not encrypted.

use std::net::IpAddr;

use crate::ConnectError;

/// The address of a WebSocket where signalling is, or at another that it names, with what opens it.
pub(crate) fn address(asked: &str, offered: Option<&str>, ticket: Option<&str>) -> Option<String> {
    let asked = asked.split('#').next().unwrap_or_default();
    let mut address = match offered {
        Some(offered) => offered.to_owned(),
        // http and https: ws and wss.
        None => {
            let (scheme, rest) = asked.split_at_checked(4)?;
            scheme.eq_ignore_ascii_case("http").then(|| format!("ws{rest}"))?
        }
    };
    if let Some(ticket) = ticket {
        address.push(if address.contains('?') { '&' } else { '?' });
        address.push_str("ticket=");
        address.push_str(ticket);
    }
    Some(address)
}

/// Whether a WebSocket may be opened at this address, whose host this is: unencrypted ones leave this machine only
/// if that is `allowed`.
pub(crate) fn check(url: &str, host: String, allowed: bool) -> Result<(), ConnectError> {
    let is_encrypted = url.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("wss:"));
    if is_encrypted || allowed || is_loopback(&host) {
        return Ok(());
    }
    Err(ConnectError::Unencrypted { scheme: "ws", host })
}

/// Whether a host is this machine.
fn is_loopback(host: &str) -> bool {
    let address = host.parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_signalling_becomes_one_with_a_ticket() {
        for (asked, offered, ticket, becomes) in [
            ("http://a/b", None, None, Some("ws://a/b")),
            ("HTTPS://a/b", None, Some("x"), Some("wsS://a/b?ticket=x")),
            ("http://a/b?c", None, Some("x"), Some("ws://a/b?c&ticket=x")),
            ("http://a/b", Some("wss://d"), Some("x"), Some("wss://d?ticket=x")),
            ("http://a/b#c", None, Some("x"), Some("ws://a/b?ticket=x")),
            ("ftp://a", None, None, None),
            ("", None, None, None),
        ] {
            assert_eq!(address(asked, offered, ticket).as_deref(), becomes, "{asked}");
        }
    }

    #[test]
    fn what_is_not_encrypted_stays_on_this_machine() {
        let check = |url: &str, host: &str, allowed| super::check(url, host.to_owned(), allowed);
        for (url, host) in [
            ("ws://localhost/", "localhost"),
            ("WS://LocalHost/", "LocalHost"),
            ("ws://127.0.0.1/", "127.0.0.1"),
            ("ws://127.9.9.9/", "127.9.9.9"),
            ("ws://[::1]/", "::1"),
            ("wss://example.org/", "example.org"),
            ("WSS://example.org/", "example.org"),
        ] {
            assert!(check(url, host, false).is_ok(), "{url}");
        }
        for host in ["example.org", "192.0.2.1", "2001:db8::1", "localhost.example.org", ""] {
            let url = format!("ws://{host}/");
            let refused = check(&url, host, false);
            let named = matches!(&refused, Err(ConnectError::Unencrypted { scheme: "ws", host: named }) if named == host);
            assert!(named, "{refused:?}");
            assert!(check(&url, host, true).is_ok());
        }
    }
}
