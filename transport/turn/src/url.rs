//! Where a server is (RFC 7064, RFC 7065).

/// The port of both, without TLS.
const PORT: u16 = 3_478;

/// The address of a server, as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl {
    /// What is asked of it.
    pub kind: ServerKind,
    /// Its name or number.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// What is asked of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerKind {
    /// How others see this side's address.
    Stun,
    /// An address there that passes on what comes.
    Turn(Transport),
}

/// What carries messages to a TURN server. From there on to peers it is always UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP, for networks that let no UDP out.
    Tcp,
}

impl ServerUrl {
    /// Reads `stun:host:port` and `turn:host:port?transport=tcp`; the port and the transport may be left out.
    ///
    /// # Errors
    ///
    /// What has to be different.
    pub fn read(url: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = url.split_once(':').ok_or("must begin with stun: or turn:")?;
        let (place, query) =
            rest.split_once('?').map_or((rest, None), |(it, query)| (it, Some(query)));
        let transport = match query {
            None | Some("transport=udp") => Transport::Udp,
            Some("transport=tcp") => Transport::Tcp,
            Some(_) => return Err("must end with ?transport=udp or ?transport=tcp, or without it"),
        };
        let kind = match scheme {
            "stun" if query.is_none() => ServerKind::Stun,
            "stun" => return Err("must have no ? if it is of STUN, which goes over UDP"),
            "turn" => ServerKind::Turn(transport),
            "stuns" | "turns" => {
                return Err(
                    "must be without TLS (stun:, turn:): native nodes do not speak it to these servers",
                );
            }
            _ => return Err("must begin with stun: or turn:"),
        };
        let (host, port) = match place.rsplit_once(':') {
            // An address of IPv6 stands in brackets.
            Some((host, port)) if !port.ends_with(']') => (
                host,
                port.parse()
                    .ok()
                    .filter(|port| *port != 0)
                    .ok_or("must have a port of 1 to 65535")?,
            ),
            _ => (place, PORT),
        };
        let numbers = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_fine = match numbers {
            Some(numbers) => numbers.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
                (1..=253).contains(&host.len()) && host.bytes().all(allowed)
            }
        };
        if !is_fine {
            return Err("must have a host: a name, an address of IPv4, or one of IPv6 in brackets");
        }
        Ok(Self { kind, host: numbers.unwrap_or(host).to_owned(), port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_or_say_what_is_wrong() {
        let (tcp, udp) = (ServerKind::Turn(Transport::Tcp), ServerKind::Turn(Transport::Udp));
        for (url, kind, host, port) in [
            ("stun:stun.example.org", ServerKind::Stun, "stun.example.org", 3_478),
            ("turn:192.0.2.1:99", udp, "192.0.2.1", 99),
            ("turn:turn.example.org?transport=tcp", tcp, "turn.example.org", 3_478),
            ("turn:[2001:db8::1]:99?transport=udp", udp, "2001:db8::1", 99),
            ("turn:[::1]", udp, "::1", 3_478),
        ] {
            let read = ServerUrl { kind, host: host.to_owned(), port };
            assert_eq!(ServerUrl::read(url), Ok(read), "{url}");
        }
        for broken in [
            "",
            "stun",
            "stun:",
            "http://example.org",
            "turns:turn.example.org",
            "stuns:turn.example.org",
            "stun:example.org?transport=tcp",
            "turn:example.org?transport=sctp",
            "turn:example.org:0",
            "turn:example.org:70000",
            "turn:user@example.org",
            "turn:[::1",
            "turn:::1",
            "turn:[192.0.2.1]",
        ] {
            assert!(ServerUrl::read(broken).is_err(), "{broken}");
        }
    }
}
