use std::fmt;

/// A hash of a certificate (RFC 8122, section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    function: HashFunction,
    /// The first [`HashFunction::hash_len`] bytes count.
    value: [u8; HashFunction::MAX_LEN],
}

/// Functions that fingerprints are made with: those that are not known to be weak, the strongest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HashFunction {
    /// SHA-224.
    Sha224,
    /// SHA-256: what all browsers use.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl HashFunction {
    /// Length of the longest hash, bytes.
    pub const MAX_LEN: usize = 64;

    /// Its name in descriptions, and the length of its hashes in bytes.
    const ALL: [(Self, &'static str, usize); 4] = [
        (Self::Sha224, "sha-224", 28),
        (Self::Sha256, "sha-256", 32),
        (Self::Sha384, "sha-384", 48),
        (Self::Sha512, "sha-512", Self::MAX_LEN),
    ];

    /// Length of its hashes, bytes.
    #[must_use]
    pub fn hash_len(self) -> usize {
        Self::ALL[self as usize].2
    }

    /// Its name in descriptions.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

impl Fingerprint {
    /// A hash that this function gave; `None` if it has another length.
    #[must_use]
    pub fn new(function: HashFunction, hash: &[u8]) -> Option<Self> {
        if hash.len() != function.hash_len() {
            return None;
        }
        let mut value = [0; HashFunction::MAX_LEN];
        value[..hash.len()].copy_from_slice(hash);
        Some(Self { function, value })
    }

    /// What it was made with.
    #[must_use]
    pub fn function(&self) -> HashFunction {
        self.function
    }

    /// The hash.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        &self.value[..self.function.hash_len()]
    }

    /// Reads an attribute's two words; `None` if the function is not known, an error if the value is not of
    /// that function.
    pub(crate) fn read(function: &str, digits: &str) -> Result<Option<Self>, &'static str> {
        let known =
            HashFunction::ALL.into_iter().find(|(_, name, _)| function.eq_ignore_ascii_case(name));
        let Some((function, _, len)) = known else { return Ok(None) };
        let mut value = [0; HashFunction::MAX_LEN];
        let mut pairs = digits.trim_ascii_end().split(':');
        let expected = "must be the bytes of the hash in hexadecimal, with colons between them";
        for byte in &mut value[..len] {
            let pair = pairs.next().filter(|it| it.len() == 2 && it.as_bytes()[0] != b'+');
            *byte = u8::from_str_radix(pair.ok_or(expected)?, 16).map_err(|_| expected)?;
        }
        if pairs.next().is_some() {
            return Err(expected);
        }
        Ok(Some(Self { function, value }))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.function.name())?;
        for (index, byte) in self.value().iter().enumerate() {
            write!(f, "{}{byte:02X}", if index == 0 { ' ' } else { ':' })?;
        }
        Ok(())
    }
}

/// The fingerprints of a description, at most four.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fingerprints {
    all: [Option<Fingerprint>; 4],
}

impl Fingerprints {
    pub(crate) fn add(&mut self, fingerprint: Fingerprint) -> bool {
        let room = self.all.iter_mut().find(|place| place.is_none());
        room.map(|place| *place = Some(fingerprint)).is_some()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all[0].is_none()
    }

    /// All of them, as they stand there.
    pub fn iter(&self) -> impl Iterator<Item = &Fingerprint> {
        self.all.iter().flatten()
    }

    /// Those that a certificate is to be compared with, of which one has to be its: made with the strongest
    /// function (RFC 8122, section 5.1).
    pub fn strongest(&self) -> impl Iterator<Item = &Fingerprint> {
        let strongest = self.iter().map(Fingerprint::function).max();
        self.iter().filter(move |it| Some(it.function) == strongest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(function: HashFunction, byte: u8) -> Fingerprint {
        Fingerprint::new(function, &vec![byte; function.hash_len()]).unwrap()
    }

    #[test]
    fn each_function_is_read_as_it_is_written() {
        for (function, name, len) in HashFunction::ALL {
            let written = fingerprint(function, 0xa9).to_string();
            let (read, digits) = written.split_once(' ').unwrap();
            assert_eq!((read, digits.len()), (name, 3 * len - 1));
            let read = Fingerprint::read(&name.to_uppercase(), &digits.to_lowercase());
            assert_eq!(read, Ok(Some(fingerprint(function, 0xa9))));
            assert!(Fingerprint::read(name, &digits[3..]).is_err());
            assert!(Fingerprint::read(name, &format!("{digits}:00")).is_err());
            assert!(Fingerprint::read(name, &digits.replacen("A9", "+9", 1)).is_err());
        }
        assert_eq!(Fingerprint::read("sha-1", "AA"), Ok(None));
        assert_eq!(Fingerprint::new(HashFunction::Sha256, &[0; 31]), None);
    }

    #[test]
    fn the_strongest_function_counts() {
        use HashFunction::{Sha256, Sha384};
        let mut all = Fingerprints::default();
        for (function, byte) in [(Sha384, 1), (Sha256, 2), (Sha384, 3), (Sha256, 4)] {
            assert!(all.add(fingerprint(function, byte)));
        }
        assert!(!all.add(fingerprint(Sha256, 5)));
        let strongest: Vec<_> = all.strongest().copied().collect();
        assert_eq!(strongest, [fingerprint(Sha384, 1), fingerprint(Sha384, 3)]);
        assert_eq!(all.iter().count(), 4);
    }
}
