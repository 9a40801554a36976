//! Addresses of links over WebTransport: `wt://host:port/path?ticket=…#hash,hash`.

/// The address of what is offered without a host, at the host that was asked, with what opens it.
pub(crate) fn address(asked: &str, offered: Option<&str>, ticket: Option<&str>) -> Option<String> {
    let (rest, host) = (offered?.strip_prefix("wt://")?, host(asked)?);
    let end = rest.find('#').unwrap_or(rest.len());
    let mut address = String::new();
    let ticket = ticket.map_or(["", ""], |ticket| ["?ticket=", ticket]);
    for part in ["wt://", host, &rest[..end], ticket[0], ticket[1], &rest[end..]] {
        address.push_str(part);
    }
    Some(address)
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

/// The address that a browser opens, and the hashes behind it; `None` if one of them is none.
pub(crate) fn read(url: &str) -> Option<(String, Vec<[u8; 32]>)> {
    let (url, hashes) = url.split_once('#').unwrap_or((url, ""));
    let rest = url.get(2..).filter(|rest| rest.starts_with("://"))?;
    let mut read = Vec::new();
    for hash in hashes.split(',').filter(|hash| !hash.is_empty()) {
        read.push(digits(hash)?);
    }
    Some((format!("https{rest}"), read))
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
            let address = address(asked, Some(&offered), Some("00")).unwrap();
            assert_eq!(address, format!("wt://{host}:4000/links?ticket=00#{hashes}"));
        }
        let vouched_for = address("https://a.org/", Some("wt://:4000/links"), None);
        assert_eq!(vouched_for.as_deref(), Some("wt://a.org:4000/links"));
        for (asked, offered) in [
            ("https://", Some("wt://:4000/links")),
            ("https://a.org/", None),
            ("https://a.org/", Some("https://:4000/links")),
        ] {
            assert_eq!(address(asked, offered, None), None);
        }
    }

    #[test]
    fn an_address_is_read_with_its_hashes() {
        let hashes = format!("{},{}", "ab".repeat(32), "CD".repeat(32));
        let read_both = read(&format!("wt://a.org:4000/links?ticket=00#{hashes}"));
        let url = "https://a.org:4000/links?ticket=00".to_owned();
        assert_eq!(read_both, Some((url, vec![[0xab; 32], [0xcd; 32]])));
        assert_eq!(read("WT://a.org"), Some(("https://a.org".to_owned(), Vec::new())));
        for wrong in ["wt", "", "https://a.org", "wt://a.org#ab", "wt://a.org#zz"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert_eq!(read(&format!("wt://a.org#{}", "é".repeat(32))), None);
    }
}
