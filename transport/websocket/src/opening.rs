//! What both sides say to open a WebSocket (RFC 6455, section 4), in values of headers.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha1::{Digest, Sha1};

use crate::SUBPROTOCOL;

/// The version of WebSocket: value of `Sec-WebSocket-Version`.
pub const VERSION: &str = "13";

/// What a key is put in front of (RFC 6455, section 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The value of `Sec-WebSocket-Key`, of 16 random bytes.
#[must_use]
pub fn key(random: [u8; 16]) -> String {
    BASE64_STANDARD.encode(random)
}

/// The value of `Sec-WebSocket-Accept` that answers a key.
#[must_use]
pub fn accept(key: &str) -> String {
    BASE64_STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

/// What a client that opens a WebSocket asked wrongly.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{header} is \"{value}\", {expected}")]
pub struct OpeningError {
    /// The header.
    pub header: &'static str,
    /// What it says; its first 64 characters.
    pub value: String,
    /// The rule.
    pub expected: &'static str,
}

/// Whether a request asks for a WebSocket: what its headers of these names say.
#[must_use]
pub fn asks(header: impl Fn(&str) -> String) -> bool {
    has_token(&header("connection"), "upgrade") && has_token(&header("upgrade"), "websocket")
}

/// Checks a request to open a WebSocket, and gives the value of `Sec-WebSocket-Accept`. `header` gives the values
/// of a header, with commas between them.
///
/// # Errors
///
/// When a header breaks a rule.
pub fn check(header: impl Fn(&str) -> String) -> Result<String, OpeningError> {
    let wrong = |name, value: &str, expected| {
        let value = value.chars().take(64).collect();
        Err(OpeningError { header: name, value, expected })
    };
    let version = header("sec-websocket-version");
    if version.trim() != VERSION {
        return wrong("Sec-WebSocket-Version", &version, "must be 13");
    }
    let key = header("sec-websocket-key");
    let key = key.trim();
    if !BASE64_STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16) {
        return wrong("Sec-WebSocket-Key", key, "must be 16 bytes in Base64");
    }
    let protocols = header("sec-websocket-protocol");
    if !has_token(&protocols, SUBPROTOCOL) {
        return wrong("Sec-WebSocket-Protocol", &protocols, "must name deltawire.1");
    }
    Ok(accept(key))
}

/// Whether a list names a token, whatever its case.
fn has_token(list: &str, token: &str) -> bool {
    list.split(',').any(|part| part.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455, section 1.3.
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    fn request<'a>(headers: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> String + 'a {
        move |name| {
            let found = headers.iter().rev().find(|(header, _)| *header == name);
            found.map_or_else(String::new, |(_, value)| (*value).to_owned())
        }
    }

    const GOOD: [(&str, &str); 5] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", KEY),
        ("sec-websocket-protocol", "chat, deltawire.1"),
    ];

    #[test]
    fn the_example_of_the_rfc_is_answered_as_there() {
        assert_eq!(key(*b"the sample nonce"), KEY);
        assert!(asks(request(&GOOD)));
        assert_eq!(check(request(&GOOD)).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn what_is_asked_wrongly_is_named() {
        for (name, value, says) in [
            ("sec-websocket-version", "8", "Sec-WebSocket-Version is \"8\", must be 13"),
            ("sec-websocket-version", "", "Sec-WebSocket-Version is \"\", must be 13"),
            ("sec-websocket-key", "AAAA", "Sec-WebSocket-Key is \"AAAA\", must be 16 bytes"),
            ("sec-websocket-key", "", "Sec-WebSocket-Key is \"\", must be 16 bytes"),
            ("sec-websocket-protocol", "chat", "is \"chat\", must name deltawire.1"),
        ] {
            let headers = [&GOOD[..], &[(name, value)]].concat();
            let error = check(request(&headers)).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        assert!(!asks(request(&[("connection", "close"), ("upgrade", "websocket")])));
        assert!(!asks(request(&[("connection", "upgrade"), ("upgrade", "h2c")])));
    }
}
