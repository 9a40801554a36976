use core::fmt;
use core::str::FromStr;

/// Names what an offer made on the answering side: 128 bits, shown as 32 lower-case hex digits.
///
/// Make them from random bytes that nobody can guess: who knows one can hang up its peer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceId([u8; 16]);

/// A text that is not a [`ResourceId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a resource's id has 32 digits, each one of 0123456789abcdef; this text of {len} bytes is none"
)]
pub struct ResourceIdError {
    /// Bytes of the text.
    pub len: usize,
}

impl ResourceId {
    /// The id of these bits.
    #[must_use]
    pub const fn new(bits: [u8; 16]) -> Self {
        Self(bits)
    }

    /// Its bits.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl From<[u8; 16]> for ResourceId {
    fn from(bits: [u8; 16]) -> Self {
        Self(bits)
    }
}

impl FromStr for ResourceId {
    type Err = ResourceIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = ResourceIdError { len: text.len() };
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return Err(error) };
        let pairs: &[[u8; 2]; 16] = pairs.try_into().map_err(|_| error)?;
        let mut bits = [0; 16];
        for (byte, [high, low]) in bits.iter_mut().zip(pairs) {
            *byte = digit(*high).ok_or(error)? << 4 | digit(*low).ok_or(error)?;
        }
        Ok(Self(bits))
    }
}

/// The value of a lower-case hex digit.
fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResourceId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_read() {
        let id = ResourceId::new(core::array::from_fn(|i| i as u8 * 17));
        assert_eq!(id.to_string(), "00112233445566778899aabbccddeeff");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn nothing_else_is_an_id() {
        let upper = "00112233445566778899AABBCCDDEEFF";
        let many = "0".repeat(33);
        for text in ["", "0", upper, &many, &many[..31], "é".repeat(16).as_str(), &"+0".repeat(16)]
        {
            assert_eq!(text.parse::<ResourceId>(), Err(ResourceIdError { len: text.len() }));
        }
    }
}
