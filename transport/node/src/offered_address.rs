//! Addresses of links that encrypt by themselves, at the host whose signalling offers them:
//! `scheme://:port/path#hash,hash`, where the hashes are those of certificates.

/// The address of what is offered without a host, at the host that was asked, with what opens it.
pub(crate) fn address(
    scheme: &str,
    asked: &str,
    offered: Option<&str>,
    ticket: Option<&str>,
) -> Option<String> {
    let (rest, host) = (after(scheme, offered?)?, host(asked)?);
    let end = rest.find('#').unwrap_or(rest.len());
    let mut address = String::new();
    let ticket = ticket.map_or(["", ""], |ticket| ["?ticket=", ticket]);
    for part in [scheme, "://", host, &rest[..end], ticket[0], ticket[1], &rest[end..]] {
        address.push_str(part);
    }
    Some(address)
}

/// What follows the scheme and its slashes.
pub(crate) fn after<'a>(scheme: &str, url: &'a str) -> Option<&'a str> {
    let (before, rest) = url.split_at_checked(scheme.len())?;
    if before.eq_ignore_ascii_case(scheme) { rest.strip_prefix("://") } else { None }
}

/// Whether an address is one without a host, and with a port.
pub(crate) fn is_without_host(url: &str) -> bool {
    let rest = ["wt", "quic"].iter().find_map(|scheme| after(scheme, url));
    let port = rest.and_then(|rest| rest.strip_prefix(':')?.split(['/', '#']).next());
    port.is_some_and(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The host of an address, as it stands there, without a port.
fn host(url: &str) -> Option<&str> {
    let mut host = url.get(url.find("://")? + 3..)?;
    for end in ['/', '?', '#'] {
        host = host.find(end).map_or(host, |at| &host[..at]);
    }
    host = host.rfind('@').map_or(host, |at| &host[at + 1..]);
    let end = match host.find(']') {
        Some(bracket) => bracket + 1,
        None => host.find(':').unwrap_or(host.len()),
    };
    host.get(..end).filter(|host| !host.is_empty())
}

/// What follows the scheme of an address, without the hashes behind it; `None` if one of them is none.
pub(crate) fn read<'a>(scheme: &str, url: &'a str) -> Option<(&'a str, Vec<[u8; 32]>)> {
    let (rest, hashes) = url.split_once('#').unwrap_or((url, ""));
    let mut read = Vec::new();
    for hash in hashes.split(',').filter(|hash| !hash.is_empty()) {
        read.push(digits(hash)?);
    }
    Some((after(scheme, rest)?, read))
}

fn digits(hash: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let text = hash.as_bytes();
    if text.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks(2)) {
        for digit in pair {
            *byte = *byte << 4 | u8::try_from(char::from(*digit).to_digit(16)?).ok()?;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_offered_becomes_an_address_of_the_host_that_was_asked() {
        let hashes = format!("{},{}", "ab".repeat(32), "cd".repeat(32));
        let offered = format!("wt://:4000/links#{hashes}");
        for (asked, host) in [
            ("http://a.org:8080/webrtc", "a.org"),
            ("https://a.org", "a.org"),
            ("https://me:secret@a.org:1/b?c#d", "a.org"),
            ("https://a.org?b=c@d/", "a.org"),
            ("http://[::1]:8080/webrtc", "[::1]"),
            ("http://[::1]", "[::1]"),
        ] {
            let address = address("wt", asked, Some(&offered), Some("00")).unwrap();
            assert_eq!(address, format!("wt://{host}:4000/links?ticket=00#{hashes}"));
        }
        let vouched_for = address("wt", "https://a.org/", Some("WT://:4000/links"), None);
        assert_eq!(vouched_for.as_deref(), Some("wt://a.org:4000/links"));
        for (asked, offered) in [
            ("https://", Some("wt://:4000/links")),
            ("https://a.org/", None),
            ("https://a.org/", Some("https://:4000/links")),
        ] {
            assert_eq!(address("wt", asked, offered, None), None);
        }
    }

    #[test]
    fn an_address_is_read_with_its_hashes() {
        let hashes = format!("{},{}", "ab".repeat(32), "CD".repeat(32));
        let url = format!("wt://a.org:4000/links?ticket=00#{hashes}");
        let both = vec![[0xab; 32], [0xcd; 32]];
        assert_eq!(read("wt", &url), Some(("a.org:4000/links?ticket=00", both)));
        assert_eq!(read("wt", "WT://a.org"), Some(("a.org", Vec::new())));
        for wrong in ["wt", "", "é", "https://a.org", "wt://a.org#ab", "wt://a.org#zz"] {
            assert_eq!(read("wt", wrong), None, "{wrong}");
        }
        assert_eq!(read("wt", &format!("wt://a.org#{}", "é".repeat(32))), None);
    }

    #[test]
    fn what_is_offered_without_a_host_has_a_port() {
        for (url, is) in [
            ("wt://:4000/c", true),
            ("wt://:4000", true),
            ("quic://:4000#ab", true),
            ("wt://:4000@b/c", false),
            ("wt://:/c", false),
            ("wt://b:4000/c", false),
            ("quic://:4000b/c", false),
            ("ws://:4000/c", false),
        ] {
            assert_eq!(is_without_host(url), is, "{url}");
        }
    }
}
