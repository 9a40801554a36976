use core::fmt;

#[cfg(all(feature = "server", not(target_arch = "wasm32")))]
use subtle::ConstantTimeEq;

/// A bearer token (RFC 6750): who has it may make offers. Never shown, not by `Debug` either.
#[derive(Clone)]
pub struct Token(String);

/// A text that cannot be sent as a bearer token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It is empty, or too long.
    #[error("a token of {len} bytes: it must have 1 to {max}", max = Token::MAX_LEN)]
    Length {
        /// Its bytes.
        len: usize,
    },
    /// A character that RFC 6750 does not allow.
    #[error(
        "byte {position} of the token: only letters, digits, -._~+/ and = at its end may be there"
    )]
    Character {
        /// Where it stands, in bytes from 0.
        position: usize,
    },
}

impl Token {
    /// The longest token, bytes.
    pub const MAX_LEN: usize = 4096;

    /// A token of this text: letters, digits, `-._~+/`, and `=` at its end. Take 128 random bits
    /// or more, in hex or Base64.
    pub fn new(text: impl Into<String>) -> Result<Self, TokenError> {
        let text = text.into();
        if text.is_empty() || text.len() > Self::MAX_LEN {
            return Err(TokenError::Length { len: text.len() });
        }
        let body = text.trim_end_matches('=').as_bytes();
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte);
        match body.iter().position(|byte| !allowed(byte)) {
            Some(position) => Err(TokenError::Character { position }),
            None if body.is_empty() => Err(TokenError::Character { position: 0 }),
            None => Ok(Self(text)),
        }
    }

    /// The value of an `Authorization` header that carries it.
    #[must_use]
    pub fn authorization(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

#[cfg(all(feature = "server", not(target_arch = "wasm32")))]
impl Token {
    /// Whether an `Authorization` header carries it. How long that takes says nothing of the
    /// token but its length.
    pub(super) fn is_in(&self, authorization: &[u8]) -> bool {
        let Some((scheme, offered)) = authorization.split_at_checked("Bearer ".len()) else {
            return false;
        };
        let same: bool = self.0.as_bytes().ct_eq(offered).into();
        same && scheme.eq_ignore_ascii_case(b"Bearer ")
    }

    /// Whether it is this one. Takes as long whatever is offered, if it is as long.
    pub(super) fn is(&self, offered: &str) -> bool {
        self.0.as_bytes().ct_eq(offered.as_bytes()).into()
    }

    /// Whether an `Authorization` header carries a bearer token, whichever.
    pub(super) fn is_scheme_of(authorization: &[u8]) -> bool {
        let scheme = authorization.split(|byte| *byte == b' ').next().unwrap_or_default();
        scheme.eq_ignore_ascii_case(b"Bearer")
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(_)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_header_carries_is_a_token() {
        for good in ["a", "mF_9.B5f-4.1JqM", "a+/~==", &"a".repeat(4096)] {
            assert!(Token::new(good).is_ok(), "{good}");
        }
        for (bad, error) in [
            ("", TokenError::Length { len: 0 }),
            (&*"a".repeat(4097), TokenError::Length { len: 4097 }),
            ("a b", TokenError::Character { position: 1 }),
            ("a=b", TokenError::Character { position: 1 }),
            ("==", TokenError::Character { position: 0 }),
            ("ab\r\n", TokenError::Character { position: 2 }),
            ("é", TokenError::Character { position: 0 }),
        ] {
            assert_eq!(Token::new(bad).unwrap_err(), error, "{bad}");
        }
    }

    #[cfg(all(feature = "server", not(target_arch = "wasm32")))]
    #[test]
    fn a_token_is_the_whole_token() {
        let token = Token::new("secret").unwrap();
        assert!(token.is_in(token.authorization().as_bytes()));
        assert!(token.is_in(b"bearer secret"));
        for other in ["", "Bearer", "Bearer ", "Bearer secre", "Bearer secrets", "Basic  secret"] {
            assert!(!token.is_in(other.as_bytes()), "{other}");
        }
        assert_eq!(format!("{token:?}"), "Token(_)");
    }
}
