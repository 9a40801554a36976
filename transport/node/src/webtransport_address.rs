//! Addresses of links over WebTransport: `wt://host:port/path?ticket=…#hash,hash`.

use deltawire_signalling::OfferedLink;

/// The address of what is offered, at the host that was asked, with what opens it.
pub(crate) fn address(asked: &str, offered: &OfferedLink, ticket: Option<&str>) -> Option<String> {
    // One at another host is passed over: what opens it goes to nobody but who gave it.
    let (port, host) = (offered.port?, host(asked)?);
    let path = offered.path.as_deref().unwrap_or("/");
    let mut address = format!("wt://{host}:{port}{path}");
    if let Some(ticket) = ticket {
        address.push_str("?ticket=");
        address.push_str(ticket);
    }
    let mut before = '#';
    for hash in &offered.certificate_hashes {
        address.push(before);
        address.push_str(hash);
        before = ',';
    }
    Some(address)
}

/// The host of an address, as it stands there, without a port.
fn host(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
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
        let hashes = ["ab".repeat(32), "cd".repeat(32)];
        let offered = OfferedLink::at_port("webtransport", 4000, "/links", hashes.clone());
        for (asked, host) in [
            ("http://a.org:8080/webrtc", "a.org"),
            ("https://a.org", "a.org"),
            ("https://me:secret@a.org:1/b?c#d", "a.org"),
            ("http://[::1]:8080/webrtc", "[::1]"),
            ("http://[::1]", "[::1]"),
        ] {
            let address = address(asked, &offered, Some("00")).unwrap();
            let [first, second] = &hashes;
            assert_eq!(address, format!("wt://{host}:4000/links?ticket=00#{first},{second}"));
        }
        let vouched_for = OfferedLink::at_port("webtransport", 4000, "/links", []);
        let plain = address("https://a.org/", &vouched_for, None);
        assert_eq!(plain.as_deref(), Some("wt://a.org:4000/links"));
        assert_eq!(address("https://", &vouched_for, None), None);
        assert_eq!(address("https://a.org/", &OfferedLink::here("webtransport"), None), None);
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
