//! Where links that are not encrypted may go.

use std::net::IpAddr;

use crate::ConnectError;

/// Whether a WebSocket may be opened at this address, whose host this is: unencrypted ones leave this machine only
/// if that is `allowed`.
pub(crate) fn check_websocket(url: &str, host: String, allowed: bool) -> Result<(), ConnectError> {
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
    fn what_is_not_encrypted_stays_on_this_machine() {
        let check = |url, host: &str, allowed| check_websocket(url, host.to_owned(), allowed);
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
