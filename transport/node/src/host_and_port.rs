//! Addresses of links that need nothing else.

use crate::ConnectError;

/// The parts of `scheme://host:port`.
pub(crate) fn host_and_port<'a>(
    url: &'a str,
    scheme: &str,
) -> Result<(&'a str, u16), ConnectError> {
    let wrong = |reason: &str| ConnectError::Address {
        url: url.rsplit('@').next().unwrap_or_default().to_owned(),
        reason: reason.to_owned(),
    };
    let (_, rest) =
        url.split_once("://").ok_or_else(|| wrong(&format!("it must be {scheme}://host:port")))?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains(['/', '?', '#', '@']) {
        return Err(wrong("nothing but a host and a port belongs there"));
    }
    let (host, port) = rest.rsplit_once(':').ok_or_else(|| wrong("it has no port"))?;
    let port = port.parse().ok().filter(|port| *port != 0);
    let port = port.ok_or_else(|| wrong("its port must be 1 to 65535"))?;
    let host = match host.strip_prefix('[').map(|host| host.strip_suffix(']')) {
        Some(Some(host)) => host,
        Some(None) => return Err(wrong("its bracket is not closed")),
        None if host.contains(':') => return Err(wrong("an address of IPv6 needs brackets")),
        None => host,
    };
    if host.is_empty() { Err(wrong("it has no host")) } else { Ok((host, port)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_a_host_and_a_port() {
        for (url, host, port) in [
            ("quic://example.org:4000", "example.org", 4_000),
            ("quic://127.0.0.1:1/", "127.0.0.1", 1),
            ("QUIC://[::1]:65535", "::1", 65_535),
        ] {
            assert_eq!(host_and_port(url, "quic").unwrap(), (host, port), "{url}");
        }
        for url in [
            "quic:example.org:1",
            "quic://example.org",
            "quic://example.org:0",
            "quic://example.org:65536",
            "quic://:4000",
            "quic://::1:4000",
            "quic://[::1:4000",
            "quic://user:secret@example.org:1",
            "quic://example.org:1/path",
        ] {
            let error = host_and_port(url, "quic").unwrap_err();
            assert!(matches!(error, ConnectError::Address { .. }), "{url}");
            assert!(!error.to_string().contains("secret"));
        }
    }
}
