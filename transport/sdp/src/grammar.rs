//! The grammar that session descriptions and fragments of them share: lines, credentials,
//! candidates (RFC 8866, RFC 8839).

/// The longest candidate, bytes.
pub const MAX_CANDIDATE_LEN: usize = 512;

/// What of a text breaks a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken<'a> {
    /// What breaks it: a line's type, an attribute.
    pub field: &'static str,
    /// What was found there.
    pub value: &'a str,
    /// The rule: "must be …".
    pub expected: &'static str,
}

/// A line: its number from 1, its type, its value; or itself, if it is none.
pub type Line<'a> = (usize, Result<(&'a str, &'a str), Broken<'a>>);

/// The lines of a text but for empty ones. They end with LF or CRLF.
pub fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    let lines = text.split('\n').enumerate();
    let lines = lines.map(|(index, line)| (index + 1, line.strip_suffix('\r').unwrap_or(line)));
    lines.filter(|(_, line)| !line.is_empty()).map(|(number, line)| {
        let split = line.split_once('=');
        let split =
            split.filter(|(kind, _)| kind.len() == 1 && kind.as_bytes()[0].is_ascii_lowercase());
        let expected = "must be a small letter, = and a value";
        (number, split.ok_or(Broken { field: "a line", value: line, expected }))
    })
}

/// The rules for one of ICE's two credentials (RFC 8839, section 5.4).
#[derive(Debug)]
pub struct Credential {
    /// The attribute's name.
    pub field: &'static str,
    min: usize,
    expected: &'static str,
    /// Whether it is never shown.
    pub secret: bool,
}

/// `ice-ufrag`.
pub const USER_FRAGMENT: Credential = Credential {
    field: "ice-ufrag",
    min: 4,
    expected: "must be 4 to 256 letters, digits, + and /",
    secret: false,
};

/// `ice-pwd`.
pub const PASSWORD: Credential = Credential {
    field: "ice-pwd",
    min: 22,
    expected: "must be 22 to 256 letters, digits, + and /",
    secret: true,
};

impl Credential {
    /// Gives the value back if it keeps the rules.
    ///
    /// # Errors
    ///
    /// What of it breaks them.
    pub fn check<'a>(&self, value: &'a str) -> Result<(), Broken<'a>> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+/".contains(&byte);
        if (self.min..=256).contains(&value.len()) && value.bytes().all(allowed) {
            return Ok(());
        }
        Err(self.broken(value, self.expected))
    }

    /// What is said of a value: nothing of it that is secret.
    pub fn broken<'a>(&self, value: &'a str, expected: &'static str) -> Broken<'a> {
        Broken {
            field: self.field,
            value: if self.secret { "(not shown)" } else { value },
            expected,
        }
    }
}

/// A candidate as it stands in a line, from `candidate:` on (RFC 8839, section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Candidate<'a> {
    /// One of UDP at an IP address.
    Usable(&'a str),
    /// Well formed, and of no use here: of another transport or component, by name, or of a type
    /// that is not known.
    PassedOver,
}

impl<'a> Candidate<'a> {
    /// The address of a candidate that can be used.
    #[must_use]
    pub fn address(candidate: &'a str) -> Option<std::net::SocketAddr> {
        let Ok(Self::Usable(usable)) = Candidate::read(candidate) else { return None };
        let mut words = usable.split_ascii_whitespace().skip(4);
        let (address, port) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(std::net::SocketAddr::new(address, port))
    }

