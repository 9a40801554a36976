use std::net::{IpAddr, SocketAddr};

use axum::http::header::{FORWARDED, HeaderMap, HeaderName};
use ipnet::IpNet;
use rfc7239::{NodeIdentifier, NodeName};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Proxies that are believed when they name the client whose request they pass on.
///
/// The header is named too, because a proxy that sets one passes the other on as the client sent
/// it. It is read from its end: each proxy adds the address that it was asked from, so the client
/// is the first address from there that is no trusted proxy's. What stands before it, the client
/// may have made up. Where a proxy names no address (`unknown`), all its clients count as one.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    header: Header,
}

#[derive(Clone, Copy, Debug, Default)]
enum Header {
    #[default]
    Forwarded,
    XForwardedFor,
}

/// A text that is no address or network of a proxy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the proxy {proxy:?} must be an address or a network, like 192.0.2.1 or 2001:db8::/32")]
pub struct ProxyError {
    /// The text.
    pub proxy: String,
}

impl TrustedProxies {
    /// None: the client is who made the connection. The default.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// These, each an address or a network, by the header `Forwarded` (RFC 7239).
    pub fn forwarded<I>(proxies: I) -> Result<Self, ProxyError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        Self::new(Header::Forwarded, proxies)
    }

    /// These, each an address or a network, by the header `X-Forwarded-For`.
    pub fn x_forwarded_for<I>(proxies: I) -> Result<Self, ProxyError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        Self::new(Header::XForwardedFor, proxies)
    }

    fn new<I>(header: Header, proxies: I) -> Result<Self, ProxyError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let network = |proxy: I::Item| {
            let proxy = proxy.as_ref();
            let address = || proxy.parse().ok().map(|address: IpAddr| address.into());
            let network = proxy.parse().ok().or_else(address);
            network.ok_or_else(|| ProxyError { proxy: proxy.to_owned() })
        };
        Ok(Self { networks: proxies.into_iter().map(network).collect::<Result<_, _>>()?, header })
    }

    /// Whether one has this address.
    pub(super) fn has(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// Whose request it is that came from this address with these headers.
    pub(super) fn client(&self, from: SocketAddr, headers: &HeaderMap) -> SocketAddr {
        let mut client = from;
        let mut hops = match self.header {
            Header::Forwarded => hops(headers, &FORWARDED, |element| {
                rfc7239::parse(element).next()?.ok()?.forwarded_for.and_then(address)
            }),
            Header::XForwardedFor => hops(headers, &X_FORWARDED_FOR, |element: &str| {
                let without_port =
                    || element.parse().ok().map(|address: IpAddr| (address, 0).into());
                element.parse().ok().or_else(without_port)
            }),
        };
        while self.has(client.ip())
            && let Some(Some(hop)) = hops.next()
        {
            client = hop;
        }
        client
    }
}

/// The elements of a header that is a list, in all its lines, from the last: `None` is one that
/// cannot be read.
fn hops<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    read: impl Fn(&'a str) -> Option<SocketAddr> + Copy + 'a,
) -> Box<dyn Iterator<Item = Option<SocketAddr>> + 'a> {
    let lines = headers.get_all(name).iter().rev();
    Box::new(lines.flat_map(move |line| {
        let elements = line.to_str().unwrap_or_default().rsplit(',');
        elements.map(move |element| read(element.trim()))
    }))
}

/// With port 0 if none is named.
fn address(node: NodeIdentifier<'_>) -> Option<SocketAddr> {
    match node.name {
        NodeName::Ip(address) => Some(SocketAddr::new(address, node.port.unwrap_or(0))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn client(proxies: &TrustedProxies, from: &str, lines: &[(&HeaderName, &str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, line) in lines {
            headers.append(*name, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        proxies.client(SocketAddr::new(from.parse().unwrap(), 9), &headers).ip().to_string()
    }

    #[test]
    fn only_addresses_and_networks_are_taken() {
        for proxy in ["127.0.0.1", "10.0.0.0/8", "::1", "2001:db8::/32"] {
            assert!(TrustedProxies::forwarded([proxy]).is_ok());
        }
        for proxy in ["", "*", "localhost", "10.0.0.0/33", "10.0.0.1:80"] {
            let error = TrustedProxies::x_forwarded_for(["::1", proxy]).unwrap_err();
            assert_eq!(error.proxy, proxy);
        }
    }

    #[test]
    fn a_proxy_names_the_client() {
        let proxies = TrustedProxies::forwarded(["10.0.0.0/8", "2001:db8::1"]).unwrap();
        for (line, expected) in [
            ("for=192.0.2.1", "192.0.2.1"),
            ("For=\"192.0.2.1:4711\";proto=https;by=10.0.0.1", "192.0.2.1"),
            ("by=10.0.0.1;for=\"[2001:db8::2]:4711\"", "2001:db8::2"),
            ("for=203.0.113.9, for=192.0.2.1, for=10.0.0.2,for=\"[2001:db8::1]\"", "192.0.2.1"),
            ("for=10.0.0.3", "10.0.0.3"),
            // What cannot be read ends the chain at who should have named it.
            ("for=192.0.2.1, for=unknown", "10.0.0.1"),
            ("for=192.0.2.1, for=_hidden, for=10.0.0.2", "10.0.0.2"),
            ("for=\"192.0.2.1", "192.0.2.1"),
            ("for=\"x, for=192.0.2.1", "192.0.2.1"),
            ("for=192.0.2.1, nonsense", "10.0.0.1"),
            ("proto=https", "10.0.0.1"),
            ("for=\u{e9}", "10.0.0.1"),
            ("", "10.0.0.1"),
        ] {
            assert_eq!(client(&proxies, "10.0.0.1", &[(&FORWARDED, line)]), expected, "{line}");
            assert_eq!(client(&proxies, "192.0.2.9", &[(&FORWARDED, line)]), "192.0.2.9");
        }
        let lines = [(&FORWARDED, "for=192.0.2.1"), (&FORWARDED, "for=192.0.2.2, for=10.0.0.2")];
        assert_eq!(client(&proxies, "::ffff:10.0.0.1", &lines), "192.0.2.2");
    }

    #[test]
    fn only_the_header_that_was_named_counts() {
        let lines = [(&FORWARDED, "for=192.0.2.1"), (&X_FORWARDED_FOR, "203.0.113.1, 192.0.2.2")];
        let proxies = TrustedProxies::x_forwarded_for(["10.0.0.1"]).unwrap();
        assert_eq!(client(&proxies, "10.0.0.1", &lines), "192.0.2.2");
        let proxies = TrustedProxies::forwarded(["10.0.0.1"]).unwrap();
        assert_eq!(client(&proxies, "10.0.0.1", &lines), "192.0.2.1");
        assert_eq!(client(&TrustedProxies::none(), "10.0.0.1", &lines), "10.0.0.1");
        let proxies = TrustedProxies::x_forwarded_for(["10.0.0.1"]).unwrap();
        for (line, expected) in [
            ("2001:db8::2", "2001:db8::2"),
            ("[2001:db8::2]:4711", "2001:db8::2"),
            ("192.0.2.1:4711", "192.0.2.1"),
            ("unknown", "10.0.0.1"),
        ] {
            assert_eq!(client(&proxies, "10.0.0.1", &[(&X_FORWARDED_FOR, line)]), expected);
        }
    }
}