    /// Reads a candidate.
    ///
    /// # Errors
    ///
    /// What of it breaks the grammar.
    pub fn read(candidate: &'a str) -> Result<Self, Broken<'a>> {
        let broken = |expected| Broken { field: "candidate", value: candidate, expected };
        if candidate.len() > MAX_CANDIDATE_LEN {
            return Err(broken("must be at most 512 bytes"));
        }
        let Some(rest) = candidate.strip_prefix("candidate:") else {
            return Err(broken("must start with candidate:"));
        };
        if !candidate.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(broken("must be printable ASCII"));
        }
        let mut words = rest.split_ascii_whitespace();
        let mut next = || words.next().ok_or(broken(FORM));
        let (foundation, component, transport) = (next()?, next()?, next()?);
        let (priority, address, port) = (next()?, next()?, next()?);
        let (typ, kind) = (next()?, next()?);
        let Ok(component) = component.parse::<u16>() else {
            return Err(broken("must have a component of 1 to 256"));
        };
        if !(1..=256).contains(&component) {
            return Err(broken("must have a component of 1 to 256"));
        }
        if priority.parse::<u32>().is_err() {
            return Err(broken("must have a priority of 0 to 4294967295"));
        }
        if port.parse::<u16>().is_err() {
            return Err(broken("must have a port of 0 to 65535"));
        }
        if foundation.len() > 32 || typ != "typ" {
            return Err(broken(FORM));
        }
        // What follows is pairs, of which two say where the candidate was made.
        while let Some(name) = words.next() {
            let Some(value) = words.next() else { return Err(broken("must end in pairs")) };
            match name {
                "raddr" if value.parse::<std::net::IpAddr>().is_err() => {
                    return Ok(Self::PassedOver);
                }
                "rport" if value.parse::<u16>().is_err() => {
                    return Err(broken("must have an rport of 0 to 65535"));
                }
                _ => {}
            }
        }
        let usable = component == 1
            && transport.eq_ignore_ascii_case("udp")
            && address.parse::<std::net::IpAddr>().is_ok()
            && ["host", "srflx", "prflx", "relay"].contains(&kind);
        Ok(if usable { Self::Usable(candidate) } else { Self::PassedOver })
    }
}

const FORM: &str =
    "must be foundation, component, transport, priority, address, port, \"typ\" and a type";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_are_told_apart() {
        for usable in [
            "candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host",
            "candidate:1 1 UDP 1 2001:db8::1 9 typ srflx raddr 10.0.0.1 rport 9 generation 0",
            "candidate:a+/ 1 udp 0 0.0.0.0 0 typ relay ufrag EsAw network-cost 999",
        ] {
            assert_eq!(Candidate::read(usable), Ok(Candidate::Usable(usable)));
        }
        for passed in [
            "candidate:1 1 udp 1 b1a5c9c4-0f8c-4a2b-b3f6-5f1d6b9c0f3e.local 61764 typ host",
            "candidate:1 1 tcp 1 192.0.2.1 9 typ host tcptype active",
            "candidate:1 2 udp 1 192.0.2.1 9 typ host",
            "candidate:1 1 udp 1 192.0.2.1 9 typ later",
            "candidate:1 1 udp 1 192.0.2.1 9 typ srflx raddr x.local rport 9",
        ] {
            assert_eq!(Candidate::read(passed), Ok(Candidate::PassedOver), "{passed}");
        }
        let long = format!("candidate:1 1 udp 1 192.0.2.1 9 typ host a {}", "1".repeat(512));
        for broken in [
            "",
            "candidate",
            "candidate:",
            "candidate:1 1 udp",
            "candidate:1 x udp 1 192.0.2.1 9 typ host",
            "candidate:1 0 udp 1 192.0.2.1 9 typ host",
            "candidate:1 257 udp 1 192.0.2.1 9 typ host",
            "candidate:1 1 udp -1 192.0.2.1 9 typ host",
            "candidate:1 1 udp 4294967296 192.0.2.1 9 typ host",
            "candidate:1 1 udp 1 192.0.2.1 65536 typ host",
            "candidate:1 1 udp 1 192.0.2.1 9 type host",
            "candidate:1 1 udp 1 192.0.2.1 9 typ",
            "candidate:1 1 udp 1 192.0.2.1 9 typ host generation",
            "candidate:1 1 udp 1 192.0.2.1 9 typ host rport x",
            "candidate:1 1 udp 1 192.0.2.1\u{e9} 9 typ host",
            "candidate:1 1 udp 1 192.0.2.1\t9 typ host",
            &long,
        ] {
            let error = Candidate::read(broken).unwrap_err();
            assert_eq!((error.field, error.value), ("candidate", broken));
        }
    }

    #[test]
    fn lines_are_of_one_letter() {
        let read: Vec<_> = lines("v=0\r\n\na=b=c\nx").collect();
        assert_eq!(read[0], (1, Ok(("v", "0"))));
        assert_eq!(read[1], (3, Ok(("a", "b=c"))));
        assert!(matches!(read[2], (4, Err(Broken { field: "a line", value: "x", .. }))));
        for broken in ["=x", "aa=1", "A=1", "\u{e9}=1", " v=0"] {
            assert!(lines(broken).next().unwrap().1.is_err(), "{broken}");
        }
    }
}
